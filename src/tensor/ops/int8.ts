/**
 * @file Rows of 8-bit integers with a scale each, in which a cache keeps keys and values: a quarter of float32's memory. With s = max |x| / 127
 * over a row, x is kept as round(x / s), which is off by at most s / 2. Not differentiable: for inference.
 */

import { launch } from "../launch.js";
import type { Tensor } from "../tensor.js";
import { checkFloat } from "./support.js";

/** Each row stands for scale (bytes - 128). */
export interface Int8Rows {
  /** u8 [..., n]. */
  readonly bytes: Tensor;
  /** f32 [...]. */
  readonly scale: Tensor;
}

/** Writes the rows of x, float [..., n], into those of `into`, which have its shape. `append` writes them into a larger buffer. */
export function quantizeInt8(x: Tensor, into: Int8Rows): void {
  checkFloat("quantizeInt8", x);
  launch("quantizeInt8", { x, y: into.bytes, scale: into.scale }, {});
}

/** The numbers that the rows stand for, f32 [..., n]. */
export function dequantizeInt8({ bytes, scale }: Int8Rows): Tensor {
  return bytes.cast("f32").sub(128).mul(scale.reshape([...scale.shape, 1]));
}
