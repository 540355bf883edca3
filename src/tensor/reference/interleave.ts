/**
 * @file The interleaved layout of quantised weights. A vector of the processor works on 16 rows at once, so a panel of 16 rows keeps each part
 * of its blocks together: unit u of a field of row r lies at (field + u * unit) * 16 + r * unit of the panel's block, where units are the
 * float16 scales, single bytes of small scales, and words of four bytes of codes. Fields keep their order and a panel its size; nothing is
 * lost. Within a word of fifth bits (Q5_0, Q5_1) bit 4 i + j moves to bit 8 j + i, so that one shift brings those of four codes under them.
 */

import { blockFormats, type BlockFormat } from "../block-formats.js";

export const panelRows = 16;

interface Field {
  /** Bytes of a unit. */
  readonly unit: 1 | 2 | 4;
  readonly count: number;
  /** A word of fifth bits. */
  readonly fifths?: true;
}

const field = (unit: 1 | 2 | 4, count: number): Field => ({ unit, count });
const fifths: Field = { unit: 4, count: 1, fifths: true };

/** The fields of a block in order. */
const fields: Readonly<Record<BlockFormat, readonly Field[]>> = {
  f16: [], bf16: [],
  q4_0: [field(2, 1), field(4, 4)],
  q4_1: [field(2, 2), field(4, 4)],
  q5_0: [field(2, 1), fifths, field(4, 4)],
  q5_1: [field(2, 2), fifths, field(4, 4)],
  q8_0: [field(2, 1), field(4, 8)],
  q2_k: [field(1, 16), field(4, 16), field(2, 2)],
  q3_k: [field(4, 24), field(1, 12), field(2, 1)],
  q4_k: [field(2, 2), field(1, 12), field(4, 32)],
  q5_k: [field(2, 2), field(1, 12), field(4, 40)],
  q6_k: [field(4, 48), field(1, 16), field(2, 1)],
  iq4_nl: [field(2, 1), field(4, 4)],
  iq4_xs: [field(2, 2), field(1, 4), field(4, 32)],
  mxfp4: [field(1, 1), field(4, 4)],
};

function fifthsToColumns(word: number): number {
  let result = 0;
  for (let e = 0; e < 32; e++) result |= ((word >>> e) & 1) << (8 * (e & 3) + (e >> 2));
  return result;
}

function fifthsToRow(word: number): number {
  let result = 0;
  for (let e = 0; e < 32; e++) result |= ((word >>> (8 * (e & 3) + (e >> 2))) & 1) << e;
  return result;
}

/** Rearranges rows of blocks in place, panel by panel, into the interleaved layout or back. */
export function interleaveRows(format: BlockFormat, bytes: Uint8Array, rows: number, rowBytes: number, inverse: boolean): void {
  const { blockBytes } = blockFormats[format];
  if (fields[format].length === 0) return;
  for (let row = 0; row + panelRows <= rows; row += panelRows) {
    const panel = bytes.subarray(row * rowBytes, (row + panelRows) * rowBytes);
    const before = panel.slice();
    for (let block = 0; block * blockBytes < rowBytes; block++) {
      let offset = block * blockBytes;
      let to = offset * panelRows;
      for (const { unit, count, fifths } of fields[format]) {
        for (let u = 0; u < count; u++, offset += unit) {
          for (let r = 0; r < panelRows; r++, to += unit) {
            const from = r * rowBytes + offset;
            const [source, target] = inverse ? [to, from] : [from, to];
            for (let b = 0; b < unit; b++) panel[target + b] = before[source + b];
            if (fifths) {
              const word = new DataView(panel.buffer, panel.byteOffset + target);
              word.setUint32(0, (inverse ? fifthsToRow : fifthsToColumns)(word.getUint32(0, true)), true);
            }
          }
        }
      }
    }
  }
}
