/**
 * @file How a part of a model (a mixer, a feed-forward) is described: by its kind, with the settings of that kind. A kind is one object that
 * holds all there is to know: how its settings are completed and checked, and how it is built. `PartKinds` is the list of those there are.
 */

import type { z } from "zod";
import { ConfigError } from "../errors.js";
import type { Device } from "../tensor/index.js";
import type { Initializer } from "./parameter.js";
import type { RotaryTables } from "./positions/rotary.js";

/** What the settings of a part may depend on. */
export interface ModelShape {
  readonly hiddenSize: number;
  readonly contextLength: number;
}

/** Where a part is built: the model around it, and its layer. */
export interface BuildPlace extends ModelShape {
  readonly init: Initializer;
  readonly device: Device | undefined;
  /** Counted from 0. */
  readonly layer: number;
  readonly numLayers: number;
  /** The probability of dropout while training. */
  readonly dropout: number;
  /** Standard deviation of weight matrices (Radford et al. 2019). */
  readonly std: number;
  /** That of the matrices whose output is added to the residual stream; smaller, by the number of such additions (GPT-2, section 2.3). */
  readonly residualStd: number;
  /** RoPE's tables, shared by the layers whose angles are the same. */
  readonly rotary: RotaryTables;
}

export interface PartKind<Spec extends { readonly kind: string }, Part> {
  readonly kind: Spec["kind"];
  /** What a user may write; `complete` fills in what depends on the model. */
  readonly schema: z.ZodType;
  /** Makes what `schema` gave complete, so that completing it again changes nothing. Throws ConfigError, which names the setting. */
  complete?(given: Spec, shape: ModelShape): Spec;
  build(spec: Spec, place: BuildPlace): Part;
}

/** A kind whose settings are not known here. */
interface SomeKind<Part> {
  readonly kind: string;
  readonly schema: z.ZodType;
  complete?(given: never, shape: ModelShape): unknown;
  build(spec: never, place: BuildPlace): Part;
}

/** All kinds of one part, by name. Others can be added from outside. */
export class PartKinds<Spec extends { readonly kind: string }, Part> {
  readonly #kinds = new Map<string, SomeKind<Part>>();

  /** `part` names it in errors: `mixer`, `feedForward`. */
  constructor(
    readonly part: string,
    kinds: readonly SomeKind<Part>[],
  ) {
    for (const kind of kinds) this.add(kind);
  }

  /** Makes a kind known under its name. Throws RangeError where that name is taken. */
  add(kind: SomeKind<Part>): void {
    if (this.#kinds.has(kind.kind)) throw new RangeError(`There is a ${this.part} of the kind ${JSON.stringify(kind.kind)} already.`);
    this.#kinds.set(kind.kind, kind);
  }

  /** Completes and checks a description. Throws ConfigError, which names the setting below `path`. */
  complete(given: unknown, shape: ModelShape, path: string): Spec {
    const kind = this.#kindOf(given, path);
    const spec = parsed(kind.schema, given, path);
    try {
      return (kind.complete?.(spec as never, shape) ?? spec) as Spec;
    } catch (error) {
      throw error instanceof ConfigError ? new ConfigError(`${path}.${error.field}`, error.message.slice(error.field.length + 2), { cause: error }) : error;
    }
  }

  build(spec: Spec, place: BuildPlace): Part {
    return this.#kindOf(spec, this.part).build(spec as never, place);
  }

  #kindOf(given: unknown, path: string): SomeKind<Part> {
    const name = typeof given === "object" && given !== null ? (given as { kind?: unknown }).kind : undefined;
    const kind = typeof name === "string" ? this.#kinds.get(name) : undefined;
    if (kind === undefined) {
      throw new ConfigError(`${path}.kind`, `${JSON.stringify(name) ?? "nothing"} is no kind of ${this.part}; there are ${[...this.#kinds.keys()].join(", ")}.`);
    }
    return kind;
  }
}

/** Parses what a user wrote. Throws ConfigError that names the first setting which cannot be, below `path`. */
export function parsed(schema: z.ZodType, given: unknown, path = ""): unknown {
  const result = schema.safeParse(given, { jitless: true });
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const at = [...(path === "" ? [] : [path]), ...issue.path];
  if (issue.code === "unrecognized_keys") throw new ConfigError([...at, issue.keys[0]].join("."), "there is no such setting.");
  throw new ConfigError(at.join("."), `${issue.message}.`);
}
