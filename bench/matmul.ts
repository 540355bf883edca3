/** @file Matrix products on the shapes of the training benchmarks, forward and both backwards, side by side with PyTorch's (oneDNN, MKL), in turns. */

import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { table } from "../src/cli/format.js";
import { Peer, median, peerPython } from "./peer.js";
import { chosen, howToGetPython, type BenchOptions, type Result } from "./result.js";

/** Tokens, inputs and outputs of a layer, and the layers of one block that have them. The last of a model is a chunk of its unembedding. */
const shapes: Readonly<Record<string, readonly (readonly [number, number, number])[]>> = {
  "GPT-2 124M": [[1024, 768, 768], [1024, 768, 2304], [1024, 768, 3072], [1024, 3072, 768], [256, 768, 50257]],
  "10.8M": [[4096, 384, 384], [4096, 384, 1152], [4096, 384, 1536], [4096, 1536, 384]],
};
const kinds = ["forward", "dx", "dw"] as const;
const rounds = 5;

export async function benchMatmul({ only, say }: BenchOptions): Promise<Result[]> {
  const threads = process.env["HORNBOOK_THREADS"] ?? String(availableParallelism());
  const ours = fileURLToPath(new URL("matmul-hornbook.js", import.meta.url));
  const theirs = fileURLToPath(new URL("../../bench/peers/matmul_torch.py", import.meta.url));
  const sides = [
    { name: "Hornbook", start: () => new Peer("Hornbook", process.execPath, [ours], { HORNBOOK_THREADS: threads }) },
    { name: "PyTorch", start: () => new Peer("PyTorch", peerPython, [theirs, threads], { OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads }) },
  ].filter(({ name }) => chosen(name, only));

  const peers: Peer[] = [];
  const results: Result[] = [];
  const rows: string[][] = [];
  try {
    for (const side of sides) {
      const started = side.start();
      await started.ready().then(() => peers.push(started), (error: Error) => say(`${error.message} ${howToGetPython}`));
    }
    for (const dtype of ["bf16", "f32"]) {
      for (const [model, layers] of Object.entries(shapes)) {
        const totals = new Map(peers.map(({ name }) => [name, 0]));
        let flops = 0;
        for (const layer of layers) {
          const work = 2 * layer.reduce((a, b) => a * b);
          const repeats = Math.max(3, Math.min(50, Math.round(1e10 / work)));
          for (const kind of kinds) {
            const seconds = new Map<string, number[]>(peers.map(({ name }) => [name, []]));
            for (let round = 0; round < rounds; round++) {
              for (const peer of peers) seconds.get(peer.name)!.push((await peer.ask<{ seconds: number }>(`${kind} ${dtype} ${layer.join(" ")} ${repeats}`)).seconds);
            }
            flops += work;
            for (const [name, times] of seconds) totals.set(name, totals.get(name)! + median(times));
            const rates = peers.map(({ name }) => work / median(seconds.get(name)!) / 1e9);
            rows.push([`${model} ${dtype} ${kind}`, layer.join(" x "), ...rates.map((rate) => rate.toFixed(0)), rates.length === 2 ? `${(rates[0] / rates[1]).toFixed(2)}x` : ""]);
          }
        }
        const figure = (side: string) => (totals.has(side) ? { side, value: flops / totals.get(side)! / 1e9 } : undefined);
        const mine = figure("Hornbook");
        if (mine === undefined) continue;
        const of = dtype === "bf16" ? "bf16" : "f32";
        results.push({ workload: `Products of training ${model}, ${dtype}`, unit: "GFLOP/s", ours: mine, peer: figure("PyTorch"), takes: { of, each: 1e9 } });
      }
    }
  } finally {
    await Promise.all(peers.map((peer) => peer.close()));
  }
  say(`Products, GFLOP/s: medians of ${rounds} turns, ${threads} threads`);
  say(table([["", "tokens x in x out", ...peers.map(({ name }) => name), ""], ...rows], [2, 3, 4]));
  return results;
}
