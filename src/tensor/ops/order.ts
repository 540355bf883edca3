/**
 * @file What depends on the order of elements along an axis: the largest and smallest, sorting, running sums. NaN counts as the largest (for
 * argmin: as the smallest), and the first of equals comes first.
 */

import { ShapeError } from "../../errors.js";
import { isFloat } from "../dtype.js";
import { launch } from "../launch.js";
import { normalizeAxis } from "../shape.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { dtypeError, emptyLike, filled } from "./support.js";
import type { ReduceOptions } from "./reduce.js";
import { transpose, unsqueeze } from "./views.js";

/** The index (i32) of the largest element along an axis; the axis goes, unless `keepDims`. Throws ShapeError on an empty axis. */
export function argmax(x: Tensor, axis = -1, options: ReduceOptions = {}): Tensor {
  return argReduce("argmax", x, axis, options, 0);
}

/** The index (i32) of the smallest element along an axis. */
export function argmin(x: Tensor, axis = -1, options: ReduceOptions = {}): Tensor {
  return argReduce("argmin", x, axis, options, 1);
}

function argReduce(op: string, x: Tensor, axis: number, { keepDims = false }: ReduceOptions, min: 0 | 1): Tensor {
  const at = normalizeAxis(op, axis, x.rank);
  if (x.shape[at] === 0) throw new ShapeError(op, [x.shape], `Axis ${at} is empty.`);
  const last = x.view(x.shape.toSpliced(at, 1).concat(x.shape[at]), x.strides.toSpliced(at, 1).concat(x.strides[at]));
  const y = emptyLike(x, last.shape.slice(0, -1), "i32");
  launch("argReduce", { x: last, y }, { min });
  last.dispose();
  return keepDims ? unsqueeze(y, at) : y;
}

/** Values, and their indices (i32) along the axis. */
export interface Sorted {
  readonly values: Tensor;
  readonly indices: Tensor;
}

/** The k first along an axis in sorted order, the largest first unless `descending` is false. Throws RangeError unless 0 <= k <= size. */
export function topK(x: Tensor, k: number, axis = -1, { descending = true }: { descending?: boolean } = {}): Sorted {
  const at = normalizeAxis("topK", axis, x.rank);
  if (!Number.isInteger(k) || k < 0 || k > x.shape[at]) throw new RangeError(`topK: k is a whole number from 0 to ${x.shape[at]}, not ${k}.`);
  if (at !== x.rank - 1) {
    const { values, indices } = topK(transpose(x, at, -1), k, -1, { descending });
    return { values: transpose(values, at, -1), indices: transpose(indices, at, -1) };
  }
  const shape = x.shape.with(at, k);
  const [values, indices] = [emptyLike(x, shape), emptyLike(x, shape, "i32")];
  launch("topK", { x, values, indices }, { descending: descending ? 1 : 0 });
  if (isFloat(x.dtype)) {
    record("topK", values, [x], [indices], (dy, _needs, [into]) => {
      const dx = into ?? filled(x, 0);
      launch("scatterAdd", { x: dy, index: indices, y: dx }, {});
      return [dx];
    });
  }
  return { values, indices };
}

/** All along an axis in ascending order, or `descending`. */
export function sort(x: Tensor, axis = -1, { descending = false }: { descending?: boolean } = {}): Sorted {
  return topK(x, x.shape[normalizeAxis("sort", axis, x.rank)], axis, { descending });
}

/** Running sums along an axis. The gradient is the running sum of dy from the end. */
export function cumsum(x: Tensor, axis = -1): Tensor {
  if (x.dtype === "u8") throw dtypeError("cumsum", "does not take u8; cast it first.");
  const at = normalizeAxis("cumsum", axis, x.rank);
  if (at !== x.rank - 1) return transpose(cumsum(transpose(x, at, -1)), at, -1);
  const running = (of: Tensor, reverse: 0 | 1): Tensor => {
    const y = emptyLike(of);
    launch("cumsum", { x: of, y }, { reverse });
    return y;
  };
  return record("cumsum", running(x, 0), [x], [], (dy) => [running(dy, 1)]);
}
