/** @file Moving and making: copies that convert, constants, ramps, and random numbers. */

import { uniformAt, normalAt } from "../random.js";
import type { HostView, Kernel } from "./view.js";
import { elements, floats, placesOf, store, values, valuesArray } from "./view.js";

/** Truncates toward zero and saturates; NaN becomes 0. */
function toInteger(value: number, dtype: "i32" | "u8"): number {
  const [low, high] = dtype === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 255];
  return Number.isNaN(value) ? 0 : Math.trunc(Math.min(Math.max(value, low), high));
}

/** Stores numbers of any kind, converted to the view's dtype. */
function storeConverted(y: HostView, source: ArrayLike<number>): void {
  const { dtype } = y;
  if (dtype === "f32" || dtype === "bf16") store(y, source);
  else store(y, Array.from(source, (value) => toInteger(value, dtype)));
}

export const copy: Kernel<"copy"> = ({ x, y }) => {
  const source = values(x);
  // Between equal dtypes the numbers pass through unchanged. The slice is for views that overlap.
  if (x.dtype === y.dtype) store(y, source.slice());
  else storeConverted(y, source);
};

export const append: Kernel<"append"> = ({ x, y, ...places }) => {
  placesOf(places, x.shape[1], y).forEach((part, row) => {
    copy({ x: { ...x, shape: x.shape.with(0, 1), offset: x.offset + row * x.strides[0] }, y: part }, {});
  });
};

export const fill: Kernel<"fill"> = ({ y }, { value }) => {
  storeConverted(y, new Float64Array(elements(y)).fill(value));
};

export const arange: Kernel<"arange"> = ({ y }, { start, step }) => {
  storeConverted(y, Float64Array.from({ length: elements(y) }, (_, i) => start + i * step));
};

export const randomUniform: Kernel<"randomUniform"> = ({ y }, { low, high, ...key }) => {
  const result = new Float32Array(elements(y));
  for (let i = 0; i < result.length; i++) result[i] = low + (high - low) * uniformAt(key, i);
  store(y, result);
};

export const randomNormal: Kernel<"randomNormal"> = ({ y }, { mean, std, ...key }) => {
  const result = new Float32Array(elements(y));
  for (let i = 0; i < result.length; i++) result[i] = mean + std * normalAt(key, i);
  store(y, result);
};

export const dropout: Kernel<"dropout"> = ({ x, y }, { p, ...key }) => {
  const source = floats(x);
  const result = valuesArray(y.dtype, source.length);
  for (let i = 0; i < source.length; i++) result[i] = uniformAt(key, i) >= p ? source[i] / (1 - p) : 0;
  store(y, result);
};
