/** @file Rows of 8-bit integers with a scale each, as a cache of keys and values keeps them, and attention over such rows. */

import { denseStrides, elementsOf } from "../shape.js";
import { attention } from "./attention.js";
import type { HostView, Kernel } from "./view.js";
import { floats, placesOf, rowsOf, store, values } from "./view.js";

/** The byte that stands for zero. */
const zero = 128;

export const quantizeInt8: Kernel<"quantizeInt8"> = ({ x, y, scale, at, slots }) => {
  const { rows, n } = rowsOf(x);
  const source = floats(x);
  const bytes = new Uint8Array(rows * n);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let largest = 0;
    // Math.max hands on NaN.
    for (let i = 0; i < n; i++) largest = Math.max(largest, Math.abs(source[row * n + i]));
    scales[row] = largest / 127;
    for (let i = 0; i < n; i++) bytes[row * n + i] = zero + (scales[row] === 0 ? 0 : roundToEven(Math.fround(source[row * n + i] / scales[row])));
  }
  for (const [to, source] of [[y, bytes], [scale, scales]] as const) {
    const parts = at === undefined ? [to] : placesOf({ at, slots }, x.shape[1], to);
    parts.forEach((part, i) => store(part, source.subarray((i * source.length) / parts.length, ((i + 1) * source.length) / parts.length)));
  }
};

export const attentionInt8: Kernel<"attentionInt8"> = ({ k, kScale, v, vScale, out, ...rest }, attributes) => {
  const [batch, queries, heads] = rest.q.shape;
  const logSumExp = dense(new Float32Array(batch * heads * queries), [batch, heads, queries]);
  const attributesOfAll = { ...attributes, p: 0, seedLow: 0, seedHigh: 0, stream: 0 };
  attention({ ...rest, k: restored(k, kScale), v: restored(v, vScale), out, logSumExp }, attributesOfAll);
};

/** The floats that bytes and scales stand for. */
function restored(bytes: HostView, scale: HostView): HostView {
  const { n } = rowsOf(bytes);
  const [source, scales] = [values(bytes), floats(scale)];
  return dense(Float32Array.from({ length: elementsOf(bytes.shape) }, (_, i) => scales[Math.floor(i / n)] * (source[i] - zero)), bytes.shape);
}

function dense(data: Float32Array<ArrayBuffer>, shape: readonly number[]): HostView {
  return { data, dtype: "f32", shape, strides: denseStrides(shape), offset: 0 };
}

function roundToEven(x: number): number {
  const low = Math.floor(x);
  return x - low < 0.5 || (x - low === 0.5 && low % 2 === 0) ? low : low + 1;
}
