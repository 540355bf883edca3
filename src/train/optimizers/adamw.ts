/**
 * @file AdamW (Loshchilov & Hutter 2019, algorithm 2): each weight moves by its mean gradient over the root of its mean squared gradient,
 * and decays apart from that. Tensors of one dimension (norms, biases) do not decay.
 */

import { Tensor, joinMaster, launch, updateMaster } from "../../tensor/index.js";
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

  constructor(
    private readonly parameters: NamedParameters,
    private readonly options: AdamWOptions,
  ) {
    const zeros = (like: Tensor) => Tensor.zeros(like.shape, { device: like.device });
    this.#m = stateLike(parameters, "m", zeros);
    this.#v = stateLike(parameters, "v", zeros);
  }

  step({ rate, gradScale }: Update): void {
    this.steps++;
    const { beta1, beta2, eps, weightDecay } = this.options;
    for (const [name, w] of this.parameters) {
      if (w.grad === undefined) continue;
      const [gradient, m, v] = [w.grad, this.#m.get(`m.${name}`)!, this.#v.get(`v.${name}`)!];
      const attributes = {
        rate, beta1, beta2, eps,
        weightDecay: w.rank > 1 ? weightDecay : 0,
        correction1: 1 / (1 - beta1 ** this.steps),
        correction2: 1 / (1 - beta2 ** this.steps),
      };
      updateMaster(w, (master) => launch("adamw", { ...master, gradient, m, v, gradScale }, attributes));
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
