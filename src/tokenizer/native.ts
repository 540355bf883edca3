/**
 * @file The engine in C++, through the addon's `tokenizer` functions (native/napi/tokenizer.cc). Long jobs run on the addon's threads.
 */

import { nativeSearch } from "../native/find.js";
import type { BpeVocabulary } from "./bpe.js";
import { concatBytes } from "./bytes.js";
import type { EncodedDocuments, Encoder, JobOptions, TokenizerEngine, Trainer } from "./engine.js";
import type { PatternName } from "./pretokenize.js";
import type { TrainingOptions } from "./train.js";

/** C++ objects; opaque here. */
type NativeEncoder = object & { readonly __nativeEncoder: unique symbol };
type NativeCounter = object & { readonly __nativeCounter: unique symbol };

/** Byte strings one after another, and where each ends. */
type FlatTokens = [bytes: Uint8Array, ends: Uint32Array];

/**
 * The functions of native/napi/tokenizer.cc. `control` is two numbers shared with a running job: set the first to cancel, read the second for
 * progress.
 */
export interface NativeTokenizer {
  createEncoder(byteTokens: Int32Array, merges: Uint32Array, ...rest: [...wholePieces: FlatTokens, pattern: number]): NativeEncoder;
  encode(encoder: NativeEncoder, text: string | Uint8Array): Int32Array;
  encodeDocuments(
    encoder: NativeEncoder,
    documents: readonly Uint8Array[],
    threads: number,
    width: 2 | 4,
    control: Int32Array,
  ): Promise<{ tokens: ArrayBuffer; ends: Float64Array }>;
  resolveMerges(merges: Uint8Array, mergeStarts: Uint32Array, mergeGap: number, tokens: Uint8Array, tokenStarts: Uint32Array, tokenGap: number): Uint32Array;
  createCounter(pattern: number): NativeCounter;
  feed(counter: NativeCounter, documents: readonly Uint8Array[], threads: number, control: Int32Array): Promise<void>;
  train(counter: NativeCounter, ...rest: [...tokens: FlatTokens, vocabSize: number, minFrequency: number, control: Int32Array]): Promise<Uint32Array>;
}

/** `Pattern` in native/tokenizer/pretokenize.h. */
const patternCodes: Readonly<Record<PatternName, number>> = { gpt2: 0, cl100k: 1, qwen2: 2, smollm: 3 };

/** The units in which encoding and counting tell their progress. */
const bytesPerProgress = 65_536;
const millisecondsBetweenReports = 100;

/** Runs a job whose control is wired to the caller's signal and progress. */
async function run<T>({ signal, onProgress }: JobOptions, unit: number, start: (control: Int32Array) => Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  const control = new Int32Array(2);
  const cancel = (): void => void Atomics.store(control, 0, 1);
  const timer = onProgress === undefined ? undefined : setInterval(() => onProgress(Atomics.load(control, 1) * unit), millisecondsBetweenReports);
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    const result = await start(control);
    signal?.throwIfAborted();
    return result;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    clearInterval(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

function flatten(tokens: readonly (Uint8Array | undefined)[]): FlatTokens {
  const parts = tokens.map((bytes) => bytes ?? new Uint8Array());
  let end = 0;
  return [concatBytes(parts), Uint32Array.from(parts, (bytes) => (end += bytes.length))];
}

function nativeEncoder(native: NativeTokenizer, vocabulary: BpeVocabulary, pattern: PatternName): Encoder {
  const { byteTokens, merges, wholePieces = [] } = vocabulary;
  const encoder = native.createEncoder(byteTokens, merges, ...flatten(wholePieces), patternCodes[pattern]);
  return {
    encode: (text) => native.encode(encoder, text),
    async encodeDocuments(documents, width, job): Promise<EncodedDocuments> {
      const { tokens, ends } = await run(job, bytesPerProgress, (control) => native.encodeDocuments(encoder, documents, job.threads, width, control));
      return { tokens: width === 2 ? new Uint16Array(tokens) : new Uint32Array(tokens), ends };
    },
  };
}

function nativeTrainer(native: NativeTokenizer, pattern: PatternName): Trainer {
  const counter = native.createCounter(patternCodes[pattern]);
  return {
    feed: (documents, job) => run(job, bytesPerProgress, (control) => native.feed(counter, documents, job.threads, control)),
    train: (initialTokens, { vocabSize, minFrequency }: TrainingOptions, job) =>
      run(job, 1, (control) => native.train(counter, ...flatten(initialTokens), vocabSize, minFrequency, control)),
  };
}

/** The native engine, or undefined where there is no native half. */
export function nativeEngine(): TokenizerEngine | undefined {
  const native = nativeSearch().found?.addon.tokenizer;
  if (native === undefined) return undefined;
  return {
    name: "native",
    createEncoder: (vocabulary, pattern) => nativeEncoder(native, vocabulary, pattern),
    createTrainer: (pattern) => nativeTrainer(native, pattern),
    resolveMerges: (merges, tokens) => native.resolveMerges(merges.data, merges.starts, merges.gap, tokens.data, tokens.starts, tokens.gap),
  };
}
