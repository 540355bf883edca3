/**
 * @file What the bits of each block format mean. A block is unpacked to small whole numbers (codes) in groups of 16 or 32, each group with a
 * scale and a minimum: x = scale * code + min. Products with quantised weights are made of exactly these parts.
 *
 * Layouts are those of ggml (K-quants by I. Kawrakow 2023), MXFP4 that of the OCP Microscaling specification 1.0; numbers are little-endian. In
 * the 32s a byte holds element j in its lower four bits and j + 16 in its upper; in the 256s the strides are larger, and said below.
 */

import { blockFormats, type BlockFormat } from "../block-formats.js";
import { fromBfloat16, fromFloat16 } from "../dtype.js";

/** A block in parts. Scales and mins (where there are any) are float32, one a group; the codes of f16 and bf16 are 1, for their scale is the number. */
export interface UnpackedBlock {
  readonly codes: Int16Array;
  readonly groupSize: number;
  readonly scales: Float32Array;
  readonly mins: Float32Array | undefined;
}

/** The values of IQ4_NL and IQ4_XS, chosen for bell-shaped weights. */
const nonLinear4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Twice the values of E2M1 (MXFP4): two bits of exponent, one of mantissa. */
const floats4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** The block that begins at `at`. */
export function unpackBlock(format: BlockFormat, bytes: Uint8Array, at: number): UnpackedBlock {
  const { blockSize } = blockFormats[format];
  const half = (offset: number): number => fromFloat16(bytes[at + offset] | (bytes[at + offset + 1] << 8));
  const byte = (offset: number): number => bytes[at + offset];
  const signed = (offset: number): number => (bytes[at + offset] << 24) >> 24;
  const bit = (offset: number, i: number): number => (bytes[at + offset + (i >> 3)] >> (i & 7)) & 1;
  /** Element i of 32 in four bits. */
  const nibble = (offset: number, i: number): number => (byte(offset + (i & 15)) >> (i < 16 ? 0 : 4)) & 15;
  const make = (groupSize: number, code: (i: number) => number, scale: (group: number) => number, min?: (group: number) => number): UnpackedBlock => ({
    codes: Int16Array.from({ length: blockSize }, (_, i) => code(i)),
    groupSize,
    scales: Float32Array.from({ length: blockSize / groupSize }, (_, group) => scale(group)),
    mins: min && Float32Array.from({ length: blockSize / groupSize }, (_, group) => min(group)),
  });

  switch (format) {
    case "f16":
      return make(1, () => 1, () => half(0));
    case "bf16":
      return make(1, () => 1, () => fromBfloat16(byte(0) | (byte(1) << 8)));
    case "q4_0":
      return make(32, (i) => nibble(2, i) - 8, () => half(0));
    case "q4_1":
      return make(32, (i) => nibble(4, i), () => half(0), () => half(2));
    case "q5_0":
      return make(32, (i) => (nibble(6, i) | (bit(2, i) << 4)) - 16, () => half(0));
    case "q5_1":
      return make(32, (i) => nibble(8, i) | (bit(4, i) << 4), () => half(0), () => half(2));
    case "q8_0":
      return make(32, (i) => signed(2 + i), () => half(0));
    case "iq4_nl":
      return make(32, (i) => nonLinear4[nibble(2, i)], () => half(0));
    case "mxfp4":
      return make(32, (i) => floats4[nibble(1, i)], () => 2 ** (byte(0) - 128));

    // 16 groups of 16. Byte l of 32 holds elements l, l + 32, l + 64, l + 96 of a half in two bits each.
    case "q2_k":
      return make(16, (i) => (byte(16 + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3, (g) => half(80) * (byte(g) & 15), (g) => -half(82) * (byte(g) >> 4));
    // The third bit of element i is bit i / 32 of byte i % 32, and says that 4 is not to be taken away.
    case "q3_k": {
      const code = (i: number): number => ((byte(32 + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3) + 4 * ((byte(i & 31) >> (i >> 5)) & 1) - 4;
      const scale = (g: number): number => ((byte(96 + (g & 7)) >> (g < 8 ? 0 : 4)) & 15) | (((byte(104 + (g & 3)) >> (2 * (g >> 2))) & 3) << 4);
      return make(16, code, (g) => half(108) * (scale(g) - 32));
    }
    // 8 groups of 32. Byte l of 32 holds elements l and l + 32 of a quarter.
    case "q4_k": {
      const scales = sixBits(bytes, at + 4);
      return make(32, (i) => (byte(16 + 32 * (i >> 6) + (i & 31)) >> (4 * ((i >> 5) & 1))) & 15, (g) => half(0) * scales.scale(g), (g) => -half(2) * scales.min(g));
    }
    case "q5_k": {
      const scales = sixBits(bytes, at + 4);
      const code = (i: number): number => ((byte(48 + 32 * (i >> 6) + (i & 31)) >> (4 * ((i >> 5) & 1))) & 15) | (((byte(16 + (i & 31)) >> (i >> 5)) & 1) << 4);
      return make(32, code, (g) => half(0) * scales.scale(g), (g) => -half(2) * scales.min(g));
    }
    // 16 groups of 16. Of a half, byte l of 64 holds the lower bits of elements l and l + 64; byte l of 32 the upper of l, l + 32, l + 64, l + 96.
    case "q6_k": {
      const lower = (i: number): number => (byte(64 * (i >> 7) + (i & 63)) >> (4 * ((i >> 6) & 1))) & 15;
      const upper = (i: number): number => (byte(128 + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3;
      return make(16, (i) => (lower(i) | (upper(i) << 4)) - 32, (g) => half(208) * signed(192 + g));
    }
    // 8 groups of 32, each laid out as in the 32s.
    case "iq4_xs": {
      const scale = (g: number): number => ((byte(4 + (g >> 1)) >> (4 * (g & 1))) & 15) | ((((byte(2) | (byte(3) << 8)) >> (2 * g)) & 3) << 4);
      return make(32, (i) => nonLinear4[nibble(8 + 16 * (i >> 5), i & 31)], (g) => half(0) * (scale(g) - 32));
    }
  }
}

/** Eight scales and eight mins of six bits in twelve bytes (Q4_K, Q5_K): the last four lend two bits of each of the first eight bytes. */
function sixBits(bytes: Uint8Array, at: number): { scale(group: number): number; min(group: number): number } {
  const read = (group: number, own: number, shift: number): number =>
    group < 4 ? bytes[at + own + group] & 63 : ((bytes[at + 4 + group] >> shift) & 15) | ((bytes[at + own + group - 4] >> 6) << 4);
  return { scale: (group) => read(group, 0, 0), min: (group) => read(group, 4, 4) };
}

/** A row of n numbers whose blocks begin at `at`: x = scale * code + min, each step rounded to float32. */
export function dequantizeRow(format: BlockFormat, bytes: Uint8Array, at: number, n: number): Float32Array<ArrayBuffer> {
  const { blockSize, blockBytes } = blockFormats[format];
  const row = new Float32Array(n);
  for (let block = 0; block * blockSize < n; block++) {
    const { codes, groupSize, scales, mins } = unpackBlock(format, bytes, at + block * blockBytes);
    for (let i = 0; i < blockSize; i++) {
      const group = Math.floor(i / groupSize);
      const scaled = Math.fround(scales[group] * codes[i]);
      row[block * blockSize + i] = mins === undefined ? scaled : scaled + mins[group];
    }
  }
  return row;
}
