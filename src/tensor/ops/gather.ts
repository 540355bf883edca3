/**
 * @file Reading at places that an index names, and its transpose, adding there. An index outside its axis is a DeviceError at the next wait,
 * and names the index.
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { elementsOf, normalizeAxis } from "../shape.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { embedding } from "./embedding.js";
import { checkDType, checkFloat, copied, emptyLike, filled } from "./support.js";
import { reshape, transpose } from "./views.js";

function checkIndex(op: string, x: Tensor, index: Tensor, at: number): void {
  checkDType(op, "the index", index, "i32");
  if (index.rank !== x.rank || index.shape.some((size, i) => i !== at && size !== x.shape[i])) {
    throw new ShapeError(op, [x.shape, index.shape], `All sizes but that of axis ${at} must agree.`);
  }
}

/** y[..., j, ...] = x[..., index[..., j, ...], ...] along an axis; index (i32) and y have x's sizes elsewhere. Throws ShapeError. */
export function gather(x: Tensor, index: Tensor, axis = -1): Tensor {
  const at = normalizeAxis("gather", axis, x.rank);
  checkIndex("gather", x, index, at);
  if (at !== x.rank - 1) return transpose(gather(transpose(x, at, -1), transpose(index, at, -1)), at, -1);
  const y = emptyLike(x, index.shape);
  launch("gather", { x, index, y }, {});
  return record("gather", y, [x], [index], (dy, _needs, [into]) => {
    const dx = into ?? filled(x, 0);
    launch("scatterAdd", { x: dy, index, y: dx }, {});
    return [dx];
  });
}

/** A copy of y to which y[..., index[..., j, ...], ...] += x[..., j, ...] was done along an axis, in the order of j. Throws ShapeError. */
export function scatterAdd(y: Tensor, index: Tensor, x: Tensor, axis = -1): Tensor {
  checkFloat("scatterAdd", y);
  checkDType("scatterAdd", "what is added", x, y.dtype);
  const at = normalizeAxis("scatterAdd", axis, y.rank);
  checkIndex("scatterAdd", y, index, at);
  if (x.rank !== index.rank || x.shape.some((size, i) => size !== index.shape[i])) {
    throw new ShapeError("scatterAdd", [index.shape, x.shape], "The index and what is added must have one shape.");
  }
  if (at !== y.rank - 1) return transpose(scatterAdd(transpose(y, at, -1), transpose(index, at, -1), transpose(x, at, -1)), at, -1);
  const sum = copied(y);
  launch("scatterAdd", { x, index, y: sum }, {});
  return record("scatterAdd", sum, [y, x], [index], (dy, needs) => [needs[0] ? dy : undefined, needs[1] ? gather(dy, index) : undefined]);
}

/** The slices of x at these places of an axis: index i32 [m] takes the place of the axis. Throws ShapeError. */
export function indexSelect(x: Tensor, index: Tensor, axis = 0): Tensor {
  checkDType("indexSelect", "the index", index, "i32");
  if (index.rank !== 1) throw new ShapeError("indexSelect", [x.shape, index.shape], "The index must have one axis.");
  const at = normalizeAxis("indexSelect", axis, x.rank);
  if (at !== 0) return transpose(indexSelect(transpose(x, 0, at), index), 0, at);
  const rest = x.shape.slice(1);
  return reshape(embedding(reshape(x, [x.shape[0], elementsOf(rest)]), index), [index.size, ...rest]);
}
