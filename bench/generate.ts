/**
 * @file Generation, side by side with llama.cpp: the same GGUF file, a prompt of 512 tokens and one token at a time after it, for one sequence and for
 * eight together, in turns on the same cores.
 */

import { existsSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bytes, table } from "../src/cli/format.js";
import { Peer, median, peerPython } from "./peer.js";
import { chosen, fastest, howToGetPython, type BenchOptions, type Result } from "./result.js";

export const generateWorkloads: Readonly<Record<string, string>> = {
  "generate-smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf",
  "generate-gemma3": "gemma-3-270m-q4_k_m.gguf",
};

interface Turn {
  readonly prefill: number;
  readonly decode: number;
  /** Of 8 sequences together, all their tokens. */
  readonly batched: number;
  readonly prefillOfProcessor: number;
  readonly decodeOfProcessor: number;
  readonly batchedOfProcessor: number;
  readonly peakRssBytes: number;
}

/** Medians of so many; a round takes about a minute. */
const rounds = Number(process.env["HORNBOOK_BENCH_ROUNDS"] ?? 7);

/** Loads in turns (a new process each time), then prefill and decode in turns; says medians and ratios. */
export async function benchGeneration(name: string, { only, say }: BenchOptions): Promise<Result[]> {
  const file = join(process.env["HORNBOOK_MODELS"] ?? join(homedir(), ".cache/hornbook-models"), generateWorkloads[name]);
  if (!existsSync(file)) {
    say(`${name}: ${file} is not there; HORNBOOK_MODELS names the folder that has it.`);
    return [];
  }
  const threads = process.env["HORNBOOK_THREADS"] ?? String(availableParallelism());
  const ours = fileURLToPath(new URL("generate-hornbook.js", import.meta.url));
  const peer = fileURLToPath(new URL("../../bench/peers/generate_llama.py", import.meta.url));
  const prebuilt = fileURLToPath(new URL("generate-node-llama.js", import.meta.url));
  const sides = [
    ...["f32", "bf16"].map((dtype) => ({
      name: `Hornbook ${dtype}`,
      start: () => new Peer(`Hornbook ${dtype}`, process.execPath, [ours, file, "--dtype", dtype], { HORNBOOK_THREADS: threads }),
    })),
    { name: "llama.cpp", start: () => new Peer("llama.cpp", peerPython, [peer, file, threads]) },
    // Beside the one built for this machine, the one that comes ready-made (generate-node-llama.ts says how to get it).
    ...(process.env["HORNBOOK_BENCH_NODE_LLAMA"] === undefined ? [] : [{ name: "node-llama-cpp", start: () => new Peer("node-llama-cpp", process.execPath, [prebuilt, file, threads]) }]),
  ].filter((side) => chosen(side.name, only));

  if (process.env["HORNBOOK_BENCH_NODE_LLAMA"] === undefined) say("Without node-llama-cpp; bench/generate-node-llama.ts says how to get it.");
  say(`${generateWorkloads[name]}: prompt 512, then one token at a time, alone and 8 sequences together; ${rounds} turns, ${threads} threads`);
  /** Operations, or bytes, that a token takes, by side. */
  const work = new Map<string, Record<"prefill" | "decode" | "batched", number>>();
  const missing = new Set<string>();
  const results = new Map(sides.map((side) => [side.name, { first: [] as number[], turns: [] as Turn[] }]));
  const running = new Map<string, Peer>();
  try {
    for (let round = 0; round < rounds; round++) {
      for (const side of sides) {
        if (missing.has(side.name)) continue;
        await running.get(side.name)?.close();
        const started = side.start();
        running.set(side.name, started);
        try {
          const { firstTokenMs, work: told } = await started.ready<{ firstTokenMs: number; work?: Record<"prefill" | "decode" | "batched", number> }>();
          if (told !== undefined) work.set(side.name, told);
          results.get(side.name)!.first.push(firstTokenMs);
        } catch (error) {
          say(`${(error as Error).message} ${howToGetPython}`);
          missing.add(side.name);
          continue;
        }
        await started.ask("warm up");
        results.get(side.name)!.turns.push(await started.ask<Turn>("measure"));
      }
    }
  } finally {
    await Promise.all([...running.values()].map((side) => side.close()));
  }

  const rows = [...results].filter(([side]) => !missing.has(side)).map(([side, { first, turns }]) => ({
    side,
    first: median(first),
    values: (["prefill", "decode", "batched", "prefillOfProcessor", "decodeOfProcessor", "batchedOfProcessor"] as const).map((key) => median(turns.map((turn) => turn[key]))),
    memory: Math.max(...turns.map((turn) => turn.peakRssBytes)),
  }));
  const base = rows.find((row) => row.side === "llama.cpp");
  const against = (value: number, of: number | undefined): string => (of === undefined ? "" : `${(value / of).toFixed(2)}x`);
  say(
    table(
      [
        ["tok/s", "prefill", "", "decode", "", "of 8", "", "of processor time: prefill", "", "decode", "", "of 8", "", "load to first token", "peak memory"],
        ...rows.map((row) => [
          row.side, ...row.values.flatMap((value, i) => [value.toFixed(1), against(value, base?.values[i])]), `${row.first.toFixed(0)} ms`, bytes(row.memory),
        ]),
      ],
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
    ),
  );
  // Of our sides the fastest stands for us, by its name.
  const names = { prefill: "read 512", decode: "a token after 512", batched: "8 sequences, a token each" } as const;
  return (["prefill", "decode", "batched"] as const).flatMap((what, i): Result[] => {
    const figures = rows.map(({ side, values }) => ({ side, value: values[i] })).filter(({ value }) => Number.isFinite(value));
    const ours = fastest(figures.filter(({ side }) => side.startsWith("Hornbook")));
    if (ours === undefined) return [];
    const peer = fastest(figures.filter(({ side }) => !side.startsWith("Hornbook")));
    const takes = { of: what === "prefill" ? "int8" : "memory", each: work.get(ours.side)?.[what] ?? 0 } as const;
    return [{ workload: `${generateWorkloads[name].replace(".gguf", "")}: ${names[what]}`, unit: "tok/s", ours, peer, takes }];
  });
}
