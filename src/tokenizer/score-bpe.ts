/**
 * @file BPE as SentencePiece has it (Kudo and Richardson 2018): there is no list of merges, every token has a score instead. As long as two
 * neighbours together are a token, those that make the token with the highest score are joined, leftmost first.
 *
 * Used for `tokenizer.model` and for GGUF's `llama` kind. `mergesOf` writes the same model as merges, for `tokenizer.json`.
 */

import { Heap } from "./heap.js";
import { fallBack, noUnknownToken, type Lookup, type Model } from "./models.js";

export interface ScoreBpeOptions {
  readonly unkId: number | undefined;
  /** The tokens of the bytes, which an unknown character becomes; empty for none. */
  readonly byteIds: readonly (number | undefined)[];
  /** Ids that stand for what they are made of: SentencePiece's unused pieces. */
  readonly unused: ReadonlySet<number>;
  /** Finds text that is never merged with its neighbours: the length of such a symbol at a place, or 0. */
  readonly frozenAt?: ((text: string, start: number) => number) | undefined;
  /** A run of unknown characters is one unknown token. */
  readonly fuseUnk: boolean;
}

interface Candidate {
  readonly score: number;
  readonly left: number;
  /** Where the right one ends: a candidate whose parts have changed since is none. */
  readonly middle: number;
  readonly end: number;
}

export class ScoreBpeModel implements Model {
  constructor(
    private readonly lookup: Lookup,
    private readonly scores: ArrayLike<number>,
    private readonly options: ScoreBpeOptions,
  ) {}

  encode(piece: string, ids: number[]): void {
    const { frozenAt, unused } = this.options;
    // Symbols begin at these places of the text; `ends` is 0 where one has been merged into its left neighbour.
    const starts: number[] = [];
    const frozen: boolean[] = [];
    for (let i = 0; i < piece.length; ) {
      const length = frozenAt?.(piece, i) ?? 0;
      starts.push(i);
      frozen.push(length > 0);
      i += length || ((piece.charCodeAt(i) & 0xfc00) === 0xd800 ? 2 : 1);
    }
    const ends = starts.map((_, i) => starts[i + 1] ?? piece.length);
    const previous = starts.map((_, i) => i - 1);
    const next = starts.map((_, i) => i + 1);
    const parts = new Map<string, number>();

    const candidates = new Heap<Candidate>((a, b) => (a.score === b.score ? a.left < b.left : a.score > b.score));
    const offer = (left: number): void => {
      const right = left < 0 ? starts.length : next[left];
      if (right >= starts.length || frozen[left] || frozen[right]) return;
      const text = piece.slice(starts[left], ends[right]);
      const id = this.lookup.get(text);
      if (id === undefined) return;
      candidates.push({ score: this.scores[id], left, middle: ends[left], end: ends[right] });
      if (unused.has(id)) parts.set(text, ends[left] - starts[left]);
    };
    for (let i = 0; i + 1 < starts.length; i++) offer(i);
    for (let best = candidates.pop(); best !== undefined; best = candidates.pop()) {
      const { left, middle, end } = best;
      const right = next[left];
      if (ends[left] !== middle || right >= starts.length || ends[right] !== end) continue;
      ends[left] = end;
      ends[right] = 0;
      next[left] = next[right];
      if (next[right] < starts.length) previous[next[right]] = left;
      offer(previous[left]);
      offer(left);
    }

    let inUnknown = false;
    const write = (text: string): void => {
      const id = this.lookup.get(text);
      const cut = id !== undefined && unused.has(id) ? parts.get(text) : undefined;
      if (cut !== undefined) {
        write(text.slice(0, cut));
        write(text.slice(cut));
        return;
      }
      const known = id === undefined ? fallBack(text, this.options.byteIds) : [id];
      if (known === undefined && !(inUnknown && this.options.fuseUnk)) ids.push(this.options.unkId ?? fail(text));
      for (const each of known ?? []) ids.push(each);
      inUnknown = known === undefined;
    };
    for (let i = 0; i < starts.length; i = next[i]) write(piece.slice(starts[i], ends[i]));
  }
}

const fail = (text: string): never => {
  throw noUnknownToken(text);
};

/**
 * The merges that do what the scores do: every way to put a token together from two others, the tokens with the highest scores first.
 *
 * @returns left, right and result of each
 */
export function mergesOf(lookup: Lookup, scores: ArrayLike<number>): Uint32Array {
  const merges: { left: number; right: number; result: number }[] = [];
  for (const [name, result] of lookup) {
    for (let cut = 1; cut < name.length; cut++) {
      if ((name.charCodeAt(cut) & 0xfc00) === 0xdc00) continue;
      const left = lookup.get(name.slice(0, cut));
      const right = left === undefined ? undefined : lookup.get(name.slice(cut));
      if (left !== undefined && right !== undefined) merges.push({ left, right, result });
    }
  }
  merges.sort((a, b) => scores[b.result] - scores[a.result] || a.result - b.result || a.left - b.left || a.right - b.right);
  return Uint32Array.from(merges.flatMap(({ left, right, result }) => [left, right, result]));
}
