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
import { modelConfig, sameValue, transformerConfig, transformerOf, type ModelConfig, type ModelOptions, type TransformerConfig, type TransformerOptions } from "../../model/index.js";
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
export function canSay(family: Pick<TransformerFamily, "read" | "write">, config: TransformerConfig, besides: readonly (keyof TransformerConfig)[] = []): boolean {
  try {
    const said = transformerConfig(family.read(new ConfigFile("config.json", family.write(config))));
    return differences(config, said).every((field) => besides.includes(field) || idle(config).includes(field));
  } catch (error) {
    if (error instanceof CheckpointError || error instanceof ConfigError) return false;
    throw error;
  }
}

/** A parsed config.json, read field by field; each complaint names the file and the field. */
export class ConfigFile {
  constructor(
    readonly path: string,
    readonly json: Readonly<Record<string, unknown>>,
  ) {}

  has(field: string): boolean {
    return this.json[field] !== undefined && this.json[field] !== null;
  }

  /** A whole number from 1. Without a fallback the field must be there. */
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
    return new ConfigFile(this.path, this.#parse(field, z.record(z.string(), z.unknown()), {}));
  }

  /** Throws CheckpointError `unsupported` unless the field is absent or has this value: the model would compute something else. */
  only(field: string, value: string | number | boolean | null): void {
    if (this.has(field) && this.json[field] !== value) this.unsupported(field, `only ${JSON.stringify(value)} is supported`);
  }

  unsupported(field: string, why: string): never {
    throw new CheckpointError({ file: this.path, field }, `${JSON.stringify(this.json[field])} is a kind of this architecture that Hornbook does not have; ${why}.`, {
      code: "unsupported-config",
    });
  }

  #parse<T>(field: string, schema: z.ZodType<T>, fallback: T | undefined): T {
    const value = this.json[field];
    if (value === undefined || value === null) {
      if (fallback !== undefined) return fallback;
      throw new CheckpointError({ file: this.path, field }, "this setting is missing.", { code: "bad-config" });
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new CheckpointError({ file: this.path, field }, `${JSON.stringify(value)} cannot be: ${parsed.error.issues[0].message}.`, { code: "bad-config" });
  }
}
