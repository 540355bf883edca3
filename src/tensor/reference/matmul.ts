/**
 * @file Matrix products. A fallback device lives or dies by this one, so it alone is written for speed as far as JavaScript goes: a and
 * the transpose of b are copied so that both run along k without gaps, and a block of 2 by 4 results is summed at a time in registers.
 */

import { activationFunctions } from "./functions.js";
import type { HostView, Kernel } from "./view.js";
import { floats, optionalFloats, rowsOf, rowStarts, store } from "./view.js";
import { elementsOf } from "../shape.js";

/** The matrices of a batch: views on the last two axes, in row-major order of the leading ones. */
function matrices({ data, dtype, shape, strides, offset }: HostView): HostView[] {
  const leading = { data, dtype, shape: [...shape.slice(0, -2), 1], strides: [...strides.slice(0, -2), 0], offset };
  return rowStarts(leading).map((start) => ({ data, dtype, shape: shape.slice(-2), strides: strides.slice(-2), offset: start }));
}

function transposed(view: HostView): HostView {
  return { ...view, shape: view.shape.toReversed(), strides: view.strides.toReversed() };
}

/** The matrix's elements row by row, with zero rows added up to a multiple of `multiple`. */
function padded(view: HostView, multiple: number): Float32Array<ArrayBuffer> {
  const [rows, columns] = view.shape;
  const result = new Float32Array(Math.ceil(rows / multiple) * multiple * columns);
  result.set(floats(view));
  return result;
}

/** out[i, j] = sum over p of a[i, p] b[j, p] in float64; a has m rows, padded to a multiple of 2, b has n, padded to 4. */
function multiply(a: Float32Array, b: Float32Array, m: number, n: number, k: number): Float64Array {
  const width = Math.ceil(n / 4) * 4;
  const block = new Float64Array(8);
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i += 2) {
    for (let j = 0; j < width; j += 4) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
      let a0 = i * k, a1 = a0 + k;
      let b0 = j * k, b1 = b0 + k, b2 = b1 + k, b3 = b2 + k;
      for (const end = a0 + k; a0 < end; ) {
        const x = a[a0++], y = a[a1++];
        const u = b[b0++], v = b[b1++], w = b[b2++], z = b[b3++];
        s0 += x * u;
        s1 += x * v;
        s2 += x * w;
        s3 += x * z;
        t0 += y * u;
        t1 += y * v;
        t2 += y * w;
        t3 += y * z;
      }
      block[0] = s0;
      block[1] = s1;
      block[2] = s2;
      block[3] = s3;
      block[4] = t0;
      block[5] = t1;
      block[6] = t2;
      block[7] = t3;
      const columns = Math.min(4, n - j);
      for (let c = 0; c < columns; c++) out[i * n + j + c] = block[c];
      if (i + 1 < m) for (let c = 0; c < columns; c++) out[(i + 1) * n + j + c] = block[4 + c];
    }
  }
  return out;
}

export const matmul: Kernel<"matmul"> = ({ a, b, bias, c, preActivation }, { activation, accumulate }) => {
  const [m, k] = a.shape.slice(-2);
  const n = b.shape[b.shape.length - 1];
  const [as, bs] = [matrices(a), matrices(b)];
  const sums = new Float64Array(elementsOf(c.shape));
  let left = new Float32Array(), right = new Float32Array();
  for (let batch = 0; batch < as.length; batch++) {
    // A matrix that is broadcast over the batch is copied once.
    if (batch === 0 || as[batch].offset !== as[batch - 1].offset) left = padded(as[batch], 2);
    if (batch === 0 || bs[batch].offset !== bs[batch - 1].offset) right = padded(transposed(bs[batch]), 4);
    sums.set(multiply(left, right, m, n, k), batch * m * n);
  }
  const offset = optionalFloats(bias);
  if (offset !== undefined) for (let i = 0; i < sums.length; i++) sums[i] += offset[i % n];
  if (preActivation !== undefined) store(preActivation, sums);
  const f = activationFunctions[activation];
  if (activation !== "none") for (let i = 0; i < sums.length; i++) sums[i] = f(sums[i]);
  if (accumulate !== 0) {
    const before = floats(c);
    for (let i = 0; i < sums.length; i++) sums[i] += before[i];
  }
  store(c, sums);
};

export const columnSum: Kernel<"columnSum"> = ({ x, y }, { accumulate }) => {
  const { rows, n } = rowsOf(x);
  const source = floats(x);
  const sums = accumulate !== 0 ? Float64Array.from(floats(y)) : new Float64Array(n);
  for (let i = 0; i < rows; i++) for (let j = 0; j < n; j++) sums[j] += source[i * n + j];
  store(y, sums);
};
