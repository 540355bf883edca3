/**
 * @file Matrix products: y = a b, with da = dy b^T and db = a^T dy. Transposition is a view that the kernel reads as it lies; nothing is
 * copied. Leading axes are a batch and broadcast.
 */

import { ShapeError } from "../../errors.js";
import type { Activation } from "../contract.js";
import { launch } from "../launch.js";
import { broadcastShapes, sameShape } from "../shape.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { cast } from "./cast.js";
import { checkFloat, emptyLike, expanded, reshapedStrides, sumTo, transposed } from "./support.js";
import { reshape, squeeze, unsqueeze } from "./views.js";

/**
 * a [..., m, k] times b [..., k, n] gives [..., m, n]. A vector counts as a row on the left and as a column on the right, and the axis goes
 * again afterwards. f32 with bf16 gives f32. Throws ShapeError when the inner sizes differ or the batches do not broadcast.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkFloat("matmul", a, b);
  if (a.rank === 0 || b.rank === 0) throw new ShapeError("matmul", [a.shape, b.shape], "A single number is not a matrix.");
  if (a.rank === 1) return squeeze(matmul(unsqueeze(a, 0), b), b.rank === 1 ? 0 : -2);
  if (b.rank === 1) return squeeze(matmul(a, unsqueeze(b, -1)), -1);
  if (a.dtype !== b.dtype) return matmul(cast(a, "f32"), cast(b, "f32"));
  const [m, k, n] = [a.shape[a.rank - 2], a.shape[a.rank - 1], b.shape[b.rank - 1]];
  if (b.shape[b.rank - 2] !== k) throw new ShapeError("matmul", [a.shape, b.shape], `The inner sizes ${k} and ${b.shape[b.rank - 2]} differ.`);
  if (b.rank === 2 && a.rank > 2 && a.size > 0 && reshapedStrides(a.shape, a.strides, [a.size / k, k]) !== undefined) {
    // One large product instead of a batch, whose gradient for b would have to be summed over the batch.
    return reshape(matmul(reshape(a, [-1, k]), b), [...a.shape.slice(0, -1), n]);
  }
  const batch = broadcastShapes("matmul", a.shape.slice(0, -2), b.shape.slice(0, -2));
  const y = emptyLike(a, [...batch, m, n]);
  multiply(a, b, y);
  return record("matmul", y, [a, b], [a, b], (dy, needs, into) => {
    // A product of one operand and dy in the shape of the other: straight into its gradient where it was not stretched.
    const gradient = (left: Tensor, right: Tensor, input: Tensor, sum: Tensor | undefined): Tensor => {
      const shape = [...batch, ...input.shape.slice(-2)];
      const fits = sum !== undefined && sameShape(shape, input.shape);
      const dx = fits ? sum : emptyLike(input, shape);
      multiply(left, right, dx, fits);
      return sumTo(dx, input.shape);
    };
    return [
      needs[0] ? gradient(dy, transposed(b), a, into[0]) : undefined,
      needs[1] ? gradient(transposed(a), dy, b, into[1]) : undefined,
    ];
  });
}

/** c = a b, or c += a b; a and b stretch to the batch of c, and the rest are the kernel's extras. Not recorded. */
export function multiply(
  a: Tensor,
  b: Tensor,
  c: Tensor,
  accumulate = false,
  { bias, activation = "none", preActivation }: { bias?: Tensor | undefined; activation?: Activation; preActivation?: Tensor | undefined } = {},
): void {
  const attributes = { activation, accumulate: accumulate ? 1 : 0 };
  if (c.rank === 2) {
    launch("matmul", { a, b, bias, c, preActivation }, attributes);
    return;
  }
  const batch = c.shape.slice(0, -2);
  const [left, right] = [a, b].map((operand) => expanded(operand, [...batch, ...operand.shape.slice(-2)]));
  launch("matmul", { a: left, b: right, bias, c, preActivation }, attributes);
  left.dispose();
  right.dispose();
}

