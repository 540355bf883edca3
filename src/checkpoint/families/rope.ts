/**
 * @file RoPE as transformers' config.json says it. Version 5 keeps all of it in `rope_parameters`; version 4 keeps the base in `rope_theta`, the
 * scaling in `rope_scaling` (whose kind older files call `type`) and the share of a head in `partial_rotary_factor`. Both are read, and both written.
 *
 * Where both are there `rope_scaling` counts, whole, and what it leaves out comes from the fields beside it: so transformers 5 reads them
 * (`RotaryEmbeddingConfigMixin.convert_rope_params_to_dict`).
 */

import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { completedRopeScaling, yarnAttentionFactor, type TransformerConfig, type TransformerOptions, type RopeScaling } from "../../model/index.js";
import { brief, type ConfigFile } from "./family.js";

type GivenScaling = NonNullable<TransformerOptions["ropeScaling"]>;
type RopeOptions = Pick<TransformerOptions, "ropeTheta" | "rotaryFraction" | "contextLength"> & { readonly ropeScaling: GivenScaling };

export interface RopeNames {
  /** The fields that say the base and the share of a head where the object does not. */
  readonly theta?: string;
  readonly fraction?: string;
  /** The family knows RoPE of whole heads only. */
  readonly wholeHeads?: boolean;
  /** Other names of kinds. */
  readonly kinds?: Readonly<Record<string, string>>;
  /** The object that says the rest; by default as the file has it. */
  readonly parameters?: ConfigFile;
}

/**
 * The base, scaling and share of a head, and the context that results: "dynamic" and YaRN reach beyond `max_position_embeddings`, which for them may
 * still be what the model learned on. The family's defaults hold where the file says nothing. Throws CheckpointError for a kind that is not known.
 */
export function readRope(json: ConfigFile, names: RopeNames = {}): RopeOptions {
  const { theta = "rope_theta", fraction = "partial_rotary_factor", wholeHeads = true, kinds = {} } = names;
  const parameters = names.parameters ?? ropeParameters(json);
  if (parameters.has("full_attention") || parameters.has("sliding_attention")) json.unsupported("rope_parameters", "all its layers turn alike");
  if (wholeHeads) for (const place of [json, parameters]) place.only("partial_rotary_factor", 1);
  const maximum = json.count("max_position_embeddings");
  const inside = parameters.count("original_max_position_embeddings", maximum);
  const ropeScaling = readScaling(parameters, maximum, json.isNull("original_max_position_embeddings") ? inside : json.count("original_max_position_embeddings"), kinds);
  const reach = ropeScaling.kind === "dynamic" || ropeScaling.kind === "yarn" ? Math.floor(ropeScaling.originalContextLength * ropeScaling.factor) : 0;
  const ropeTheta = parameters.number("rope_theta", json.number(theta, 10_000));
  return { ropeTheta, ropeScaling, rotaryFraction: parameters.number("partial_rotary_factor", json.number(fraction, 1)), contextLength: Math.max(maximum, reach) };
}

/** The object that counts; what the other says otherwise is said. */
function ropeParameters(json: ConfigFile): ConfigFile {
  const [scaling, parameters] = [json.object("rope_scaling"), json.object("rope_parameters")];
  if (Object.keys(scaling.json).length === 0) return parameters;
  parameters.skip(...Object.keys(parameters.json));
  const kind = scaling.text("rope_type", scaling.text("type", "default"));
  const counts = (field: string): unknown => scaling.json[field] ?? json.json[field] ?? (field === "rope_theta" ? json.number(field, 10_000) : undefined);
  const lost = Object.entries(parameters.json).filter(([field, value]) => {
    if (field === "rope_type" || field === "type") return value !== "default" && value !== kind;
    return value !== null && !isDeepStrictEqual(value, counts(field));
  });
  if (lost.length > 0) {
    const named = lost.map(([field, value]) => `"rope_parameters.${field}" (${brief(value)})`).join(", ");
    json.warnings.push(`${json.path}: ${named} ${lost.length === 1 ? "does" : "do"} not count beside "rope_scaling", as transformers reads it.`);
  }
  return scaling;
}

function readScaling(json: ConfigFile, maximum: number, original: number, kinds: NonNullable<RopeNames["kinds"]>): GivenScaling {
  const said = json.text("rope_type", json.text("type", "default"));
  const kind = kinds[said] ?? said;
  const optional = (field: string) => (json.has(field) ? json.number(field) : undefined);
  switch (kind) {
    case "default":
      return { kind: "none" };
    case "linear":
      return { kind, factor: json.number("factor") };
    case "dynamic":
      return { kind, factor: json.number("factor"), originalContextLength: maximum };
    case "yarn": {
      const factor = json.number("factor", maximum / original);
      const [scale, scaleAll] = [json.number("mscale", 0), json.number("mscale_all_dim", 0)];
      const byScales = scale !== 0 && scaleAll !== 0 ? yarnAttentionFactor(factor, scale) / yarnAttentionFactor(factor, scaleAll) : undefined;
      return {
        kind, factor, originalContextLength: original, attentionFactor: optional("attention_factor") ?? byScales,
        // A 0 is no turn at all, and counts as not said.
        betaFast: json.number("beta_fast", 32) || 32, betaSlow: json.number("beta_slow", 1) || 1, truncate: json.flag("truncate", true),
      };
    }
    case "llama3": {
      const [lowFrequencyFactor, highFrequencyFactor] = [json.number("low_freq_factor"), json.number("high_freq_factor")];
      return { kind, factor: json.number("factor"), originalContextLength: original, lowFrequencyFactor, highFrequencyFactor };
    }
    case "longrope":
    case "su": {
      const [shortFactors, longFactors] = ["short_factor", "long_factor"].map((field) => json.list(field, z.number()) ?? []);
      // transformers takes this ratio where no factor is said.
      const factor = optional("factor") ?? maximum / original;
      const byFactor = factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(original)) : 1;
      return { kind: "longrope", originalContextLength: original, shortFactors, longFactors, attentionFactor: optional("attention_factor") ?? byFactor };
    }
    default:
      return json.unsupported(json.has("rope_type") ? "rope_type" : "type", "it knows default, linear, dynamic, yarn, llama3 and longrope");
  }
}

/** The fields of config.json; among them `max_position_embeddings` where the scaling gives that another meaning than our contextLength. */
export function writeRope({ ropeTheta, rotaryFraction, ropeScaling, contextLength }: TransformerConfig): { readonly rope_parameters: Record<string, unknown> } & Record<string, unknown> {
  const fraction = rotaryFraction === 1 ? {} : { partial_rotary_factor: rotaryFraction };
  const scaling = writeScaling(ropeScaling, contextLength);
  return {
    rope_theta: ropeTheta,
    ...fraction,
    ...(scaling && { rope_scaling: { rope_type: ropeScaling.kind, ...scaling } }),
    rope_parameters: { rope_theta: ropeTheta, rope_type: scaling === undefined ? "default" : ropeScaling.kind, ...fraction, ...scaling },
    ...(ropeScaling.kind === "dynamic" && { max_position_embeddings: ropeScaling.originalContextLength }),
  };
}

function writeScaling(scaling: RopeScaling, contextLength: number): Record<string, unknown> | undefined {
  switch (scaling.kind) {
    case "none":
      return undefined;
    case "linear":
    case "dynamic":
      return { factor: scaling.factor };
    case "yarn":
      return {
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalContextLength,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        ...(!scaling.truncate && { truncate: false }),
        ...unusualAttentionFactor(scaling, contextLength),
      };
    case "llama3":
      return {
        factor: scaling.factor,
        low_freq_factor: scaling.lowFrequencyFactor,
        high_freq_factor: scaling.highFrequencyFactor,
        original_max_position_embeddings: scaling.originalContextLength,
      };
    case "longrope":
      return {
        short_factor: scaling.shortFactors,
        long_factor: scaling.longFactors,
        original_max_position_embeddings: scaling.originalContextLength,
        ...unusualAttentionFactor(scaling, contextLength),
      };
  }
}

/** The attention factor, where it is not the one that follows from the rest. */
function unusualAttentionFactor(scaling: Extract<RopeScaling, { attentionFactor: number }>, contextLength: number): { attention_factor?: number } {
  const { attentionFactor, ...rest } = scaling;
  const advised = completedRopeScaling(rest, contextLength) as typeof scaling;
  return attentionFactor === advised.attentionFactor ? {} : { attention_factor: attentionFactor };
}
