/**
 * @file PLaMo 2's tokenizer (tokenization_plamo.py of pfnet): of all ways to cut a text into tokens the one with the greatest sum of scores, counted in
 * ten thousandths; of equal ones the one whose first token is longest. A character that no token has becomes its bytes.
 */

import { encodeUtf8 } from "./bytes.js";
import { noUnknownToken, type Lookup, type Model } from "./models.js";
import { Trie } from "./trie.js";

/** What a character costs that becomes bytes, and from which cost on a token is not used at all. */
const [unknownCost, unusable] = [10_000_000, 20_000_000];
const byteOrderMark = "\ufeff";

export class Plamo2Model implements Model {
  private readonly trie: Trie;

  /**
   * @param scores by id
   * @param byteIds the tokens of the 256 bytes
   */
  constructor(
    lookup: Lookup,
    private readonly scores: ArrayLike<number>,
    private readonly byteIds: readonly (number | undefined)[],
  ) {
    this.trie = new Trie(lookup);
  }

  encode(piece: string, ids: number[]): void {
    const text = piece.startsWith(byteOrderMark) ? piece.slice(1) : piece;
    // For every place the best way from it to the end: its cost, how far its first token goes, and which that is.
    const cost = new Float64Array(text.length + 1).fill(Infinity);
    const next = new Int32Array(text.length + 1);
    const token = new Int32Array(text.length + 1).fill(-1);
    cost[text.length] = 0;
    for (let start = text.length - 1; start >= 0; start--) {
      if ((text.charCodeAt(start) & 0xfc00) === 0xdc00) continue;
      const after = start + ((text.charCodeAt(start) & 0xfc00) === 0xd800 ? 2 : 1);
      [cost[start], next[start]] = [cost[after] + unknownCost, after];
      // The shortest is offered first, so that of equal ones the longest stays.
      this.trie.search(text, start, (end, id) => {
        const price = -roundAwayFromZero(Math.fround(this.scores[id]) * 1e4);
        if (price >= unusable || cost[end] + price > cost[start]) return;
        [cost[start], next[start], token[start]] = [cost[end] + price, end, id];
      });
    }
    for (let start = 0; start < text.length; start = next[start]) {
      if (token[start] >= 0) ids.push(token[start]);
      else for (const byte of encodeUtf8(text.slice(start, next[start]))) ids.push(this.byteIds[byte] ?? fail(text.slice(start, next[start])));
    }
  }
}

const roundAwayFromZero = (x: number): number => Math.sign(x) * Math.round(Math.abs(x));

const fail = (text: string): never => {
  throw noUnknownToken(text);
};
