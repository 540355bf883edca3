/**
 * @file AdamW (Loshchilov & Hutter 2019, algorithm 2): each weight moves by its mean gradient over the root of its mean squared gradient,
 * and decays apart from that, if it is one that decays (a matrix, not a gain or bias).
 */

import { Tensor, joinMaster, launch, updateMaster } from "../../tensor/index.js";
import { roleOf } from "../../model/index.js";
import { stateLike, type NamedParameters, type Optimizer, type Update } from "./optimizer.js";

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

export class AdamW implements Optimizer {
  steps = 0;
  readonly #m: Map<string, Tensor>;
  readonly #v: Map<string, Tensor>;
  /** Each parameter with its own. */
  readonly #states: readonly { readonly parameter: Tensor; readonly decays: boolean; readonly m: Tensor; readonly v: Tensor }[];

  constructor(
    private readonly parameters: NamedParameters,
    private readonly options: AdamWOptions,
  ) {
    const zeros = (like: Tensor) => Tensor.zeros(like.shape, { device: like.device });
    this.#m = stateLike(parameters, "m", zeros);
    this.#v = stateLike(parameters, "v", zeros);
    this.#states = Array.from(parameters, ([name, parameter]) => {
      const decays = roleOf(parameter)?.decays === true;
      return { parameter, decays, m: this.#m.get(`m.${name}`)!, v: this.#v.get(`v.${name}`)! };
    });
  }

  step({ rate, gradScale }: Update): void {
    this.steps++;
    const { beta1, beta2, eps, weightDecay } = this.options;
    const correction1 = 1 / (1 - beta1 ** this.steps);
    const correction2 = 1 / (1 - beta2 ** this.steps);
    const undecayed = { rate, beta1, beta2, eps, weightDecay: 0, correction1, correction2 };
    const decayed = { ...undecayed, weightDecay };
    for (const { parameter, decays, m, v } of this.#states) {
      const { grad: gradient } = parameter;
      if (gradient === undefined) continue;
      // Named one by one: what is made by a spread V8 puts among its old objects, and that was most of what its heap grew by in a step.
      const attributes = decays ? decayed : undecayed;
      updateMaster(parameter, ({ w, shadow, remainder }) =>
        launch("adamw", { w, shadow, remainder, gradient, m, v, gradScale }, attributes),
      );
    }
  }

  state(): Map<string, Tensor> {
    return new Map([...this.#m, ...this.#v]);
  }

  dispose(): void {
    for (const w of this.parameters.values()) if (w.alive) joinMaster(w);
    for (const tensor of this.state().values()) tensor.dispose();
  }
}
