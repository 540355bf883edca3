/**
 * @file The short way to write a uniform transformer: flat options, in the field's words, that stand for a list of layers. Every combination
 * that passes here can be built. `transformerOf` goes back: most architectures of the ecosystem describe a model in such flat settings.
 */

import { z } from "zod";
import { ConfigError } from "../errors.js";
import type { LayerSpec, NormPlacement } from "./block.js";
import type { ModelConfig } from "./config.js";
import { gatedIntermediateSize } from "./feed-forwards/gated-mlp.js";
import type { FeedForwardSpec } from "./feed-forwards/index.js";
import type { NormSpec } from "./norms/norm.js";
import { completedRopeScaling, ropeScalingSchema, type RopeScaling } from "./positions/rope-scaling.js";
import { rotaryWidth, type RopeSpec } from "./positions/rotary.js";
import { sameValue } from "./same-value.js";

const count = z.number().int().positive();
const rate = z.number().min(0).lt(1);
const positive = z.number().positive();

const schema = z.strictObject({
  /** Number of token ids. */
  vocabSize: count,
  /** Width of the residual stream. */
  hiddenSize: count,
  numLayers: count.max(10_000),
  /** Query heads. */
  numHeads: count,
  /** Key and value heads: as many as query heads is multi-head attention, fewer is grouped-query, one is multi-query. Default: numHeads. */
  numKeyValueHeads: count.optional(),
  /** Width of a head. Default: hiddenSize / numHeads. */
  headSize: count.optional(),
  /** Width inside the feed-forward. Default: 4 hiddenSize, and two thirds of that (a multiple of 32) for a gated one, which has three matrices. */
  intermediateSize: count.optional(),
  /** The longest sequence, in tokens. */
  contextLength: count,
  /** Whether the unembedding is the embedding. */
  tieEmbeddings: z.boolean().default(true),
  /** Biases in the attention and feed-forward projections, and in LayerNorm; the four below, where they differ. Complete: whether all projections have one. */
  bias: z.boolean().default(true),
  queryKeyValueBias: z.boolean().optional(),
  attentionOutputBias: z.boolean().optional(),
  mlpBias: z.boolean().optional(),
  normBias: z.boolean().optional(),

  norm: z.enum(["layernorm", "rmsnorm"]).default("layernorm"),
  normEps: positive.default(1e-5),
  /** RMSNorm multiplies by weight + normOffset (Gemma: 1). */
  normOffset: z.number().default(0),
  /**
   * Where a block normalises: `pre`, what its mixer and feed-forward read (GPT-2 and later); `post`, their sum with the residual stream (the 2017
   * transformer); `output`, what they add to it (OLMo 2); `sandwich`, what they read and what they add (Gemma 2).
   */
  normPlacement: z.enum(["pre", "post", "output", "sandwich"]).default("pre"),
  /** Mixer and feed-forward read the same residual stream and add to it together (GPT-J), from one norm or from one each. */
  parallelBlock: z.enum(["none", "sharedNorm", "twoNorms"]).default("none"),
  /** A norm right after the embedding (BLOOM). */
  embeddingNorm: z.boolean().default(false),
  /** The embedding is multiplied by it (Gemma: sqrt(hiddenSize)). */
  embeddingScale: positive.default(1),
  /** What each half of a block adds is multiplied by it (Granite). */
  residualScale: positive.default(1),
  /** The logits are multiplied by it (Cohere, Granite). */
  logitScale: positive.default(1),
  /** Where above 0: logits become softcap * tanh(logits / softcap) (Gemma 2). */
  logitSoftcap: z.number().min(0).default(0),

  position: z.enum(["learned", "sinusoidal", "rope", "alibi", "none"]).default("learned"),
  /** ALiBi's slopes are multiplied by it (Falcon: 1 / sqrt(headSize)). */
  alibiScale: positive.default(1),
  /** The base of RoPE's angles. */
  ropeTheta: positive.default(10_000),
  /** How RoPE's angles are stretched over a longer context than the model learned them on. */
  ropeScaling: ropeScalingSchema.default({ kind: "none" }),
  /** Where above 0: the base of RoPE's angles in sliding layers, which are not scaled (Gemma 3). */
  localRopeTheta: z.number().min(0).default(0),
  /** RoPE turns the pairs (2i, 2i + 1) of a head (Cohere), not (i, i + half). */
  ropeInterleaved: z.boolean().default(false),
  /** The share of a head that RoPE turns. */
  rotaryFraction: positive.max(1).default(1),
  /** For each layer, whether RoPE acts there (SmolLM3, Cohere 2); a shorter list is a pattern that repeats. Default: in all, with position "rope". */
  ropeLayers: z.array(z.boolean()).readonly().optional(),

  /** Scores are q k^T times this. Default: 1 / sqrt(headSize). */
  attentionScale: positive.optional(),
  /** Where above 0: scores become softcap * tanh(score / softcap) (Gemma 2). */
  attentionSoftcap: z.number().min(0).default(0),
  /**
   * A norm of queries and keys: `head`, RMSNorm over each head, one weight for all (Qwen 3); `heads`, LayerNorm over each head, with a weight for each
   * and no bias (Cohere); `whole`, RMSNorm over all heads at once (OLMo 2). True is `head`, false is `none`.
   */
  qkNorm: z.union([z.enum(["none", "head", "heads", "whole"]), z.boolean().transform((on) => (on ? ("head" as const) : ("none" as const)))]).default("none"),
  /** How many positions back a query sees in sliding layers, itself included; 0 is all. */
  slidingWindow: z.number().int().min(0).default(0),
  /** For each layer, whether it sees everything or the sliding window; a shorter list is a pattern that repeats. Default: all alike. */
  layerTypes: z.array(z.enum(["full", "sliding"])).readonly().optional(),

  /** An MLP by its activation, or a gated unit (Shazeer 2020): swiglu's gate is silu, geglu's gelu, gegluTanh's its approximation. */
  feedForward: z.enum(["gelu", "geluTanh", "relu", "silu", "swiglu", "geglu", "gegluTanh"]).default("gelu"),
  /** Of the embedding, the attention weights, and both outputs of a block, while training. */
  dropout: rate.default(0),
});

/** What a user writes: sizes, and what differs from the defaults. */
export type TransformerOptions = z.input<typeof schema>;

type Complete<T> = { readonly [Field in keyof T]-?: NonNullable<T[Field]> };

/** A complete configuration of a uniform transformer. */
export type TransformerConfig = Omit<Complete<z.output<typeof schema>>, "ropeScaling"> & { readonly ropeScaling: RopeScaling };

/** Completes and checks a configuration. Throws ConfigError, which names the field, for one that cannot be built. */
export function transformerConfig(options: TransformerOptions): TransformerConfig {
  const parsed = schema.safeParse(options, { jitless: true });
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue.code === "unrecognized_keys" && issue.path.length === 0 ? issue.keys[0] : issue.path.join(".");
    throw new ConfigError(field, issue.code === "unrecognized_keys" ? "a model has no such setting." : `${issue.message}.`);
  }
  const given = parsed.data;
  const { hiddenSize, numLayers, numHeads, bias, position } = given;
  if (given.headSize === undefined && hiddenSize % numHeads !== 0) {
    throw new ConfigError("numHeads", `${numHeads} heads do not divide the hidden size ${hiddenSize}.`, { hint: "Choose a divisor, or give headSize." });
  }
  const perLayer = <T>(field: string, pattern: readonly T[] | undefined, fallback: T): T[] => {
    const repeated = pattern ?? [fallback];
    if (repeated.length === 0 || repeated.length > numLayers) {
      throw new ConfigError(field, `a list of ${repeated.length} does not fit ${numLayers} layers.`, { hint: "Give one for each layer, or a shorter pattern that repeats." });
    }
    return Array.from({ length: numLayers }, (_, layer) => repeated[layer % repeated.length]);
  };
  const headSize = given.headSize ?? hiddenSize / numHeads;
  const biases = { queryKeyValueBias: given.queryKeyValueBias ?? bias, attentionOutputBias: given.attentionOutputBias ?? bias, mlpBias: given.mlpBias ?? bias };
  const config: TransformerConfig = {
    ...given,
    ...biases,
    bias: Object.values(biases).every(Boolean),
    normBias: given.normBias ?? (bias && given.norm === "layernorm"),
    numKeyValueHeads: given.numKeyValueHeads ?? numHeads,
    headSize,
    intermediateSize: given.intermediateSize ?? (isGated(given) ? gatedIntermediateSize(hiddenSize) : 4 * hiddenSize),
    attentionScale: given.attentionScale ?? headSize ** -0.5,
    ropeScaling: completedRopeScaling(given.ropeScaling, given.contextLength),
    ropeLayers: perLayer("ropeLayers", given.ropeLayers, position === "rope"),
    layerTypes: perLayer("layerTypes", given.layerTypes, given.slidingWindow > 0 ? "sliding" : "full"),
  };
  checkTogether(config);
  return config;
}

/** What single fields cannot tell. */
function checkTogether(config: TransformerConfig): void {
  const { numHeads, numKeyValueHeads, norm, normPlacement, parallelBlock, position, ropeScaling, layerTypes, slidingWindow } = config;
  if (numHeads % numKeyValueHeads !== 0) {
    throw new ConfigError("numKeyValueHeads", `${numKeyValueHeads} key heads do not divide the ${numHeads} query heads.`);
  }
  if (norm === "rmsnorm" && config.normBias) throw new ConfigError("normBias", "RMSNorm has no bias.");
  if (norm === "layernorm" && config.normOffset !== 0) throw new ConfigError("normOffset", "only RMSNorm has an offset.");
  if (parallelBlock !== "none" && normPlacement !== "pre") {
    throw new ConfigError("parallelBlock", `halves that run side by side read a norm, and normPlacement is "${normPlacement}".`, { hint: 'Choose "pre".' });
  }
  if (layerTypes.includes("sliding") && slidingWindow === 0) throw new ConfigError("slidingWindow", "sliding layers need a window.");
  if (position !== "rope") {
    if (config.ropeLayers.includes(true)) throw new ConfigError("ropeLayers", `position is "${position}", not "rope".`);
    return;
  }
  const pairs = rotaryWidth(config.headSize, config.rotaryFraction) / 2;
  if (pairs < 1) throw new ConfigError("rotaryFraction", `RoPE turns pairs, and ${config.rotaryFraction} of a head of ${config.headSize} holds none.`);
  if (ropeScaling.kind === "longrope") {
    for (const field of ["shortFactors", "longFactors"] as const) {
      const { length } = ropeScaling[field];
      if (length !== pairs) throw new ConfigError(`ropeScaling.${field}`, `${length} factors do not fit the ${pairs} pairs that RoPE turns.`);
    }
  }
  if (ropeScaling.kind === "llama3" && ropeScaling.highFrequencyFactor <= ropeScaling.lowFrequencyFactor) {
    throw new ConfigError("ropeScaling.highFrequencyFactor", "it must be above lowFrequencyFactor.");
  }
  if (ropeScaling.kind === "yarn" && config.ropeTheta <= 1) throw new ConfigError("ropeTheta", "YaRN's ramp needs a base above 1.");
  if (ropeScaling.kind === "dynamic" && pairs < 2) throw new ConfigError("ropeScaling", "the dynamic kind needs two pairs to turn at least.");
}

/** Whether the feed-forward has a gate beside its up projection. */
export function isGated({ feedForward }: Pick<TransformerConfig, "feedForward">): boolean {
  return feedForward === "swiglu" || feedForward === "geglu" || feedForward === "gegluTanh";
}

const gates = { swiglu: "silu", geglu: "gelu", gegluTanh: "geluTanh" } as const;
const placements = { none: undefined, sharedNorm: "parallel", twoNorms: "parallel2" } as const;

/** The list of layers that flat options stand for. Throws ConfigError, which names the setting. */
export function layersOf(options: TransformerOptions): ModelConfig {
  const config = transformerConfig(options);
  const { norm: kind, normEps: eps, normOffset: offset, position } = config;
  const norm: NormSpec = kind === "layernorm" ? { kind, eps, bias: config.normBias } : { kind, eps, offset };
  const normPlacement: NormPlacement = placements[config.parallelBlock] ?? config.normPlacement;
  const gate = gates[config.feedForward as keyof typeof gates] as (typeof gates)[keyof typeof gates] | undefined;
  const { intermediateSize, mlpBias: bias } = config;
  const feedForward: FeedForwardSpec =
    gate === undefined
      ? { kind: "mlp", intermediateSize, activation: config.feedForward as "gelu", bias }
      : { kind: "gated", intermediateSize, activation: gate, bias };
  return {
    vocabSize: config.vocabSize,
    hiddenSize: config.hiddenSize,
    contextLength: config.contextLength,
    embedding: {
      scale: config.embeddingScale,
      norm: config.embeddingNorm ? norm : { kind: "none" },
      positions: position === "learned" || position === "sinusoidal" ? position : "none",
    },
    layers: config.layerTypes.map((type, layer): LayerSpec => ({
      mixer: {
        kind: "attention",
        numHeads: config.numHeads,
        numKeyValueHeads: config.numKeyValueHeads,
        headSize: config.headSize,
        queryKeyValueBias: config.queryKeyValueBias,
        outputBias: config.attentionOutputBias,
        scale: config.attentionScale,
        softcap: config.attentionSoftcap,
        window: type === "sliding" ? config.slidingWindow : 0,
        queryKeyNorm: config.qkNorm === "none" ? { kind: "none" } : config.qkNorm === "heads" ? { kind: "heads", eps } : { kind: config.qkNorm, eps, offset },
        positions: position === "alibi" ? { kind: "alibi", scale: config.alibiScale } : config.ropeLayers[layer] ? ropeOf(config, type) : { kind: "none" },
      },
      feedForward,
      norm,
      normPlacement,
      residualScale: config.residualScale,
    })),
    finalNorm: config.normPlacement === "post" ? { kind: "none" } : norm,
    head: { tied: config.tieEmbeddings, scale: config.logitScale, softcap: config.logitSoftcap },
    dropout: config.dropout,
  };
}

function ropeOf(config: TransformerConfig, type: "full" | "sliding"): RopeSpec {
  const isLocal = type === "sliding" && config.localRopeTheta > 0;
  const { ropeInterleaved: interleaved, rotaryFraction: fraction } = config;
  return isLocal
    ? { kind: "rope", theta: config.localRopeTheta, scaling: { kind: "none" }, interleaved, fraction }
    : { kind: "rope", theta: config.ropeTheta, scaling: config.ropeScaling, interleaved, fraction };
}

/** The flat settings that stand for a configuration; undefined where it is no uniform transformer. Settings that mean nothing there have their defaults. */
export function transformerOf(config: ModelConfig): TransformerConfig | undefined {
  const [{ mixer, feedForward, norm, normPlacement, residualScale }] = config.layers;
  if (mixer.kind !== "attention" || (feedForward.kind !== "mlp" && feedForward.kind !== "gated")) return undefined;
  const attentions = config.layers.map((layer) => layer.mixer);
  const positions = attentions.map((one) => (one.kind === "attention" ? one.positions : { kind: "none" as const }));
  const windows = attentions.map((one) => (one.kind === "attention" ? one.window : 0));
  const window = windows.find((size) => size > 0);
  const isRope = (one: (typeof positions)[number]): one is RopeSpec => one.kind === "rope";
  const rope = positions.find((one, i): one is RopeSpec => isRope(one) && windows[i] === 0) ?? positions.find(isRope);
  const localRope = positions.find((one, i): one is RopeSpec => isRope(one) && windows[i] > 0);
  const alibi = positions.find((one) => one.kind === "alibi");
  const hasLocalRope = rope !== undefined && localRope !== undefined && !sameValue(rope, localRope);
  const parallel = normPlacement === "parallel" ? "sharedNorm" : normPlacement === "parallel2" ? "twoNorms" : "none";
  const options: TransformerOptions = {
    vocabSize: config.vocabSize,
    hiddenSize: config.hiddenSize,
    numLayers: config.layers.length,
    numHeads: mixer.numHeads,
    numKeyValueHeads: mixer.numKeyValueHeads,
    headSize: mixer.headSize,
    intermediateSize: feedForward.intermediateSize,
    contextLength: config.contextLength,
    tieEmbeddings: config.head.tied,
    queryKeyValueBias: mixer.queryKeyValueBias,
    attentionOutputBias: mixer.outputBias,
    mlpBias: feedForward.bias,
    normBias: norm.kind === "layernorm" && norm.bias,
    norm: norm.kind,
    normEps: norm.eps,
    normOffset: norm.kind === "rmsnorm" ? norm.offset : 0,
    normPlacement: parallel === "none" ? (normPlacement as "pre") : "pre",
    parallelBlock: parallel,
    embeddingNorm: config.embedding.norm.kind !== "none",
    embeddingScale: config.embedding.scale,
    residualScale,
    logitScale: config.head.scale,
    logitSoftcap: config.head.softcap,
    position: rope !== undefined ? "rope" : alibi !== undefined ? "alibi" : config.embedding.positions,
    ...(alibi !== undefined && { alibiScale: alibi.scale }),
    ...(rope !== undefined && {
      ropeTheta: rope.theta,
      ropeScaling: rope.scaling,
      ropeInterleaved: rope.interleaved,
      rotaryFraction: rope.fraction,
      ropeLayers: positions.map(isRope),
      localRopeTheta: hasLocalRope ? localRope.theta : 0,
    }),
    attentionScale: mixer.scale,
    attentionSoftcap: mixer.softcap,
    qkNorm: mixer.queryKeyNorm.kind,
    slidingWindow: window ?? 0,
    layerTypes: windows.map((size) => (size > 0 ? "sliding" : "full")),
    feedForward: feedForward.kind === "mlp" ? feedForward.activation : ({ silu: "swiglu", gelu: "geglu", geluTanh: "gegluTanh" } as const)[feedForward.activation],
    dropout: config.dropout,
  };
  try {
    const flat = transformerConfig(options);
    return sameValue(layersOf(flat), config) ? flat : undefined;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}
