/** @file The loss on text that the model does not learn from. */

import type { TokenBatch } from "../data/index.js";
import type { Decoder } from "../model/index.js";
import { Tensor, noGrad, scope, type FloatDType } from "../tensor/index.js";

/**
 * Mean cross-entropy in nats over the targets of these windows, each predicted once, up to about `limit` tokens. The queue holds one window at
 * a time, so memory does not grow with the split. An abort ends it early, with what it has.
 */
export async function validationLoss(
  model: Decoder,
  windows: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
  options: { readonly dtype: FloatDType; readonly limit?: number; readonly signal?: AbortSignal | undefined },
): Promise<{ loss: number; tokens: number }> {
  let sum = 0;
  let tokens = 0;
  for await (const { inputs, targets, batchSize, contextLength } of windows) {
    if (options.signal?.aborted === true) break;
    const counted = targets.reduce((n, target) => n + (target >= 0 ? 1 : 0), 0);
    if (counted === 0) continue;
    const loss = noGrad(() =>
      scope(() => {
        const shape = [batchSize, contextLength];
        const device = model.device;
        return model.loss(Tensor.from(inputs, { shape, device }), Tensor.from(targets, { shape, device }), { dtype: options.dtype });
      }),
    );
    sum += (await loss.item()) * counted;
    tokens += counted;
    loss.dispose();
    if (options.limit !== undefined && tokens >= options.limit) break;
  }
  return { loss: sum / tokens, tokens };
}
