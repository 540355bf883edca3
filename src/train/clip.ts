/** @file Clipping by the global norm (Pascanu et al. 2013): all gradients together are scaled so that their norm is at most a bound. */

import { Tensor, launch, scope, type Device } from "../tensor/index.js";

/**
 * The Euclidean norm of all gradients as one vector, and min(1, bound / norm), both scalars on the device: nothing waits for them. Neither is
 * finite when a gradient is not. With a `factor`, f32 [], the norm is that of the gradients times the factor, and the scale includes it.
 */
export function clipScale(parameters: Iterable<Tensor>, bound: number, device: Device, factor?: Tensor): { norm: Tensor; scale: Tensor } {
  return scope(() => {
    const gradients = [...parameters].flatMap((parameter) => parameter.grad ?? []);
    const norms = Tensor.empty([gradients.length], "f32", device);
    gradients.forEach((gradient, i) => {
      const slot = norms.view([], [], i);
      launch("reduce", { x: gradient, y: slot }, { op: "norm2", reducedAxes: gradient.rank, correction: 0 });
    });
    const norm = factor === undefined ? norms.norm() : norms.norm().mul(factor);
    // x - x is 0 for a number and NaN for an infinity, which minimum would otherwise turn into a scale of 0.
    const scale = norm.add(1e-6).reciprocal().mul(bound).minimum(1).add(norm.sub(norm));
    return { norm, scale: factor === undefined ? scale : scale.mul(factor) };
  });
}
