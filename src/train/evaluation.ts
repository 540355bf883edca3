/** @file An objective on batches that the model does not learn from. */

import type { Decoder } from "../model/index.js";
import { noGrad, scope, type FloatDType } from "../tensor/index.js";
import { meansOf, totalsOf, type Means, type Objective } from "./objective.js";

export interface EvaluationOptions {
  readonly dtype: FloatDType;
  /** Stops once this many are counted. */
  readonly limit?: number;
  /** An abort ends it early, with what it has. */
  readonly signal?: AbortSignal | undefined;
}

/** The objective's means over these batches. The queue holds one batch at a time, so memory does not grow with their number. */
export async function evaluateObjective<Batch>(
  model: Decoder,
  objective: Objective<Batch>,
  batches: AsyncIterable<Batch> | Iterable<Batch>,
  { dtype, limit = Infinity, signal }: EvaluationOptions,
): Promise<Means> {
  let names: readonly string[] = [];
  let sums = [0, 0];
  for await (const batch of batches) {
    if (signal?.aborted === true) break;
    const totals = noGrad(() => scope(() => totalsOf(objective(model, batch, { dtype }))));
    const values = await totals.values.data();
    totals.values.dispose();
    names = totals.names;
    // Added up in float64: many batches must not drown the last ones.
    sums = Array.from(values, (value, i) => (sums[i] ?? 0) + value);
    if (sums[1] >= limit) break;
  }
  return meansOf(names, sums);
}
