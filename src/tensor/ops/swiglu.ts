/** @file The gated unit of Llama's feed-forward (Shazeer 2020): y = silu(gate) up; dgate = dy up silu'(gate), dup = dy silu(gate). */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { sameShape } from "../shape.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkDType, checkFloat, emptyLike } from "./support.js";

/** gate and up have one shape and dtype; they may be the halves of one projection. Throws ShapeError when they differ. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  checkFloat("swiglu", gate);
  checkDType("swiglu", "up", up, gate.dtype);
  if (!sameShape(gate.shape, up.shape)) throw new ShapeError("swiglu", [gate.shape, up.shape], "Gate and up must have one shape.");
  const y = emptyLike(gate);
  launch("swiglu", { gate, up, y }, {});
  return record("swiglu", y, [gate, up], [gate, up], (dy, _needs, _into, place) => {
    const [dgate, dup] = [place(0) ?? emptyLike(gate), place(1) ?? emptyLike(up)];
    launch("swigluBackward", { gate, up, dy, dgate, dup }, {});
    return [dgate, dup];
  });
}
