/**
 * @file The layouts of quantised weights. A vector of the processor works on 16 rows at once, so a panel of 16 rows keeps each part
 * of its blocks together: unit u of a field of row r lies at (field + u * unit) * 16 + r * unit of the panel's block, where units are the
 * float16 scales, single bytes of small scales, and words of four bytes of codes. Fields keep their order and a panel its size; nothing is
 * lost. Within a word of fifth bits (Q5_0, Q5_1) bit 4 i + j moves to bit 8 j + i, so that one shift brings those of four codes under them.
 *
 * Q8_0 can be split besides, so that who wants to know numbers roughly need not read all of them (`quantizedBest`). A code q + 128 is 8 u + l. The scales
 * and u (0 to 31) make blocks of Q5_0; of l (0 to 7) a block keeps 12 bytes: with l[w] the four of numbers 4 w to 4 w + 3, a byte each,
 *
 *   l[0] + 8 l[1] + 64 (l[6] & 3),   l[2] + 8 l[3] + 64 (l[7] & 3),   l[4] + 8 l[5] + 16 (l[6] & 4) + 32 (l[7] & 4).
 *
 * Of each group of 64 panels (the last may have fewer) first come the upper halves of all, as panels of Q5_0, then the lower ones, as panels of words: by
 * groups, so that it can be done in place with little memory beside, and stretches are so long that reading ahead into what is not wanted does not count.
 */

import { blockFormats, type BlockFormat } from "../block-formats.js";
import type { BlockLayout } from "../contract.js";

export const panelRows = 16;
export const groupPanels = 64;

interface Field {
  /** Bytes of a unit. */
  readonly unit: 1 | 2 | 4;
  readonly count: number;
  /** A word of fifth bits. */
  readonly fifths?: true;
}

const field = (unit: 1 | 2 | 4, count: number): Field => ({ unit, count });
const fifths: Field = { unit: 4, count: 1, fifths: true };

/** The lower bits of a block of q8_0. */
const lowerFields: readonly Field[] = [field(4, 3)];

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

/** Brings rows of blocks into a layout in place, or back. Throws RangeError for a format that does not have it. */
export function interleaveRows(format: BlockFormat, layout: BlockLayout, bytes: Uint8Array, rows: number, rowBytes: number, inverse: boolean): void {
  if (layout === "split" && format !== "q8_0") throw new RangeError(`${format} is not split, only q8_0.`);
  const panels = Math.floor(rows / panelRows);
  if (fields[format].length === 0 || layout === "rows") return;
  if (layout === "panels") return interleavePanels(fields[format], blockFormats[format].blockBytes, bytes, panels, rowBytes, inverse);
  for (let panel = 0; panel < panels; panel += groupPanels) {
    const count = Math.min(groupPanels, panels - panel);
    splitGroup(bytes.subarray(panel * panelRows * rowBytes, (panel + count) * panelRows * rowBytes), count, inverse);
  }
}

function interleavePanels(fields: readonly Field[], blockBytes: number, bytes: Uint8Array, panels: number, rowBytes: number, inverse: boolean): void {
  for (let i = 0; i < panels; i++) {
    const panel = bytes.subarray(i * panelRows * rowBytes, (i + 1) * panelRows * rowBytes);
    const before = panel.slice();
    for (let block = 0; block * blockBytes < rowBytes; block++) {
      let offset = block * blockBytes;
      let to = offset * panelRows;
      for (const { unit, count, fifths } of fields) {
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

/** The panels of a group of q8_0, taken apart or put together. */
function splitGroup(group: Uint8Array, panels: number, inverse: boolean): void {
  const { q5_0: { blockBytes: upperBytes }, q8_0: { blockBytes } } = blockFormats;
  const lowerBytes = blockBytes - upperBytes;
  const blocks = group.length / blockBytes;
  const planes = inverse ? group.slice() : new Uint8Array(group.length);
  const [upper, lower] = [planes.subarray(0, blocks * upperBytes), planes.subarray(blocks * upperBytes)];
  const arrange = (): void => {
    const inRow = blocks / (panels * panelRows);
    interleavePanels(fields.q5_0, upperBytes, upper, panels, inRow * upperBytes, inverse);
    interleavePanels(lowerFields, lowerBytes, lower, panels, inRow * lowerBytes, inverse);
  };
  if (inverse) arrange();
  for (let i = 0; i < blocks; i++) {
    const block = group.subarray(i * blockBytes, (i + 1) * blockBytes);
    const [u, l] = [upper.subarray(i * upperBytes, (i + 1) * upperBytes), lower.subarray(i * lowerBytes, (i + 1) * lowerBytes)];
    if (inverse) joinBlock(u, l, block);
    else splitBlock(block, u, l);
  }
  if (inverse) return;
  arrange();
  group.set(planes);
}

/** Where the lower bits of number i stand: two that lie together, and for the last eight numbers a third, the upper of them, elsewhere. */
function lowerPlace(i: number): { byte: number; shift: number; third?: { byte: number; shift: number } } {
  const [word, t] = [i >> 2, i & 3];
  if (word < 6) return { byte: 4 * (word >> 1) + t, shift: 3 * (word & 1) };
  return { byte: 4 * (word - 6) + t, shift: 6, third: { byte: 8 + t, shift: word } };
}

function splitBlock(block: Uint8Array, upper: Uint8Array, lower: Uint8Array): void {
  upper.fill(0);
  lower.fill(0);
  upper.set(block.subarray(0, 2));
  for (let i = 0; i < 32; i++) {
    const code = block[2 + i] ^ 128;
    const [u, l] = [code >> 3, code & 7];
    upper[2 + (i >> 3)] |= (u >> 4) << (i & 7);
    upper[6 + (i & 15)] |= (u & 15) << (i < 16 ? 0 : 4);
    const { byte, shift, third } = lowerPlace(i);
    lower[byte] |= (third === undefined ? l : l & 3) << shift;
    if (third !== undefined) lower[third.byte] |= (l >> 2) << third.shift;
  }
}

function joinBlock(upper: Uint8Array, lower: Uint8Array, block: Uint8Array): void {
  block.set(upper.subarray(0, 2));
  for (let i = 0; i < 32; i++) {
    const u = ((upper[6 + (i & 15)] >> (i < 16 ? 0 : 4)) & 15) | (((upper[2 + (i >> 3)] >> (i & 7)) & 1) << 4);
    const { byte, shift, third } = lowerPlace(i);
    const l = third === undefined ? (lower[byte] >> shift) & 7 : ((lower[byte] >> shift) & 3) | (((lower[third.byte] >> third.shift) & 1) << 2);
    block[2 + i] = ((u << 3) | l) ^ 128;
  }
}
