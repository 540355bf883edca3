/**
 * @file Tensors whose rows lie in another order in a file than here. Some architectures interleave queries, keys and values by head in one
 * matrix, and GGUF interleaves the halves of each head that RoPE turns. An order is a list: row i of ours is row `order[i]` of the file's.
 * Rows move whole, so it serves any dtype and quantised blocks alike.
 */

import { ShapeError } from "../errors.js";

export type RowOrder = Uint32Array;

/** The rows of a file, in our order. Values or bytes; their number must be a multiple of the number of rows. */
export function fromFileOrder<T extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(values: T, order: RowOrder): T {
  return moveRows(values, order, (ours, theirs) => [ours, theirs]);
}

/** The inverse: our rows, in the file's order. */
export function toFileOrder<T extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(values: T, order: RowOrder): T {
  return moveRows(values, order, (ours, theirs) => [theirs, ours]);
}

function moveRows<T extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(values: T, order: RowOrder, places: (ours: number, theirs: number) => [to: number, from: number]): T {
  const width = values.length / order.length;
  if (!Number.isInteger(width)) throw new ShapeError("row order", [[values.length], [order.length]], "The values are no whole number of rows.");
  const moved = values.slice() as T;
  for (const [ours, theirs] of order.entries()) {
    const [to, from] = places(ours, theirs);
    moved.set(values.subarray(from * width, (from + 1) * width), to * width);
  }
  return moved;
}

/** The order of rows that come in heads of `headSize`, from the order of the heads. */
export function headOrder(heads: readonly number[], headSize: number): RowOrder {
  return Uint32Array.from({ length: heads.length * headSize }, (_, row) => heads[Math.floor(row / headSize)] * headSize + (row % headSize));
}

/** Of a file in which RoPE turns neighbours (2i, 2i + 1) of a head; ours are (i, i + headSize / 2). llama2.c and GGUF's Llama have it so. */
export function neighbouringPairs(numHeads: number, headSize: number): RowOrder {
  const half = headSize / 2;
  return Uint32Array.from({ length: numHeads * headSize }, (_, row) => {
    const i = row % headSize;
    return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
  });
}

/**
 * Of a file with, for each key head, the query heads that share it, the key head and the value head (GPT-NeoX and BLOOM with one query
 * head for each, Falcon 40B with several). Ours are all query heads, all key heads, all value heads.
 */
export function groupedHeads({ numHeads, numKeyValueHeads, headSize }: { readonly numHeads: number; readonly numKeyValueHeads: number; readonly headSize: number }): RowOrder {
  const queries = numHeads / numKeyValueHeads;
  const inGroup = (group: number, i: number) => group * (queries + 2) + i;
  const keyHeads = Array.from({ length: numKeyValueHeads }, (_, group) => group);
  return headOrder(
    [
      ...keyHeads.flatMap((group) => Array.from({ length: queries }, (_, i) => inGroup(group, i))),
      ...keyHeads.map((group) => inGroup(group, queries)),
      ...keyHeads.map((group) => inGroup(group, queries + 1)),
    ],
    headSize,
  );
}
