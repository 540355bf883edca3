/**
 * @file Ops that move no data: the result is another view on the same memory. Only `reshape` of a layout that cannot be viewed so, and
 * `contiguous`, copy. Their gradients are views as well, except that of `slice` (zeros around the slice) and `expand` (a sum).
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { broadcastShapes, elementsOf, normalizeAxes, normalizeAxis, sameShape, type Shape } from "../shape.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { copied, expanded, filled, narrowed, permuted, reshaped, reshapedStrides, sumTo } from "./support.js";

/** The same elements in row-major order under another shape; one size may be -1, which is found from the others. Throws ShapeError. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const next = complete(x, shape);
  const y = reshaped(x, next);
  return record("reshape", y, [x], [], (dy) => [reshaped(dy, x.shape)], () => {
    const place = x.node?.place?.(x);
    const strides = place && reshapedStrides(place.shape, place.strides, next);
    return strides && place?.view(next, strides);
  });
}

function complete(x: Tensor, shape: Shape): number[] {
  const next = [...shape];
  const open = next.indexOf(-1);
  if (open >= 0) {
    const known = -elementsOf(next);
    next[open] = known > 0 ? x.size / known : 0;
  }
  if (!next.every((size) => Number.isInteger(size) && size >= 0) || elementsOf(next) !== x.size) {
    throw new ShapeError("reshape", [x.shape, shape], "The sizes do not have the same product.");
  }
  return next;
}

/** The axes in another order: axis i of the result is axis `order[i]` of x. Throws RangeError when an axis is missing or named twice. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  const axes = order.map((axis) => normalizeAxis("permute", axis, x.rank));
  if (axes.length !== x.rank || new Set(axes).size !== x.rank) {
    throw new RangeError(`permute: [${order.join(", ")}] does not name each of the ${x.rank} axes once.`);
  }
  const inverse = axes.map((_, i) => axes.indexOf(i));
  return record("permute", permuted(x, axes), [x], [], (dy) => [permuted(dy, inverse)]);
}

/** Two axes exchanged; by default the last two. */
export function transpose(x: Tensor, first = -2, second = -1): Tensor {
  const [a, b] = [normalizeAxis("transpose", first, x.rank), normalizeAxis("transpose", second, x.rank)];
  return permute(x, x.shape.map((_, i) => (i === a ? b : i === b ? a : i)));
}

/** Stretches axes of size 1 (and missing ones in front) to `shape`, without copying. Throws ShapeError where that cannot be. */
export function expand(x: Tensor, shape: Shape): Tensor {
  if (!sameShape(broadcastShapes("expand", x.shape, shape), shape)) throw new ShapeError("expand", [x.shape, shape], "The first does not stretch to the second.");
  return record("expand", expanded(x, shape), [x], [], (dy) => [sumTo(dy, x.shape)]);
}

/** Without these axes, which must have size 1; by default without all of size 1. */
export function squeeze(x: Tensor, axes?: number | readonly number[]): Tensor {
  const gone = axes === undefined ? x.shape.flatMap((size, i) => (size === 1 ? [i] : [])) : normalizeAxes("squeeze", axes, x.rank);
  for (const axis of gone) if (x.shape[axis] !== 1) throw new ShapeError("squeeze", [x.shape], `Axis ${axis} has not size 1.`);
  return reshape(x, x.shape.filter((_, i) => !gone.includes(i)));
}

/** With an axis of size 1 before axis `axis` of x (-1: after the last). */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  return reshape(x, x.shape.toSpliced(normalizeAxis("unsqueeze", axis, x.rank + 1), 0, 1));
}

/**
 * The elements `start`, `start + step`, ... before `end` along an axis. Negative bounds count from the end; bounds beyond it are cut, as in
 * Python. Throws RangeError when the step is not a positive whole number.
 */
export function slice(x: Tensor, axis: number, start: number, end?: number, step = 1): Tensor {
  const at = normalizeAxis("slice", axis, x.rank);
  const size = x.shape[at];
  const bound = (i: number): number => Math.min(Math.max(i < 0 ? i + size : i, 0), size);
  const [from, to] = [bound(start), bound(end ?? size)];
  if (![from, to].every(Number.isInteger) || !(Number.isInteger(step) && step > 0)) {
    throw new RangeError(`slice: from ${start} to ${end} by ${step} is not a range of whole numbers with a positive step.`);
  }
  const length = Math.max(Math.ceil((to - from) / step), 0);
  return record("slice", narrowed(x, at, from, length, step), [x], [], (dy, _needs, [into]) => {
    const dx = into ?? filled(x, 0);
    const part = narrowed(dx, at, from, length, step);
    if (into === undefined) launch("copy", { x: dy, y: part }, {});
    else launch("accumulate", { x: dy, y: part }, { scale: 1 });
    return [dx];
  });
}

/** x itself where its elements lie in row-major order without gaps, else a copy of which that is true. */
export function contiguous(x: Tensor): Tensor {
  return x.isDense ? x : record("contiguous", copied(x), [x], [], (dy) => [dy]);
}
