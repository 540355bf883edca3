/**
 * @file Byte-pair encoding, to be read: how one piece of text becomes tokens (Sennrich et al. 2016, "Neural machine translation of rare words
 * with subword units", algorithm 1; on bytes: Radford et al. 2019). The fast twin is `native/tokenizer/bpe.cc`.
 *
 * Start from the tokens of the single bytes. As long as two neighbours are a merge that training learned, apply the one learned earliest, and
 * of several equal ones the leftmost.
 */

import { Heap } from "./heap.js";

/** What training learns. */
export interface BpeVocabulary {
  /** The token of each byte, or `noToken`. */
  readonly byteTokens: Int32Array;
  /** Three numbers a merge, in the order in which they were learned: left, right, and the id of what they become. */
  readonly merges: Uint32Array;
  /**
   * The bytes of each token, where a piece that is itself one is taken without merging (`ignore_merges`, Llama 3); undefined in it where an id is
   * not in use or its text is not made of bytes (a special token).
   */
  readonly wholePieces?: readonly (Uint8Array | undefined)[] | undefined;
}

/** Ids fit 24 bits: far above any vocabulary, and a pair of them is an exact number. */
export const maxTokenId = 2 ** 24 - 1;

export const noToken = -1;

/** The token of each byte, or `noToken`. */
export function byteTokensOf(tokens: readonly (Uint8Array | undefined)[]): Int32Array {
  const byteTokens = new Int32Array(256).fill(noToken);
  for (const [id, bytes] of tokens.entries()) if (bytes?.length === 1) byteTokens[bytes[0]] = id;
  return byteTokens;
}

/** Which merge joins two tokens: an open-addressing hash table, since a map of a few hundred thousand pairs takes as long as the rest of loading. */
class PairTable {
  private readonly mask: number;
  private readonly left: Int32Array;
  private readonly right: Int32Array;
  private readonly rank: Int32Array;

  constructor(merges: Uint32Array) {
    const slots = 2 ** Math.ceil(Math.log2((merges.length / 3) * 2 + 2));
    this.mask = slots - 1;
    this.left = new Int32Array(slots).fill(-1);
    this.right = new Int32Array(slots);
    this.rank = new Int32Array(slots);
    for (let i = 0; i < merges.length; i += 3) {
      const slot = this.find(merges[i], merges[i + 1]);
      this.left[slot] = merges[i];
      this.right[slot] = merges[i + 1];
      this.rank[slot] = i / 3; // where a pair stands twice its last place counts
    }
  }

  /** Where the pair stands, or where it would. */
  private find(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.mask;
    while (this.left[slot] !== -1 && (this.left[slot] !== left || this.right[slot] !== right)) slot = (slot + 1) & this.mask;
    return slot;
  }

  /** The place of the merge in the order of learning, or -1. */
  rankOf(left: number, right: number): number {
    const slot = this.find(left, right);
    return this.left[slot] === -1 ? -1 : this.rank[slot];
  }
}

/** Learned merges, applied. */
export class MergeTable {
  private readonly ranks: PairTable;

  /** @param merges left, right and result of each, in the order in which they were learned */
  constructor(private readonly merges: Uint32Array) {
    this.ranks = new PairTable(merges);
  }

  /** Merges the tokens of one piece as far as they go. O(n log n). The array is used up. */
  apply(ids: number[]): number[] {
    if (ids.length < 2) return ids;
    // A symbol that has been merged into its left neighbour becomes `noToken` and is skipped over by these links.
    const previous = ids.map((_, i) => i - 1);
    const next = ids.map((_, i) => i + 1);

    const candidates = new Heap<{ rank: number; at: number }>((a, b) => (a.rank === b.rank ? a.at < b.at : a.rank < b.rank));
    const rankAt = (i: number): number => (ids[i] === noToken || next[i] >= ids.length ? -1 : this.ranks.rankOf(ids[i], ids[next[i]]));
    const offer = (at: number): void => {
      const rank = at < 0 ? -1 : rankAt(at);
      if (rank >= 0) candidates.push({ rank, at });
    };

    for (let i = 0; i + 1 < ids.length; i++) offer(i);
    for (let best = candidates.pop(); best !== undefined; best = candidates.pop()) {
      const { rank, at } = best;
      if (rankAt(at) !== rank) continue; // an earlier merge took one of the two
      const gone = next[at];
      ids[at] = this.merges[3 * rank + 2];
      ids[gone] = noToken;
      next[at] = next[gone];
      if (next[gone] < ids.length) previous[next[gone]] = at;
      offer(previous[at]);
      offer(at);
    }
    return ids.filter((id) => id !== noToken);
  }
}

/** A vocabulary made ready for encoding. */
export class BpeMerger {
  private readonly byteTokens: Int32Array;
  private readonly merges: MergeTable;
  private readonly whole = new Map<string, number>();

  constructor({ byteTokens, merges, wholePieces = [] }: BpeVocabulary) {
    this.byteTokens = byteTokens;
    this.merges = new MergeTable(merges);
    for (const [id, bytes] of wholePieces.entries()) if (bytes !== undefined) this.whole.set(latin1(bytes), id);
  }

  /** The tokens of one piece. O(n log n). A byte that has no token is left out, as Hugging Face does. */
  encodePiece(piece: Uint8Array): number[] {
    const whole = this.whole.get(latin1(piece));
    if (whole !== undefined) return [whole];
    return this.merges.apply(Array.from(piece, (byte) => this.byteTokens[byte]).filter((id) => id !== noToken));
  }
}

/** A byte string as a key for a map. */
export const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
