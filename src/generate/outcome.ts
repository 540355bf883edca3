/**
 * @file What a pass of the model gives for the next token of some rows, and how it comes over to JavaScript: all logits, or, where a few of
 * the best tokens decide, those alone. Of a quarter of a million logits a few numbers come over then.
 */

import type { Decoder, ForwardOptions } from "../model/index.js";
import { keep, noGrad, type Tensor } from "../tensor/index.js";
import { checkLogit } from "./sampler.js";

/** How many of the best tokens are wanted of each row, and how many ids are tokens at all. */
export interface Best {
  readonly count: number;
  readonly choices: number;
}

/** On the device: logits [rows, 1, vocabSize], or the best ids and their logits [rows, count] each. */
export type Outcome = readonly [logits: Tensor] | readonly [ids: Tensor, logits: Tensor];

/** The scores of one row: of every token, or of the best ones, the best first. */
export interface Scores {
  readonly ids: Int32Array | undefined;
  readonly logits: Float32Array;
}

/** Queues a pass over ids [rows, time] and what its last column gives. */
export function outcomeOf(model: Decoder, ids: Tensor, options: ForwardOptions, best: Best | undefined): Outcome {
  return noGrad(() => {
    const last = model.hidden(ids, options).slice(1, -1);
    if (best === undefined) return [model.head.logits(last)];
    const { indices, values } = model.head.topK(last.reshape([ids.shape[0], model.config.hiddenSize]), best.count, { choices: best.choices });
    return [indices, values];
  });
}

/** Queues reading the outcome; the scores of each row. Rejects with HornbookError `not-finite` where a best logit is NaN or infinite. */
export async function scoresOf(outcome: Outcome, best: Best | undefined): Promise<Scores[]> {
  const [first] = outcome;
  const rows = first.shape[0];
  if (best === undefined || outcome.length === 1) {
    const logits = (await first.data()) as Float32Array;
    const width = logits.length / rows;
    return Array.from({ length: rows }, (_, row) => ({ ids: undefined, logits: logits.subarray(row * width, (row + 1) * width) }));
  }
  const [ids, logits] = (await Promise.all(outcome.map((tensor) => tensor.data()))) as [Int32Array, Float32Array];
  // What is not finite is among the best, and comes first.
  for (let i = 0; i < ids.length; i += best.count) checkLogit(ids[i], logits[i]);
  return Array.from({ length: rows }, (_, row) => {
    const [begin, end] = [row * best.count, (row + 1) * best.count];
    return { ids: ids.subarray(begin, end), logits: logits.subarray(begin, end) };
  });
}

/** A view of a tensor that outlives its owner. */
export function kept(tensor: Tensor): Tensor {
  return keep(tensor.view(tensor.shape, tensor.strides, tensor.offset));
}
