/**
 * @file The unigram model (Kudo 2018, "Subword regularization"): each token has a log probability, and of all ways to cut a text into tokens the
 * most probable one is taken (Viterbi). A character without a token is unknown, at a price below that of every token.
 *
 * Two libraries, two arithmetics, and ties or near ties end differently: Hugging Face sums in 64 bits, SentencePiece in 32.
 */

import { fallBack, noUnknownToken, type Lookup, type Model } from "./models.js";

/** How far below the least probable token an unknown character is. */
const unknownPenalty = 10;

export interface UnigramOptions {
  readonly unkId: number | undefined;
  readonly byteFallback: boolean;
  readonly byteIds: readonly (number | undefined)[];
  /** Sum in 32 bits, as SentencePiece does. */
  readonly singlePrecision: boolean;
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
    this.unknownScore = min - unknownPenalty;
    this.maxScore = max;
  }

  encode(piece: string, ids: number[]): void {
    const { unkId, userDefined, singlePrecision } = this.options;
    const round = singlePrecision ? Math.fround : (x: number): number => x;
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
      const known = singlePrecision ? undefined : this.lookup.get(text);
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

/** All tokens that begin at a place of a text. Nodes are numbers; an edge is found by hashing its node and its code unit. */
class Trie {
  private readonly mask: number;
  private readonly keys: Float64Array;
  private readonly targets: Int32Array;
  /** The token that ends at a node, or -1. */
  private readonly tokens: Int32Array;

  constructor(lookup: Lookup) {
    let edges = 0;
    for (const [name] of lookup) edges += name.length;
    const slots = 2 ** Math.ceil(Math.log2(edges * 2 + 2));
    this.mask = slots - 1;
    this.keys = new Float64Array(slots).fill(-1);
    this.targets = new Int32Array(slots);
    this.tokens = new Int32Array(edges + 1).fill(-1);
    let nodes = 1;
    for (const [name, id] of lookup) {
      let node = 0;
      for (let i = 0; i < name.length; i++) {
        const slot = this.find(node, name.charCodeAt(i));
        if (this.keys[slot] === -1) {
          this.keys[slot] = node * 0x10000 + name.charCodeAt(i);
          this.targets[slot] = nodes++;
        }
        node = this.targets[slot];
      }
      if (node > 0) this.tokens[node] = id;
    }
  }

  private find(node: number, unit: number): number {
    const key = node * 0x10000 + unit;
    let slot = Math.imul(node ^ Math.imul(unit, 0x85ebca6b), 0x9e3779b1) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.mask;
    while (this.keys[slot] !== -1 && this.keys[slot] !== key) slot = (slot + 1) & this.mask;
    return slot;
  }

  /** Visits the tokens from `start` on, shortest first. */
  search(text: string, start: number, visit: (end: number, id: number) => void): void {
    let node = 0;
    for (let i = start; i < text.length; i++) {
      const slot = this.find(node, text.charCodeAt(i));
      if (this.keys[slot] === -1) return;
      node = this.targets[slot];
      if (this.tokens[node] !== -1) visit(i + 1, this.tokens[node]);
    }
  }
}
