/** @file Reducing and ordering: along the last axis or axes of x, one row at a time. */

import type { ReduceOp } from "../contract.js";
import { isFloat } from "../dtype.js";
import type { Kernel, Values } from "./view.js";
import { rowsOf, store, values, valuesArray } from "./view.js";
import { elementsOf } from "../shape.js";

type RowReduction = (row: Values, correction: number) => number;

function fold(row: Values, f: (total: number, x: number) => number, initial: number): number {
  let total = initial;
  for (let i = 0; i < row.length; i++) total = f(total, row[i]);
  return total;
}

const sum: RowReduction = (row) => fold(row, (total, x) => total + x, 0);
const max: RowReduction = (row) => fold(row, (total, x) => Math.max(total, x), -Infinity);
const min: RowReduction = (row) => fold(row, (total, x) => Math.min(total, x), Infinity);

const reductions: Readonly<Record<ReduceOp, RowReduction>> = {
  sum,
  mean: (row) => sum(row, 0) / row.length,
  max,
  min,
  prod: (row) => fold(row, (total, x) => total * x, 1),
  variance: (row, correction) => {
    const mean = sum(row, 0) / row.length;
    return fold(row, (total, x) => total + (x - mean) ** 2, 0) / (row.length - correction);
  },
  norm2: (row) => Math.sqrt(fold(row, (total, x) => total + x * x, 0)),
};

/** Sums and products wrap around at 32 bits; a sum of 32-bit integers is exact in float64 until then. */
const integerReductions: Readonly<Partial<Record<ReduceOp, RowReduction>>> = {
  sum,
  max,
  min,
  prod: (row) => fold(row, Math.imul, 1),
};

export const reduce: Kernel<"reduce"> = ({ x, y }, { op, reducedAxes, correction }) => {
  const f = isFloat(x.dtype) ? reductions[op] : integerReductions[op];
  if (f === undefined) throw new Error(`${op} does not take ${x.dtype}.`);
  const source = values(x);
  const n = elementsOf(x.shape.slice(x.shape.length - reducedAxes));
  const result = valuesArray(y.dtype, elementsOf(y.shape));
  for (let row = 0; row < result.length; row++) result[row] = f(source.subarray(row * n, (row + 1) * n), correction);
  store(y, result);
};

/** Whether a comes before b when the largest comes first, NaN being larger than all. */
function larger(a: number, b: number): boolean {
  return a > b || (Number.isNaN(a) && !Number.isNaN(b));
}

function smaller(a: number, b: number): boolean {
  return a < b || (Number.isNaN(a) && !Number.isNaN(b));
}

export const argReduce: Kernel<"argReduce"> = ({ x, y }, { min }) => {
  const better = min !== 0 ? smaller : larger;
  const { rows, n } = rowsOf(x);
  const source = values(x);
  const result = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    let best = 0;
    for (let i = 1; i < n; i++) if (better(source[row * n + i], source[row * n + best])) best = i;
    result[row] = best;
  }
  store(y, result);
};

export const cumsum: Kernel<"cumsum"> = ({ x, y }, { reverse }) => {
  const { rows, n } = rowsOf(x);
  const source = values(x);
  const result = valuesArray(y.dtype, source.length);
  for (let row = 0; row < rows; row++) {
    let total = 0;
    for (let step = 0; step < n; step++) {
      const i = row * n + (reverse !== 0 ? n - 1 - step : step);
      result[i] = total += source[i];
    }
  }
  store(y, result);
};

export const topK: Kernel<"topK"> = ({ x, values: top, indices }, { descending }) => {
  const { rows, n } = rowsOf(x);
  const k = rowsOf(top).n;
  const source = values(x);
  const topValues = valuesArray(top.dtype, rows * k);
  const topIndices = new Int32Array(rows * k);
  for (let row = 0; row < rows; row++) {
    const at = (i: number): number => source[row * n + i];
    const order = (i: number, j: number): number => Number(larger(at(i), at(j))) - Number(larger(at(j), at(i)));
    const sorted = Array.from({ length: n }, (_, i) => i).sort((i, j) => (descending !== 0 ? -order(i, j) : order(i, j)));
    for (let i = 0; i < k; i++) {
      topIndices[row * k + i] = sorted[i];
      topValues[row * k + i] = at(sorted[i]);
    }
  }
  store(top, topValues);
  store(indices, topIndices);
};
