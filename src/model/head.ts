/**
 * @file What stands on the final hidden states of a language model: logits, the best tokens, the loss, log-probabilities. The logits of a
 * whole batch exist only for who asks for `logits`.
 */

import {
  QuantizedTensor,
  linear,
  linearCrossEntropy,
  linearTopK,
  scope,
  tokenLogProbs,
  tokenLogProbsAndEntropy,
  topK,
  type LossSum,
  type Sorted,
  type Tensor,
  type Weight,
} from "../tensor/index.js";

/** A target that does not count. */
export const ignoreIndex = -1;

export interface HeadOptions {
  /** The unembedding [vocabSize, hiddenSize], which belongs to the model: it may be the embedding, and may be replaced. */
  readonly weight: () => Weight;
  /** The logits are multiplied by it (Cohere, Granite). */
  readonly scale?: number;
  /** Where above 0: logits become softcap * tanh(logits / softcap) (Gemma 2). */
  readonly softcap?: number;
}

/** Hidden states h are [..., hiddenSize] everywhere, in f32 or bf16, and targets i32 [...], -1 where there is nothing to predict. */
export class Head {
  readonly #weight: () => Weight;
  readonly #scale: number;
  readonly #softcap: number;

  constructor({ weight, scale = 1, softcap = 0 }: HeadOptions) {
    this.#weight = weight;
    this.#scale = scale;
    this.#softcap = softcap;
  }

  /** A score for every token of the vocabulary, f32 [..., vocabSize]. */
  logits(h: Tensor): Tensor {
    return scope(() => {
      const logits = linear(this.#scaled(h), this.#weight(), undefined, { dtype: "f32" });
      return this.#softcap === 0 ? logits : logits.div(this.#softcap).tanh().mul(this.#softcap);
    });
  }

  /**
   * The k best tokens among the ids below `choices` with their logits, the best first, both [..., k]: as sorting `logits` gives them, to the
   * last bit. NaN counts as the best, and equals rank by id. There is no gradient where `skipsLogits`.
   */
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

  /** Whether `topK` finds the best without all logits: with a quantised weight, unless a soft cap may make two logits equal. */
  get skipsLogits(): boolean {
    return this.#softcap === 0 && this.#weight() instanceof QuantizedTensor;
  }

  /**
   * The sum of the targets' cross-entropies in nats, and how many targets count, both f32 []. `weights`, f32 [...], multiply the losses; a
   * target whose weight is 0 still counts.
   */
  loss(h: Tensor, targets: Tensor, weights?: Tensor): LossSum {
    return scope(() => linearCrossEntropy(this.#scaled(h), this.#weight(), targets, { ignoreIndex, softcap: this.#softcap, weights }));
  }

  /** The log-probability of each target in nats, f32 [...], at a temperature; 0 where there is no target. Differentiable token by token. */
  tokenLogProbs(h: Tensor, targets: Tensor, { temperature = 1 }: { readonly temperature?: number } = {}): Tensor {
    return scope(() => tokenLogProbs(this.#scaled(h), this.#weight(), targets, { ignoreIndex, softcap: this.#softcap, temperature }));
  }

  /** As `tokenLogProbs`, and the entropy of each token's distribution in nats, f32 [...], through which no gradient flows. */
  tokenLogProbsAndEntropy(
    h: Tensor,
    targets: Tensor,
    { temperature = 1 }: { readonly temperature?: number } = {},
  ): { logProbs: Tensor; entropy: Tensor } {
    return scope(() =>
      tokenLogProbsAndEntropy(this.#scaled(h), this.#weight(), targets, { ignoreIndex, softcap: this.#softcap, temperature }),
    );
  }

  /** The scale is applied to the smaller side of the product. */
  #scaled(h: Tensor): Tensor {
    return this.#scale === 1 ? h : h.mul(this.#scale);
  }
}
