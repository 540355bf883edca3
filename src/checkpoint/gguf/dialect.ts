/**
 * @file How GGUF says a model's configuration: the keys that all architectures share, both ways. What an architecture adds to them, or has no key for
 * because all its models have it, its family says (`GgufDialect`).
 *
 * GGUF keeps numbers in float32; what is read is the shortest decimal that float32 rounds to the same, so that 1e-5 comes back as 1e-5.
 */

import { CheckpointError } from "../../errors.js";
import { rotaryWidth, type TransformerConfig, type TransformerOptions } from "../../model/index.js";
import { periodicLayers } from "../families/layer-types.js";
import { gguf, type GgufMetadata, type GgufValue } from "./metadata.js";

type LayerType = TransformerConfig["layerTypes"][number];

/** What a GGUF file says beside its keys: which tensors there are. */
export interface GgufFacts {
  readonly metadata: GgufMetadata;
  readonly architecture: string;
  /** The number under a key of the architecture (`NAME.` goes before it); undefined where there is none. */
  readonly number: (key: string) => number | undefined;
  readonly flag: (key: string) => boolean | undefined;
  readonly text: (key: string) => string | undefined;
  /** The entries under a key that is a list; of flags 1 and 0. */
  readonly list: (key: string) => number[] | undefined;
  readonly has: (tensor: string) => boolean;
}

/** Which layers see everything: a period, or one entry a layer, of which those that are true see a window. `period`: where the file does not say. */
export function ggufLayerTypes({ number, list, metadata, architecture }: GgufFacts, numLayers: number, period: number): LayerType[] {
  const key = "attention.sliding_window_pattern";
  const listed = list(key);
  if (listed === undefined) return periodicLayers(numLayers, number(key) ?? period);
  if (listed.length !== numLayers) {
    throw new CheckpointError({ file: metadata.file, field: `${architecture}.${key}` }, `it lists ${listed.length} layers, and the model has ${numLayers}.`, { code: "bad-config" });
  }
  return listed.map((slides) => (slides === 0 ? "full" : "sliding"));
}

export interface GgufDialect {
  /** `general.architecture`. */
  readonly architecture: string;
  /** What holds for its models beside what the usual keys say, which `usual` are. */
  read(facts: GgufFacts, usual: UsualOptions): TransformerOptions;
  /** Keys of its own, without the architecture's name before them. */
  write?(config: TransformerConfig): Record<string, GgufValue | undefined>;
  /** Queries and keys have the rows of a head so that RoPE turns neighbours. */
  readonly neighbouringPairs?: boolean;
  /** Queries, keys and values are one tensor. */
  readonly fusedQueryKeyValue?: boolean;
  /** Gate and up are one tensor. */
  readonly fusedGateUp?: boolean;
  /** A model without biases must be saved with zeros. */
  readonly everythingHasBias?: boolean;
  /** The norms of a block that are called otherwise than usual: theirs by ours. */
  readonly norms?: (config: TransformerConfig) => Readonly<Record<string, string>>;
}

/** What the usual keys say. */
export type UsualOptions = TransformerOptions & { readonly [Field in "headSize" | "numKeyValueHeads" | "rotaryFraction" | "slidingWindow" | "ropeTheta"]: number };

/** More than any model has; lists of one entry a layer are made from it. */
const maxLayers = 10_000;

/** The keys whose value is a size, by our fields. */
const sizes = {
  vocabSize: "vocab_size",
  contextLength: "context_length",
  hiddenSize: "embedding_length",
  numLayers: "block_count",
  intermediateSize: "feed_forward_length",
  numHeads: "attention.head_count",
  numKeyValueHeads: "attention.head_count_kv",
  headSize: "attention.key_length",
} as const;

/** Reads the usual keys. Throws CheckpointError `bad-config` that names the key which is missing or malformed. */
export function readUsual(facts: GgufFacts, architecture: string, vocabRows: number): UsualOptions {
  const place = (key: string) => ({ file: facts.metadata.file, field: `${architecture}.${key}` });
  const size = (key: string, fallback?: number, most = Number.MAX_SAFE_INTEGER): number => {
    const value = facts.number(key) ?? fallback;
    if (value === undefined) throw new CheckpointError(place(key), "the metadata has no such key.", { code: "bad-config" });
    if (!Number.isSafeInteger(value) || value < 1 || value > most) {
      throw new CheckpointError(place(key), `${value} cannot be: it is a whole number from 1${most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ""}.`, { code: "bad-config" });
    }
    return value;
  };
  const [hiddenSize, numHeads] = [size(sizes.hiddenSize), size(sizes.numHeads)];
  const headSize = size(sizes.headSize, hiddenSize / numHeads);
  for (const key of ["attention.value_length", "attention.key_length_swa", "attention.value_length_swa"]) {
    const other = facts.number(key) ?? headSize;
    if (other !== headSize) throw new CheckpointError(place(key), `${other} beside keys of ${headSize} is not supported.`, { code: "unsupported-config" });
  }
  const rotary = facts.number("rope.dimension_count") ?? headSize;
  const rotaryLocal = facts.number("rope.dimension_count_swa") ?? rotary;
  if (rotaryLocal !== rotary) throw new CheckpointError(place("rope.dimension_count_swa"), `${rotaryLocal} beside ${rotary} in other layers is not supported.`, { code: "unsupported-config" });
  return {
    vocabSize: size(sizes.vocabSize, vocabRows),
    contextLength: size(sizes.contextLength),
    hiddenSize,
    numLayers: size(sizes.numLayers, undefined, maxLayers),
    intermediateSize: size(sizes.intermediateSize, 4 * hiddenSize),
    numHeads,
    numKeyValueHeads: size(sizes.numKeyValueHeads, numHeads),
    headSize,
    normEps: facts.number("attention.layer_norm_rms_epsilon") ?? facts.number("attention.layer_norm_epsilon") ?? 1e-5,
    ropeTheta: facts.number("rope.freq_base") ?? 10_000,
    rotaryFraction: rotary / headSize,
    slidingWindow: facts.number("attention.sliding_window") ?? 0,
    tieEmbeddings: !facts.has("output.weight"),
    queryKeyValueBias: facts.has("blk.0.attn_q.bias") || facts.has("blk.0.attn_qkv.bias"),
    attentionOutputBias: facts.has("blk.0.attn_output.bias"),
    mlpBias: facts.has("blk.0.ffn_down.bias"),
    normBias: facts.has("output_norm.bias"),
  };
}

/** The usual keys of a configuration, without the architecture's name before them. */
export function writeUsual(config: TransformerConfig): Record<string, GgufValue | undefined> {
  const { headSize, position, ropeScaling: scaling } = config;
  const rope: Record<string, GgufValue | undefined> =
    position !== "rope"
      ? {}
      : {
          "rope.dimension_count": gguf.uint32(rotaryWidth(headSize, config.rotaryFraction)),
          "rope.freq_base": gguf.float32(config.ropeTheta),
          ...((scaling.kind === "linear" || scaling.kind === "yarn") && { "rope.scaling.type": gguf.string(scaling.kind), "rope.scaling.factor": gguf.float32(scaling.factor) }),
          ...((scaling.kind === "yarn" || scaling.kind === "longrope") && { "rope.scaling.original_context_length": gguf.uint32(scaling.originalContextLength) }),
          ...(scaling.kind === "yarn" && { "rope.scaling.yarn_beta_fast": gguf.float32(scaling.betaFast), "rope.scaling.yarn_beta_slow": gguf.float32(scaling.betaSlow) }),
          ...(scaling.kind === "longrope" && { "rope.scaling.attn_factor": gguf.float32(scaling.attentionFactor) }),
        };
  return {
    ...Object.fromEntries(Object.entries(sizes).map(([field, key]) => [key, gguf.uint32(config[field as keyof typeof sizes])])),
    "attention.value_length": gguf.uint32(headSize),
    [config.norm === "rmsnorm" ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"]: gguf.float32(config.normEps),
    ...rope,
    ...(config.slidingWindow > 0 && { "attention.sliding_window": gguf.uint32(config.slidingWindow) }),
  };
}

/** The shortest decimal that rounds to this float32. */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
