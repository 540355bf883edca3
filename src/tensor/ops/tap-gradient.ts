/** @file Listening to a gradient: y = x, and in the backward pass dx is what the listener makes of dy. */

import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";

/** x itself, whose gradient `listen` sees during the backward pass; what it returns (of the same shape and dtype) takes the gradient's place. */
export function tapGradient(x: Tensor, listen: (gradient: Tensor) => Tensor | undefined): Tensor {
  const y = x.view(x.shape, x.strides);
  return record("tapGradient", y, [x], [], (dy) => [listen(dy) ?? dy]);
}
