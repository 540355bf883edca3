/**
 * @file Many texts as a file has them: UTF-8, one behind another, with so many bytes between each and the next. A vocabulary of a quarter of a million
 * tokens is looked up in here without a JavaScript string for each, which would take longer than the rest of loading.
 */

import { noToken } from "./bpe.js";

export interface PackedTexts extends Iterable<string> {
  readonly length: number;
  readonly data: Uint8Array;
  /** Where in `data` each text begins, and, last, where one more would. */
  readonly starts: Uint32Array;
  /** Bytes between the end of a text and the beginning of the next. */
  readonly gap: number;
  /** One of them. Bytes that are no UTF-8 become U+FFFD. */
  at(i: number): string;
}

/**
 * Left, right and result of each merge `left right`, up to the first that is not two tokens that make a third. A space may only begin the left one.
 * The fast twin is native/tokenizer/merges.cc.
 */
export function resolveMerges(merges: PackedTexts, tokens: PackedTexts): Uint32Array {
  const ids = new ByteTable(tokens);
  const { data, starts, gap } = merges;
  const triples = new Uint32Array(3 * merges.length);
  for (let i = 0; i < merges.length; i++) {
    const [begin, end] = [starts[i], starts[i + 1] - gap];
    let cut = begin + 1;
    while (cut < end && data[cut] !== space) cut++;
    const triple = [ids.idOf(data, begin, cut), ids.idOf(data, cut + 1, end), ids.idOf(data, begin, end, cut)];
    if (triple.includes(noToken)) return triples.slice(0, 3 * i);
    triples.set(triple, 3 * i);
  }
  return triples;
}

const space = 0x20;

/** The ids of texts by their bytes, in an open-addressing hash table. Where a text stands twice its last id counts. */
class ByteTable {
  private readonly slots: Int32Array;

  constructor(private readonly texts: PackedTexts) {
    const { data, starts, gap, length } = texts;
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * length + 2))).fill(noToken);
    for (let id = 0; id < length; id++) this.slots[this.slotOf(data, starts[id], starts[id + 1] - gap, noByte)] = id;
  }

  /** The id of bytes [begin, end) without the one at `skipped`, or `noToken`. The empty text has none. */
  idOf(data: Uint8Array, begin: number, end: number, skipped = noByte): number {
    return begin >= end ? noToken : this.slots[this.slotOf(data, begin, end, skipped)];
  }

  /** Where the text stands, or where it would. */
  private slotOf(data: Uint8Array, begin: number, end: number, skipped: number): number {
    // FNV-1a, and a last mixing, since the low bits alone choose the slot.
    let hash = 0x811c9dc5;
    for (let i = begin; i < end; i++) if (i !== skipped) hash = Math.imul(hash ^ data[i], 0x01000193);
    const mask = this.slots.length - 1;
    let slot = (hash ^ (hash >>> 15)) & mask;
    while (this.slots[slot] !== noToken && !this.isSame(this.slots[slot], data, begin, end, skipped)) slot = (slot + 1) & mask;
    return slot;
  }

  private isSame(id: number, data: Uint8Array, begin: number, end: number, skipped: number): boolean {
    const { data: own, starts, gap } = this.texts;
    let at = starts[id];
    if (starts[id + 1] - gap - at !== end - begin - (skipped === noByte ? 0 : 1)) return false;
    for (let i = begin; i < end; i++) if (i !== skipped && own[at++] !== data[i]) return false;
    return true;
  }
}

const noByte = -1;
