/**
 * @file Cross-entropy of logits against class numbers. With p = softmax(logits), s the label smoothing and lse the log-sum-exp of a row, its
 * loss is -(1 - s) log p[target] - s/n sum log p + zLoss lse^2 (Szegedy et al. 2016 for s; Chowdhery et al. 2022 for zLoss). The gradient by
 * the logits, p (1 + 2 zLoss lse) - (1 - s) [target] - s/n, comes out of the same pass over them.
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { sameShape } from "../shape.js";
import { record, willRecord } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { cast } from "./cast.js";
import { div, maximum, mul, notEqual } from "./binary.js";
import { asRows, checkDType, checkFloat, copied, dtypeError, emptyLike, filled, reduced, reshaped } from "./support.js";

export interface CrossEntropyOptions {
  /** Rows with this target have no loss and no gradient, and are not counted in the mean. By default -1. */
  readonly ignoreIndex?: number;
  /** This share of the probability is spread over all classes. */
  readonly labelSmoothing?: number;
  /** Weight of the squared log-sum-exp, which keeps logits from drifting. */
  readonly zLoss?: number;
}

/**
 * logits [..., n] (f32 or bf16), targets i32 [...]; the loss is f32: of each row ("none", in the shape of targets), their sum, or their mean
 * over the rows that are not ignored (0 where all are). Throws ShapeError; a target that is no class is a DeviceError at the next wait.
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions & { readonly reduction?: "mean" | "sum" | "none" } = {}): Tensor {
  const { reduction = "mean" } = options;
  const attributes = checkedCrossEntropy("crossEntropy", logits, targets, options);
  if (!sameShape(targets.shape, logits.shape.slice(0, -1))) {
    throw new ShapeError("crossEntropy", [logits.shape, targets.shape], "The targets must have the shape of the logits without the last axis.");
  }
  const dlogits = willRecord([logits]) ? emptyLike(logits) : undefined;
  const losses = emptyLike(logits, targets.shape, "f32");
  const views = { logits: asRows(logits), targets: reshaped(targets, [targets.size]), loss: reshaped(losses, [targets.size]), dlogits: dlogits && asRows(dlogits) };
  launch("crossEntropy", views, attributes);
  for (const view of Object.values(views)) view?.dispose();

  const count = reduction === "mean" ? divisorOf(targets, attributes.ignoreIndex) : undefined;
  const total = reduction === "none" ? losses : reduced("sum", losses, losses.shape.map((_, axis) => axis));
  const loss = count === undefined ? total : div(total, count);
  const saved = [dlogits, count].filter((tensor) => tensor !== undefined);
  record("crossEntropy", loss, [logits], saved, (dy) => {
    if (dlogits === undefined) return [undefined];
    if (reduction === "none") return [cast(mul(dlogits, reshaped(dy, [...dy.shape, 1])), dlogits.dtype)];
    return [scaled(dlogits, count === undefined ? dy : div(dy, count))];
  });
  for (const temporary of [dlogits, count, loss === losses ? undefined : losses, loss === total ? undefined : total]) temporary?.dispose();
  return loss;
}

/** Checks dtypes and options, and gives the kernel's attributes. Targets must fit the rows, which is the caller's to check. */
export function checkedCrossEntropy(
  op: string,
  logits: Tensor,
  targets: Tensor,
  { ignoreIndex = -1, labelSmoothing = 0, zLoss = 0 }: CrossEntropyOptions,
): Required<CrossEntropyOptions> {
  checkFloat(op, logits);
  checkDType(op, "targets", targets, "i32");
  if (!Number.isInteger(ignoreIndex)) throw dtypeError(op, `ignoreIndex is a whole number, not ${ignoreIndex}.`);
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) throw new RangeError(`${op}: labelSmoothing is from 0 to 1, not ${labelSmoothing}.`);
  if (!(zLoss >= 0)) throw new RangeError(`${op}: zLoss is at least 0, not ${zLoss}.`);
  return { ignoreIndex, labelSmoothing, zLoss };
}

/** How many targets are not ignored, f32 []. */
export function countOf(targets: Tensor, ignoreIndex: number): Tensor {
  const counted = notEqual(targets, ignoreIndex);
  const ones = copied(counted, "f32");
  const count = reduced("sum", ones, ones.shape.map((_, axis) => axis));
  for (const temporary of [counted, ones]) temporary.dispose();
  return count;
}

/** The same, but at least 1: the mean over nothing is 0 / 1. */
function divisorOf(targets: Tensor, ignoreIndex: number): Tensor {
  const count = countOf(targets, ignoreIndex);
  const divisor = maximum(count, 1);
  count.dispose();
  return divisor;
}

/** x times a number on the device, f32 []; the product is rounded once to x's dtype. */
export function scaled(x: Tensor, factor: Tensor): Tensor {
  const y = filled(x, 0);
  launch("accumulate", { x, factor, y }, { scale: 1 });
  return y;
}
