/** @file Softmax and the norms, forward and backward, along the last axis. Gradients are derived in place above each backward kernel. */

import type { HostView, Kernel } from "./view.js";
import { floats, optionalFloats, rowsOf, store } from "./view.js";

/**
 * The largest element of row[from .. to) and the sum of exp(x - max). The two stay apart, for max + log(sum) would lose the logarithm where
 * max is huge. A row of nothing but -Infinity has the sum 0.
 */
export function sumOfExponentials(row: ArrayLike<number>, from = 0, to = row.length): { max: number; sum: number } {
  let max = -Infinity;
  for (let i = from; i < to; i++) max = Math.max(max, row[i]);
  let sum = 0;
  if (max !== -Infinity) for (let i = from; i < to; i++) sum += Math.exp(row[i] - max);
  return { max, sum };
}

export const softmax: Kernel<"softmax"> = ({ x, y }, { log }) => {
  const { rows, n } = rowsOf(x);
  const source = floats(x);
  const result = new Float32Array(source.length);
  for (let start = 0; start < rows * n; start += n) {
    const { max, sum } = sumOfExponentials(source, start, start + n);
    for (let i = start; i < start + n; i++) {
      if (sum === 0) result[i] = log !== 0 ? -Infinity : 0;
      else result[i] = log !== 0 ? source[i] - max - Math.log(sum) : Math.exp(source[i] - max) / sum;
    }
  }
  store(y, result);
};

/** d y_i / d x_j = y_i (1[i = j] - y_j); of the logarithm: 1[i = j] - exp(y_j). */
export const softmaxBackward: Kernel<"softmaxBackward"> = ({ y, dy, dx }, { log }) => {
  const { rows, n } = rowsOf(y);
  const out = floats(y);
  const gradient = floats(dy);
  const result = new Float32Array(out.length);
  for (let start = 0; start < rows * n; start += n) {
    let sum = 0;
    for (let i = start; i < start + n; i++) sum += log !== 0 ? gradient[i] : out[i] * gradient[i];
    for (let i = start; i < start + n; i++) {
      result[i] = log !== 0 ? gradient[i] - Math.exp(out[i]) * sum : out[i] * (gradient[i] - sum);
    }
  }
  store(dx, result);
};

export const layerNorm: Kernel<"layerNorm"> = ({ x, weight, bias, y, mean, rstd }, { eps }) => {
  const { rows, n } = rowsOf(x);
  const source = floats(x);
  const w = optionalFloats(weight);
  const b = optionalFloats(bias);
  const result = new Float32Array(source.length);
  const means = new Float32Array(rows);
  const rstds = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const start = row * n;
    let sum = 0;
    for (let i = 0; i < n; i++) sum += source[start + i];
    const center = sum / n;
    let squares = 0;
    for (let i = 0; i < n; i++) squares += (source[start + i] - center) ** 2;
    const scale = 1 / Math.sqrt(squares / n + eps);
    for (let i = 0; i < n; i++) {
      const normal = (source[start + i] - center) * scale;
      result[start + i] = normal * (w === undefined ? 1 : w[i]) + (b === undefined ? 0 : b[i]);
    }
    means[row] = center;
    rstds[row] = scale;
  }
  store(y, result);
  store(mean, means);
  store(rstd, rstds);
};

/** What a gradient of a parameter starts from: what it holds, or zero. */
function gradientSum(view: HostView | undefined, accumulate: number, n: number): Float64Array {
  return view !== undefined && accumulate !== 0 ? Float64Array.from(floats(view)) : new Float64Array(n);
}

/**
 * With z = (x - mean) rstd and g = weight dy: dx = rstd (g - mean(g) - z mean(g z)), since moving one x_j moves the mean by 1/n and the
 * standard deviation by z_j / n; dweight = sum of dy z and dbias = sum of dy over the rows.
 */
export const layerNormBackward: Kernel<"layerNormBackward"> = (
  { x, weight, mean, rstd, dy, dx, dweight, dbias },
  { accumulateWeight, accumulateBias },
) => {
  const { rows, n } = rowsOf(x);
  const source = floats(x);
  const gradient = floats(dy);
  const w = optionalFloats(weight);
  const means = floats(mean);
  const rstds = floats(rstd);
  const result = new Float32Array(source.length);
  const dw = gradientSum(dweight, accumulateWeight, n);
  const db = gradientSum(dbias, accumulateBias, n);
  const z = new Float64Array(n);
  const g = new Float64Array(n);
  for (let row = 0; row < rows; row++) {
    const start = row * n;
    let sumG = 0;
    let sumGZ = 0;
    for (let i = 0; i < n; i++) {
      z[i] = (source[start + i] - means[row]) * rstds[row];
      g[i] = gradient[start + i] * (w === undefined ? 1 : w[i]);
      sumG += g[i];
      sumGZ += g[i] * z[i];
      dw[i] += gradient[start + i] * z[i];
      db[i] += gradient[start + i];
    }
    for (let i = 0; i < n; i++) result[start + i] = rstds[row] * (g[i] - sumG / n - (z[i] * sumGZ) / n);
  }
  if (dx !== undefined) store(dx, result);
  if (dweight !== undefined) store(dweight, dw);
  if (dbias !== undefined) store(dbias, db);
};

/** An absent weight scales by 1, whatever the offset. */
export const rmsNorm: Kernel<"rmsNorm"> = ({ x, weight, y, rstd }, { eps, offset }) => {
  const { rows, n } = rowsOf(x);
  const source = floats(x);
  const w = optionalFloats(weight);
  const result = new Float32Array(source.length);
  const rstds = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const start = row * n;
    let squares = 0;
    for (let i = 0; i < n; i++) squares += source[start + i] ** 2;
    const scale = 1 / Math.sqrt(squares / n + eps);
    for (let i = 0; i < n; i++) result[start + i] = source[start + i] * scale * (w === undefined ? 1 : w[i] + offset);
    rstds[row] = scale;
  }
  store(y, result);
  store(rstd, rstds);
};

/** With z = x rstd and g = (weight + offset) dy: dx = rstd (g - z mean(g z)); dweight = sum of dy z over the rows. */
export const rmsNormBackward: Kernel<"rmsNormBackward"> = ({ x, weight, rstd, dy, dx, dweight }, { offset, accumulateWeight }) => {
  const { rows, n } = rowsOf(x);
  const source = floats(x);
  const gradient = floats(dy);
  const w = optionalFloats(weight);
  const rstds = floats(rstd);
  const result = new Float32Array(source.length);
  const dw = gradientSum(dweight, accumulateWeight, n);
  const z = new Float64Array(n);
  const g = new Float64Array(n);
  for (let row = 0; row < rows; row++) {
    const start = row * n;
    let sumGZ = 0;
    for (let i = 0; i < n; i++) {
      z[i] = source[start + i] * rstds[row];
      g[i] = gradient[start + i] * (w === undefined ? 1 : w[i] + offset);
      sumGZ += g[i] * z[i];
      dw[i] += gradient[start + i] * z[i];
    }
    for (let i = 0; i < n; i++) result[start + i] = rstds[row] * (g[i] - (z[i] * sumGZ) / n);
  }
  if (dx !== undefined) store(dx, result);
  if (dweight !== undefined) store(dweight, dw);
};
