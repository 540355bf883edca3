/**
 * @file Quantisers: numbers to blocks, by least squares. A group's codes follow from its scale (and minimum), and given the codes the best
 * scale is a quotient of two sums; so a search over a few starting scales, each improved by that, finds nearly the least squared error.
 * Where scales are themselves stored in a few bits (the K formats), their neighbours are tried with the codes that they give.
 *
 * All arithmetic is in float64 in the order written here, sums in eight lanes, so that native/kernels/quantize.cc gives the same bytes.
 */

import { blockFormats, type WrittenFormat } from "../block-formats.js";
import { fromFloat16, toBfloat16, toFloat16 } from "../dtype.js";

const largestHalf = 65504;

/** A scale as float16 bits; one that is too large for it saturates. */
function halfBits(value: number): number {
  return toFloat16(Math.min(Math.max(value, -largestHalf), largestHalf));
}

function rounded(value: number, low: number, high: number): number {
  return Math.min(Math.max(Math.floor(value + 0.5), low), high);
}

/** The sum of n terms (a multiple of 8): every eighth together, and then by halves. */
function laneSum(n: number, term: (i: number) => number): number {
  const lanes = new Float64Array(8);
  for (let i = 0; i < n; i++) lanes[i & 7] += term(i);
  for (let half = 4; half > 0; half >>= 1) for (let i = 0; i < half; i++) lanes[i] += lanes[i + half];
  return lanes[0];
}

/** The scale d for which d * code, code in [low, high], comes closest to n numbers of x; 0 where all are 0. */
function fitScale(x: ArrayLike<number>, at: number, n: number, low: number, high: number): number {
  let extreme = 0;
  for (let i = 0; i < n; i++) if (Math.abs(x[at + i]) > Math.abs(extreme)) extreme = x[at + i];
  if (extreme === 0) return 0;
  let best = 0;
  let scale = 0;
  // The extreme number gets the lowest code, which reaches one further than the highest, or a little less or more than that.
  for (let step = -9; step <= 9; step++) {
    const inverse = (low + 0.1 * step) / extreme;
    const codes = Float64Array.from({ length: n }, (_, i) => rounded(inverse * x[at + i], low, high));
    const products = laneSum(n, (i) => codes[i] * x[at + i]);
    const squares = laneSum(n, (i) => codes[i] * codes[i]);
    // With the best scale for these codes, the squared error is the sum of x^2 less this.
    const gain = squares > 0 ? (products * products) / squares : 0;
    if (gain > best) {
      best = gain;
      scale = products / squares;
    }
  }
  return scale;
}

/** The scale and minimum for which scale * code + min, code in [0, high], comes closest; with `belowZero` the minimum is at most 0. */
function fitScaleAndMin(x: ArrayLike<number>, at: number, n: number, high: number, belowZero: boolean): { scale: number; min: number } {
  let low = x[at];
  let top = x[at];
  for (let i = 0; i < n; i++) {
    low = Math.min(low, x[at + i]);
    top = Math.max(top, x[at + i]);
  }
  const sum = laneSum(n, (i) => x[at + i]);
  if (belowZero && low > 0) low = 0;
  if (top <= low) return { scale: 0, min: low };
  let best = Infinity;
  let scale = (top - low) / high;
  let min = low;
  for (let step = -1; step <= 20; step++) {
    // From the plain range (-1) on, a range that the codes overshoot or fall short of by up to one.
    const inverse = (step < 0 ? high : high - 1 + 0.1 * step) / (top - low);
    const code = Float64Array.from({ length: n }, (_, i) => rounded(inverse * (x[at + i] - low), 0, high));
    const codes = laneSum(n, (i) => code[i]);
    const squares = laneSum(n, (i) => code[i] * code[i]);
    const products = laneSum(n, (i) => code[i] * x[at + i]);
    const determinant = n * squares - codes * codes;
    if (determinant <= 0) continue;
    let s = (n * products - sum * codes) / determinant;
    let m = (sum * squares - products * codes) / determinant;
    if (belowZero && m > 0) {
      m = 0;
      s = products / squares;
    }
    // The squared error less the sum of x^2.
    const error = s * s * squares + n * m * m + 2 * s * m * codes - 2 * s * products - 2 * m * sum;
    if (s > 0 && error < best) {
      best = error;
      scale = s;
      min = m;
    }
  }
  return { scale, min };
}

/** The squared error of n numbers with the best codes for this scale and minimum. */
function squaredError(x: ArrayLike<number>, at: number, n: number, scale: number, min: number, low: number, high: number): number {
  const inverse = scale === 0 ? 0 : 1 / scale;
  return laneSum(n, (i) => {
    const off = scale * rounded((x[at + i] - min) * inverse, low, high) + min - x[at + i];
    return off * off;
  });
}

function putHalf(bytes: Uint8Array, at: number, bits: number): void {
  bytes[at] = bits & 255;
  bytes[at + 1] = bits >> 8;
}

/** Codes of 32 numbers in four or five bits each, the fifth in 4 bytes of their own. */
function putNibbles(bytes: Uint8Array, at: number, fifths: number | undefined, code: (i: number) => number): void {
  for (let i = 0; i < 32; i++) {
    bytes[at + (i & 15)] |= (code(i) & 15) << (i < 16 ? 0 : 4);
    if (fifths !== undefined) bytes[fifths + (i >> 3)] |= (code(i) >> 4) << (i & 7);
  }
}

/** Q4_0 and Q5_0: a scale and codes around 0. */
function symmetric32(x: ArrayLike<number>, from: number, bytes: Uint8Array, at: number, bits: 4 | 5): void {
  const offset = 1 << (bits - 1);
  const half = halfBits(fitScale(x, from, 32, -offset, offset - 1));
  const scale = fromFloat16(half);
  const inverse = scale === 0 ? 0 : 1 / scale;
  putHalf(bytes, at, half);
  putNibbles(bytes, at + (bits === 4 ? 2 : 6), bits === 4 ? undefined : at + 2, (i) => rounded(x[from + i] * inverse, -offset, offset - 1) + offset);
}

/** Q4_1 and Q5_1: a scale and a minimum. */
function affine32(x: ArrayLike<number>, from: number, bytes: Uint8Array, at: number, bits: 4 | 5): void {
  const high = (1 << bits) - 1;
  const fit = fitScaleAndMin(x, from, 32, high, false);
  const [scaleHalf, minHalf] = [halfBits(fit.scale), halfBits(fit.min)];
  const [scale, min] = [fromFloat16(scaleHalf), fromFloat16(minHalf)];
  const inverse = scale === 0 ? 0 : 1 / scale;
  putHalf(bytes, at, scaleHalf);
  putHalf(bytes, at + 2, minHalf);
  putNibbles(bytes, at + (bits === 4 ? 4 : 8), bits === 4 ? undefined : at + 4, (i) => rounded((x[from + i] - min) * inverse, 0, high));
}

/** Q8_0: fine enough that the largest number decides. */
function eightBits(x: ArrayLike<number>, from: number, bytes: Uint8Array, at: number): void {
  let largest = 0;
  for (let i = 0; i < 32; i++) largest = Math.max(largest, Math.abs(x[from + i]));
  const half = halfBits(largest / 127);
  const scale = fromFloat16(half);
  const inverse = scale === 0 ? 0 : 1 / scale;
  putHalf(bytes, at, half);
  for (let i = 0; i < 32; i++) bytes[at + 2 + i] = rounded(x[from + i] * inverse, -128, 127);
}

/** Q4_K and Q5_K: 8 groups of 32; scales and mins in six bits, and a float16 each for all of them. */
function affine256(x: ArrayLike<number>, from: number, bytes: Uint8Array, at: number, bits: 4 | 5): void {
  const high = (1 << bits) - 1;
  const fits = Array.from({ length: 8 }, (_, group) => fitScaleAndMin(x, from + 32 * group, 32, high, true));
  const scaleHalf = halfBits(Math.max(...fits.map(({ scale }) => scale)) / 63);
  const minHalf = halfBits(Math.max(...fits.map(({ min }) => -min)) / 63);
  const [unit, minUnit] = [fromFloat16(scaleHalf), fromFloat16(minHalf)];
  putHalf(bytes, at, scaleHalf);
  putHalf(bytes, at + 2, minHalf);
  const fifths = at + 16;
  const codes = at + (bits === 4 ? 16 : 48);
  for (let group = 0; group < 8; group++) {
    const start = from + 32 * group;
    const s0 = unit === 0 ? 0 : rounded(fits[group].scale / unit, 0, 63);
    const m0 = minUnit === 0 ? 0 : rounded(-fits[group].min / minUnit, 0, 63);
    let [s, m, best] = [s0, m0, Infinity];
    for (let ds = -1; ds <= 1; ds++) {
      for (let dm = -1; dm <= 1; dm++) {
        if (s0 + ds < 0 || s0 + ds > 63 || m0 + dm < 0 || m0 + dm > 63) continue;
        const error = squaredError(x, start, 32, unit * (s0 + ds), -minUnit * (m0 + dm), 0, high);
        if (error < best) [s, m, best] = [s0 + ds, m0 + dm, error];
      }
    }
    putSixBits(bytes, at + 4, group, s, m);
    const [scale, min] = [unit * s, -minUnit * m];
    const inverse = scale === 0 ? 0 : 1 / scale;
    for (let i = 0; i < 32; i++) {
      const code = rounded((x[start + i] - min) * inverse, 0, high);
      bytes[codes + 32 * (group >> 1) + i] |= (code & 15) << (4 * (group & 1));
      if (bits === 5) bytes[fifths + i] |= (code >> 4) << group;
    }
  }
}

/** The reverse of `sixBits` in blocks.ts. */
function putSixBits(bytes: Uint8Array, at: number, group: number, scale: number, min: number): void {
  if (group < 4) {
    bytes[at + group] |= scale;
    bytes[at + 4 + group] |= min;
  } else {
    bytes[at + 4 + group] |= (scale & 15) | ((min & 15) << 4);
    bytes[at + group - 4] |= (scale >> 4) << 6;
    bytes[at + group] |= (min >> 4) << 6;
  }
}

/** Q6_K: 16 groups of 16, scales in eight bits, a float16 for all of them. */
function symmetric256(x: ArrayLike<number>, from: number, bytes: Uint8Array, at: number): void {
  const fits = Array.from({ length: 16 }, (_, group) => fitScale(x, from + 16 * group, 16, -32, 31));
  let extreme = 0;
  for (const scale of fits) if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
  const half = halfBits(extreme / -128);
  const unit = fromFloat16(half);
  putHalf(bytes, at + 208, half);
  for (let group = 0; group < 16; group++) {
    const start = from + 16 * group;
    const s0 = unit === 0 ? 0 : rounded(fits[group] / unit, -128, 127);
    let [s, best] = [s0, Infinity];
    for (let ds = -1; ds <= 1; ds++) {
      if (s0 + ds < -128 || s0 + ds > 127) continue;
      const error = squaredError(x, start, 16, unit * (s0 + ds), 0, -32, 31);
      if (error < best) [s, best] = [s0 + ds, error];
    }
    bytes[at + 192 + group] = s;
    const scale = unit * s;
    const inverse = scale === 0 ? 0 : 1 / scale;
    for (let i = 0; i < 16; i++) {
      const code = rounded(x[start + i] * inverse, -32, 31) + 32;
      const j = 16 * group + i;
      bytes[at + 64 * (j >> 7) + (j & 63)] |= (code & 15) << (4 * ((j >> 6) & 1));
      bytes[at + 128 + 32 * (j >> 7) + (j & 31)] |= (code >> 4) << (2 * ((j >> 5) & 3));
    }
  }
}

/** Writes the block of the numbers from `from` on; `bytes` holds zeros there. */
export function quantizeBlock(format: WrittenFormat, x: ArrayLike<number>, from: number, bytes: Uint8Array, at: number): void {
  switch (format) {
    case "f16":
      return putHalf(bytes, at, toFloat16(x[from]));
    case "bf16":
      return putHalf(bytes, at, toBfloat16(x[from]));
    case "q4_0":
      return symmetric32(x, from, bytes, at, 4);
    case "q4_1":
      return affine32(x, from, bytes, at, 4);
    case "q5_0":
      return symmetric32(x, from, bytes, at, 5);
    case "q5_1":
      return affine32(x, from, bytes, at, 5);
    case "q8_0":
      return eightBits(x, from, bytes, at);
    case "q4_k":
      return affine256(x, from, bytes, at, 4);
    case "q5_k":
      return affine256(x, from, bytes, at, 5);
    case "q6_k":
      return symmetric256(x, from, bytes, at);
  }
}

/** A row of x as blocks. Throws Error on a number that a block of several cannot hold: an infinity, or NaN. */
export function quantizeRow(format: WrittenFormat, x: ArrayLike<number>, from: number, n: number, bytes: Uint8Array, at: number): void {
  const { blockSize, blockBytes } = blockFormats[format];
  for (let block = 0; block * blockSize < n; block++) {
    const start = from + block * blockSize;
    if (blockSize > 1) for (let i = 0; i < blockSize; i++) if (!Number.isFinite(x[start + i])) throw new Error(`${x[start + i]} at position ${block * blockSize + i} of a row cannot be quantised to ${format}.`);
    quantizeBlock(format, x, start, bytes, at + block * blockBytes);
  }
}
