/** @file The training step that is measured: its time by `train-hornbook.ts`, its memory by `scripts/memory-account.mjs`. */

import type { Decoder } from "../src/model/index.js";
import { Tensor, backward, scope, type FloatDType } from "../src/tensor/index.js";
import { Random } from "../src/tensor/random.js";
import { clipScale } from "../src/train/clip.js";
import { makeOptimizer, splitMatrices } from "../src/train/optimizers/index.js";

/**
 * A step of AdamW with clipping, as the training loop does it, on `batch` random sequences as long as the context. Each call queues one and gives
 * its loss once it is done; the read stands in the queue before the next step does.
 */
export function trainingStep(model: Decoder, batch: number, dtype: FloatDType): () => Promise<number> {
  const { contextLength: context, vocabSize } = model.config;
  const parameters = model.parameters();
  if (dtype === "bf16") splitMatrices(parameters);
  const optimizer = makeOptimizer({ kind: "adamw" }, parameters);
  const random = new Random(1);
  const tokens = () => Tensor.from(Int32Array.from({ length: batch * context }, () => random.integer(vocabSize)), { shape: [batch, context] });
  return () => {
    const loss = scope(() => {
      const loss = model.loss(tokens(), tokens(), { dtype });
      backward(loss, undefined, { gradients: dtype });
      optimizer.step({ rate: 1e-4, gradScale: clipScale(parameters.values(), 1, model.device).scale });
      for (const parameter of parameters.values()) {
        parameter.grad?.dispose();
        parameter.grad = undefined;
      }
      return loss.detach();
    });
    const value = loss.item();
    loss.dispose();
    model.device.endPhase?.("step");
    return value;
  };
}
