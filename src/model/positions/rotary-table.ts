/**
 * @file The cosines and sines of RoPE's angles, a row for each position. The tables grow with the longest sequence seen: a context of 131,072
 * tokens would take more memory than many a model.
 *
 * Where the angles depend on a sequence's length ("dynamic", "longrope"), sequences of one batch may need different angles; those of each
 * regime (see `ropeRegime`) then lie one below the other in the same table.
 */

import { Tensor, keep, type Device } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { Module } from "../module.js";
import { ropeFrequencies, ropeRegime, type RopeScaling } from "./rope-scaling.js";

/** Positions in a new table: most texts are no longer. */
const firstPositions = 512;

export interface RotaryAngles {
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Pairs of a head that turn. */
  readonly pairs: number;
  readonly contextLength: number;
}

export class RotaryTable extends Module {
  /** [regimes * positions, pairs] each; undefined until the first use. */
  cos: Tensor | undefined;
  sin: Tensor | undefined;
  #positions = 0;
  #regimes: readonly number[] = [];

  constructor(private readonly angles: RotaryAngles) {
    super();
  }

  /** The tables, and for each token (i32 [batch, time]) its row in them. */
  lookUp({ positions, lengths, state }: ForwardContext, device: Device): { cos: Tensor; sin: Tensor; rows: Tensor } {
    const { scaling, contextLength } = this.angles;
    const regimeOf = lengths.map((length) => ropeRegime(scaling, length));
    const regimes = [...new Set(regimeOf)];
    // A table as long as the state stays the same until the state grows, so that a recorded step stays valid.
    const longest = Math.max(...lengths, Math.min(state?.capacity ?? 0, contextLength), 1);
    if (longest > this.#positions || regimes.some((regime, i) => regime !== this.#regimes[i])) {
      const enough = longest > this.#positions ? Math.max(longest, 2 * this.#positions, firstPositions) : this.#positions;
      this.#fill(Math.min(enough, contextLength), regimes, device);
    }
    const { cos, sin } = this as { cos: Tensor; sin: Tensor };
    if (regimes.length === 1) return { cos, sin, rows: positions };
    const firstRows = regimeOf.map((regime) => regimes.indexOf(regime) * this.#positions);
    return { cos, sin, rows: positions.add(Tensor.from(firstRows, { shape: [lengths.length, 1], dtype: "i32", device })) };
  }

  #fill(positions: number, regimes: readonly number[], device: Device): void {
    const { theta, pairs, scaling } = this.angles;
    const [cos, sin] = [0, 1].map(() => new Float32Array(regimes.length * positions * pairs));
    for (const [r, regime] of regimes.entries()) {
      const { frequencies, magnitude } = ropeFrequencies(theta, pairs, scaling, regime);
      for (let position = 0; position < positions; position++) {
        for (let i = 0; i < pairs; i++) {
          const at = (r * positions + position) * pairs + i;
          cos[at] = magnitude * Math.cos(position * frequencies[i]);
          sin[at] = magnitude * Math.sin(position * frequencies[i]);
        }
      }
    }
    this.cos?.dispose();
    this.sin?.dispose();
    // Kept, because they outlive the forward pass in which they grew.
    [this.cos, this.sin] = [cos, sin].map((values) => keep(Tensor.from(values, { shape: [regimes.length * positions, pairs], device })));
    [this.#positions, this.#regimes] = [positions, regimes];
  }
}
