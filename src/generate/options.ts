/** @file What can be asked of generation, in the field's words, and its defaults. */

import { z } from "zod";
import { ConfigError } from "../errors.js";
import type { FloatDType } from "../tensor/index.js";
import type { StateDType } from "../model/index.js";
import type { LogitProcessor } from "./logit-processors.js";

const count = z.number().int().positive();

const schema = z.object({
  /** The most new tokens. */
  maxTokens: count.default(256),
  /** 0 takes the most probable token each time. See `sampler.ts` for this and the next four, and the order they apply in. */
  temperature: z.number().min(0).default(1),
  /** 0 is off. */
  topK: z.number().int().min(0).default(0),
  /** 1 is off. */
  topP: z.number().positive().max(1).default(1),
  /** 0 is off. */
  minP: z.number().min(0).max(1).default(0),
  /** 1 is off; above it, what was said is less likely to be said again. See `logit-processors.ts` for this and the next three. */
  repetitionPenalty: z.number().positive().default(1),
  /** 0 is off. */
  presencePenalty: z.number().default(0),
  frequencyPenalty: z.number().default(0),
  /** Added to the scores of these token ids. */
  logitBias: z.record(z.string().regex(/^\d+$/), z.number()).default({}),
  /** Run after those, in this order. */
  processors: z.array(z.custom<LogitProcessor>((value) => typeof value === "function", "a function is expected")).default([]),
  /** Strings that end the text, before them. */
  stop: z.union([z.string().min(1).transform((stop) => [stop]), z.array(z.string().min(1))]).default([]),
  /** Tokens that end the text. Default: the tokenizer's end of text. */
  stopIds: z.array(z.number().int().min(0)).optional(),
  /** Row i of a batch draws from stream i of this seed. */
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  /** Report the log-probability of each token, and of this many most probable ones. Default: none of it. */
  logprobs: z.number().int().min(0).optional(),
  /**
   * Keep the keys and values of earlier positions: in the dtype of the computation, in f32 or bf16, or (`q8`) as 8-bit integers with a scale for
   * each head and position. Without it every token costs the whole sequence; the tokens are the same.
   */
  cache: z.union([z.boolean(), z.enum(["f32", "bf16", "q8"]) satisfies z.ZodType<StateDType, StateDType>]).default(true),
  /** Tokens of a prompt that are read at once: bounds what memory that takes, and how long an abort has to wait. */
  prefillChunk: count.default(512),
  /** The dtype to compute in. */
  dtype: z.enum(["f32", "bf16"]).default("f32") satisfies z.ZodType<FloatDType, FloatDType | undefined>,
  /** Begin a prompt of text with the token that begins texts. Default: as the tokenizer was made to. */
  addBos: z.boolean().optional(),
  /**
   * When a sequence fills the context: end there (`finishReason: "context"`), or let the older half of it fall out and go on, which
   * `droppedTokens` tells.
   */
  onContextFull: z.enum(["stop", "slide"]).default("stop"),
  /** Cut a prompt longer than the context at its beginning, which `droppedTokens` tells, where it is otherwise an error. */
  truncatePrompt: z.boolean().default(false),
});

export type GenerationSettings = z.output<typeof schema>;
export type GenerationSettingsInput = z.input<typeof schema>;

/** Completes and checks the settings. Throws ConfigError, which names the field. */
export function generationSettings(options: GenerationSettingsInput): GenerationSettings {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ConfigError(issue.path.join("."), `${issue.message}.`);
}
