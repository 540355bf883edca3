/**
 * @file A model's configuration in the metadata of a GGUF file, both ways. What GGUF's keys cannot say stands under a key of our own,
 * `hornbook.config`, as JSON, which other programs ignore; what would make them compute something else is refused instead.
 */

import { z } from "zod";
import { CheckpointError } from "../../errors.js";
import {
  rotaryWidth, transformerConfig, transformerOf, yarnAttentionFactor, type ModelConfig, type RopeScaling, type TransformerConfig, type TransformerOptions,
} from "../../model/index.js";
import { brief, families, idle, unsaidBy, type Family } from "../families/index.js";
import { checkedConfig } from "../folder.js";
import { oldGgufKey, oldNameError } from "../old-name.js";
import { readUsual, shortest, writeUsual, type GgufFacts, type UsualOptions } from "./dialect.js";
import type { Gguf } from "./gguf.js";
import { GgufMetadata, gguf, type GgufValue } from "./metadata.js";
import { ropeFactors } from "./names.js";
import { unreadKeys } from "./unread.js";

/** What GGUF's keys cannot say. */
const unsaidKey = "hornbook.config";

export type GgufFamily = Family & Required<Pick<Family, "gguf">>;

const dialects = (): GgufFamily[] => families.filter((family): family is GgufFamily => family.gguf !== undefined);

/**
 * The configuration of a GGUF file's model, and the family it is saved as.
 *
 * @throws CheckpointError `unknown-architecture`, naming those that are known; `bad-config`, `unsupported-config`, naming the key.
 */
export async function readGgufConfig(file: Gguf): Promise<{ config: ModelConfig; family: GgufFamily; warnings: string[] }> {
  const { metadata, path } = file;
  const kind = metadata.text("general.type", "model");
  if (kind !== "model") {
    throw new CheckpointError({ file: path, field: "general.type" }, `this file is no model but ${brief(kind)}.`, { code: "not-a-model", hint: "Name the model that it belongs to." });
  }
  if (metadata.has(oldGgufKey)) throw oldNameError(path, oldGgufKey);
  const architecture = metadata.text("general.architecture");
  const candidates = dialects().filter((family) => family.gguf.architecture === architecture);
  if (candidates.length === 0) {
    const known = [...new Set(dialects().map((family) => family.gguf.architecture))].join(", ");
    throw new CheckpointError({ file: path, field: "general.architecture" }, `the architecture ${JSON.stringify(architecture)} is not one of those known here: ${known}.`, {
      code: "unknown-architecture",
    });
  }
  const factors: Record<string, number[]> = {};
  for (const name of factorNames) {
    const tensor = file.tensors.get(name);
    if (tensor !== undefined) factors[name] = [...(await tensor.readFloat32())].map(shortest);
  }
  const facts = factsOf(metadata, architecture, (tensor) => file.tensors.has(tensor));
  const vocabRows = file.tensors.get("token_embd.weight")?.shape[0] ?? 1;
  const unsaid = parseUnsaid(metadata);
  const options = read(facts, candidates[0], vocabRows, factors);
  const config = checkedConfig(path, { ...options, ...unsaid });
  const family = candidates.find((family) => family.describes(config)) ?? candidates[0];
  return { config, family, warnings: unreadKeys(metadata, architecture, facts.asked) };
}

const factorNames = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"] as const;
type Factors = Readonly<Record<string, readonly number[]>>;

/** The tensors of a file that are no parameters. */
export const ignoredInGguf = new RegExp(`^(${factorNames.join("|").replaceAll(".", "\\.")})$`);

function factsOf(metadata: GgufMetadata, architecture: string, has: (tensor: string) => boolean): GgufFacts & { readonly asked: ReadonlySet<string> } {
  const asked = new Set<string>();
  const nameOf = (key: string): string | undefined => {
    asked.add(key);
    const name = `${architecture}.${key}`;
    return metadata.has(name) ? name : undefined;
  };
  return {
    metadata,
    architecture,
    asked,
    has,
    number(key) {
      const name = nameOf(key);
      if (name === undefined) return undefined;
      const value = oneForAll(metadata, name) ?? metadata.number(name);
      return metadata.values.get(name)!.type === "float32" ? shortest(value) : value;
    },
    flag(key) {
      const name = nameOf(key);
      return name === undefined ? undefined : metadata.flag(name);
    },
    text(key) {
      const name = nameOf(key);
      return name === undefined ? undefined : metadata.text(name);
    },
    list(key) {
      const name = nameOf(key);
      return name === undefined || metadata.values.get(name)!.type !== "array" ? undefined : [...metadata.numbers(name)];
    },
  };
}

/** The number of a list of one entry a layer, all of which are the same. */
function oneForAll(metadata: GgufMetadata, name: string): number | undefined {
  if (metadata.values.get(name)!.type !== "array") return undefined;
  const [first, ...others] = metadata.numbers(name);
  if (first !== undefined && others.every((other) => other === first)) return first;
  throw new CheckpointError({ file: metadata.file, field: name }, "its layers differ in it, and Hornbook has no such model.", { code: "unsupported-config" });
}

function read(facts: GgufFacts, family: GgufFamily, vocabRows: number, factors: Factors): TransformerOptions {
  const usual = readUsual(facts, family.gguf.architecture, vocabRows);
  const options = { ...usual, ...family.gguf.read(facts, usual) };
  const ropeScaling = options.position === "rope" ? readScaling(facts, usual, factors) : undefined;
  // A norm without a bias of its own kind; what was read of the first is no matter to RMSNorm.
  return { ...options, ...(options.norm === "rmsnorm" && { normBias: false }), ...(ropeScaling && { ropeScaling }) };
}

/**
 * As llama.cpp reads it: the kind is linear where nothing is said, the factor may stand under its older name, and what divides the frequencies (linear's
 * factor, the factors in tensors) and what the turned grows by work together.
 */
function readScaling(facts: GgufFacts, usual: UsualOptions, factors: Factors): TransformerOptions["ropeScaling"] {
  const kind = facts.text("rope.scaling.type") ?? "linear";
  const older = facts.number("rope.scale_linear");
  // A factor of 0 is one that was not said.
  const factor = (facts.number("rope.scaling.factor") ?? older) || 1;
  const originalContextLength = facts.number("rope.scaling.original_context_length") ?? usual.contextLength;
  const growth = facts.number("rope.scaling.attn_factor");
  const [betaFast, betaSlow] = [facts.number("rope.scaling.yarn_beta_fast"), facts.number("rope.scaling.yarn_beta_slow")];
  if (!["none", "linear", "yarn", "longrope"].includes(kind)) {
    const field = `${facts.architecture}.rope.scaling.type`;
    throw new CheckpointError({ file: facts.metadata.file, field }, `the scaling ${brief(kind)} of RoPE is not one of those known here: none, linear, yarn, longrope.`, { code: "unsupported-config" });
  }
  const [long, short, plain] = [factors["rope_factors_long.weight"], factors["rope_factors_short.weight"], factors["rope_freqs.weight"]];
  const divisor = kind === "none" ? 1 : factor;
  const divided = (list: readonly number[]): readonly number[] => (divisor === 1 ? list : list.map((one) => one * divisor));
  if (kind === "yarn") {
    if (long !== undefined || plain !== undefined) {
      throw new CheckpointError({ file: facts.metadata.file }, "YaRN beside factors of RoPE's frequencies is not supported.", { code: "unsupported-config" });
    }
    const attentionFactor = growth === undefined ? undefined : growth * yarnAttentionFactor(factor);
    return {
      kind, factor, originalContextLength,
      ...(attentionFactor !== undefined && { attentionFactor }), ...(betaFast !== undefined && { betaFast }), ...(betaSlow !== undefined && { betaSlow }),
    };
  }
  if (long !== undefined && short !== undefined) {
    return { kind: "longrope", originalContextLength, longFactors: divided(long), shortFactors: divided(short), ...(growth !== undefined && { attentionFactor: growth }) };
  }
  if (plain !== undefined) return fromFactors(divided(plain), growth ?? 1, usual);
  if (growth !== undefined && growth !== 1) {
    const pairs = Math.floor((usual.headSize * usual.rotaryFraction) / 2);
    return fromFactors(Array.from({ length: pairs }, () => divisor), growth, usual);
  }
  return divisor === 1 ? undefined : { kind: "linear", factor: divisor };
}

/** Llama 3's scaling, where the factors are those that it gives with the settings all its models have; else the factors themselves. */
function fromFactors(factors: readonly number[], attentionFactor: number, { headSize, ropeTheta, rotaryFraction, contextLength }: UsualOptions): TransformerOptions["ropeScaling"] {
  const own: TransformerOptions["ropeScaling"] = { kind: "longrope", originalContextLength: contextLength, longFactors: factors, shortFactors: factors, attentionFactor };
  if (attentionFactor !== 1 || factors.length !== Math.floor((headSize * rotaryFraction) / 2)) return own;
  const llama3 = { kind: "llama3", factor: factors.at(-1) ?? 1, originalContextLength: 8192, lowFrequencyFactor: 1, highFrequencyFactor: 4 } as const;
  const [expected] = ropeFactors({ ropeScaling: llama3, headSize, ropeTheta, rotaryFraction } as TransformerConfig);
  return llama3.factor >= 1 && expected.factors.every((factor, i) => Math.abs(factor - factors[i]) <= 1e-5 * factor) ? llama3 : own;
}

function parseUnsaid(metadata: GgufMetadata): Partial<TransformerOptions> {
  if (!metadata.has(unsaidKey)) return {};
  let json: unknown;
  try {
    json = JSON.parse(metadata.text(unsaidKey));
  } catch {
    json = undefined;
  }
  const parsed = z.record(z.string(), z.unknown()).safeParse(json);
  if (!parsed.success) throw new CheckpointError({ file: metadata.file, field: unsaidKey }, "this is not a JSON object.", { code: "bad-config" });
  // `transformerConfig` checks it field by field, with the rest.
  return parsed.data;
}

/**
 * The metadata of a configuration, and the family it is saved as.
 *
 * @throws CheckpointError `unsupported-config` for a model that llama.cpp has no architecture for, or none that computes the same.
 */
export function writeGgufConfig(
  model: ModelConfig,
  preferred?: Family,
): { family: GgufFamily; config: TransformerConfig; values: Map<string, GgufValue> } {
  const describing = [...(preferred === undefined ? [] : [preferred]), ...families].filter((family) => family.describes(model));
  const config = transformerOf(model);
  const [saved] = describing;
  const family = dialects().filter((family) => describing.includes(family)).sort((a, b) => describing.indexOf(a) - describing.indexOf(b)).at(0);
  if (family === undefined || config === undefined) {
    throw new CheckpointError({}, `GGUF has no architecture for such a model (${saved?.modelType}); it has ${dialects().map(({ modelType }) => modelType).join(", ")}.`, {
      code: "unsupported-config",
    });
  }
  const { architecture } = family.gguf;
  const values = new Map<string, GgufValue>([["general.architecture", gguf.string(architecture)]]);
  for (const [key, value] of Object.entries({ ...writeUsual(config), ...family.gguf.write?.(config) })) if (value !== undefined) values.set(`${architecture}.${key}`, value);

  const tensors = tensorsSaid(config, family);
  const said = read(factsOf(new GgufMetadata("GGUF", values), architecture, (name) => tensors.has(name)), family, config.vocabSize, Object.fromEntries(ropeFactors(config).map(({ name, factors }) => [name, factors])));
  const differing = differingFields(config, transformerConfig(said)).filter((field) => !(family.gguf.everythingHasBias === true && /bias$/i.test(field)));
  if (differing.length > 0) {
    const [field] = differing;
    throw new CheckpointError({ field }, `GGUF's architecture ${architecture} cannot say ${JSON.stringify(config[field])} here; other programs would compute something else.`, {
      code: "unsupported-config",
    });
  }
  const unsaid = unsaidBy(said, model);
  if (Object.keys(unsaid).length > 0) values.set(unsaidKey, gguf.string(JSON.stringify(unsaid)));
  return { family, config, values };
}

/** The tensors by whose presence a file says something, of a model of this configuration. */
function tensorsSaid(config: TransformerConfig, family: GgufFamily): Set<string> {
  const zero = family.gguf.everythingHasBias === true;
  const all: [string, boolean][] = [
    ["output.weight", !config.tieEmbeddings],
    ["blk.0.attn_q.bias", config.queryKeyValueBias || zero],
    ["blk.0.attn_output.bias", config.attentionOutputBias || zero],
    ["blk.0.ffn_down.bias", config.mlpBias || zero],
    ["output_norm.bias", config.normBias || zero],
    ["blk.0.attn_norm_2.weight", config.parallelBlock === "twoNorms"],
  ];
  return new Set(all.filter(([, there]) => there).map(([name]) => name));
}

/** Fields by which two configurations compute something else. */
function differingFields(a: TransformerConfig, b: TransformerConfig): (keyof TransformerConfig)[] {
  const [left, right] = [asSaid(a), asSaid(b)];
  const same = (x: unknown, y: unknown): boolean =>
    typeof x === "number" && typeof y === "number" ? Math.abs(x - y) <= 1e-5 * Math.abs(x)
    : typeof x === "object" && typeof y === "object" && x !== null && y !== null ? Object.keys(x).length === Object.keys(y).length && Object.keys(x).every((key) => same((x as Record<string, unknown>)[key], (y as Record<string, unknown>)[key]))
    : x === y;
  return (Object.keys(left) as (keyof TransformerConfig)[]).filter((field) => field !== "contextLength" && !idle(a).includes(field) && !same(left[field], right[field]));
}

/** With Llama 3's scaling and the width of RoPE said as a file says them, and without the difference of GELU to its approximation. */
function asSaid(config: TransformerConfig): TransformerConfig {
  const rotaryFraction = rotaryWidth(config.headSize, config.rotaryFraction) / config.headSize;
  const feedForward = config.feedForward === "gelu" ? "geluTanh" : config.feedForward;
  if (config.ropeScaling.kind !== "llama3") return { ...config, rotaryFraction, feedForward };
  const [{ factors }] = ropeFactors(config);
  const ropeScaling: RopeScaling = { kind: "longrope", originalContextLength: config.contextLength, longFactors: factors, shortFactors: factors, attentionFactor: 1 };
  return { ...config, rotaryFraction, feedForward, ropeScaling };
}
