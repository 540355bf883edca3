/**
 * @file Models of a tokenizer pipeline: what turns one piece of text into ids. BPE with learned merges on characters is here; see `unigram.ts`
 * and `score-bpe.ts` for the others, and `bpe.ts` for merging itself.
 */

import { TokenizerError } from "../errors.js";
import { MergeTable, maxTokenId } from "./bpe.js";
import { encodeUtf8 } from "./bytes.js";
import { byteToken } from "./decoders.js";
import type { TokenNames } from "./token-names.js";

export interface Model {
  /** Appends the ids of a piece, which is well-formed text. */
  encode(piece: string, ids: number[]): void;
}

/** Tokens that text may become, and their ids: all names but some. Tokens that mark structure are not among them. */
export class Lookup implements Iterable<[name: string, id: number]> {
  constructor(
    private readonly names: TokenNames,
    private readonly excluded: ReadonlySet<number>,
  ) {}

  get(name: string): number | undefined {
    const id = this.names.idOf(name);
    return id !== undefined && this.excluded.has(id) ? undefined : id;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  *[Symbol.iterator](): Iterator<[name: string, id: number]> {
    for (const entry of this.names.byName()) if (!this.excluded.has(entry[1])) yield entry;
  }
}

/** The ids of the 256 byte tokens (`<0x0A>`), or undefined where one is missing: a byte fallback then falls short. */
export function byteTokenIds(lookup: Lookup): (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) => lookup.get(byteToken(byte)));
}

/** The ids of a text's bytes, or undefined where one of them has no token. */
export function fallBack(text: string, byteIds: readonly (number | undefined)[]): number[] | undefined {
  const ids = Array.from(encodeUtf8(text), (byte) => byteIds[byte]);
  return ids.every((id) => id !== undefined) ? ids : undefined;
}

const maxCachedPieces = 50_000;
const maxCachedLength = 200;

/** A model that remembers what it made of short pieces. */
export class CachedModel implements Model {
  private readonly cache = new Map<string, readonly number[]>();

  constructor(private readonly model: Model) {}

  encode(piece: string, ids: number[]): void {
    if (piece.length > maxCachedLength) {
      this.model.encode(piece, ids);
      return;
    }
    let found = this.cache.get(piece);
    if (found === undefined) {
      const fresh: number[] = [];
      this.model.encode(piece, fresh);
      if (this.cache.size >= maxCachedPieces) this.cache.clear();
      this.cache.set(piece, (found = fresh));
    }
    for (const id of found) ids.push(id);
  }
}

/**
 * Cuts a long piece where no token reaches across: before the mark of a space (`▁`) that follows something else. Models without a pre-tokenizer
 * take a whole text as one piece; its words can be remembered, the text not.
 */
export class WordwiseModel implements Model {
  constructor(private readonly model: Model) {}

  /** Whether the vocabulary allows it. */
  static fits(lookup: Lookup): boolean {
    if (!lookup.has(mark)) return false;
    for (const [name] of lookup) if (name.lastIndexOf(mark) > 0 && /[^▁]▁/.test(name)) return false;
    return true;
  }

  encode(piece: string, ids: number[]): void {
    let start = 0;
    for (let at = piece.indexOf(mark, 1); at >= 0; at = piece.indexOf(mark, at + 1)) {
      if (piece.charCodeAt(at - 1) === 0x2581) continue;
      this.model.encode(piece.slice(start, at), ids);
      start = at;
    }
    if (start < piece.length) this.model.encode(start === 0 ? piece : piece.slice(start), ids);
  }
}

const mark = "▁";

export interface BpeModelOptions {
  readonly unkId: number | undefined;
  /** A run of unknown characters is one unknown token. */
  readonly fuseUnk: boolean;
  /** What is unknown becomes the tokens of its bytes, where there are such. */
  readonly byteFallback: boolean;
  /** A piece that is itself a token is taken without merging. */
  readonly ignoreMerges: boolean;
  readonly continuingSubwordPrefix: string;
  readonly endOfWordSuffix: string;
  /** What is unknown keeps its neighbours apart while they merge, and only then becomes bytes or nothing: llama.cpp's way. */
  readonly unknownKeepsApart?: boolean | undefined;
  /** A piece of line breaks that is itself a token is taken without merging. */
  readonly wholeLineBreaks?: boolean | undefined;
}

/** BPE on characters, as the model `BPE` of Hugging Face. */
export class BpeModel implements Model {
  private readonly merges: MergeTable;
  private readonly byteIds: readonly (number | undefined)[];

  constructor(
    private readonly lookup: Lookup,
    merges: Uint32Array,
    private readonly options: BpeModelOptions,
  ) {
    this.merges = new MergeTable(merges);
    this.byteIds = options.byteFallback ? byteTokenIds(lookup) : [];
  }

  encode(piece: string, ids: number[]): void {
    const { ignoreMerges, continuingSubwordPrefix, endOfWordSuffix, unknownKeepsApart, wholeLineBreaks } = this.options;
    if (piece === "") return;
    const whole = ignoreMerges || (wholeLineBreaks === true && /^\n+$/.test(piece)) ? this.lookup.get(piece) : undefined;
    if (whole !== undefined) {
      ids.push(whole);
      return;
    }
    if (unknownKeepsApart === true) {
      this.encodeApart(piece, ids);
      return;
    }
    const { unkId, fuseUnk, byteFallback } = this.options;
    const symbols: number[] = [];
    // An unknown token is written where it is known what follows: as part of a run it may be one with the next.
    let pending = false;
    for (let i = 0; i < piece.length; ) {
      const length = (piece.charCodeAt(i) & 0xfc00) === 0xd800 ? 2 : 1;
      let symbol = piece.slice(i, i + length);
      if (i > 0) symbol = continuingSubwordPrefix + symbol;
      i += length;
      if (i >= piece.length) symbol += endOfWordSuffix;
      const id = this.lookup.get(symbol);
      const bytes = id === undefined && byteFallback ? fallBack(symbol, this.byteIds) : undefined;
      if (bytes !== undefined) {
        symbols.push(...bytes);
        continue;
      }
      // Without an unknown token what is unknown is left out, as Hugging Face does.
      if (pending && unkId !== undefined && (id !== undefined || !fuseUnk)) symbols.push(unkId);
      pending = id === undefined;
      if (id !== undefined) symbols.push(id);
    }
    if (pending && unkId !== undefined) symbols.push(unkId);
    for (const id of this.merges.apply(symbols)) ids.push(id);
  }

  private encodeApart(piece: string, ids: number[]): void {
    const unknown: string[] = [];
    const symbols = Array.from(piece, (character) => this.lookup.get(character) ?? maxTokenId + unknown.push(character));
    for (const id of this.merges.apply(symbols)) {
      if (id <= maxTokenId) ids.push(id);
      else if (this.options.byteFallback) for (const byte of encodeUtf8(unknown[id - maxTokenId - 1])) if (this.byteIds[byte] !== undefined) ids.push(this.byteIds[byte]);
    }
  }
}

/** For models that cannot go on: an unknown character where there is no token for such. */
export const noUnknownToken = (text: string): TokenizerError =>
  new TokenizerError({}, `${JSON.stringify(text)} has no token, and this tokenizer has none for what it does not know.`, { code: "unknown-character" });
