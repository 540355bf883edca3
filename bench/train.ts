/** @file Training, side by side with PyTorch: the same model, batch and step, in turns on the same cores. */

import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Peer, median, peerPython, type Measurement } from "./peer.js";
import { bytes, table } from "../src/cli/format.js";
import { chosen, fastest, howToGetPython, type BenchOptions, type Result } from "./result.js";

interface Workload {
  readonly title: string;
  readonly model: Readonly<Record<"layers" | "heads" | "dims" | "context" | "batch" | "vocab", number>>;
  readonly bias?: boolean;
  /** Steps in a turn: a few seconds' worth. */
  readonly steps: number;
  readonly rounds: number;
}

export const trainWorkloads: Readonly<Record<string, Workload>> = {
  "train-shakespeare": {
    title: "nanoGPT's CPU recipe (0.8M parameters, T 64, B 12)",
    model: { layers: 4, heads: 4, dims: 128, context: 64, batch: 12, vocab: 65 },
    steps: 60,
    rounds: 7,
  },
  "train-10m": {
    title: "10.8M parameters (6 layers, 384, T 256, B 16)",
    model: { layers: 6, heads: 6, dims: 384, context: 256, batch: 16, vocab: 65 },
    steps: 3,
    rounds: 5,
  },
  "train-gpt2": {
    title: "GPT-2 124M (T 256, B 4)",
    model: { layers: 12, heads: 12, dims: 768, context: 256, batch: 4, vocab: 50257 },
    bias: true,
    steps: 2,
    rounds: 5,
  },
};

/** Runs every side in turns; says medians, the ratio to the best peer, and peak memory. */
export async function benchTraining(name: string, { only, say }: BenchOptions): Promise<Result[]> {
  const { title, model, bias = false, steps, rounds } = trainWorkloads[name];
  const args = [...Object.entries(model).flatMap(([flag, value]) => [`--${flag}`, String(value)]), ...(bias ? ["--bias"] : [])];
  const threads = process.env["HORNBOOK_THREADS"] ?? String(availableParallelism());
  const ours = fileURLToPath(new URL("train-hornbook.js", import.meta.url));
  const peer = fileURLToPath(new URL("../../bench/peers/train_torch.py", import.meta.url));
  const sides: readonly { name: string; start: () => Peer }[] = [
    ...["bf16", "f32"].map((dtype) => ({
      name: `Hornbook ${dtype}`,
      start: () => new Peer(`Hornbook ${dtype}`, process.execPath, [ours, ...args, "--dtype", dtype], { HORNBOOK_THREADS: threads }),
    })),
    ...["bf16", "f32"].flatMap((dtype) =>
      ["eager", "compiled"].map((mode) => ({
        name: `PyTorch ${dtype} ${mode}`,
        start: () =>
          new Peer(`PyTorch ${dtype} ${mode}`, peerPython, [peer, ...args, "--dtype", dtype, ...(mode === "compiled" ? ["--compile"] : [])], {
            OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads,
          }),
      })),
    ),
  ].filter((side) => chosen(side.name, only));

  say(`${title}: ${rounds} turns of ${steps} steps each, ${threads} threads`);
  const peers: Peer[] = [];
  const results = new Map<string, Measurement[]>();
  let flopsPerToken = 0;
  try {
    for (const side of sides) {
      const started = side.start();
      try {
        const { flopsPerToken: flops } = await started.ready<{ flopsPerToken?: number }>();
        flopsPerToken = flops ?? flopsPerToken;
        peers.push(started);
      } catch (error) {
        say(`${(error as Error).message} ${howToGetPython}`);
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const side of peers) results.set(side.name, [...(results.get(side.name) ?? []), await side.run(steps)]);
    }
  } finally {
    await Promise.all(peers.map((side) => side.close()));
  }

  const summary = [...results].map(([side, runs]) => ({
    side,
    speed: median(runs.map((run) => run.tokensPerSecond)),
    low: Math.min(...runs.map((run) => run.tokensPerSecond)),
    high: Math.max(...runs.map((run) => run.tokensPerSecond)),
    memory: Math.max(...runs.map((run) => run.peakRssBytes)),
  }));
  const figures = summary.map(({ side, speed }) => ({ side, value: speed }));
  const ofPeers = (part: string) => fastest(figures.filter(({ side }) => side.startsWith("PyTorch") && side.includes(part)));
  const best = ofPeers("");
  const against = (speed: number): string => (best === undefined ? "" : `${(speed / best.value).toFixed(2)}x`);
  say(
    table(
      [
        ["", "tok/s", "min", "max", best === undefined ? "" : `against ${best.side}`, "peak memory"],
        ...summary.map((row) => [row.side, row.speed.toFixed(0), row.low.toFixed(0), row.high.toFixed(0), against(row.speed), bytes(row.memory)]),
      ],
      [1, 2, 3, 4, 5],
    ),
  );
  // Whoever trains in bf16 compares with whatever is fastest, whoever needs f32 with f32.
  return (["bf16", "f32"] as const).flatMap((dtype): Result[] => {
    const ours = figures.find(({ side }) => side === `Hornbook ${dtype}`);
    const peer = ofPeers(dtype === "f32" ? "f32" : "");
    return ours === undefined ? [] : [{ workload: `Train ${title}, ${dtype}`, unit: "tok/s", ours: { ...ours, side: "" }, peer, takes: { of: dtype, each: flopsPerToken } }];
  });
}
