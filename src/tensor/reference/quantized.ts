/** @file The kernels on quantised weights. What a block means is in blocks.ts, how blocks are made in quantizers.ts. */

import { blockFormats, isWritten, type BlockFormat } from "../block-formats.js";
import type { BlockLayout } from "../contract.js";
import { dequantizeRow, unpackBlock, type UnpackedBlock } from "./blocks.js";
import { activationFunctions } from "./functions.js";
import { interleaveRows } from "./interleave.js";
import { quantizeRow } from "./quantizers.js";
import type { HostView, Kernel } from "./view.js";
import { floats, optionalFloats, store, values } from "./view.js";

/** The bytes of a matrix of blocks in rows as GGUF has them. */
function plainRows(w: HostView, format: BlockFormat, layout: BlockLayout): Uint8Array {
  const bytes = values(w) as Uint8Array;
  if (layout === "rows") return bytes;
  const plain = bytes.slice();
  interleaveRows(format, layout, plain, w.shape[0], w.shape[1], true);
  return plain;
}

export const dequantize: Kernel<"dequantize"> = ({ w, y }, { format, layout }) => {
  const [rows, n] = y.shape;
  const bytes = plainRows(w, format, layout);
  const result = new Float32Array(rows * n);
  for (let row = 0; row < rows; row++) result.set(dequantizeRow(format, bytes, row * w.shape[1], n), row * n);
  store(y, result);
};

export const quantize: Kernel<"quantize"> = ({ x, w }, { format }) => {
  if (!isWritten(format)) throw new Error(`${format} is only read.`);
  const [rows, n] = x.shape;
  const source = floats(x);
  const result = new Uint8Array(rows * w.shape[1]);
  for (let row = 0; row < rows; row++) quantizeRow(format, source, row * n, n, result, row * w.shape[1]);
  store(w, result);
};

export const interleave: Kernel<"interleave"> = ({ w }, { format, layout, inverse }) => {
  const bytes = (values(w) as Uint8Array).slice();
  interleaveRows(format, layout, bytes, w.shape[0], w.shape[1], inverse !== 0);
  store(w, bytes);
};

const run = 32;
/** A run whose largest number is below this counts as 0, for the reciprocal of its scale would not be finite. */
const negligible = 2 ** -100;

/** A run of activations as whole numbers with one scale; each step rounded to float32, so that every device has the same numbers. */
export function quantizeActivations(x: Float32Array, at: number): { scale: number; codes: Int8Array } {
  let largest = 0;
  for (let i = 0; i < run; i++) {
    if (!Number.isFinite(x[at + i])) return { scale: NaN, codes: new Int8Array(run) };
    largest = Math.max(largest, Math.abs(x[at + i]));
  }
  if (largest < negligible) return { scale: 0, codes: new Int8Array(run) };
  const inverse = Math.fround(127 / largest);
  return { scale: Math.fround(largest / 127), codes: Int8Array.from({ length: run }, (_, i) => roundToEven(Math.fround(x[at + i] * inverse))) };
}

function roundToEven(x: number): number {
  const lower = Math.floor(x);
  const off = x - lower;
  return off < 0.5 || (off === 0.5 && lower % 2 === 0) ? lower : lower + 1;
}

export const quantizedMatmul: Kernel<"quantizedMatmul"> = ({ a, w, bias, c }, { format, layout, activation }) => {
  const sums = productOf(a, w, format, layout);
  const [n] = w.shape;
  const offset = optionalFloats(bias);
  const f = activationFunctions[activation];
  for (let i = 0; i < sums.length; i++) sums[i] = f(sums[i] + (offset?.[i % n] ?? 0));
  store(c, sums);
};

/** All of them, and then in order. */
export const quantizedBest: Kernel<"quantizedBest"> = ({ a, w, ids, scores }, { format, layout, choices }) => {
  const [m, count] = ids.shape;
  const [n] = w.shape;
  const products = Float32Array.from(productOf(a, w, format, layout));
  const best = Array.from({ length: m }, (_, i) => {
    const row = products.subarray(i * n, i * n + Math.min(choices, n));
    return Array.from(row.keys()).sort((x, y) => descending(row[x], row[y]) || x - y).slice(0, count);
  });
  store(ids, best.flat());
  store(scores, best.flatMap((columns, i) => columns.map((column) => products[i * n + column])));
};

/** The larger first; NaN counts as the largest. */
function descending(x: number, y: number): number {
  if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(y)) - Number(Number.isNaN(x));
  return x > y ? -1 : x < y ? 1 : 0;
}

/** a w^T, row after row. */
function productOf(a: HostView, w: HostView, format: BlockFormat, layout: BlockLayout): Float64Array {
  const [m, k] = a.shape;
  const [n, rowBytes] = w.shape;
  const { blockSize, blockBytes } = blockFormats[format];
  const rows = floats(a);
  const bytes = plainRows(w, format, layout);
  const sums = new Float64Array(m * n);
  if (blockSize === 1) {
    for (let j = 0; j < n; j++) {
      const weights = dequantizeRow(format, bytes, j * rowBytes, k);
      for (let i = 0; i < m; i++) for (let p = 0; p < k; p++) sums[i * n + j] += rows[i * k + p] * weights[p];
    }
  } else {
    const runs = Array.from({ length: (m * k) / run }, (_, i) => quantizeActivations(rows, i * run));
    for (let j = 0; j < n; j++) {
      const blocks = Array.from({ length: k / blockSize }, (_, block) => unpackBlock(format, bytes, j * rowBytes + block * blockBytes));
      for (let i = 0; i < m; i++) {
        for (let p = 0; p < k; p += run) {
          const { scale, codes } = runs[(i * k + p) / run];
          sums[i * n + j] += scale * runProduct(blocks[Math.floor(p / blockSize)], p % blockSize, codes);
        }
      }
    }
  }
  return sums;
}

/** The product of whole numbers `codes` with the numbers of a block from `at` on: integer sums, scaled a group at a time. */
function runProduct({ codes: weights, groupSize, scales, mins }: UnpackedBlock, at: number, codes: Int8Array): number {
  let result = 0;
  for (let start = 0; start < run; start += groupSize) {
    let products = 0;
    let sum = 0;
    for (let i = start; i < start + groupSize; i++) {
      products += weights[at + i] * codes[i];
      sum += codes[i];
    }
    const group = (at + start) / groupSize;
    result += scales[group] * products + (mins?.[group] ?? 0) * sum;
  }
  return result;
}

export const quantizedEmbedding: Kernel<"quantizedEmbedding"> = ({ table, ids, y }, { format, layout }) => {
  const [rows, rowBytes] = table.shape;
  const n = y.shape[1];
  const bytes = plainRows(table, format, layout);
  const indices = values(ids);
  const result = new Float32Array(indices.length * n);
  for (let i = 0; i < indices.length; i++) {
    if (indices[i] < 0 || indices[i] >= rows) throw new RangeError(`id ${indices[i]} at position ${i} is outside [0, ${rows}).`);
    result.set(dequantizeRow(format, bytes, indices[i] * rowBytes, n), i * n);
  }
  store(y, result);
};
