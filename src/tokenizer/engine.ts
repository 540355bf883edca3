/**
 * @file What a tokenizer engine is. There are two: `reference` in plain TypeScript, to be read and to fall back on, and `native` in C++. They
 * give the same tokens and learn the same merges; one test suite runs on both.
 */

import type { BpeVocabulary } from "./bpe.js";
import type { PackedTexts } from "./packed-texts.js";
import type { PatternName } from "./pretokenize.js";
import type { TrainingOptions } from "./train.js";

/** How a long job runs. */
export interface JobOptions {
  /** How many threads work; the result does not depend on it. */
  readonly threads: number;
  /** Aborting rejects the job with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with what is done so far: bytes while reading text, merges while learning them. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** Tokens of several documents, one after another. */
export interface EncodedDocuments {
  /** 16 bits a token where the vocabulary has at most 65,536, else 32. */
  readonly tokens: Uint16Array | Uint32Array;
  /** Where in `tokens` each document ends. */
  readonly ends: Float64Array;
}

export interface Encoder {
  /** Tokens of plain text: UTF-8, or any bytes. Synchronous, so for short texts. */
  encode(text: string | Uint8Array): Int32Array;
  /** The documents' memory must stay as it is until the promise settles. */
  encodeDocuments(documents: readonly Uint8Array[], width: 2 | 4, job: JobOptions): Promise<EncodedDocuments>;
}

export interface Trainer {
  /** Counts the pieces of documents, which are not kept. One call at a time. */
  feed(documents: readonly Uint8Array[], job: JobOptions): Promise<void>;
  /** Learns merges from all that was fed: left, right and result of each. See `learnMerges`. */
  train(initialTokens: readonly (Uint8Array | undefined)[], options: TrainingOptions, job: JobOptions): Promise<Uint32Array>;
}

export interface TokenizerEngine {
  readonly name: "native" | "reference";
  createEncoder(vocabulary: BpeVocabulary, pattern: PatternName): Encoder;
  createTrainer(pattern: PatternName): Trainer;
  /** Left, right and result of each merge `left right`, up to the first that is not two tokens that make a third. */
  resolveMerges(merges: PackedTexts, tokens: PackedTexts): Uint32Array;
}
