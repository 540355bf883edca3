/**
 * @file Rotary position embedding (Su et al. 2021): pairs of coordinates turn by an angle that grows with the position, so that the product
 * of a query and a key depends on their distance alone. A rotation's transpose turns back, which is the backward pass.
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkDType, checkFloat, emptyLike, expanded } from "./support.js";

/**
 * x [batch, time, heads, d]; cos and sin f32 [positions, r] with 2r <= d; positions i32 [batch, time], [1, time] or [time]. Pairs are
 * (i, i + r), or (2i, 2i + 1) when `interleaved`; what lies beyond 2r is copied. Throws ShapeError when these do not fit; a position outside
 * the table is a DeviceError at the next wait.
 */
export function rope(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor, { interleaved = false }: { interleaved?: boolean } = {}): Tensor {
  checkFloat("rope", x);
  checkDType("rope", "cos", cos, "f32");
  checkDType("rope", "sin", sin, "f32");
  checkDType("rope", "positions", positions, "i32");
  if (x.rank !== 4 || cos.rank !== 2 || sin.rank !== 2 || cos.shape[0] !== sin.shape[0] || cos.shape[1] !== sin.shape[1] || 2 * cos.shape[1] > x.shape[3]) {
    throw new ShapeError("rope", [x.shape, cos.shape, sin.shape], "x must be [batch, time, heads, d], cos and sin [positions, r] with 2r up to d.");
  }
  const [batch, time] = x.shape;
  const { shape } = positions;
  if (positions.rank > 2 || positions.rank < 1 || shape[shape.length - 1] !== time || (shape.length === 2 && shape[0] !== batch && shape[0] !== 1)) {
    throw new ShapeError("rope", [x.shape, shape], "positions must be [batch, time] or [time].");
  }
  const at = expanded(positions, [batch, time]);
  const turn = (of: Tensor, y: Tensor, inverse: 0 | 1): Tensor => {
    launch("rope", { x: of, cos, sin, positions: at, y }, { interleaved: interleaved ? 1 : 0, inverse });
    return y;
  };
  const y = record("rope", turn(x, emptyLike(x), 0), [x], [cos, sin, at], (dy, _needs, _into, place) => [turn(dy, place(0) ?? emptyLike(x), 1)]);
  at.dispose();
  return y;
}
