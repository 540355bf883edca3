/**
 * @file The unigram model (Kudo 2018, "Subword regularization"): each token has a log probability, and of all ways to cut a text into tokens the
 * most probable one is taken (Viterbi). A character without a token is unknown, at a price below that of every token.
 *
 * Three libraries, and ties or near ties end differently: Hugging Face and llama.cpp sum in 64 bits, SentencePiece in 32.
 */

import { fallBack, noUnknownToken, type Lookup, type Model } from "./models.js";
import { Trie } from "./trie.js";

/** How far below the least probable token an unknown character is. */
const unknownPenalty = 10;

export interface UnigramOptions {
  readonly unkId: number | undefined;
  readonly byteFallback: boolean;
  readonly byteIds: readonly (number | undefined)[];
  readonly library: "tokenizers" | "sentencepiece" | "llama.cpp";
  /** Ids that text becomes wherever it can, whatever their score: user-defined symbols of SentencePiece. */
  readonly userDefined: ReadonlySet<number>;
  /** Ids of SentencePiece that are no pieces of text and so have no say in what the least and the greatest score are. */
  readonly scoredIds?: ReadonlySet<number> | undefined;
}

export class UnigramModel implements Model {
  private readonly trie: Trie;
  private readonly unknownScore: number;
  private readonly maxScore: number;

  /**
   * @param lookup the tokens that text may become
   * @param scores by id
   */
  constructor(
    private readonly lookup: Lookup,
    private readonly scores: Float64Array,
    private readonly options: UnigramOptions,
  ) {
    this.trie = new Trie(lookup);
    // SentencePiece's greatest score begins at the least positive float, so that it is that for any log probabilities.
    let [min, max] = [Infinity, 2 ** -126];
    for (let id = 0; id < scores.length; id++) {
      if (options.scoredIds?.has(id) === false) continue;
      min = Math.min(min, scores[id]);
      max = Math.max(max, scores[id]);
    }
    this.unknownScore = options.library === "llama.cpp" ? Math.fround(min - unknownPenalty) : min - unknownPenalty;
    this.maxScore = max;
  }

  encode(piece: string, ids: number[]): void {
    const { unkId, userDefined, library } = this.options;
    const round = library === "sentencepiece" ? Math.fround : (x: number): number => x;
    const length = piece.length;
    // For every place the best way to it: its score, where its last token begins, and that token.
    const score = new Float64Array(length + 1);
    const from = new Int32Array(length + 1).fill(-1);
    const token = new Int32Array(length + 1).fill(-1);
    const offer = (start: number, end: number, id: number, value: number): void => {
      // SentencePiece compares before it rounds.
      const total = score[start] + value;
      if (from[end] !== -1 && total <= score[end]) return;
      score[end] = round(total);
      from[end] = start;
      token[end] = id;
    };
    for (let start = 0; start < length; ) {
      const next = start + ((piece.charCodeAt(start) & 0xfc00) === 0xd800 ? 2 : 1);
      let hasSingle = false;
      this.trie.search(piece, start, (end, id) => {
        // A user-defined symbol costs next to nothing, whatever its length.
        offer(start, end, id, userDefined.has(id) ? round(utf8Length(piece, start, end) * this.maxScore) - 0.1 : this.scores[id]);
        hasSingle ||= end === next;
      });
      if (!hasSingle) offer(start, next, unknown, this.unknownScore);
      start = next;
    }
    const path: [start: number, end: number, id: number][] = [];
    for (let end = length; end > 0; end = from[end]) {
      const last = path.at(-1);
      // A run of unknown characters is one.
      if (token[end] === unknown && last?.[2] === unknown) last[0] = from[end];
      else path.push([from[end], end, token[end]]);
    }
    for (const [start, end, id] of path.reverse()) {
      if (id !== unknown) {
        ids.push(id);
        continue;
      }
      const text = piece.slice(start, end);
      const known = library === "tokenizers" ? this.lookup.get(text) : undefined;
      const bytes = known !== undefined ? [known] : this.options.byteFallback ? fallBack(text, this.options.byteIds) : undefined;
      for (const each of bytes ?? [unkId]) ids.push(each ?? fail(text));
    }
  }
}

const unknown = -2;

const fail = (text: string): never => {
  throw noUnknownToken(text);
};

function utf8Length(text: string, start: number, end: number): number {
  let length = 0;
  for (let i = start; i < end; i++) {
    const unit = text.charCodeAt(i);
    length += unit < 0x80 ? 1 : unit < 0x800 ? 2 : (unit & 0xf800) === 0xd800 ? 2 : 3;
  }
  return length;
}
