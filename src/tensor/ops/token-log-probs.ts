/**
 * @file The log-probability that a language model's head gives to each target: log softmax(x W^T + bias)[target]. Policy gradients,
 * preferences and distillation start from it, each with a gradient of its own for every token.
 *
 * How the logits never exist as a whole is said in `unembedding.ts`. Where the gradient by all of them is too large to be kept, the
 * backward pass computes them once more, since only it knows what each token's gradient is to be.
 */

import type { Weight } from "../quantized.js";
import { noGrad, record, willRecord } from "../tape.js";
import { Tensor } from "../tensor.js";
import { mul } from "./binary.js";
import { checkedWeight } from "./linear.js";
import { emptyLike, reshaped } from "./support.js";
import { checkedUnembedding, gradientsOfKept, lossesByChunk, operandsOf, releaseCopy, type UnembeddingOptions } from "./unembedding.js";

export interface TokenLogProbsOptions extends UnembeddingOptions {
  /** Tokens with this target have the log-probability 0, and no gradient. By default -1. */
  readonly ignoreIndex?: number;
}

/**
 * x [..., hidden] (f32 or bf16), weight [vocab, hidden] (f32, x's dtype, or quantised), targets i32 [...]; gives the log-probability of
 * each target in nats, f32 [...]. Throws ShapeError; a target outside the vocabulary is a DeviceError at the next wait.
 */
export function tokenLogProbs(x: Tensor, weight: Weight, targets: Tensor, options: TokenLogProbsOptions = {}): Tensor {
  return logProbs("tokenLogProbs", x, weight, targets, options, undefined);
}

/**
 * As `tokenLogProbs`, and the entropy of each token's distribution over the vocabulary in nats, f32 [...], also of ignored tokens. It is a
 * measure: no gradient flows through it.
 */
export function tokenLogProbsAndEntropy(
  x: Tensor,
  weight: Weight,
  targets: Tensor,
  options: TokenLogProbsOptions = {},
): { logProbs: Tensor; entropy: Tensor } {
  const entropy = emptyLike(x, targets.shape, "f32");
  return { logProbs: logProbs("tokenLogProbsAndEntropy", x, weight, targets, options, entropy), entropy };
}

function logProbs(
  op: string,
  x: Tensor,
  weight: Weight,
  targets: Tensor,
  options: TokenLogProbsOptions,
  entropy: Tensor | undefined,
): Tensor {
  const call = checkedUnembedding(op, x, weight, targets, options);
  const operands = operandsOf(call);
  const inputs = operands.filter((operand) => operand !== undefined);
  const dlogits = call.keepsGradient && willRecord(inputs) ? emptyLike(x, [targets.size, weight.shape[0]]) : undefined;
  const entropies = entropy && reshaped(entropy, [targets.size]);
  const { losses } = lossesByChunk(call, { dlogits, entropies });
  const result = noGrad(() => mul(losses, -1));
  // The gradient by a token's loss, whose logits were divided by the temperature.
  const factorOf = (dy: Tensor): Tensor => reshaped(mul(dy, -1 / call.temperature), [targets.size]);
  if (dlogits !== undefined && weight instanceof Tensor) {
    const w = checkedWeight(op, x, weight, call.bias);
    record(op, result, inputs, [x, w, dlogits], (dy, needs, into, place) =>
      gradientsOfKept(call, { w, dlogits, factor: factorOf(dy) }, needs, into, place),
    );
    releaseCopy(weight, w);
  } else {
    record(op, result, inputs, [...inputs, targets], (dy, needs) => {
      let next = 0;
      const wanted = operands.map((operand) => operand !== undefined && needs[next++]);
      const { gradients } = lossesByChunk(call, { needs: wanted, factors: factorOf(dy) });
      return gradients.filter((_, i) => operands[i] !== undefined);
    });
  }
  for (const temporary of [losses, dlogits, entropies]) temporary?.dispose();
  return result;
}
