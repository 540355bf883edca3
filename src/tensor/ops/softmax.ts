/**
 * @file Softmax, y_i = exp(x_i) / sum of exp(x_j), and its logarithm, along one axis. A row that is -Infinity throughout (everything masked)
 * gives zeros.
 *
 * dx = y (dy - sum(y dy)); for the logarithm dx = dy - exp(y) sum(dy).
 */

import { launch } from "../launch.js";
import { normalizeAxis } from "../shape.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkFloat, emptyLike } from "./support.js";
import { transpose } from "./views.js";

export function softmax(x: Tensor, axis = -1): Tensor {
  return along("softmax", x, axis, 0);
}

export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return along("logSoftmax", x, axis, 1);
}

function along(op: string, x: Tensor, axis: number, log: 0 | 1): Tensor {
  checkFloat(op, x);
  if (normalizeAxis(op, axis, x.rank) !== x.rank - 1) return transpose(along(op, transpose(x, axis, -1), -1, log), axis, -1);
  const y = emptyLike(x);
  launch("softmax", { x, y }, { log });
  return record(op, y, [x], [y], (dy) => {
    const dx = emptyLike(x);
    launch("softmaxBackward", { y, dy, dx }, { log });
    return [dx];
  });
}
