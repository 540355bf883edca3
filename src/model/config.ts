/**
 * @file The configuration of a model: what it is, layer by layer. A layer names the kind of its mixer and of its feed-forward, each with the
 * settings of that kind. A uniform transformer can be written shorter, as flat options (`transformer.ts`).
 */

import { z } from "zod";
import { ConfigError } from "../errors.js";
import { placementSchema, type LayerSpec } from "./block.js";
import { feedForwards, type FeedForwardSpecs } from "./feed-forwards/index.js";
import { mixers, type MixerSpecs } from "./mixers/index.js";
import { normSchema, type NormSpec } from "./norms/norm.js";
import { parsed } from "./specs.js";
import { layersOf, type TransformerOptions } from "./transformer.js";

const count = z.number().int().positive();
const positive = z.number().positive();
const noNorm = z.strictObject({ kind: z.literal("none") });
const maybeNorm = z.union([noNorm, normSchema]);

const layerSchema = z.strictObject({
  mixer: z.looseObject({ kind: z.string() }),
  feedForward: z.looseObject({ kind: z.string() }),
  norm: normSchema.default({ kind: "layernorm", eps: 1e-5, bias: true }),
  normPlacement: placementSchema.default("pre"),
  residualScale: positive.default(1),
});

const schema = z.strictObject({
  /** Number of token ids. */
  vocabSize: count,
  /** Width of the residual stream. */
  hiddenSize: count,
  /** The longest sequence, in tokens. */
  contextLength: count,
  embedding: z
    .strictObject({
      /** The embedding is multiplied by it (Gemma: sqrt(hiddenSize)). */
      scale: positive.default(1),
      /** Right after the embedding (BLOOM). */
      norm: maybeNorm.default({ kind: "none" }),
      /** What is added to the embedding. Positions that act inside a mixer, such as RoPE, belong to the mixer. */
      positions: z.enum(["none", "learned", "sinusoidal"]).default("none"),
    })
    .prefault({}),
  layers: z.array(layerSchema).min(1).max(10_000),
  /** After the last layer. */
  finalNorm: maybeNorm.default({ kind: "layernorm", eps: 1e-5, bias: true }),
  head: z
    .strictObject({
      /** Whether the unembedding is the embedding. */
      tied: z.boolean().default(true),
      /** The logits are multiplied by it (Cohere, Granite). */
      scale: positive.default(1),
      /** Where above 0: logits become softcap * tanh(logits / softcap) (Gemma 2). */
      softcap: z.number().min(0).default(0),
    })
    .prefault({}),
  /** The probability of dropout while training: of the embedding, the attention weights, and both outputs of a block. */
  dropout: z.number().min(0).lt(1).default(0),
});

type DeepPartial<T> = T extends readonly unknown[] ? T : T extends object ? { readonly [Field in keyof T]?: DeepPartial<T[Field]> } : T;
/** What a user writes of a part: its kind, and what differs from that kind's defaults. */
type PartOptions<Specs> = { readonly [Kind in keyof Specs]: DeepPartial<Omit<Specs[Kind], "kind">> & { readonly kind: Kind } }[keyof Specs];

/** One layer as a user writes it: what is not given takes the default of its kind. */
export interface LayerOptions extends Partial<Omit<LayerSpec, "mixer" | "feedForward">> {
  readonly mixer: PartOptions<MixerSpecs>;
  readonly feedForward: PartOptions<FeedForwardSpecs>;
}

/** A model as a list of layers. */
export type LayeredOptions = Omit<z.input<typeof schema>, "layers"> & { readonly layers: readonly LayerOptions[] };

/** What a user writes: a list of layers, or the flat options of a uniform transformer. */
export type ModelOptions = TransformerOptions | LayeredOptions;

type MaybeNorm = NormSpec | { readonly kind: "none" };

/** A complete configuration. */
export interface ModelConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly contextLength: number;
  readonly embedding: { readonly scale: number; readonly norm: MaybeNorm; readonly positions: "none" | "learned" | "sinusoidal" };
  readonly layers: readonly LayerSpec[];
  readonly finalNorm: MaybeNorm;
  readonly head: { readonly tied: boolean; readonly scale: number; readonly softcap: number };
  readonly dropout: number;
}

/** Completes and checks a configuration; completing it again changes nothing. Throws ConfigError, which names the setting, for one that cannot be built. */
export function modelConfig(options: ModelOptions): ModelConfig {
  const layered = "layers" in options ? options : layersOf(options);
  const given = parsed(schema, layered) as z.output<typeof schema>;
  const layers = given.layers.map((layer, i): LayerSpec => {
    if (layer.feedForward.kind === "none" && (layer.normPlacement === "post" || layer.normPlacement.startsWith("parallel"))) {
      throw new ConfigError(`layers.${i}.normPlacement`, `a layer without a feed-forward cannot have ${JSON.stringify(layer.normPlacement)}.`, { hint: 'Choose "pre".' });
    }
    return {
      ...layer,
      mixer: mixers.complete(layer.mixer, given, `layers.${i}.mixer`),
      feedForward: feedForwards.complete(layer.feedForward, given, `layers.${i}.feedForward`),
    };
  });
  return { ...given, layers };
}
