/** @file Clipping by the global norm (Pascanu et al. 2013): all gradients together are scaled so that their norm is at most a bound. */

import { Tensor, launch, scope, type Device } from "../tensor/index.js";

/** The Euclidean norm of all tensors as one vector, a scalar on the device. */
export function normOf(tensors: readonly Tensor[], device: Device): Tensor {
  return scope(() => {
    const norms = Tensor.empty([tensors.length], "f32", device);
    tensors.forEach((tensor, i) => {
      launch("reduce", { x: tensor, y: norms.view([], [], i) }, { op: "norm2", reducedAxes: tensor.rank, correction: 0 });
    });
    return norms.norm();
  });
}

/**
 * The norm of all gradients, and min(1, bound / norm), both scalars on the device: nothing waits for them. When a gradient is not finite,
 * neither are they.
 */
export function clipScale(parameters: Iterable<Tensor>, bound: number, device: Device): { norm: Tensor; scale: Tensor } {
  return scope(() => {
    const norm = normOf([...parameters].flatMap((parameter) => parameter.grad ?? []), device);
    // x - x is 0 for a number and NaN for an infinity, which minimum would otherwise turn into a scale of 0.
    const scale = norm.add(1e-6).reciprocal().mul(bound).minimum(1).add(norm.sub(norm));
    return { norm, scale };
  });
}
