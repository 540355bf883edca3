/**
 * @file WordPiece (Schuster and Nakajima 2012; BERT's tokenization.py): a word becomes the longest token that begins it, what is left the longest
 * token that goes on, and so forth. A word that does not come out is unknown as a whole. And WordLevel, which knows whole words only.
 */

import { noUnknownToken, type Lookup, type Model } from "./models.js";

export interface WordPieceOptions {
  readonly unkId: number | undefined;
  /** What tokens have before their letters where they go on with a word: `##`, or nothing. */
  readonly continuingPrefix: string;
  /** What tokens have before their letters where they begin one: nothing, or `▁` in a GGUF. */
  readonly startPrefix: string;
  /** A longer word is unknown, in characters. */
  readonly maxCharacters: number;
}

export class WordPieceModel implements Model {
  private readonly longest: number;

  constructor(
    private readonly lookup: Lookup,
    private readonly options: WordPieceOptions,
  ) {
    let longest = 0;
    for (const [name] of lookup) longest = Math.max(longest, name.length);
    this.longest = longest;
  }

  encode(piece: string, ids: number[]): void {
    const { unkId, startPrefix, continuingPrefix, maxCharacters } = this.options;
    // A text of so many code units has at least half as many characters, which spares counting most.
    const isShort = piece.length <= maxCharacters || (piece.length <= 2 * maxCharacters && [...piece].length <= maxCharacters);
    const found = isShort ? this.longestTokens(startPrefix + piece, continuingPrefix) : undefined;
    if (found === undefined && unkId === undefined) throw noUnknownToken(piece);
    for (const id of found ?? [unkId]) if (id !== undefined) ids.push(id);
  }

  private longestTokens(word: string, continuingPrefix: string): number[] | undefined {
    const found: number[] = [];
    for (let start = 0; start < word.length; ) {
      const prefix = start === 0 ? "" : continuingPrefix;
      let id: number | undefined;
      let end = Math.min(word.length, start + this.longest);
      for (; end > start; end--) if ((id = this.lookup.get(prefix + word.slice(start, end))) !== undefined) break;
      if (id === undefined) return undefined;
      found.push(id);
      start = end;
    }
    return found;
  }
}

export class WordLevelModel implements Model {
  constructor(
    private readonly lookup: Lookup,
    private readonly unkId: number | undefined,
  ) {}

  encode(piece: string, ids: number[]): void {
    const id = this.lookup.get(piece) ?? this.unkId;
    if (id === undefined) throw noUnknownToken(piece);
    ids.push(id);
  }
}
