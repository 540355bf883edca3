/** @file Stochastic gradient descent with momentum (Sutskever et al. 2013 for Nesterov's form) and decoupled decay of matrices. */

import { Tensor, joinMaster, launch, updateMaster } from "../../tensor/index.js";
import { roleOf } from "../../model/index.js";
import { stateLike, type NamedParameters, type Optimizer, type Update } from "./optimizer.js";

export interface SgdOptions {
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
}

export class Sgd implements Optimizer {
  steps = 0;
  readonly #m: Map<string, Tensor>;

  constructor(
    private readonly parameters: NamedParameters,
    private readonly options: SgdOptions,
  ) {
    const { momentum } = options;
    this.#m =
      momentum === 0
        ? new Map<string, Tensor>()
        : stateLike(parameters, "momentum", (like) => Tensor.zeros(like.shape, { device: like.device }));
  }

  step({ rate, gradScale }: Update): void {
    this.steps++;
    const { momentum, nesterov, weightDecay } = this.options;
    for (const [name, w] of this.parameters) {
      if (w.grad === undefined) continue;
      const [gradient, m] = [w.grad, this.#m.get(`momentum.${name}`)];
      const attributes = { rate, momentum, nesterov: nesterov ? 1 : 0, weightDecay: roleOf(w)?.decays ? weightDecay : 0 };
      updateMaster(w, ({ w: weight, shadow, remainder }) =>
        launch("sgd", { w: weight, shadow, remainder, gradient, m, gradScale }, attributes),
      );
    }
  }

  state(): Map<string, Tensor> {
    return new Map(this.#m);
  }

  dispose(): void {
    for (const w of this.parameters.values()) if (w.alive) joinMaster(w);
    for (const tensor of this.#m.values()) tensor.dispose();
  }
}
