/**
 * @file RoPE (Su et al. 2021, section 3.2): pair i of a query or key at position p turns by the angle p / theta^(2i / width), so that their
 * product depends on how far apart they stand. Pairs are (i, i + width / 2), as Hugging Face stores them, or (2i, 2i + 1).
 * `rope-scaling.ts` says how the angles are stretched over longer contexts, `rotary-table.ts` keeps their cosines and sines.
 */

import { z } from "zod";
import { ConfigError } from "../../errors.js";
import { rope, type Tensor } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { Module } from "../module.js";
import { completedRopeScaling, ropeScalingSchema, type RopeScaling } from "./rope-scaling.js";
import { RotaryTable } from "./rotary-table.js";

export const ropeSchema = z.strictObject({
  kind: z.literal("rope"),
  /** The base of the angles. */
  theta: z.number().positive().default(10_000),
  /** How the angles are stretched over a longer context than the model learned them on. */
  scaling: ropeScalingSchema.default({ kind: "none" }),
  /** Turns the pairs (2i, 2i + 1), not (i, i + half). */
  interleaved: z.boolean().default(false),
  /** The share of a head that turns. */
  fraction: z.number().positive().max(1).default(1),
});

export type RopeSpec = Readonly<Omit<z.output<typeof ropeSchema>, "scaling">> & { readonly scaling: RopeScaling };

/** How many dimensions of a head turn: an even number. */
export function rotaryWidth(headSize: number, fraction: number): number {
  return 2 * Math.floor((headSize * fraction) / 2);
}

/** Fills in what depends on the head and the context. Throws ConfigError for angles that cannot be. */
export function completedRope(given: z.output<typeof ropeSchema>, headSize: number, contextLength: number): RopeSpec {
  const { theta, fraction } = given;
  const scaling = completedRopeScaling(given.scaling, contextLength);
  const pairs = rotaryWidth(headSize, fraction) / 2;
  if (pairs < 1) throw new ConfigError("fraction", `RoPE turns pairs, and ${fraction} of a head of ${headSize} holds none.`);
  if (scaling.kind === "longrope") {
    for (const field of ["shortFactors", "longFactors"] as const) {
      const { length } = scaling[field];
      if (length !== pairs) throw new ConfigError(`scaling.${field}`, `${length} factors do not fit the ${pairs} pairs that RoPE turns.`);
    }
  }
  if (scaling.kind === "llama3" && scaling.highFrequencyFactor <= scaling.lowFrequencyFactor) {
    throw new ConfigError("scaling.highFrequencyFactor", "it must be above lowFrequencyFactor.");
  }
  if (scaling.kind === "yarn" && theta <= 1) throw new ConfigError("theta", "YaRN's ramp needs a base above 1.");
  if (scaling.kind === "dynamic" && pairs < 2) throw new ConfigError("scaling", "the dynamic kind needs two pairs to turn at least.");
  return { ...given, scaling };
}

export class Rotary extends Module {
  readonly table: RotaryTable;
  readonly #interleaved: boolean;

  constructor(spec: RopeSpec, headSize: number, tables: RotaryTables) {
    super();
    this.table = tables.of(spec, rotaryWidth(headSize, spec.fraction) / 2);
    this.#interleaved = spec.interleaved;
  }

  /** x [batch, time, heads, headSize], turned by the position of each token. */
  rotate(x: Tensor, context: ForwardContext): Tensor {
    const { cos, sin, rows } = this.table.lookUp(context, x.device);
    return rope(x, cos, sin, rows, { interleaved: this.#interleaved });
  }
}

/** The tables of a model: layers whose angles are the same share one. */
export class RotaryTables {
  readonly #tables = new Map<string, RotaryTable>();

  constructor(private readonly contextLength: number) {}

  of({ theta, scaling }: Pick<RopeSpec, "theta" | "scaling">, pairs: number): RotaryTable {
    const key = JSON.stringify([theta, scaling, pairs]);
    const table = this.#tables.get(key) ?? new RotaryTable({ theta, scaling, pairs, contextLength: this.contextLength });
    this.#tables.set(key, table);
    return table;
  }
}
