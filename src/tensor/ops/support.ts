/**
 * @file What the ops share: checks that name the op, room for results, and broadcasting with its gradient. Nothing here is recorded.
 *
 * An op frees what it makes and does not return (`dispose()`), since its caller's scope may live for a whole block of the model; in
 * its backward half it need not, because that runs in a scope of its own.
 */

import { HornbookError, ShapeError } from "../../errors.js";
import type { ReduceOp } from "../contract.js";
import { isFloat, type DType } from "../dtype.js";
import { launch } from "../launch.js";
import { currentScope } from "../scope.js";
import { denseStrides, elementsOf, isDense, sameShape, type Shape } from "../shape.js";
import { Tensor } from "../tensor.js";

export function dtypeError(op: string, message: string): HornbookError {
  return new HornbookError(`${op}: ${message}`, { code: "bad-dtype" });
}

/** Throws HornbookError unless all are f32 or bf16. */
export function checkFloat(op: string, ...tensors: readonly (Tensor | undefined)[]): void {
  for (const tensor of tensors) if (tensor !== undefined && !isFloat(tensor.dtype)) throw dtypeError(op, `takes f32 or bf16, not ${tensor.dtype}.`);
}

/** Throws HornbookError unless the operand has this dtype. */
export function checkDType(op: string, name: string, tensor: Tensor | undefined, dtype: DType): void {
  if (tensor !== undefined && tensor.dtype !== dtype) throw dtypeError(op, `${name} must be ${dtype}, not ${tensor.dtype}.`);
}

/** Throws ShapeError unless the operand has exactly this shape. */
export function checkShapeIs(op: string, name: string, tensor: Tensor | undefined, shape: Shape): void {
  if (tensor !== undefined && !sameShape(tensor.shape, shape)) throw new ShapeError(op, [tensor.shape, shape], `${name} has the first shape, but needs the second.`);
}

/** Throws ShapeError when x has fewer axes. */
export function checkRank(op: string, x: Tensor, least: number): void {
  if (x.rank < least) throw new ShapeError(op, [x.shape], `It takes at least ${least} ax${least === 1 ? "is" : "es"}.`);
}

/** Room for a result beside `x`. */
export function emptyLike(x: Tensor, shape: Shape = x.shape, dtype: DType = x.dtype): Tensor {
  return Tensor.empty(shape, dtype, x.device);
}

export function filled(x: Tensor, value: number, shape: Shape = x.shape, dtype: DType = x.dtype): Tensor {
  const y = emptyLike(x, shape, dtype);
  launch("fill", { y }, { value });
  return y;
}

/** A copy in row-major order, of this dtype. */
export function copied(x: Tensor, dtype: DType = x.dtype): Tensor {
  const y = emptyLike(x, x.shape, dtype);
  launch("copy", { x, y }, {});
  return y;
}

const dtypeOrder: readonly DType[] = ["u8", "i32", "bf16", "f32"];

/**
 * Lets y's memory rest between the forward and the backward pass: whoever then asks for it has `fill` write the same anew. What `fill` reads
 * must be saved by the node of y, which runs after all those that read y.
 */
export function remakeable(y: Tensor, fill: (y: Tensor) => void): void {
  const { storage, dtype, shape, strides, offset } = y;
  storage.makeableBy(() => {
    const again = new Tensor(storage, dtype, shape, strides, offset);
    fill(again);
    again.dispose();
  });
  currentScope()?.remakeable.add(storage);
}

/** The dtype in which two operands meet: f32 over bf16 over i32 over u8. */
export function promoted(a: DType, b: DType): DType {
  return dtypeOrder.indexOf(a) > dtypeOrder.indexOf(b) ? a : b;
}

// ---- views: always a new handle, so that the caller can dispose of it --------------------------------------------------------

/** The strides under which the elements, in the same order, have another shape; undefined where that takes a copy. */
export function reshapedStrides(shape: Shape, strides: Shape, next: Shape): number[] | undefined {
  if (isDense(shape, strides)) return denseStrides(next);
  const result = new Array<number>(next.length);
  // Groups of axes with the same number of elements on both sides; within a group the old axes must lie without gaps.
  let from = 0;
  let to = 0;
  while (from < shape.length || to < next.length) {
    const [firstFrom, firstTo] = [from, to];
    let sizeFrom = from < shape.length ? shape[from++] : 1;
    let sizeTo = to < next.length ? next[to++] : 1;
    while (sizeFrom !== sizeTo) {
      if (sizeFrom < sizeTo) sizeFrom *= shape[from++];
      else sizeTo *= next[to++];
    }
    let stride = 0;
    let expected = -1;
    for (let i = from - 1; i >= firstFrom; i--) {
      if (shape[i] === 1) continue;
      if (expected < 0) stride = strides[i];
      else if (strides[i] !== expected) return undefined;
      expected = strides[i] * shape[i];
    }
    for (let i = to - 1; i >= firstTo; i--) {
      result[i] = stride;
      stride *= next[i];
    }
  }
  return result;
}

/** The same elements in another shape: a view where the layout allows it, else a copy. */
export function reshaped(x: Tensor, shape: Shape): Tensor {
  const strides = reshapedStrides(x.shape, x.strides, shape);
  if (strides !== undefined) return x.view(shape, strides);
  const dense = copied(x);
  const view = dense.view(shape, denseStrides(shape));
  dense.dispose();
  return view;
}

/** As a matrix whose columns are the last axis. */
export function asRows(x: Tensor): Tensor {
  const n = x.shape[x.rank - 1];
  return reshaped(x, [n === 0 ? 0 : x.size / n, n]);
}

export function permuted(x: Tensor, order: readonly number[]): Tensor {
  return x.view(order.map((axis) => x.shape[axis]), order.map((axis) => x.strides[axis]));
}

/** The last two axes exchanged. */
export function transposed(x: Tensor): Tensor {
  const shape = [...x.shape];
  const strides = [...x.strides];
  const n = shape.length;
  [shape[n - 2], shape[n - 1]] = [shape[n - 1], shape[n - 2]];
  [strides[n - 2], strides[n - 1]] = [strides[n - 1], strides[n - 2]];
  return x.view(shape, strides);
}

/** Stretched to a shape that it broadcasts to, by strides of 0. */
export function expanded(x: Tensor, shape: Shape): Tensor {
  const missing = shape.length - x.rank;
  return x.view(shape, shape.map((size, i) => (i < missing || (x.shape[i - missing] === 1 && size !== 1) ? 0 : x.strides[i - missing])));
}

/**
 * A number for each row of a batch: i32 [batch], or [] for one that all rows share; as [batch], itself or a view that the caller disposes of. Throws
 * HornbookError on another dtype, ShapeError on another shape.
 */
export function rowNumbers(op: string, name: string, x: Tensor | undefined, batch: number): Tensor | undefined {
  if (x === undefined) return undefined;
  checkDType(op, name, x, "i32");
  if (x.rank === 0) return expanded(x, [batch]);
  checkShapeIs(op, name, x, [batch]);
  return x;
}

/** A part along one axis. */
export function narrowed(x: Tensor, axis: number, start: number, length: number, step = 1): Tensor {
  const shape = x.shape.with(axis, length);
  const strides = step === 1 ? x.strides : x.strides.with(axis, x.strides[axis] * step);
  return x.view(shape, strides, elementsOf(shape) === 0 ? x.offset : x.offset + start * x.strides[axis]);
}

// ---- reducing ---------------------------------------------------------------------------------------------------------------

/** Reduces these axes (ascending) away. */
export function reduced(op: ReduceOp, x: Tensor, axes: readonly number[], correction = 0): Tensor {
  const kept: number[] = [];
  for (let axis = 0; axis < x.rank; axis++) if (!axes.includes(axis)) kept.push(axis);
  const view = permuted(x, [...kept, ...axes]);
  const y = emptyLike(x, kept.map((axis) => x.shape[axis]));
  launch("reduce", { x: view, y }, { op, reducedAxes: axes.length, correction });
  view.dispose();
  return y;
}

/** The gradient of broadcasting from `shape`: the sum over what was stretched. `gradient` itself where nothing was. */
export function sumTo(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const missing = gradient.rank - shape.length;
  const axes: number[] = [];
  for (let axis = 0; axis < gradient.rank; axis++) {
    if (axis < missing || (shape[axis - missing] === 1 && gradient.shape[axis] !== 1)) axes.push(axis);
  }
  return reshaped(reduced("sum", gradient, axes), shape);
}
