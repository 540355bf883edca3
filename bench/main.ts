/**
 * @file `npm run bench`: us and the peers in turns, medians. Without a name, or with `all`, every workload, then one table of all of them with the ratio
 * to the best peer and our share of what this machine can do; with `--markdown` that table also goes into docs/performance.md, in the place of this kind
 * of machine. `npm run bench -- NAME [SIDE ...]` is one workload in detail.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { CpuDevice, defaultDevice } from "../src/tensor/index.js";
import { benchGeneration, generateWorkloads } from "./generate.js";
import { measureRates, type MachineRates } from "./machine.js";
import { benchMatmul } from "./matmul.js";
import { resultMarkdown, resultTable, type BenchOptions, type Result } from "./result.js";
import { benchTokenizer } from "./tokenizer.js";
import { benchTraining, trainWorkloads } from "./train.js";

const benches: Readonly<Record<string, (options: BenchOptions) => Promise<Result[]>>> = {
  ...Object.fromEntries(Object.keys(trainWorkloads).map((name) => [name, (options: BenchOptions) => benchTraining(name, options)])),
  ...Object.fromEntries(Object.keys(generateWorkloads).map((name) => [name, (options: BenchOptions) => benchGeneration(name, options)])),
  "tokenizer-encode": (options) => benchTokenizer("encode", options),
  "tokenizer-train": (options) => benchTokenizer("train", options),
  matmul: benchMatmul,
};

/** Every workload; what each says goes to stderr, the table to stdout. One that fails is said, and the others go on. */
async function benchAll(): Promise<{ results: Result[]; rates: MachineRates }> {
  const results: Result[] = [];
  let rates = await measureRates();
  for (const [name, bench] of Object.entries(benches)) {
    try {
      results.push(...(await bench({ only: [], say: (text) => console.error(`${text}\n`) })));
    } catch (error) {
      console.error(`${name} failed: ${error instanceof Error ? error.message : String(error)}\n`);
    }
    rates = await measureRates(rates);
  }
  return { results, rates };
}

/** Between two lines of docs/performance.md that name the kind of machine. */
function writeMarkdown(results: readonly Result[], rates: MachineRates): void {
  const device = defaultDevice();
  const kind = device instanceof CpuDevice ? device.isa : device.name;
  const path = fileURLToPath(new URL("../../docs/performance.md", import.meta.url));
  const text = readFileSync(path, "utf8");
  const [begin, end] = [`<!-- bench ${kind} -->`, `<!-- /bench ${kind} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${path} has no place for ${kind}: two lines, ${begin} and ${end}.`);
  const machine = `${cpus()[0]?.model ?? "unknown processor"}, ${device.description}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}.`;
  writeFileSync(path, `${text.slice(0, from)}${begin}\n${machine}\n\n${resultMarkdown(results, rates)}\n${text.slice(to)}`);
  console.error(`written to ${path}`);
}

const words = process.argv.slice(2);
const markdown = words.includes("--markdown");
const [name = "all", ...only] = words.filter((word) => word !== "--markdown");
if (name === "all") {
  const { results, rates } = await benchAll();
  console.log(resultTable(results, rates));
  if (markdown) writeMarkdown(results, rates);
} else if (name in benches) {
  await benches[name]({ only, say: console.log });
} else {
  console.log(
    `npm run bench -- [all] [--markdown]\nnpm run bench -- NAME [SIDE ...]\n\n${Object.keys(benches).join("\n")}\n\nSIDE keeps only the sides whose name contains it, such as "hornbook bf16".`,
  );
  process.exitCode = 2;
}
