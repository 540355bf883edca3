/**
 * @file An encoder for the tokenizer of a GGUF: the fast one, and where a text has characters that llama.cpp classes otherwise (those that Unicode has
 * had since 16.0, mostly), one that looks at the text as llama.cpp does.
 */

import { isAscii } from "node:buffer";
import { escapeBytes, unescapeBytes } from "./bytes.js";
import type { EncodedDocuments, Encoder, JobOptions } from "./engine.js";
import { parts } from "./reference.js";
import { differsInLlamaCpp } from "./regex.js";

export class LlamaCppEncoder implements Encoder {
  private slow: Encoder | undefined;

  /** @param makeSlow made when a text first needs it */
  constructor(
    private readonly fast: Encoder,
    private readonly makeSlow: () => Encoder,
  ) {}

  private get exact(): Encoder {
    return (this.slow ??= this.makeSlow());
  }

  encode(text: string | Uint8Array): Int32Array {
    return (differs(text) ? this.exact : this.fast).encode(text);
  }

  async encodeDocuments(documents: readonly Uint8Array[], width: 2 | 4, job: JobOptions): Promise<EncodedDocuments> {
    const different = documents.map(differs);
    if (!different.includes(true)) return this.fast.encodeDocuments(documents, width, job);
    // A document in parts that give the pieces of the whole, each for one of the two.
    const cut = documents.flatMap((document, i) => (different[i] ? Array.from(parts(escapeBytes(document)), (part) => ({ bytes: unescapeBytes(part), of: i, slow: differs(part) })) : [{ bytes: document, of: i, slow: false }]));
    const quiet = { ...job, onProgress: undefined };
    const [fast, slow] = await Promise.all([this.fast, this.exact].map((encoder, i) => encoder.encodeDocuments(cut.filter((part) => part.slow === (i === 1)).map(({ bytes }) => bytes), width, quiet)));
    const tokens = new (width === 2 ? Uint16Array : Uint32Array)(fast.tokens.length + slow.tokens.length);
    const ends = new Float64Array(documents.length);
    const next = { fast: 0, slow: 0 };
    let offset = 0;
    for (const part of cut) {
      const [results, at] = part.slow ? [slow, next.slow++] : [fast, next.fast++];
      const ids = results.tokens.subarray(at === 0 ? 0 : results.ends[at - 1], results.ends[at]);
      tokens.set(ids, offset);
      offset += ids.length;
      ends[part.of] = offset;
    }
    for (let i = 1; i < ends.length; i++) ends[i] = Math.max(ends[i], ends[i - 1]);
    job.onProgress?.(documents.reduce((sum, { length }) => sum + length, 0));
    return { tokens, ends };
  }
}

const differs = (text: string | Uint8Array): boolean => (typeof text === "string" ? differsInLlamaCpp(text) : !isAscii(text) && differsInLlamaCpp(escapeBytes(text)));
