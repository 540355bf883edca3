/**
 * @file What every optimizer offers. It owns its state tensors, named `<kind>.<parameter>`, which a checkpoint saves beside the weights; the
 * learning rate and the factor that clips the gradient come with each step, so an optimizer has no clock but the number of its steps.
 */

import { splitMaster, type Tensor } from "../../tensor/index.js";

export interface Update {
  /** The learning rate of this step. */
  readonly rate: number;
  /** A scalar that multiplies every gradient first; when it is not finite the step changes nothing. */
  readonly gradScale?: Tensor;
}

export interface Optimizer {
  /** Steps taken. Set when a checkpoint is loaded. */
  steps: number;
  /** Updates every parameter that has a gradient, in place. Only queues work. */
  step(update: Update): void;
  /** The state, by name; written in place by whoever loads a checkpoint. */
  state(): Map<string, Tensor>;
  dispose(): void;
}

export type NamedParameters = ReadonlyMap<string, Tensor>;

/** Zeroed f32 tensors like the parameters, named `<kind>.<parameter>`. */
export function stateLike(parameters: NamedParameters, kind: string, zeros: (like: Tensor) => Tensor): Map<string, Tensor> {
  return new Map([...parameters].map(([name, parameter]) => [`${kind}.${name}`, zeros(parameter)]));
}

/** Puts every matrix into halves, as training in bf16 has them (see `tensor/ops/master.ts`); norms and biases are computed with in f32. */
export function splitMatrices(parameters: NamedParameters): void {
  for (const parameter of parameters.values()) if (parameter.rank === 2) splitMaster(parameter);
}
