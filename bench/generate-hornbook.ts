/**
 * @file Our side of the generation benchmark, in a process of its own so that its memory is its own. It speaks the peers' protocol: the argument is a
 * model; {"ready": true, firstTokenMs, work} says that it is loaded and has computed a token; each line on stdin asks for one turn, and one JSON
 * line answers: {prefill, decode, batched (tokens a second), prefillOfProcessor, decodeOfProcessor, batchedOfProcessor (a second of processor time),
 * peakRssBytes}. `batched` is decoding of 8 sequences together. It is what a user calls: `generate`, greedily.
 */

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { LanguageModel } from "../src/index.js";
import { generate } from "../src/generate/index.js";
import { transformerOf } from "../src/model/index.js";
import { bytesPerElement } from "../src/tensor/dtype.js";
import { QuantizedTensor, type FloatDType } from "../src/tensor/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { dtype: { type: "string", default: "f32" }, cache: { type: "string" }, sequences: { type: "string", default: "8" } },
});
const settings = { dtype: values.dtype as FloatDType, temperature: 0, stopIds: [], ...(values.cache !== undefined && { cache: values.cache as "f32" | "bf16" | "q8" }) };
const [prompt, repeats, sequences] = [512, 32, Number(values.sequences)];
const ids = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => 100 + (((from + i) * 37) % 5000));

const began = performance.now();
const model = await LanguageModel.load(positionals[0]);
for await (const _ of generate(model, { ids: [1], maxTokens: 1, ...settings }));
console.log(JSON.stringify({ ready: true, firstTokenMs: performance.now() - began, work: workOf(model) }));

/**
 * What a token of a prompt must compute (2 operations for each weight that multiplies, and the visible half of attention; the logits of the last one
 * alone), and the bytes that a token after it must read: every weight, which sequences together share, and the keys and values of those before. Of an
 * unembedding whose bits lie apart the best tokens of few sequences need the upper ones.
 */
function workOf({ config, numParameters, numBytes, unembed }: LanguageModel): { prefill: number; decode: number; batched: number } {
  const { vocabSize, hiddenSize, tieEmbeddings, numLayers, numHeads, numKeyValueHeads, headSize } = transformerOf(config)!;
  const table = vocabSize * hiddenSize;
  // An embedding that is not also the unembedding is only looked up.
  const split = unembed instanceof QuantizedTensor && unembed.segments.every(({ layout }) => layout === "split");
  const weights = numBytes * (tieEmbeddings ? 1 : 1 - table / numParameters);
  const unread = (rows: number): number => (split && rows <= 8 ? (12 / 34) * unembed.numBytes : 0);
  const width = values.cache === "q8" ? 1 : bytesPerElement[(values.cache ?? values.dtype) as FloatDType];
  const cache = 2 * numLayers * numKeyValueHeads * headSize * width * (prompt + repeats / 2);
  return {
    prefill: 2 * (numParameters - (tieEmbeddings ? 1 : 2) * table) + 2 * numLayers * numHeads * headSize * prompt,
    decode: weights - unread(1) + cache,
    batched: (weights - unread(sequences)) / sequences + cache,
  };
}

interface Rates {
  readonly prefill: number;
  readonly prefillOfProcessor: number;
  readonly decode: number;
  readonly decodeOfProcessor: number;
}

/** Tokens a second, of the clock and of the processor, for `count` sequences: until each has its first new token, and from then on. */
async function measured(count: number): Promise<Rates> {
  const clock = () => ({ at: performance.now(), ...process.cpuUsage() });
  const start = clock();
  let first = start;
  let made = 0;
  for await (const _ of generate(model, { prompts: Array.from({ length: count }, (_, row) => ids(prompt, 100 * row)), maxTokens: repeats + 1, ...settings })) {
    if (++made === count) first = clock();
  }
  const end = clock();
  const rates = (tokens: number, a: typeof start, b: typeof start) => [(1e3 * tokens) / (b.at - a.at), (1e6 * tokens) / (b.user + b.system - a.user - a.system)];
  const [prefill, prefillOfProcessor] = rates(count * prompt, start, first);
  const [decode, decodeOfProcessor] = rates(count * repeats, first, end);
  return { prefill, prefillOfProcessor, decode, decodeOfProcessor };
}

for await (const _ of createInterface({ input: process.stdin })) {
  const one = await measured(1);
  const many = sequences > 0 ? await measured(sequences) : undefined;
  console.log(
    JSON.stringify({ ...one, batched: many?.decode ?? 0, batchedOfProcessor: many?.decodeOfProcessor ?? 0, peakRssBytes: process.resourceUsage().maxRSS * 1024 }),
  );
}
