/** @file What a training run is made of, and what it says of each step. */

import type { ModelToSave } from "../checkpoint/model.js";
import type { Batches, TokenBatch } from "../data/index.js";
import { HornbookError } from "../errors.js";
import type { Decoder } from "../model/index.js";
import type { Tensor } from "../tensor/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import type { Objective } from "./objective.js";
import type { Optimizer } from "./optimizers/index.js";
import type { RunFolder } from "./run-folder.js";
import type { TrainSettings, TrainSettingsInput } from "./settings.js";

/** A loss or gradient of a step is not finite. The last checkpoint stands. */
export class TrainingError extends HornbookError {
  constructor(
    readonly step: number,
    message: string,
  ) {
    super(message, {
      code: "not-finite",
      hint: "A lower learning rate, a longer warm-up or clipping usually helps; the last checkpoint is as it was.",
    });
  }
}

/** Batches to learn from, and held-out ones. */
export interface TrainingData<Batch> {
  readonly batches: Batches<Batch>;
  /** The held-out batches, from the first; each call starts over. */
  readonly validation?: (() => AsyncIterable<Batch> | Iterable<Batch>) | undefined;
}

/** What the micro-batches of a step have summed up. A hook that adds up processes replaces each by the sum over all of them, in place. */
export interface StepSums {
  /** Their `grad`, where there is one, is the gradient of the summed loss: it is not divided by the count yet. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** f32 [2 (1 + metrics)]: sum and count of the loss, then of each metric. */
  readonly totals: Tensor;
}

export type TrainOptions<Batch = TokenBatch> = TrainSettingsInput & {
  /** What is minimised. Default: the cross-entropy of the next token, `pretraining`. */
  readonly objective?: Objective<Batch> | undefined;
  /** A folder for checkpoints and metrics; without one nothing is written. */
  readonly out?: string | undefined;
  /** Go on from the last checkpoint in `out`. */
  readonly resume?: boolean | undefined;
  /** For samples, and saved with the model. */
  readonly tokenizer?: Tokenizer | undefined;
  /** What else is saved with the model. */
  readonly saveWith?: Pick<ModelToSave, "chatTemplate" | "generation"> | undefined;
  /** Runs before gradients are clipped, for several processes that train one model. */
  readonly reduceGradients?: ((sums: StepSums) => void | Promise<void>) | undefined;
  /** Stops after the current step, saves, and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
};

/** Everything that the parts of the trainer share. */
export interface Run<Batch> extends Pick<TrainOptions<Batch>, "tokenizer" | "saveWith" | "reduceGradients" | "signal"> {
  readonly model: Decoder;
  readonly objective: Objective<Batch>;
  readonly data: TrainingData<Batch>;
  readonly settings: TrainSettings;
  /** Those that training changes. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly optimizer: Optimizer;
  readonly folder: RunFolder | undefined;
  /** The first token of the text, where there is one. */
  readonly firstToken: (() => Promise<ArrayLike<number>>) | undefined;
  /** Bytes of text for a token of the validation split, where the loss is a token's cross-entropy. */
  readonly bytesPerToken: number | undefined;
}

export interface StepReport {
  /** Steps done, counted from 1. */
  readonly step: number;
  /** The mean loss of the step's batches before its update; in pre-training the cross-entropy of a token in nats. */
  readonly loss: number;
  /** What else the objective measures on them. */
  readonly metrics?: Readonly<Record<string, number>> | undefined;
  /** Norm of all gradients together, before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Tokens seen so far in this run. */
  readonly tokens: number;
  /** Seconds this step took, evaluations and saves apart. */
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** Of the held-out batches (or as many as hold `evaluateTokens`; the last step's is of all of them), after this step's update. */
  readonly validationLoss?: number;
  /** What the validation loss is the mean of; in pre-training, tokens. */
  readonly validationCount?: number;
  readonly validationMetrics?: Readonly<Record<string, number>>;
  /** The validation loss in bits per byte of text, which compares across tokenizers. */
  readonly bitsPerByte?: number;
  readonly sample?: string;
  /** The folder of the checkpoint saved after this step. */
  readonly saved?: string;
  /** Bytes of tensors: the most there were at once. */
  readonly peakBytes: number;
}
