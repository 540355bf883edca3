/**
 * @file The head of a language model and its loss in one op: the sum of crossEntropy(x W^T + bias, targets) over the targets, and how many
 * there are. It gives both, since whoever sums over several batches must divide by what all of them count together: a mean of means is
 * another loss as soon as they count differently.
 *
 * How the logits never exist as a whole is said in `unembedding.ts`.
 */

import { launch } from "../launch.js";
import type { Weight } from "../quantized.js";
import { gradEnabled, noGrad, record } from "../tape.js";
import { Tensor } from "../tensor.js";
import { div, maximum, mul } from "./binary.js";
import { countOf, type CrossEntropyOptions } from "./cross-entropy.js";
import { checkedWeight } from "./linear.js";
import { checkDType, checkShapeIs, emptyLike, filled, reduced, reshaped } from "./support.js";
import { checkedUnembedding, gradientsOfKept, lossesByChunk, operandsOf, releaseCopy, type UnembeddingOptions } from "./unembedding.js";

export interface LinearCrossEntropyOptions extends CrossEntropyOptions, Omit<UnembeddingOptions, "temperature"> {
  /** What each token's loss is multiplied by, f32 in the shape of the targets. It changes the sum alone; no gradient flows to it. */
  readonly weights?: Tensor | undefined;
}

/** A loss before the division that makes it a mean; both are f32 []. */
export interface LossSum {
  readonly sum: Tensor;
  /** How many targets are not ignored. It has no gradient. */
  readonly count: Tensor;
}

/**
 * x [..., hidden] (f32 or bf16), weight [vocab, hidden] (f32, x's dtype, or quantised), targets i32 [...]; gives the sum of the losses of
 * targets that are not ignored, and their number. Throws ShapeError; a target outside the vocabulary is a DeviceError at the next wait.
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Weight,
  targets: Tensor,
  { weights, ...options }: LinearCrossEntropyOptions = {},
): LossSum {
  const call = checkedUnembedding("linearCrossEntropy", x, weight, targets, options);
  checkDType(call.op, "weights", weights, "f32");
  checkShapeIs(call.op, "weights", weights, targets.shape);
  const operands = operandsOf(call);
  const inputs = operands.filter((operand) => operand !== undefined);
  const needs = operands.map((operand) => gradEnabled() && operand?.requiresGrad === true);
  const factors = weights && reshaped(weights, [targets.size]);
  const dlogits = call.keepsGradient && needs.some(Boolean) ? emptyLike(x, [targets.size, weight.shape[0]]) : undefined;
  const { losses, gradients } = lossesByChunk(call, dlogits === undefined ? { needs, factors } : { dlogits });

  const counted = weights === undefined ? losses : noGrad(() => mul(losses, weights));
  const sum = reduced(
    "sum",
    counted,
    counted.shape.map((_, axis) => axis),
  );
  const count = countOf(targets, call.attributes.ignoreIndex);
  if (dlogits !== undefined && weight instanceof Tensor) {
    const w = checkedWeight(call.op, x, weight, call.bias);
    record(call.op, sum, inputs, [x, w, dlogits, ...(factors === undefined ? [] : [factors])], (dy, needs, into, place) =>
      gradientsOfKept(call, { w, dlogits, factor: factors === undefined ? dy : mul(factors, dy) }, needs, into, place),
    );
    releaseCopy(weight, w);
  } else {
    const parts = gradients.filter((_, i) => operands[i] !== undefined);
    record(
      call.op,
      sum,
      inputs,
      parts.filter((part) => part !== undefined),
      (dy, _needs, into) =>
        parts.map((part, i) => {
          const target = into[i];
          if (part === undefined) return undefined;
          if (target === undefined) return scaleInPlace(part, dy);
          launch("accumulate", { x: part, factor: dy, y: target }, { scale: 1 });
          return target;
        }),
    );
  }
  for (const temporary of [losses, counted === losses ? undefined : counted, factors, dlogits, ...gradients]) temporary?.dispose();
  return { sum, count };
}

/** The mean, f32 []; 0 where nothing counts. */
export function meanLoss({ sum, count }: LossSum): Tensor {
  return div(sum, maximum(count, 1));
}

/** x times a number on the device, f32 [], in x's own memory. */
function scaleInPlace(x: Tensor, factor: Tensor): Tensor {
  if (x.dtype === "f32") {
    launch(
      "binary",
      {
        a: x,
        b: factor.view(
          x.shape,
          x.shape.map(() => 0),
        ),
        y: x,
      },
      { op: "mul" },
    );
    return x;
  }
  const y = filled(x, 0);
  launch("accumulate", { x, factor, y }, { scale: 1 });
  return y;
}
