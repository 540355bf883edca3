/**
 * @file Products with quantised weights, for the ops that take either kind: y = activation(x W^T + bias), segment by segment of W, and rows of a
 * quantised table, and the best of a product. The gradient by x goes through the de-quantised weight; there is none by the weight.
 */

import { ShapeError } from "../../errors.js";
import type { Activation } from "../contract.js";
import { launch } from "../launch.js";
import type { QuantizedTensor } from "../quantized.js";
import type { Tensor } from "../tensor.js";
import type { Sorted } from "./order.js";
import { checkDType, checkFloat, checkShapeIs, emptyLike, narrowed } from "./support.js";

/** Throws HornbookError or ShapeError unless x [..., in] and bias [out] fit the weight [out, in]. */
export function checkQuantized(op: string, x: Tensor, weight: QuantizedTensor, bias: Tensor | undefined): void {
  weight.checkAlive();
  checkFloat(op, x);
  checkDType(op, "the bias", bias, "f32");
  if (x.rank === 0 || x.shape[x.rank - 1] !== weight.shape[1]) throw new ShapeError(op, [x.shape, weight.shape], "x must be [..., in] and the weight [out, in].");
  checkShapeIs(op, "the bias", bias, [weight.shape[0]]);
}

/** y [m, out] = activation(x [m, in] W^T + bias). Not recorded. */
export function multiplyQuantized(x: Tensor, weight: QuantizedTensor, y: Tensor, bias?: Tensor, activation: Activation = "none"): void {
  let column = 0;
  for (const { format, layout, blocks } of weight.segments) {
    const rows = blocks.shape[0];
    const part = narrowed(y, 1, column, rows);
    const offset = bias && narrowed(bias, 0, column, rows);
    launch("quantizedMatmul", { a: x, w: blocks, bias: offset, c: part }, { format, layout, activation });
    part.dispose();
    offset?.dispose();
    column += rows;
  }
}

/** The most that are looked for without the rest, in a list a thread: more are as soon sorted. */
export const mostBest = 256;

/** The k largest of each row of x [m, in] W[0 .. choices]^T without the rest; undefined for more than `mostBest`, and where the weight has several segments. Not recorded. */
export function bestOfQuantized(x: Tensor, weight: QuantizedTensor, k: number, choices: number): Sorted | undefined {
  if (weight.segments.length > 1 || k > mostBest) return undefined;
  const [{ format, layout, blocks }] = weight.segments;
  const shape = [x.shape[0], k];
  const [values, indices] = [emptyLike(x, shape, "f32"), emptyLike(x, shape, "i32")];
  launch("quantizedBest", { a: x, w: blocks, ids: indices, scores: values }, { format, layout, choices });
  return { values, indices };
}

/** y [m, in] = the rows of the table with these ids [m]. Throws ShapeError for a table of several segments. */
export function embedQuantized(table: QuantizedTensor, ids: Tensor, y: Tensor): void {
  table.checkAlive();
  const [segment, ...others] = table.segments;
  if (others.length > 0) throw new ShapeError("embedding", [table.shape, ids.shape], "A quantised table has one format throughout.");
  launch("quantizedEmbedding", { table: segment.blocks, ids, y }, { format: segment.format, layout: segment.layout });
}
