/** @file Choosing between two tensors, element by element. */

import { launch } from "../launch.js";
import { broadcastShapes } from "../shape.js";
import { record } from "../tape.js";
import { Tensor } from "../tensor.js";
import type { Operand } from "./binary.js";
import { checkDType, dtypeError, emptyLike, expanded, filled, sumTo } from "./support.js";

/**
 * a where `condition` (u8) is not 0, else b; all three broadcast. One of a and b may be a number. The gradient goes to the side chosen;
 * what the other side would have given, be it NaN, does not come through.
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkDType("where", "the condition", condition, "u8");
  const like = a instanceof Tensor ? a : b;
  if (!(like instanceof Tensor)) throw dtypeError("where", "takes at least one tensor beside the condition.");
  const sides = [a, b].map((side) => (side instanceof Tensor ? side : filled(like, side, [])));
  if (sides[0].dtype !== sides[1].dtype) throw dtypeError("where", `the choices are ${sides[0].dtype} and ${sides[1].dtype}.`);
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", sides[0].shape, sides[1].shape));
  const y = emptyLike(like, shape);
  const views = [condition, ...sides].map((operand) => expanded(operand, shape));
  launch("where", { condition: views[0], a: views[1], b: views[2], y }, {});
  for (const view of views) view.dispose();
  const inputs = [a, b].filter((side) => side instanceof Tensor);
  for (const side of sides) if (!inputs.includes(side)) side.dispose();
  return record("where", y, inputs, [condition], (dy, needs) => {
    const gradients = inputs.map((input, i) => {
      if (!needs[i]) return undefined;
      return sumTo(input === a ? where(condition, dy, 0) : where(condition, 0, dy), input.shape);
    });
    // The same tensor on both sides gets everything, once.
    return a === b ? [needs[0] ? sumTo(dy, inputs[0].shape) : undefined] : gradients;
  });
}
