/** @file Pre-training: predict every next token of a text. The objective, and its batches from a dataset of tokens. */

import type { TokenBatch, TokenDataset } from "../data/index.js";
import type { Decoder, ForwardOptions } from "../model/index.js";
import { Tensor } from "../tensor/index.js";
import type { ObjectiveResult } from "./objective.js";
import type { TrainingData } from "./run.js";
import type { TrainSettings } from "./settings.js";

/** The cross-entropy of every target in nats. */
export function pretraining(
  model: Decoder,
  { inputs, targets, batchSize, contextLength }: TokenBatch,
  context: ForwardOptions,
): ObjectiveResult {
  const place = { shape: [batchSize, contextLength], device: model.device };
  return model.head.loss(model.hidden(Tensor.from(inputs, place), context), Tensor.from(targets, place));
}

/**
 * Windows of the training split in the order that the settings name; for validation the other split once, each token predicted once.
 *
 * @throws DataError `text-too-short`.
 */
export function tokenBatches(
  dataset: TokenDataset,
  { batchSize, contextLength, seed, order }: TrainSettings & { readonly contextLength: number },
): TrainingData<TokenBatch> {
  const { validation } = dataset;
  const batches = dataset.batches({ batchSize, contextLength, seed, order });
  validation?.requireTokens(2, "since each is predicted from those before it");
  return {
    batches,
    ...(validation && { validation: () => validation.windows({ contextLength, batchSize }) }),
  };
}
