/**
 * @file A family of models: how one of the ecosystem's architectures names its configuration and its tensors. To add one, write a file like
 * `gpt2.ts` and list it in `index.ts`.
 *
 * A family need not be able to say everything: what differs between a model's configuration and that which its `config.json` gives back stands
 * in a field of its own there, `"hornbook": {...}`, which other programs ignore (see `model.ts`). What it must be able to say, because
 * another program would compute something else otherwise, is up to `describes`; for most, all that bears on the numbers (`canSay`).
 */

import { z } from "zod";
import { CheckpointError, ConfigError } from "../../errors.js";
import {
  modelConfig, sameValue, transformerConfig, transformerOf, type ModelConfig, type ModelOptions, type TransformerConfig, type TransformerOptions,
} from "../../model/index.js";
import type { GgufDialect } from "../gguf/dialect.js";
import type { RowOrder } from "../row-order.js";

interface Names {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** The class of transformers that opens it; `architectures` in config.json. */
  readonly architecture: string;
  /** What the names of the tensors of the bare model (without its head) begin with; files saved from a bare model lack it. */
  readonly prefix: string;
  /** How GGUF says it, where it can. */
  readonly gguf?: GgufDialect;
  /** Tensors that a file may have beside these and that nothing needs: masks, tables. */
  readonly ignored?: RegExp;
  /** What transformers' configuration class takes where config.json says nothing (test/fixtures/config-defaults.json holds them to it). */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** Other names of fields that transformers knows, by which the field itself is called; where both are there, the other name counts. */
  readonly aliases?: Readonly<Record<string, string>>;
}

interface Describes<Config, Options> {
  /** Whether a model of this configuration computes what this architecture computes. */
  describes(config: Config): boolean;
  /** config.json to our configuration. Throws CheckpointError for what is missing, malformed, or not supported. */
  read(json: ConfigFile): Options;
  /** Our configuration as fields of config.json. */
  write(config: Config): Record<string, unknown>;
  /** Where each parameter lies; `parameters` are all the model's, with their shapes. */
  tensors(config: Config, parameters: ReadonlyMap<string, readonly number[]>): TensorPlan[];
}

/** An architecture, in terms of a model's layers. */
export interface Family extends Names, Describes<ModelConfig, ModelOptions> {}

/** An architecture whose layers are all alike, in terms of the flat settings of a transformer. */
export interface TransformerFamily extends Names, Describes<TransformerConfig, TransformerOptions> {}

/** A family of uniform transformers as a family of models. */
export function uniform(family: TransformerFamily): Family {
  return {
    ...family,
    describes(config) {
      const transformer = transformerOf(config);
      return transformer !== undefined && family.describes(transformer);
    },
    read: (json) => family.read(json),
    write: (config) => family.write(transformerOf(config)!),
    tensors: (config, parameters) => family.tensors(transformerOf(config)!, parameters),
  };
}

/** One of our parameters as it lies in files: in one tensor, or in several whose rows follow each other. */
export interface TensorPlan {
  /** As `Module.parameters` names it. Undefined: we have no such parameter, and the file's tensor is all zeros. */
  readonly parameter: string | undefined;
  readonly parts: readonly TensorPart[];
}

export interface TensorPart {
  readonly name: string;
  /** As the file has it. */
  readonly shape: readonly number[];
  /** The file has columns where we have rows: GPT-2's `Conv1D` keeps [in, out]. */
  readonly transposed?: boolean;
  /** The file has our values plus this. */
  readonly offset?: number;
  /** The file has the rows of this part in another order than we do. Never with `transposed`. */
  readonly rows?: RowOrder;
}

/** A parameter that is one tensor. */
export function whole(parameter: string, name: string, shape: readonly number[]): TensorPlan {
  return { parameter, parts: [{ name, shape }] };
}

/** The fields in which two configurations differ. */
export function differences(a: TransformerConfig, b: TransformerConfig): (keyof TransformerConfig)[] {
  return (Object.keys(a) as (keyof TransformerConfig)[]).filter((field) => !sameValue(a[field], b[field]));
}

/** Fields that decide nothing about the numbers of a trained model of this configuration. */
export function idle(config: TransformerConfig): (keyof TransformerConfig)[] {
  const { position, layerTypes } = config;
  return [
    "dropout",
    ...(position === "learned" || position === "sinusoidal" ? [] : (["contextLength"] as const)),
    ...(position === "rope" ? [] : (["ropeTheta", "ropeScaling", "localRopeTheta", "ropeInterleaved", "rotaryFraction"] as const)),
    ...(position === "alibi" ? [] : (["alibiScale"] as const)),
    ...(layerTypes.includes("sliding") ? [] : (["slidingWindow", "localRopeTheta"] as const)),
  ];
}

/** The fewest flat settings that make what a family says the whole configuration; none where it says all of it. */
export function unsaidBy(said: ModelOptions, whole: ModelConfig): Partial<TransformerConfig> {
  const config = transformerOf(whole);
  if (config === undefined || sameValue(modelConfig(said), whole)) return {};
  let unsaid: Partial<TransformerConfig> = config;
  // From the last: what another field is the default of comes after it.
  for (const field of (Object.keys(config) as (keyof TransformerConfig)[]).toReversed()) {
    const { [field]: _, ...fewer } = unsaid;
    try {
      if (differences(config, transformerConfig({ ...(said as TransformerOptions), ...fewer })).length === 0) unsaid = fewer;
    } catch (error) {
      // It cannot be built without this field.
      if (!(error instanceof ConfigError)) throw error;
    }
  }
  return unsaid;
}

/** Whether what a family writes of a configuration gives back, when read, one that computes the same; `besides` names fields that need not come back. */
export function canSay(family: TransformerFamily, config: TransformerConfig, besides: readonly (keyof TransformerConfig)[] = []): boolean {
  try {
    const said = transformerConfig(family.read(new ConfigFile("config.json", family.write(config), family)));
    return differences(config, said).every((field) => besides.includes(field) || idle(config).includes(field));
  } catch (error) {
    if (error instanceof CheckpointError || error instanceof ConfigError) return false;
    throw error;
  }
}

/**
 * A parsed config.json, read field by field; each complaint names the file and the field. It keeps account of what was asked for, so that what
 * nobody asked for can be said (`settings.ts`).
 */
export class ConfigFile {
  readonly #defaults: Readonly<Record<string, unknown>>;
  readonly #asked = new Set<string>();
  readonly #parts = new Map<string, ConfigFile>();
  /** What reads these fields in place of this. */
  #over: ConfigFile | undefined;
  /** The fields with their aliases resolved. */
  readonly #fields: Readonly<Record<string, unknown>>;
  /** What is read and not acted on, in words. */
  readonly warnings: string[] = [];

  constructor(
    readonly path: string,
    readonly json: Readonly<Record<string, unknown>>,
    { defaults = {}, aliases = {} }: Pick<Family, "defaults" | "aliases"> = {},
  ) {
    this.#defaults = defaults;
    const named = Object.entries(aliases).filter(([alias]) => json[alias] !== undefined && json[alias] !== null);
    this.#fields = { ...json, ...Object.fromEntries(named.map(([alias, field]) => [field, json[alias]])) };
    for (const alias of Object.keys(aliases)) this.#asked.add(alias);
  }

  /** Whether the file has a value for it; null is none. */
  has(field: string): boolean {
    const value = this.#given(field);
    return value !== undefined && value !== null;
  }

  /** Whether a field is null, in the file or, where it is absent there, by default: Python's None, which turns a setting off. */
  isNull(field: string): boolean {
    return (this.#given(field) === undefined ? (this.#defaults[field] ?? null) : this.#given(field)) === null;
  }

  /** Takes note that fields bear on nothing here: others that were read decide. */
  skip(...fields: readonly string[]): void {
    for (const field of fields) this.#asked.add(field);
  }

  /** Whether a value is what the family takes anyway. */
  isDefault(field: string): boolean {
    return sameValue(this.json[field], this.#defaults[field]);
  }

  /** Fields that were asked for and that the file does not say, with what was taken instead. */
  assumed(): [field: string, value: unknown][] {
    return [...this.#asked].flatMap((field) => (this.#given(field) === undefined && (this.#defaults[field] ?? null) !== null ? [[field, this.#defaults[field]] as [string, unknown]] : []));
  }

  /** What nobody asked for, with its value; of a nested object its fields, as in `rope_scaling.alpha`. */
  unasked(): [field: string, value: unknown][] {
    if (this.#over !== undefined) return this.#over.unasked().filter(([field]) => Object.hasOwn(this.json, field));
    return Object.entries(this.json).flatMap(([field, value]): [string, unknown][] => {
      const part = this.#parts.get(field);
      if (part !== undefined) return part.unasked().map(([inner, value]) => [`${field}.${inner}`, value]);
      return this.#asked.has(field) || this.isDefault(field) ? [] : [[field, value]];
    });
  }

  /** A whole number from 1. Where the file says nothing the family's default counts, and then the fallback; without either the field must be there. */
  count(field: string, fallback?: number): number {
    // Lists of one entry a layer are made from it, before the configuration is checked as a whole.
    const most = /layers?$/.test(field) ? 10_000 : Number.MAX_SAFE_INTEGER;
    return this.#parse(field, z.number().int().positive().max(most), fallback);
  }
  /** A whole number from 0. */
  whole(field: string, fallback?: number): number {
    return this.#parse(field, z.number().int().min(0), fallback);
  }
  number(field: string, fallback?: number): number {
    return this.#parse(field, z.number(), fallback);
  }
  text(field: string, fallback?: string): string {
    return this.#parse(field, z.string(), fallback);
  }
  flag(field: string, fallback?: boolean): boolean {
    return this.#parse(field, z.boolean(), fallback);
  }
  /** A list, each of its items parsed; undefined where there is none. */
  list<T>(field: string, item: z.ZodType<T>): T[] | undefined {
    return this.has(field) ? this.#parse(field, z.array(item), undefined) : undefined;
  }
  /** A nested object, empty where there is none. */
  object(field: string): ConfigFile {
    const part = this.#parts.get(field) ?? new ConfigFile(this.path, this.#parse(field, z.record(z.string(), z.unknown()), {}));
    this.#parts.set(field, part);
    return part;
  }

  /** These fields with those of another over them; what is read of both counts as read of each. */
  under(other: ConfigFile): ConfigFile {
    const both = new ConfigFile(this.path, { ...this.json, ...other.json });
    for (const part of [this, other]) part.#over = both;
    return both;
  }

  /** Throws CheckpointError `unsupported-config` unless the field is absent or has this value: the model would compute something else. */
  only(field: string, value: string | number | boolean | null): void {
    if (this.has(field) && this.#given(field) !== value) this.unsupported(field, `only ${JSON.stringify(value)} is supported`);
  }

  unsupported(field: string, why: string): never {
    throw new CheckpointError({ file: this.path, field }, `${JSON.stringify(this.#given(field))} is a kind of this architecture that Hornbook does not have; ${why}.`, {
      code: "unsupported-config",
    });
  }

  #given(field: string): unknown {
    this.#asked.add(field);
    return Object.hasOwn(this.#fields, field) ? this.#fields[field] : undefined;
  }

  #parse<T>(field: string, schema: z.ZodType<T>, fallback: T | undefined): T {
    const value = this.#given(field) ?? this.#defaults[field] ?? fallback;
    if (value === undefined || value === null) throw new CheckpointError({ file: this.path, field }, "this setting is missing.", { code: "bad-config" });
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new CheckpointError({ file: this.path, field }, `${brief(value)} cannot be: ${parsed.error.issues[0].message}.`, { code: "bad-config" });
  }
}

/** A value as JSON, cut where it is long. */
export function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
