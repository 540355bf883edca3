/** @file What stands on the final hidden states of a language model: logits, the best tokens, the loss. */

import { QuantizedTensor, linear, linearCrossEntropy, linearTopK, scope, topK, type Sorted, type Tensor, type Weight } from "../tensor/index.js";

/** A target that does not count. */
export const ignoreIndex = -1;

export interface HeadOptions {
  readonly weight: () => Weight;
  readonly scale?: number;
  readonly softcap?: number;
}

export class Head {
  readonly #weight: () => Weight;
  readonly #scale: number;
  readonly #softcap: number;

  constructor({ weight, scale = 1, softcap = 0 }: HeadOptions) {
    this.#weight = weight;
    this.#scale = scale;
    this.#softcap = softcap;
  }

  logits(h: Tensor): Tensor {
    return scope(() => {
      const logits = linear(this.#scaled(h), this.#weight(), undefined, { dtype: "f32" });
      return this.#softcap === 0 ? logits : logits.div(this.#softcap).tanh().mul(this.#softcap);
    });
  }

  topK(h: Tensor, k: number, { choices = Infinity }: { readonly choices?: number } = {}): Sorted {
    return scope(() => {
      const weight = this.#weight();
      if (this.skipsLogits) return linearTopK(this.#scaled(h), weight, k, { choices });
      const logits = this.logits(h).slice(-1, 0, Math.min(choices, weight.shape[0]));
      if (k !== 1) return topK(logits, k);
      const indices = logits.argmax(-1, { keepDims: true });
      return { values: logits.gather(indices), indices };
    });
  }

  get skipsLogits(): boolean {
    return this.#softcap === 0 && this.#weight() instanceof QuantizedTensor;
  }

  meanLoss(h: Tensor, targets: Tensor): Tensor {
    return linearCrossEntropy(this.#scaled(h.reshape([-1, h.shape[h.rank - 1]])), this.#weight(), targets.reshape([-1]), { ignoreIndex, softcap: this.#softcap });
  }

  #scaled(h: Tensor): Tensor {
    return this.#scale === 1 ? h : h.mul(this.#scale);
  }
}
