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

const rounds = 7;

/** Loads in turns (a new process each time), then prefill and decode in turns; prints medians and ratios. */
export async function benchGeneration(name: string, only: readonly string[] = []): Promise<void> {
  const file = join(process.env["INKLING_MODELS"] ?? join(homedir(), ".cache/inkling-models"), generateWorkloads[name]);
  if (!existsSync(file)) {
    console.log(`${file} is not there; INKLING_MODELS names the folder that has it.`);
    process.exitCode = 1;
    return;
  }
  const threads = process.env["INKLING_THREADS"] ?? String(availableParallelism());
  const ours = fileURLToPath(new URL("generate-inkling.js", import.meta.url));
  const peer = fileURLToPath(new URL("../../bench/peers/generate_llama.py", import.meta.url));
  const prebuilt = fileURLToPath(new URL("generate-node-llama.js", import.meta.url));
  const sides = [
    ...["f32", "bf16"].map((dtype) => ({
      name: `Inkling ${dtype}`,
      start: () => new Peer(`Inkling ${dtype}`, process.execPath, [ours, file, "--dtype", dtype], { INKLING_THREADS: threads }),
    })),
    { name: "llama.cpp", start: () => new Peer("llama.cpp", peerPython, [peer, file, threads]) },
    // Beside the one built for this machine, the one that comes ready-made (generate-node-llama.ts says how to get it).
    ...(process.env["INKLING_BENCH_NODE_LLAMA"] === undefined ? [] : [{ name: "node-llama-cpp", start: () => new Peer("node-llama-cpp", process.execPath, [prebuilt, file, threads]) }]),
  ].filter((side) => only.length === 0 || only.some((part) => side.name.toLowerCase().includes(part.toLowerCase())));

  console.log(`${generateWorkloads[name]}: prompt 512, then one token at a time, alone and 8 sequences together; ${rounds} turns, ${threads} threads`);
  const results = new Map(sides.map((side) => [side.name, { first: [] as number[], turns: [] as Turn[] }]));
  const running = new Map<string, Peer>();
  try {
    for (let round = 0; round < rounds; round++) {
      for (const side of sides) {
        running.get(side.name)?.close();
        const started = side.start();
        running.set(side.name, started);
        results.get(side.name)!.first.push((await started.ready<{ firstTokenMs: number }>()).firstTokenMs);
        await started.ask("warm up");
        results.get(side.name)!.turns.push(await started.ask<Turn>("measure"));
      }
    }
  } finally {
    for (const side of running.values()) side.close();
  }

  const rows = [...results].map(([side, { first, turns }]) => ({
    side,
    first: median(first),
    values: (["prefill", "decode", "batched", "prefillOfProcessor", "decodeOfProcessor", "batchedOfProcessor"] as const).map((key) => median(turns.map((turn) => turn[key]))),
    memory: Math.max(...turns.map((turn) => turn.peakRssBytes)),
  }));
  const base = rows.find((row) => row.side === "llama.cpp");
  const against = (value: number, of: number | undefined): string => (of === undefined ? "" : `${(value / of).toFixed(2)}x`);
  console.log(
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
}
