/** @file Choosing between two tensors, element by element. */

import { launch } from "../launch.js";
import { broadcastShapes } from "../shape.js";
import { record } from "../tape.js";
import { Tensor } from "../tensor.js";
import { notEqual, type Operand } from "./binary.js";
import { cast } from "./cast.js";
import { checkDType, dtypeError, emptyLike, expanded, filled, promoted, sumTo } from "./support.js";

/**
 * a where `condition` (u8) is not 0, else b; all three broadcast, and of two dtypes the wider wins. One of a and b may be a number, in the
 * other's dtype. The gradient goes to the side chosen, and 0 to the other, where 0 times an infinite slope is still NaN: keep the
 * arguments of log and sqrt off 0 on both sides.
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkDType("where", "the condition", condition, "u8");
  const tensors = [a, b].filter((side) => side instanceof Tensor);
  if (tensors.length === 0) throw dtypeError("where", "takes at least one tensor beside the condition.");
  const dtype = tensors.map((tensor) => tensor.dtype).reduce(promoted);
  const sides = [a, b].map((side) => (side instanceof Tensor ? cast(side, dtype) : filled(condition, side, [], dtype)));
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", sides[0].shape, sides[1].shape));
  const y = emptyLike(condition, shape, dtype);
  const views = [condition, ...sides].map((operand) => expanded(operand, shape));
  launch("where", { condition: views[0], a: views[1], b: views[2], y }, {});
  for (const view of views) view.dispose();
  record("where", y, sides, [condition], (dy, needs) => [
    needs[0] ? sumTo(where(condition, dy, 0), sides[0].shape) : undefined,
    needs[1] ? sumTo(where(condition, 0, dy), sides[1].shape) : undefined,
  ]);
  for (const side of sides) if (side !== a && side !== b) side.dispose();
  return y;
}

/** x with `value` where the mask (of any dtype, broadcast to x) is not 0. No gradient flows there. */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  const condition = mask.dtype === "u8" ? mask : notEqual(mask, 0);
  const y = where(condition, value, x);
  if (condition !== mask) condition.dispose();
  return y;
}
