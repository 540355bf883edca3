/** @file The settings of a training run: sizes, optimizer, schedule, and when it evaluates, samples and saves. Plain data, as checkpoints keep it. */

import { z } from "zod";
import { batchOrders } from "../data/index.js";
import { optimizerSchema } from "./optimizers/index.js";
import { parseSettings } from "./parse.js";
import { parseSchedule, scheduleSchema } from "./schedule.js";

const count = z.number().int().positive();
const every = z.number().int().min(0);

export const trainSchema = z.strictObject({
  /** Optimizer steps in all. */
  steps: count,
  /** Sequences in a forward pass. */
  batchSize: count.default(12),
  /** Tokens in a sequence. Default: the model's context. */
  contextLength: count.optional(),
  /** Batches in a step; the gradient is that of their summed loss over their common count. */
  accumulation: count.default(1),
  /** The dtype of activations and matmuls; weights and optimizer stay f32. */
  dtype: z.enum(["f32", "bf16"]).default("bf16"),
  optimizer: optimizerSchema.default({ kind: "adamw", beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 }),
  schedule: scheduleSchema.default({ kind: "cosine", rate: 1e-3, finalRate: 1e-4, warmup: 100 }),
  /** The largest norm of all gradients together; 0 does not clip. */
  clip: z.number().min(0).default(1),
  /** Decides the order of the data and the dropout. */
  seed: z.number().int().min(0).default(0),
  /** `random`: windows from anywhere (nanoGPT); `shuffled-epochs`: every window once an epoch; `sequential`: as they stand. */
  order: z.enum(batchOrders).default("random"),
  /** Keep no activations inside blocks; compute them again in the backward pass. */
  recompute: z.boolean().default(false),
  /** Steps between evaluations on the validation split; 0: only at the end. */
  evaluateEvery: every.default(250),
  /** Tokens of the validation split that an evaluation takes; the last one takes all of it. */
  evaluateTokens: count.default(65_536),
  /** Steps between checkpoints, where there is a folder for them; 0: only at the end. */
  saveEvery: every.default(250),
  /** Steps between sample texts; 0: none. */
  sampleEvery: every.default(0),
  samplePrompt: z.string().default("\n"),
  sampleTokens: count.default(120),
});
export type TrainSettingsInput = z.input<typeof trainSchema>;
export type TrainSettings = z.output<typeof trainSchema>;

/** Completes and checks the settings of a run. Throws ConfigError, which names the setting. */
export function trainSettings(input: TrainSettingsInput): TrainSettings {
  // A short run with the default schedule warms up for a tenth of it at most.
  const schedule = input.schedule ?? { kind: "cosine", rate: 1e-3, finalRate: 1e-4, warmup: Math.min(100, Math.floor((input.steps || 0) / 10)) };
  const settings = parseSettings(trainSchema, { ...input, schedule });
  parseSchedule(settings.schedule, settings.steps);
  return settings;
}
