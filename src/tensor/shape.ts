/** @file Arithmetic on shapes, strides and axes. A shape is a list of sizes, outermost first; strides count elements. */

import { ShapeError } from "../errors.js";

export type Shape = readonly number[];

export const maxRank = 8;

export function elementsOf(shape: Shape): number {
  let n = 1;
  for (const size of shape) n *= size;
  return n;
}

/** Row-major strides without gaps. */
export function denseStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

/** Whether the elements lie in row-major order without gaps; axes of length 1 may have any stride. */
export function isDense(shape: Shape, strides: Shape): boolean {
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== stride) return elementsOf(shape) === 0;
    stride *= shape[i];
  }
  return true;
}

/** An axis counted from the front; negative ones count from the end. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  const normal = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normal < 0 || normal >= rank) throw new RangeError(`${op}: axis ${axis} does not exist in a tensor of rank ${rank}.`);
  return normal;
}

/** Axes from the front, ascending; all of them where `axes` is absent. Throws RangeError on one that is absent or named twice. */
export function normalizeAxes(op: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const normal = (typeof axes === "number" ? [axes] : axes).map((axis) => normalizeAxis(op, axis, rank)).sort((a, b) => a - b);
  if (new Set(normal).size !== normal.length) throw new RangeError(`${op}: an axis is named twice in [${String(axes)}].`);
  return normal;
}

/** The common shape of two operands by NumPy's rule: aligned at the end, a size of 1 (or none) stretches. */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const sizeA = a.length >= i ? a[a.length - i] : 1;
    const sizeB = b.length >= i ? b[b.length - i] : 1;
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1) throw new ShapeError(op, [a, b], "The shapes do not broadcast.");
    shape[rank - i] = sizeA === 1 ? sizeB : sizeA;
  }
  return shape;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

export function checkShape(shape: Shape): void {
  if (shape.length > maxRank) throw new RangeError(`A tensor has at most ${maxRank} axes, not ${shape.length}.`);
  for (const size of shape) {
    if (!Number.isInteger(size) || size < 0) throw new RangeError(`[${shape.join(", ")}] is not a shape: sizes are whole numbers from 0.`);
  }
  if (elementsOf(shape) > 0x7fffffff) throw new RangeError(`[${shape.join(", ")}] has more than 2^31 - 1 elements.`);
}
