/** @file Tensors from nothing: constants, ramps, random numbers; and the same written over a tensor that is there, which is not recorded. */

import type { Device } from "../device.js";
import type { DType } from "../dtype.js";
import { launch } from "../launch.js";
import type { RandomKey } from "../random.js";
import type { Shape } from "../shape.js";
import { Tensor } from "../tensor.js";

export interface TensorOptions {
  /** By default f32. */
  readonly dtype?: DType;
  readonly device?: Device;
}

/** A tensor of one value. */
export function full(shape: Shape, value: number, { dtype, device }: TensorOptions = {}): Tensor {
  const y = Tensor.empty(shape, dtype, device);
  launch("fill", { y }, { value });
  return y;
}

export function zeros(shape: Shape, options?: TensorOptions): Tensor {
  return full(shape, 0, options);
}

export function ones(shape: Shape, options?: TensorOptions): Tensor {
  return full(shape, 1, options);
}

/** start, start + step, ...: n numbers; by default i32. */
export function arange(n: number, { start = 0, step = 1, dtype = "i32", device }: TensorOptions & { start?: number; step?: number } = {}): Tensor {
  const y = Tensor.empty([n], dtype, device);
  launch("arange", { y }, { start, step });
  return y;
}

/** Uniform in [low, high); element i depends on the key and on i alone. Rounded from f32 where the dtype is another. */
export function rand(shape: Shape, key: RandomKey, { low = 0, high = 1, dtype = "f32", device }: TensorOptions & { low?: number; high?: number } = {}): Tensor {
  const y = Tensor.empty(shape, "f32", device);
  launch("randomUniform", { y }, { low, high, ...key });
  return converted(y, dtype);
}

/** Normal with this mean and standard deviation; element i depends on the key and on i alone. Rounded from f32 where the dtype is another. */
export function randn(shape: Shape, key: RandomKey, { mean = 0, std = 1, dtype = "f32", device }: TensorOptions & { mean?: number; std?: number } = {}): Tensor {
  const y = Tensor.empty(shape, "f32", device);
  launch("randomNormal", { y }, { mean, std, ...key });
  return converted(y, dtype);
}

/** Overwrites x with a number, and returns x. */
export function fill(x: Tensor, value: number): Tensor {
  launch("fill", { y: x }, { value });
  return x;
}

/** Overwrites x (f32) with normal random numbers, as `randn` gives them, and returns x. */
export function fillNormal(x: Tensor, mean: number, std: number, key: RandomKey): Tensor {
  launch("randomNormal", { y: x }, { mean, std, ...key });
  return x;
}

/** Overwrites x (f32) with uniform random numbers in [low, high), as `rand` gives them, and returns x. */
export function fillUniform(x: Tensor, low: number, high: number, key: RandomKey): Tensor {
  launch("randomUniform", { y: x }, { low, high, ...key });
  return x;
}

function converted(x: Tensor, dtype: DType): Tensor {
  if (dtype === "f32") return x;
  const y = Tensor.empty(x.shape, dtype, x.device);
  launch("copy", { x, y }, {});
  x.dispose();
  return y;
}
