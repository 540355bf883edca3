/**
 * @file What training minimises. An objective turns a batch into the *sum* of a loss and the *count* of what it is summed over, both on the
 * device. The trainer divides by the count of all batches of a step together, however many micro-batches they come in.
 *
 *     const halved: Objective<TokenBatch> = (model, batch, context) => {
 *       const { sum, count } = pretraining(model, batch, context);
 *       return { sum: sum.mul(0.5), count, metrics: { unhalved: sum } };
 *     };
 */

import type { Json } from "../data/index.js";
import { HornbookError } from "../errors.js";
import type { Decoder, ForwardOptions } from "../model/index.js";
import { Tensor, noGrad, stack } from "../tensor/index.js";

/** What is summed, and over how many; f32 []. */
export interface Sum {
  readonly sum: Tensor;
  readonly count: Tensor | number;
}

export interface ObjectiveResult extends Sum {
  /**
   * Numbers to report beside the loss, by name. A tensor, f32 [], is a sum, divided by the loss's count; a `Sum` has a count of its own.
   * Every batch gives the same names.
   */
  readonly metrics?: Readonly<Record<string, Tensor | Sum>>;
}

/**
 * The loss of one batch, differentiable by the model's parameters. `context` is for the model's forward pass as it is (dtype, dropout,
 * recomputation). Only queues work; two calls that are given the same compute the same.
 */
export interface Objective<Batch> {
  (model: Decoder, batch: Batch, context: ForwardOptions): ObjectiveResult;
  /** What it was made with, such as the strength of a penalty: a run is not resumed with another. */
  readonly settings?: Json;
}

/** Tells objectives apart when a run is resumed: its name and its settings. */
export function identityOf({ name, settings }: Objective<never>): string {
  return settings === undefined ? name : `${name} ${JSON.stringify(settings)}`;
}

/** What an objective reports, as numbers: each sum over its count. */
export interface Means {
  readonly loss: number;
  /** What the loss was divided by. */
  readonly count: number;
  readonly metrics?: Readonly<Record<string, number>>;
}

/** The sums of a batch in one tensor, f32 [2 (1 + metrics)]: sum and count of the loss, then of each metric, in the order of `names`. */
export interface Totals {
  readonly names: readonly string[];
  readonly values: Tensor;
}

/** Throws HornbookError `bad-objective` for a loss, count or metric that is no number on the device. */
export function totalsOf({ sum, count, metrics = {} }: ObjectiveResult): Totals {
  const names = Object.keys(metrics);
  const sums: [string, Sum][] = [
    ["sum", { sum, count }],
    ...names.map((name): [string, Sum] => [name, metrics[name] instanceof Tensor ? { sum: metrics[name], count } : metrics[name]]),
  ];
  const scalars = sums.flatMap(([name, { sum, count }]) => [
    scalar(name, sum),
    scalar(`the count of ${name}`, typeof count === "number" ? Tensor.full([], count, { device: sum.device }) : count),
  ]);
  return { names, values: noGrad(() => stack(scalars)) };
}

function scalar(name: string, tensor: Tensor): Tensor {
  if (tensor.rank === 0 && tensor.dtype === "f32") return tensor;
  throw new HornbookError(`objective: ${name} is ${tensor.dtype} [${tensor.shape.join(", ")}], not f32 [].`, {
    code: "bad-objective",
    hint: "An objective gives sums over its batch: x.sum() of an f32 tensor.",
  });
}

/** The means: NaN of what nothing was counted of. */
export function meansOf(names: readonly string[], values: ArrayLike<number>): Means {
  const means = { loss: values[0] / values[1], count: values[1] };
  return names.length === 0
    ? means
    : { ...means, metrics: Object.fromEntries(names.map((name, i) => [name, values[2 + 2 * i] / values[3 + 2 * i]])) };
}
