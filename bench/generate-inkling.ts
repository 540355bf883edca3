/**
 * @file Our side of the generation benchmark, in a process of its own so that its memory is its own. It speaks the peers' protocol: the argument is a
 * model; {"ready": true, firstTokenMs} says that it is loaded and has computed a token; each line on stdin asks for one turn, and one JSON
 * line answers: {prefill, decode (tokens a second), prefillOfProcessor, decodeOfProcessor (a second of processor time), peakRssBytes}.
 */

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { DenseKeyValueCache } from "../src/generate/key-value-cache.js";
import { LanguageModel } from "../src/index.js";
import { Tensor, defaultDevice, noGrad, scope, type FloatDType } from "../src/tensor/index.js";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { dtype: { type: "string", default: "f32" } } });
const dtype = values.dtype as FloatDType;
const [prompt, repeats] = [512, 32];
const ids = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => 100 + (((from + i) * 37) % 5000));

const began = performance.now();
const model = await LanguageModel.load(positionals[0]);
const device = defaultDevice();

/** Computes the logits that follow these ids at position `at`. */
async function read(tokens: readonly number[], at: number, cache: DenseKeyValueCache): Promise<void> {
  const shape = [1, tokens.length];
  const logits = scope(() =>
    noGrad(() =>
      model.logits(Tensor.from(Int32Array.from(tokens), { shape }), {
        lastOnly: true, dtype, cache, lengths: [at + tokens.length], positions: Tensor.from(Int32Array.from(tokens, (_, i) => at + i), { shape }),
      }),
    ),
  );
  await logits.data();
  logits.dispose();
  device.endPhase?.(tokens.length === 1 ? "token" : "prompt");
}

const warm = new DenseKeyValueCache({ capacity: 8 });
await read([1], 0, warm);
warm.dispose();
console.log(JSON.stringify({ ready: true, firstTokenMs: performance.now() - began }));

/** Tokens a second, of the clock and of the processor. */
async function measured(tokens: number, body: () => Promise<void>): Promise<[number, number]> {
  const [start, busy] = [performance.now(), process.cpuUsage()];
  await body();
  const { user, system } = process.cpuUsage(busy);
  return [(1000 * tokens) / (performance.now() - start), (1e6 * tokens) / (user + system)];
}

for await (const _ of createInterface({ input: process.stdin })) {
  const cache = new DenseKeyValueCache({ capacity: prompt + repeats + 1 });
  const [prefill, prefillOfProcessor] = await measured(prompt, () => read(ids(prompt), 0, cache));
  const [decode, decodeOfProcessor] = await measured(repeats, async () => {
    for (let i = 0; i < repeats; i++) await read(ids(1, i), prompt + i, cache);
  });
  cache.dispose();
  console.log(JSON.stringify({ prefill, decode, prefillOfProcessor, decodeOfProcessor, peakRssBytes: process.resourceUsage().maxRSS * 1024 }));
}
