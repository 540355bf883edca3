/**
 * @file Random cases for the conformance suite: sizes, layouts and contents that kernels get wrong. Sizes lie around the widths of vector
 * registers and of tiles, and now and then beyond the grain at which work is cut into tasks; views are sliced, transposed, stepped,
 * broadcast and off any alignment. All of it follows from the seed (kernel, index).
 */

import type { Attributes, KernelName, Layout, Operands } from "../contract.js";
import type { DType, FloatDType } from "../dtype.js";
import { rawArray, toBfloat16 } from "../dtype.js";
import { Random } from "../random.js";
import type { HostView } from "../reference/view.js";
import { store } from "../reference/view.js";
import { denseStrides, elementsOf } from "../shape.js";

/** How far an output may be from the truth: |actual - expected| <= relative * |expected| + absolute; "exact" wants the same value. */
export type Tolerance = "exact" | { readonly relative?: number; readonly absolute?: number };

/** A launch with the memory that it finds. Operands with the same `data` share a buffer. */
export interface Case<K extends KernelName = KernelName> {
  readonly kernel: K;
  readonly operands: Operands<K, HostView>;
  readonly attributes: Attributes<K>;
  /** By output; one that is not named gets the rounding of its dtype (`rounding`) and no more. */
  readonly tolerance: Readonly<Record<string, Tolerance>>;
}

/**
 * What rounding alone may do to a result. float32: about 2^-19, sixteen times the unit roundoff, for elementary functions are polynomials
 * good to a few units and their arguments are rounded too. bfloat16: one unit in the last place, 2^-7, for where two devices
 * agree to float32's last digits they may still fall to either side of a tie.
 */
export const rounding: Readonly<Record<FloatDType, number>> = { f32: 2 ** -19, bf16: 2 ** -7 };

/**
 * The error of a float32 sum, given the sum of the absolute values of its terms: sixteen times the unit roundoff. The worst case grows with
 * the number of terms, but partial sums in many lanes and random signs keep far below it.
 */
export function sumError(magnitude: number): number {
  return magnitude * 2 ** -20;
}

export type Fill = () => number;

/** Normal numbers to draw from; a draw for each element would take most of the suite's time. */
const normals = (() => {
  const random = new Random(20110);
  return Float64Array.from({ length: 4096 }, () => random.normal());
})();

export interface TensorOptions {
  readonly layout?: Layout;
  /** Outputs never broadcast and inputs may. */
  readonly output?: boolean;
}

export class Generator {
  readonly index: number;
  readonly #random: Random;
  #turn: number;
  #state: number;

  constructor(seed: number, index: number) {
    this.index = index;
    this.#random = new Random(seed, index);
    this.#turn = index;
    this.#state = this.#random.word();
  }

  /** A whole number from low to high, both included. */
  integer(low: number, high: number): number {
    return low + this.#random.integer(high - low + 1);
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.#random.uniform();
  }

  chance(p: number): boolean {
    return this.#random.uniform() < p;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.#random.integer(list.length)];
  }

  /** Takes turns from case to case, so that every member comes up; several lists in one case go through all their combinations. */
  cycle<T>(list: readonly T[]): T {
    const member = list[this.#turn % list.length];
    this.#turn = Math.floor(this.#turn / list.length);
    return member;
  }

  /** The length of an axis, at most `max`. */
  size(max: number): number {
    const kind = this.#random.uniform();
    const n =
      kind < 0.12 ? 1
      : kind < 0.4 ? this.integer(2, 9)
      : kind < 0.75 ? this.pick([8, 16, 32, 64, 128]) + this.integer(-1, 1)
      : this.integer(10, 300);
    return n <= max ? n : this.integer(1, max);
  }

  /** A shape of at most `limit` elements; in one case of thirty an axis is empty, in one of fifteen there are as many elements as may be. */
  shape(minRank: number, maxRank: number, limit = 3000): number[] {
    const rank = this.integer(minRank, maxRank);
    const shape: number[] = [];
    const large = this.chance(1 / 15);
    let left = large ? 150_000 : limit;
    for (let axis = 0; axis < rank; axis++) {
      const n = large && axis === rank - 1 ? this.integer(Math.ceil(left / 2), left) : this.size(left);
      shape.push(n);
      left = Math.floor(left / n);
    }
    // The last axis is the one of vectors; so let it not be always the smallest.
    if (!large && this.chance(0.5)) shape.reverse();
    if (rank > 0 && this.chance(1 / 30)) shape[this.integer(0, rank - 1)] = 0;
    return shape;
  }

  /** A cheap random word for the contents of tensors. */
  #word(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state;
  }

  normal(scale = 1, mean = 0): Fill {
    return () => mean + scale * normals[this.#word() >>> 20];
  }

  within(low: number, high: number): Fill {
    return () => low + (high - low) * (this.#word() / 2 ** 32);
  }

  integers(low: number, high: number): Fill {
    return () => low + Math.floor((this.#word() / 2 ** 32) * (high - low + 1));
  }

  /** Now and then one of these in place of what `fill` gives. */
  sprinkled(fill: Fill, specials: readonly number[], p: number): Fill {
    return () => (this.#word() / 2 ** 32 < p ? specials[Math.floor((this.#word() / 2 ** 32) * specials.length)] : fill());
  }

  /** A tensor in a layout that the contract allows (dense unless said otherwise), in a buffer with room before, between and behind. */
  tensor(dtype: DType, shape: readonly number[], fill: Fill, { layout = "dense", output = false }: TensorOptions = {}): HostView {
    const strides = layout === "dense" || this.chance(0.3) ? denseStrides(shape) : this.#strides(shape, layout, output);
    const offset = this.pick([0, 0, 1, 3, 16]);
    const span = shape.reduce((last, n, axis) => last + (n - 1) * strides[axis], 0);
    const length = elementsOf(shape) === 0 ? offset : offset + span + 1 + this.integer(0, 5);
    // The stride of an axis of length 1 means nothing.
    const given = shape.map((n, axis) => (n === 1 ? this.pick([strides[axis], 0, 1009]) : strides[axis]));
    const view: HostView = { data: garbage(dtype, length), dtype, shape, strides: given, offset };
    store(view, Float64Array.from({ length: elementsOf(shape) }, fill));
    return view;
  }

  /** An output: what it holds before must not matter. */
  output(dtype: DType, shape: readonly number[], layout: Layout = "dense"): HostView {
    const view = this.tensor(dtype, shape, this.integers(1, 100), { layout, output: true });
    view.data.set(garbage(dtype, view.data.length));
    return view;
  }

  #strides(shape: readonly number[], layout: Layout, output: boolean): number[] {
    const strides = new Array<number>(shape.length);
    // Axes from the innermost in memory to the outermost: shuffled, but `rows` keeps its last axis innermost.
    const order = shape.map((_, axis) => axis).reverse();
    const fixed = layout === "rows" ? 1 : 0;
    if (this.chance(0.6)) {
      for (let i = order.length - 1; i > fixed; i--) {
        const j = this.integer(fixed, i);
        [order[i], order[j]] = [order[j], order[i]];
      }
    }
    let stride = 1;
    for (const [i, axis] of order.entries()) {
      if (!output && i >= fixed && this.chance(0.15)) {
        strides[axis] = 0;
        continue;
      }
      if (i >= fixed && this.chance(0.2)) stride *= 2;
      strides[axis] = stride;
      stride *= shape[axis] + (this.chance(0.3) ? this.integer(1, 3) : 0);
    }
    return strides;
  }
}

/** What lies in memory that a kernel must not read: NaN where there is one. */
function garbage(dtype: DType, length: number): HostView["data"] {
  const data = rawArray(dtype, new ArrayBuffer(Math.ceil((length * 4) / 8) * 8), 0, length);
  data.fill(dtype === "f32" ? NaN : dtype === "bf16" ? toBfloat16(NaN) : dtype === "i32" ? -7654321 : 171);
  return data;
}
