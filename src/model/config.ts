/**
 * @file The configuration of the decoder: what a model is, in the field's words. Every combination that passes here can be built.
 */

import { z } from "zod";
import { ConfigError } from "../errors.js";

const count = z.number().int().positive();
const rate = z.number().min(0).lt(1);

const schema = z.strictObject({
  /** Number of token ids. */
  vocabSize: count,
  /** Width of the residual stream. */
  hiddenSize: count,
  numLayers: count,
  /** Query heads. */
  numHeads: count,
  /** Key and value heads: as many as query heads is multi-head attention, fewer is grouped-query, one is multi-query. Default: numHeads. */
  numKeyValueHeads: count.optional(),
  /** Width of a head. Default: hiddenSize / numHeads. */
  headSize: count.optional(),
  /** Width inside the feed-forward. Default: 4 hiddenSize, and two thirds of that (a multiple of 32) for swiglu, which has three matrices. */
  intermediateSize: count.optional(),
  /** The longest sequence, in tokens. */
  contextLength: count,

  norm: z.enum(["layernorm", "rmsnorm"]).default("layernorm"),
  normEps: z.number().positive().default(1e-5),
  /** Whether a block normalises before its mixer and feed-forward (GPT-2 and later) or after adding them (the 2017 transformer). */
  normPlacement: z.enum(["pre", "post"]).default("pre"),
  position: z.enum(["learned", "sinusoidal", "rope", "alibi", "none"]).default("learned"),
  /** The base of RoPE's angles. */
  ropeTheta: z.number().positive().default(10_000),
  /** The share of a head that RoPE turns. */
  rotaryFraction: z.number().positive().max(1).default(1),
  feedForward: z.enum(["gelu", "geluTanh", "relu", "silu", "swiglu"]).default("gelu"),
  /** Whether the unembedding is the embedding. */
  tieEmbeddings: z.boolean().default(true),
  /** Biases in the attention and feed-forward projections, and in LayerNorm. */
  bias: z.boolean().default(true),
  /** RMSNorm over each head of the queries and keys. */
  qkNorm: z.boolean().default(false),
  /** How many positions back a query sees, itself included; 0 is all. */
  slidingWindow: z.number().int().min(0).default(0),
  /** Of the embedding, the attention weights, and both outputs of a block, while training. */
  dropout: rate.default(0),
});

/** What a user writes: sizes, and what differs from the defaults. */
export type ModelOptions = z.input<typeof schema>;

/** A complete configuration. */
export type ModelConfig = { readonly [Field in keyof z.output<typeof schema>]-?: NonNullable<z.output<typeof schema>[Field]> };

/** Completes and checks a configuration. Throws ConfigError, which names the field, for one that cannot be built. */
export function modelConfig(options: ModelOptions): ModelConfig {
  const parsed = schema.safeParse(options);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue.code === "unrecognized_keys" ? issue.keys[0] : issue.path.join(".");
    throw new ConfigError(field, issue.code === "unrecognized_keys" ? "a model has no such setting." : `${issue.message}.`);
  }
  const given = parsed.data;
  const { hiddenSize, numHeads } = given;
  if (given.headSize === undefined && hiddenSize % numHeads !== 0) {
    throw new ConfigError("numHeads", `${numHeads} heads do not divide the hidden size ${hiddenSize}.`, { hint: "Choose a divisor, or give headSize." });
  }
  const config: ModelConfig = {
    ...given,
    numKeyValueHeads: given.numKeyValueHeads ?? numHeads,
    headSize: given.headSize ?? hiddenSize / numHeads,
    intermediateSize: given.intermediateSize ?? (given.feedForward === "swiglu" ? Math.ceil((8 * hiddenSize) / 3 / 32) * 32 : 4 * hiddenSize),
  };
  if (numHeads % config.numKeyValueHeads !== 0) {
    throw new ConfigError("numKeyValueHeads", `${config.numKeyValueHeads} key heads do not divide the ${numHeads} query heads.`);
  }
  if (config.position === "rope" && rotaryWidth(config) < 2) {
    throw new ConfigError("rotaryFraction", `RoPE turns pairs, and ${config.rotaryFraction} of a head of ${config.headSize} holds none.`);
  }
  return config;
}

/** How many dimensions of a head RoPE turns: an even number. */
export function rotaryWidth(config: ModelConfig): number {
  return 2 * Math.floor((config.headSize * config.rotaryFraction) / 2);
}

/** The number of parameters of such a model, tied ones counted once, without building it. */
export function parameterCount(config: ModelConfig): number {
  const { vocabSize, hiddenSize, numLayers, numHeads, numKeyValueHeads, headSize, intermediateSize, contextLength } = config;
  const bias = config.bias ? 1 : 0;
  const linear = (inSize: number, outSize: number) => inSize * outSize + bias * outSize;
  const norm = config.norm === "layernorm" ? (1 + bias) * hiddenSize : hiddenSize;
  const attention = linear(hiddenSize, (numHeads + 2 * numKeyValueHeads) * headSize) + linear(numHeads * headSize, hiddenSize) + (config.qkNorm ? 2 * headSize : 0);
  const feedForward = linear(hiddenSize, config.feedForward === "swiglu" ? 2 * intermediateSize : intermediateSize) + linear(intermediateSize, hiddenSize);
  const embeddings = (config.tieEmbeddings ? 1 : 2) * vocabSize * hiddenSize + (config.position === "learned" ? contextLength * hiddenSize : 0);
  return embeddings + numLayers * (attention + feedForward + 2 * norm) + (config.normPlacement === "pre" ? norm : 0);
}
