/**
 * @file RoPE (Su et al. 2021, section 3.2): pair i of a query or key at position p turns by the angle p / theta^(2i / width), so that their
 * product depends on how far apart they stand; `rope-scaling.ts` says how these angles are stretched over longer contexts. Pairs are (i, i +
 * width / 2), as Hugging Face stores them, or (2i, 2i + 1).
 *
 * Cosines and sines come from tables, which grow with the longest sequence seen: a context of 131,072 tokens would take more memory
 * than many a model. Where the angles depend on a sequence's length ("dynamic", "longrope"), sequences of one batch may need different tables,
 * which then lie one below the other.
 */

import { Tensor, keep, rope, type Device } from "../../tensor/index.js";
import { rotaryWidth, type ModelConfig } from "../config.js";
import type { ForwardContext } from "../context.js";
import { Module } from "../module.js";
import { ropeFrequencies, ropeRegime, type RopeScaling } from "./rope-scaling.js";

/** Positions in the tables from the beginning: most texts are no longer. */
const firstPositions = 512;

export class Rotary extends Module {
  /** [regimes * positions, width / 2] each. */
  cos!: Tensor;
  sin!: Tensor;
  #positions = 0;
  #regimes: readonly number[] = [];
  readonly #scaling: RopeScaling;
  readonly #theta: number;

  /** `local`: of the sliding layers, where these have a base of their own. */
  constructor(
    private readonly config: ModelConfig,
    { local = false, device }: { readonly local?: boolean; readonly device?: Device | undefined } = {},
  ) {
    super();
    this.#scaling = local ? { kind: "none" } : config.ropeScaling;
    this.#theta = local ? config.localRopeTheta : config.ropeTheta;
    this.#tabulate(Math.min(firstPositions, config.contextLength), [ropeRegime(this.#scaling, 1)], device);
  }

  /** x [batch, time, heads, headSize], turned by the position of each token. */
  rotate(x: Tensor, { positions, lengths, cache }: ForwardContext): Tensor {
    const regimeOf = lengths.map((length) => ropeRegime(this.#scaling, length));
    const regimes = [...new Set(regimeOf)];
    // Tables as long as the cache, so that they stay the same until it grows.
    const longest = Math.max(...lengths, Math.min(cache?.capacity ?? 0, this.config.contextLength));
    if (longest > this.#positions || regimes.some((regime, i) => regime !== this.#regimes[i])) {
      const enough = longest > this.#positions ? Math.max(longest, 2 * this.#positions) : this.#positions;
      this.#tabulate(Math.min(enough, this.config.contextLength), regimes, x.device);
    }
    const rowOf = (regime: number): number => regimes.indexOf(regime) * this.#positions;
    const at = regimes.length === 1 ? positions : positions.add(Tensor.from(regimeOf.map(rowOf), { shape: [lengths.length, 1], dtype: "i32", device: x.device }));
    return rope(x, this.cos, this.sin, at, { interleaved: this.config.ropeInterleaved });
  }

  #tabulate(positions: number, regimes: readonly number[], device?: Device): void {
    const pairs = rotaryWidth(this.config) / 2;
    const [cos, sin] = [0, 1].map(() => new Float32Array(regimes.length * positions * pairs));
    for (const [r, regime] of regimes.entries()) {
      const { frequencies, magnitude } = ropeFrequencies(this.#theta, pairs, this.#scaling, regime);
      for (let position = 0; position < positions; position++) {
        for (let i = 0; i < pairs; i++) {
          const at = (r * positions + position) * pairs + i;
          cos[at] = magnitude * Math.cos(position * frequencies[i]);
          sin[at] = magnitude * Math.sin(position * frequencies[i]);
        }
      }
    }
    // Not the scope's: they outlive the forward pass in which they grew.
    const table = (values: Float32Array<ArrayBuffer>) => keep(Tensor.from(values, { shape: [regimes.length * positions, pairs], ...(device && { device }) }));
    // Undefined when they are made first.
    (this.cos as Tensor | undefined)?.dispose();
    (this.sin as Tensor | undefined)?.dispose();
    [this.cos, this.sin, this.#positions, this.#regimes] = [table(cos), table(sin), positions, regimes];
  }
}
