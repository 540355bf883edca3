/**
 * @file Reducing axes away. Sums accumulate in f32 or wider whatever the dtype. `axes` are one axis, several, or all where absent; with
 * `keepDims` they stay with size 1.
 */

import { ShapeError } from "../../errors.js";
import type { ReduceOp } from "../contract.js";
import { normalizeAxes, type Shape } from "../shape.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { div, equal, mul, sub } from "./binary.js";
import { cast } from "./cast.js";
import { checkFloat, dtypeError, expanded, reduced, reshaped } from "./support.js";
import { where } from "./where.js";

export interface ReduceOptions {
  readonly keepDims?: boolean;
}
export type Axes = number | readonly number[] | undefined;

/** dx from dy and y (both with the reduced axes at size 1), x (the last two as far as saved), and the number of elements that were made into one. */
type Gradient = (dy: Tensor, y: Tensor, x: Tensor, n: number, axes: readonly number[]) => Tensor;

function reduction(op: ReduceOp, x: Tensor, axes: Axes, { keepDims = false }: ReduceOptions, saves: readonly ("x" | "y")[], gradient: Gradient, correction = 0): Tensor {
  if (x.dtype === "u8") throw dtypeError(op, "does not take u8; cast it first.");
  if (op === "mean" || op === "variance" || op === "norm2") checkFloat(op, x);
  const gone = normalizeAxes(op, axes, x.rank);
  const keptShape = x.shape.map((size, i) => (gone.includes(i) ? 1 : size));
  const n = gone.reduce((count, axis) => count * x.shape[axis], 1);
  if (n === 0 && (op === "max" || op === "min")) throw new ShapeError(op, [x.shape], "There is no largest or smallest of nothing.");
  let y = reduced(op, x, gone, correction);
  if (keepDims) {
    const flat = y;
    y = reshaped(flat, keptShape);
    flat.dispose();
  }
  const saved = saves.map((which) => (which === "x" ? x : y));
  return record(op, y, [x], saved, (dy) => {
    const output = saves.includes("y") ? reshaped(y, keptShape) : y;
    return [gradient(reshaped(dy, keptShape), output, x, n, gone)];
  });
}

const stretch = (dy: Tensor, shape: Shape): Tensor => expanded(dy, shape);

/** i32 too, which wraps around. The sum of nothing is 0. */
export function sum(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return reduction("sum", x, axes, options, [], (dy, _y, { shape }) => stretch(dy, shape));
}

export function mean(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return reduction("mean", x, axes, options, [], (dy, _y, { shape }, n) => stretch(div(dy, n), shape));
}

/** Equal ones share the gradient. */
export function max(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return reduction("max", x, axes, options, ["x", "y"], shareAmongEqual);
}

export function min(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return reduction("min", x, axes, options, ["x", "y"], shareAmongEqual);
}

const shareAmongEqual: Gradient = (dy, y, x, _n, axes) => {
  const isExtreme = equal(x, y);
  const count = sum(cast(isExtreme, "f32"), axes, { keepDims: true });
  return where(isExtreme, cast(div(cast(dy, "f32"), count), x.dtype), 0);
};

/** d prod / dx_i is the product of the others: prod / x_i, save where zeros are, which are counted and left out of the product. */
export function prod(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return reduction("prod", x, axes, options, ["x"], (dy, _y, of, _n, gone) => {
    const isZero = equal(of, 0);
    const rest = where(isZero, 1, of);
    const zeros = sum(cast(isZero, "f32"), gone, { keepDims: true });
    const product = mul(dy, prod(rest, gone, { keepDims: true }));
    const atZero = where(equal(zeros, 1), product, 0);
    const elsewhere = where(equal(zeros, 0), product, 0);
    return where(isZero, atZero, div(elsewhere, rest));
  });
}

/** The mean squared distance from the mean, times n / (n - correction): 1 gives the unbiased estimate, 0 (the default) that of norms. */
export function variance(x: Tensor, axes?: Axes, options: ReduceOptions & { correction?: number } = {}): Tensor {
  const { correction = 0 } = options;
  const gradient: Gradient = (dy, _y, of, n, gone) => mul(mul(dy, 2 / (n - correction)), sub(of, mean(of, gone, { keepDims: true })));
  return reduction("variance", x, axes, options, ["x"], gradient, correction);
}

/** sqrt(sum of squares); its gradient at 0 is taken as 0. */
export function norm(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return reduction("norm2", x, axes, options, ["x", "y"], (dy, y, of) => mul(of, where(equal(y, 0), 0, div(dy, y))));
}

