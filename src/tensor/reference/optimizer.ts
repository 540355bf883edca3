/** @file Optimizer steps, in place on float32 master weights, with an optional bf16 shadow that the forward pass reads. */

import type { Kernel } from "./view.js";
import { elements, floats, scalar, store } from "./view.js";

export const adamw: Kernel<"adamw"> = (
  { w, gradient, m, v, gradScale, shadow },
  { rate, beta1, beta2, eps, weightDecay, correction1, correction2 },
) => {
  const scale = scalar(gradScale, 1);
  if (!Number.isFinite(scale)) return;
  const [weight, g, first, second] = [floats(w).slice(), floats(gradient), floats(m).slice(), floats(v).slice()];
  for (let i = 0; i < elements(w); i++) {
    const slope = scale * g[i];
    const mean = beta1 * first[i] + (1 - beta1) * slope;
    const square = beta2 * second[i] + (1 - beta2) * slope * slope;
    weight[i] -= rate * (weightDecay * weight[i] + (mean * correction1) / (Math.sqrt(square * correction2) + eps));
    first[i] = mean;
    second[i] = square;
  }
  store(w, weight);
  store(m, first);
  store(v, second);
  if (shadow !== undefined) store(shadow, weight);
};

/** Without m the momentum has nothing to act on: the step is the gradient itself, Nesterov or not. */
export const sgd: Kernel<"sgd"> = ({ w, gradient, m, gradScale, shadow }, { rate, momentum, nesterov, weightDecay }) => {
  const scale = scalar(gradScale, 1);
  if (!Number.isFinite(scale)) return;
  const [weight, g] = [floats(w).slice(), floats(gradient)];
  const velocity = m === undefined ? undefined : floats(m).slice();
  for (let i = 0; i < elements(w); i++) {
    let step = scale * g[i];
    if (velocity !== undefined) {
      const moved = momentum * velocity[i] + step;
      velocity[i] = moved;
      step = nesterov !== 0 ? step + momentum * moved : moved;
    }
    weight[i] -= rate * (weightDecay * weight[i] + step);
  }
  store(w, weight);
  if (m !== undefined && velocity !== undefined) store(m, velocity);
  if (shadow !== undefined) store(shadow, weight);
};
