/**
 * @file Byte-pair encoding, to be read: how the merges are learned. The fast twin is `native/tokenizer/train.cc`; both learn the same merges,
 * in the same order, as Hugging Face's `BpeTrainer`.
 *
 * All that training needs of the text is how often each piece occurs. Then, until the vocabulary is full: find the pair of neighbouring tokens
 * that occurs most often, make it a token, and replace it everywhere. Counts are kept up to date rather than taken anew: a merge visits only
 * the words that hold its pair, and changes only the counts of its neighbours there.
 */

import { latin1, noToken, byteTokensOf } from "./bpe.js";
import { Heap } from "./heap.js";

export interface TrainingOptions {
  /** Tokens in all, those there are before training included. Fewer are learned when the text has no more pairs. */
  readonly vocabSize: number;
  /** Training ends at the first best pair that occurs less often. */
  readonly minFrequency: number;
}

interface Word {
  symbols: number[];
  readonly count: number;
}

/** A pair on its way to be merged: how often it occurred when it was pushed, and in which words it arose. */
interface Candidate {
  count: number;
  readonly pair: Pair;
  readonly words: ReadonlySet<Word>;
}

interface Pair {
  readonly left: number;
  readonly right: number;
  count: number;
  /** Where the pair arose since the candidates were last filled up. */
  fresh: Set<Word>;
}

/** Most frequent first; among equals the pair whose left, then right, token is older. */
const better = (a: Candidate, b: Candidate): boolean =>
  a.count !== b.count ? a.count > b.count : a.pair.left !== b.pair.left ? a.pair.left < b.pair.left : a.pair.right < b.pair.right;

/**
 * Learns merges.
 *
 * @param pieces how often each piece (its bytes) occurs
 * @param initialTokens the bytes of the tokens there are before training: each of the 256 bytes, and reserved ids
 * @returns the merges one by one: left, right, and what they become. A merge whose bytes are a token already becomes that token, and then the
 *   same pair may come again.
 */
export function* learnMerges(
  pieces: Iterable<[bytes: Uint8Array, count: number]>,
  initialTokens: readonly (Uint8Array | undefined)[],
  { vocabSize, minFrequency }: TrainingOptions,
): Generator<[left: number, right: number, result: number]> {
  const tokens = initialTokens.map((bytes) => (bytes === undefined ? "" : latin1(bytes)));
  const ids = new Map(tokens.flatMap((bytes, id) => (bytes === "" ? [] : [[bytes, id]])));
  const byteTokens = byteTokensOf(initialTokens);
  if (byteTokens.includes(noToken)) throw new RangeError("training needs a token for each of the 256 bytes");

  const pairs = new Map<number, Pair>();
  const touched = new Set<Pair>();
  const candidates = new Heap<Candidate>(better);

  /** A pair occurs `by` times more, or less; where more, `word` is one to visit when it is merged. */
  const change = (left: number, right: number, by: number, word: Word): void => {
    const key = left * 2 ** 24 + right;
    let pair = pairs.get(key);
    if (pair === undefined) pairs.set(key, (pair = { left, right, count: 0, fresh: new Set() }));
    pair.count += by;
    if (by <= 0) return;
    pair.fresh.add(word);
    touched.add(pair);
  };

  /** Puts what changed onto the heap. */
  const offerTouched = (): void => {
    for (const pair of touched) {
      if (pair.count > 0) candidates.push({ count: pair.count, pair, words: pair.fresh });
      pair.fresh = new Set();
    }
    touched.clear();
  };

  for (const [bytes, count] of pieces) {
    const word: Word = { symbols: Array.from(bytes, (byte) => byteTokens[byte]), count };
    for (let i = 0; i + 1 < word.symbols.length; i++) change(word.symbols[i], word.symbols[i + 1], count, word);
  }
  offerTouched();

  while (tokens.length < vocabSize) {
    const best = candidates.pop();
    if (best === undefined) return;
    const { left, right, count } = best.pair;
    if (best.count !== count) {
      // Other merges took occurrences away since it was pushed: back to its right place.
      candidates.push({ ...best, count });
      continue;
    }
    if (count < 1 || count < minFrequency) return;

    const bytes = tokens[left] + tokens[right];
    const result = ids.get(bytes) ?? tokens.length;
    if (result === tokens.length) {
      tokens.push(bytes);
      ids.set(bytes, result);
    }
    yield [left, right, result];
    for (const word of best.words) mergeIn(word, left, right, result, change);
    offerTouched();
  }
}

/** Replaces every (left, right) in a word, leftmost first, and counts what that does to the pairs around it. */
function mergeIn(word: Word, left: number, right: number, result: number, change: (left: number, right: number, by: number, word: Word) => void): void {
  const { symbols, count } = word;
  const merged: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] !== left || symbols[i + 1] !== right) {
      merged.push(symbols[i]);
      continue;
    }
    if (merged.length > 0) {
      const before = merged[merged.length - 1];
      change(before, left, -count, word);
      change(before, result, count, word);
    }
    if (i + 2 < symbols.length) {
      change(right, symbols[i + 2], -count, word);
      change(result, symbols[i + 2], count, word);
    }
    merged.push(result);
    i++;
  }
  word.symbols = merged;
}
