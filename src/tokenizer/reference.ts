/**
 * @file The engine in plain TypeScript: `pretokenize.ts`, `bpe.ts` and `train.ts` put together. Long jobs hand the thread back every few
 * milliseconds, so that timers and signals are heard.
 */

import { BpeMerger, type BpeVocabulary } from "./bpe.js";
import { escapeBytes, unescapeBytes, wellFormed } from "./bytes.js";
import type { EncodedDocuments, Encoder, JobOptions, TokenizerEngine, Trainer } from "./engine.js";
import { resolveMerges } from "./packed-texts.js";
import { pretokenize, safeCut, type PatternName } from "./pretokenize.js";
import { learnMerges, type TrainingOptions } from "./train.js";

const maxCachedPieces = 100_000;
const millisecondsAtATime = 20;

/** Awaited often, it lets other work run when enough time has passed, and throws when the job is aborted. */
function pacer({ signal }: JobOptions): () => Promise<void> | undefined {
  let resumed = performance.now();
  return () => {
    if (performance.now() - resumed < millisecondsAtATime) return undefined;
    return new Promise((resolve) => setImmediate(resolve)).then(() => {
      signal?.throwIfAborted();
      resumed = performance.now();
    });
  };
}

/** Parts of a text that give the pieces of the whole. */
export function* parts(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    safeCut.lastIndex = start + 65_536;
    const end = safeCut.lastIndex >= text.length ? text.length : (safeCut.exec(text)?.index ?? text.length);
    yield text.slice(start, end);
    start = end;
  }
}

class ReferenceEncoder implements Encoder {
  private readonly merger: BpeMerger;
  private readonly cache = new Map<string, number[]>();

  constructor(
    vocabulary: BpeVocabulary,
    private readonly pattern: PatternName,
    private readonly view?: (text: string) => string,
  ) {
    this.merger = new BpeMerger(vocabulary);
  }

  encode(text: string | Uint8Array): Int32Array {
    const ids: number[] = [];
    this.encodeInto(ids, typeof text === "string" ? wellFormed(text) : escapeBytes(text));
    return Int32Array.from(ids);
  }

  async encodeDocuments(documents: readonly Uint8Array[], width: 2 | 4, job: JobOptions): Promise<EncodedDocuments> {
    job.signal?.throwIfAborted();
    const pace = pacer(job);
    const chunks: number[][] = [];
    const ends = new Float64Array(documents.length);
    let done = 0;
    let count = 0;
    for (const [i, document] of documents.entries()) {
      for (const part of parts(escapeBytes(document))) {
        const ids: number[] = [];
        this.encodeInto(ids, part);
        chunks.push(ids);
        count += ids.length;
        await pace();
      }
      ends[i] = count;
      job.onProgress?.((done += document.length));
    }
    const tokens = width === 2 ? new Uint16Array(count) : new Uint32Array(count);
    let offset = 0;
    for (const ids of chunks) {
      tokens.set(ids, offset);
      offset += ids.length;
    }
    return { tokens, ends };
  }

  private encodeInto(ids: number[], escaped: string): void {
    for (const piece of pretokenize(this.pattern, escaped, this.view)) {
      let tokens = this.cache.get(piece);
      if (tokens === undefined) {
        tokens = this.merger.encodePiece(unescapeBytes(piece));
        if (this.cache.size >= maxCachedPieces) this.cache.clear();
        this.cache.set(piece, tokens);
      }
      for (const token of tokens) ids.push(token);
    }
  }
}

class ReferenceTrainer implements Trainer {
  private readonly counts = new Map<string, number>();

  constructor(private readonly pattern: PatternName) {}

  async feed(documents: readonly Uint8Array[], job: JobOptions): Promise<void> {
    job.signal?.throwIfAborted();
    const pace = pacer(job);
    let done = 0;
    for (const document of documents) {
      for (const part of parts(escapeBytes(document))) {
        for (const piece of pretokenize(this.pattern, part)) this.counts.set(piece, (this.counts.get(piece) ?? 0) + 1);
        await pace();
      }
      job.onProgress?.((done += document.length));
    }
  }

  async train(initialTokens: readonly (Uint8Array | undefined)[], options: TrainingOptions, job: JobOptions): Promise<Uint32Array> {
    job.signal?.throwIfAborted();
    const pace = pacer(job);
    // Two escaped texts may have the same bytes only if they are the same text; so every piece is one word.
    const pieces = [...this.counts].map(([piece, count]): [Uint8Array, number] => [unescapeBytes(piece), count]);
    const merges: number[] = [];
    for (const merge of learnMerges(pieces, initialTokens, options)) {
      merges.push(...merge);
      job.onProgress?.(merges.length / 3);
      await pace();
    }
    return Uint32Array.from(merges);
  }
}

/** An encoder that cuts a text as a view of it says, which is as long; see `asInLlamaCpp`. */
export const referenceEncoder = (vocabulary: BpeVocabulary, pattern: PatternName, view: (text: string) => string): Encoder => new ReferenceEncoder(vocabulary, pattern, view);

export const referenceEngine: TokenizerEngine = {
  name: "reference",
  createEncoder: (vocabulary, pattern) => new ReferenceEncoder(vocabulary, pattern),
  createTrainer: (pattern) => new ReferenceTrainer(pattern),
  resolveMerges,
};
