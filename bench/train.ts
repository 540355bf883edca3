/** @file Training, side by side with PyTorch: the same model, batch and step, in turns on the same cores. */

import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Peer, median, peerPython, type Measurement } from "./peer.js";
import { bytes, table } from "../src/cli/format.js";

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

/** Runs every side in turns and prints medians, the ratio to the best peer, and peak memory. */
export async function benchTraining(name: string, only: readonly string[] = []): Promise<void> {
  const { title, model, bias = false, steps, rounds } = trainWorkloads[name];
  const args = [...Object.entries(model).flatMap(([flag, value]) => [`--${flag}`, String(value)]), ...(bias ? ["--bias"] : [])];
  const threads = process.env["INKLING_THREADS"] ?? String(availableParallelism());
  const ours = fileURLToPath(new URL("train-inkling.js", import.meta.url));
  const peer = fileURLToPath(new URL("../../bench/peers/train_torch.py", import.meta.url));
  const sides: readonly { name: string; start: () => Peer }[] = [
    ...["bf16", "f32"].map((dtype) => ({
      name: `Inkling ${dtype}`,
      start: () => new Peer(`Inkling ${dtype}`, process.execPath, [ours, ...args, "--dtype", dtype], { INKLING_THREADS: threads }),
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
  ].filter((side) => only.length === 0 || only.some((part) => side.name.toLowerCase().includes(part.toLowerCase())));

  console.log(`${title}: ${rounds} turns of ${steps} steps each, ${threads} threads`);
  const peers: Peer[] = [];
  const results = new Map<string, Measurement[]>();
  try {
    for (const side of sides) {
      const started = side.start();
      try {
        await started.ready();
        peers.push(started);
      } catch (error) {
        console.log(`${(error as Error).message} ${side.name.startsWith("PyTorch") ? "Its packages: pip install -r bench/peers/requirements.txt; INKLING_BENCH_PYTHON names the Python that has them." : ""}`);
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const side of peers) results.set(side.name, [...(results.get(side.name) ?? []), await side.run(steps)]);
    }
  } finally {
    for (const side of peers) side.close();
  }

  const summary = [...results].map(([side, runs]) => ({
    side,
    speed: median(runs.map((run) => run.tokensPerSecond)),
    low: Math.min(...runs.map((run) => run.tokensPerSecond)),
    high: Math.max(...runs.map((run) => run.tokensPerSecond)),
    memory: Math.max(...runs.map((run) => run.peakRssBytes)),
  }));
  const best = summary.filter((row) => row.side.startsWith("PyTorch")).reduce((a, b) => (b.speed > a.speed ? b : a), { side: "", speed: 0, low: 0, high: 0, memory: 0 });
  console.log(
    table(
      [
        ["", "tok/s", "min", "max", best.speed > 0 ? `against ${best.side}` : "", "peak memory"],
        ...summary.map((row) => [
          row.side, row.speed.toFixed(0), row.low.toFixed(0), row.high.toFixed(0), best.speed > 0 ? `${(row.speed / best.speed).toFixed(2)}x` : "", bytes(row.memory),
        ]),
      ],
      [1, 2, 3, 4, 5],
    ),
  );
}
