/**
 * @file One step, queued as a whole: forward and backward passes of its micro-batches, the reduction over processes, clipping, the update.
 *
 * The loss of a step is the sum over all its micro-batches divided by their common count, and that is only known after the last of them. So
 * each micro-batch's gradient is divided by what the whole would count if all counted like the first, and the sum is corrected by how much
 * it did count. Where all count alike, as in pre-training, the correction is exactly 1.
 */

import { Tensor, backward, scope } from "../tensor/index.js";
import { randomKey } from "../tensor/random.js";
import { clipScale } from "./clip.js";
import { meansOf, totalsOf, type Means, type Totals } from "./objective.js";
import type { Run } from "./run.js";

/** What a step comes to, once the device is through with it. */
export interface StepResult extends Means {
  readonly gradNorm: number;
}

/** The micro-batches' sums, beside the gradients that the parameters hold. */
interface Accumulated extends Totals {
  /** The gradients are those of the summed loss divided by it; f32 []. */
  readonly divisor: Tensor;
}

/** Queues a step. The promise within gives its result; the reads behind it stand in the queue before whatever is queued next. */
export async function queueStep<Batch>(
  run: Run<Batch>,
  batches: readonly Batch[],
  { step, rate }: { step: number; rate: number },
): Promise<{ result: Promise<StepResult> }> {
  const { model, parameters, reduceGradients } = run;
  const sums = accumulateGradients(run, batches, step);
  try {
    if (reduceGradients !== undefined) await reduceGradients({ parameters, totals: sums.values });
    const norm = update(run, sums, rate);
    const result = Promise.all([sums.values.data(), norm.item()]).then(([values, gradNorm]) => {
      const means = meansOf(sums.names, values);
      // As float32 division gives it; over nothing the loss is its sum, 0.
      return { ...means, loss: means.count === 0 ? values[0] : Math.fround(means.loss), gradNorm };
    });
    // Whoever waits for the step hears of its failure; until then it is not unhandled.
    result.catch(() => undefined);
    norm.dispose();
    return { result };
  } finally {
    sums.values.dispose();
    sums.divisor.dispose();
    model.device.endPhase?.("step");
  }
}

/** Runs every micro-batch forward and backward; the gradients are summed in the parameters. */
function accumulateGradients<Batch>(
  { model, objective, settings, reduceGradients }: Run<Batch>,
  batches: readonly Batch[],
  step: number,
): Accumulated {
  const { device } = model;
  const { dtype, recompute, seed } = settings;
  return scope(() => {
    let totals: Totals | undefined;
    // Processes that add up their gradients need them undivided.
    let firstCount = reduceGradients === undefined ? undefined : Tensor.full([], 1 / batches.length, { device });
    for (const [i, batch] of batches.entries()) {
      const dropout = { seed: randomKey(seed), step: step * batches.length + i };
      const { sum, totals: part } = scope(() => {
        const result = objective(model, batch, { dtype, recompute, dropout });
        return { sum: result.sum, totals: totalsOf(result) };
      });
      firstCount ??= orOne(part.values.slice(0, 1, 2).reshape([]));
      // Sums over micro-batches are kept in f32.
      backward(sum, Tensor.full([], 1 / batches.length, { device }).div(firstCount), { gradients: batches.length > 1 ? "f32" : dtype });
      totals = totals === undefined ? part : { names: part.names, values: totals.values.add(part.values) };
    }
    return { ...totals!, divisor: firstCount!.mul(batches.length) };
  });
}

/** Divides by the common count, clips, and moves the parameters. Gives the norm of all gradients. */
function update<Batch>({ model, optimizer, parameters, settings }: Run<Batch>, { values, divisor }: Accumulated, rate: number): Tensor {
  return scope(() => {
    const all = [...parameters.values()];
    const correction = divisor.div(orOne(values.slice(0, 1, 2).reshape([])));
    const { norm, scale } = clipScale(all, settings.clip > 0 ? settings.clip : Infinity, model.device, correction);
    optimizer.step({ rate, gradScale: scale });
    dropGradients(all);
    return norm;
  });
}

/** A count to divide by: 1 in place of 0. */
function orOne(count: Tensor): Tensor {
  return count.add(count.equal(0));
}

export function dropGradients(parameters: Iterable<Tensor>): void {
  for (const parameter of parameters) {
    parameter.grad?.dispose();
    parameter.grad = undefined;
  }
}
