/**
 * @file llama.cpp as node-llama-cpp ships it, built for each kind of processor: a second peer of the generation benchmark, whose protocol it speaks
 * (generate-hornbook.ts). HORNBOOK_BENCH_NODE_LLAMA names a folder in which it was installed, without a build:
 *
 *     mkdir peer && cd peer && npm init -y && npm install node-llama-cpp --ignore-scripts
 *
 *     generate-node-llama.js MODEL.gguf THREADS
 */

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

/** What is used of node-llama-cpp. */
interface LlamaSequence {
  clearHistory(): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
  evaluate(tokens: number[], options: { temperature: number; yieldEogToken: boolean }): AsyncGenerator<number, void, void>;
}
interface LlamaContext {
  getSequence(): LlamaSequence;
}
interface LlamaModel {
  createContext(options: { sequences: number; contextSize: number; batchSize: number; threads: number }): Promise<LlamaContext>;
}
interface NodeLlama {
  readonly getLlama: (options: { gpu: false; build: "never"; maxThreads: number; logLevel: string }) => Promise<{ loadModel(options: { modelPath: string }): Promise<LlamaModel> }>;
}

const folder = process.env["HORNBOOK_BENCH_NODE_LLAMA"] ?? ".";
const [modelPath, threads] = [process.argv[2], Number(process.argv[3])];
const [prompt, repeats, sequences] = [512, 32, 8];
const ids = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => 100 + (((from + i) * 37) % 5000));

const began = performance.now();
const { getLlama } = (await import(pathToFileURL(createRequire(join(folder, "package.json")).resolve("node-llama-cpp")).href)) as NodeLlama;
const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads, logLevel: "error" });
const model = await llama.loadModel({ modelPath });
const make = async (count: number): Promise<LlamaSequence[]> => {
  const context = await model.createContext({ sequences: count, contextSize: 1024, batchSize: prompt, threads });
  return Array.from({ length: count }, () => context.getSequence());
};

/** Reads the prompt of a row, then `repeats` tokens greedily. */
async function run(sequence: LlamaSequence, row: number, onFirst: () => Promise<void> | void): Promise<void> {
  await sequence.clearHistory();
  let made = 0;
  for await (const _ of sequence.evaluate(ids(prompt, 100 * row), { temperature: 0, yieldEogToken: true })) {
    if (made === 0) await onFirst();
    if (++made === repeats + 1) break;
  }
}

const clock = () => ({ at: performance.now(), ...process.cpuUsage() });
type Clock = ReturnType<typeof clock>;
/** A second of the clock, and of the processor. */
const rates = (tokens: number, a: Clock, b: Clock): [number, number] => [(1e3 * tokens) / (b.at - a.at), (1e6 * tokens) / (b.user + b.system - a.user - a.system)];

const [one] = await make(1);
await one.evaluateWithoutGeneratingNewTokens([1]);
console.log(JSON.stringify({ ready: true, firstTokenMs: performance.now() - began }));

let together: LlamaSequence[] | undefined;
for await (const _ of createInterface({ input: process.stdin })) {
  const start = clock();
  let first = start;
  await run(one, 0, () => void (first = clock()));
  const end = clock();
  together ??= await make(sequences);
  // The clock of the batch begins when the last of them has read its prompt.
  let [waiting, all] = [sequences, start];
  let release = (): void => undefined;
  const ready = new Promise<void>((resolve) => (release = resolve));
  const onFirst = (): Promise<void> => {
    if (--waiting === 0) {
      all = clock();
      release();
    }
    return ready;
  };
  await Promise.all(together.map((sequence, row) => run(sequence, row, onFirst)));
  const [prefill, prefillOfProcessor] = rates(prompt, start, first);
  const [decode, decodeOfProcessor] = rates(repeats, first, end);
  const [batched, batchedOfProcessor] = rates(sequences * repeats, all, clock());
  console.log(JSON.stringify({ prefill, prefillOfProcessor, decode, decodeOfProcessor, batched, batchedOfProcessor, peakRssBytes: process.resourceUsage().maxRSS * 1024 }));
}
