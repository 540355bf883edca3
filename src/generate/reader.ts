/**
 * @file Runs the model over sequences that grow, computing no more than is new.
 *
 * Sequences of unequal length are padded on the left: each row's last token stands in the last column, `starts` says where a row begins, and
 * its positions count from there, so a row of a batch gives what it gives alone. When a sequence slid, all are computed anew, since
 * positions and everything that depended on the lost tokens have changed; likewise when a sequence's length changes RoPE's angles.
 */

import type { Decoder } from "../model/index.js";
import { Tensor, noGrad, scope, type FloatDType } from "../tensor/index.js";
import { DenseKeyValueCache } from "./key-value-cache.js";
import type { Sequence } from "./sequence.js";

export interface ReaderOptions {
  readonly cache: boolean;
  readonly dtype: FloatDType;
  /** The most tokens that a sequence will grow by. */
  readonly maxTokens: number;
}

export class Reader {
  #cache: DenseKeyValueCache | undefined;
  /** The rows of the cache, how much of each it holds, and its slides by then. */
  #held: { readonly row: Sequence; length: number; readonly slides: number }[] = [];
  /** The first column that belongs to each row; undefined where that is 0 for all. */
  #starts: Int32Array | undefined;

  constructor(
    private readonly model: Decoder,
    private readonly options: ReaderOptions,
  ) {}

  /** The logits that follow each sequence, [rows, vocabSize]. */
  async next(rows: readonly Sequence[]): Promise<Float32Array> {
    const logits = this.#isHeld(rows) ? this.#step(rows) : this.#read(rows);
    try {
      const data = await logits.data();
      return data instanceof Float32Array ? data : Float32Array.from(data);
    } finally {
      logits.dispose();
    }
  }

  dispose(): void {
    this.#cache?.dispose();
    this.#cache = undefined;
    this.#held = [];
  }

  /** Whether the cache holds all but the last token of each. */
  #isHeld(rows: readonly Sequence[]): boolean {
    const held = new Map(this.#held.map((entry) => [entry.row, entry]));
    const holds = ({ ids, slides }: Sequence, entry = { length: -1, slides }): boolean =>
      entry.length === ids.length - 1 && entry.slides === slides && this.model.regimeOf(entry.length) === this.model.regimeOf(ids.length);
    return this.#cache !== undefined && rows.every((row) => holds(row, held.get(row)));
  }

  /** All of every sequence. */
  #read(rows: readonly Sequence[]): Tensor {
    this.dispose();
    const { contextLength } = this.model.config;
    const { cache, maxTokens } = this.options;
    const longest = Math.max(...rows.map((row) => row.ids.length));
    const shortest = Math.min(...rows.map((row) => row.ids.length));
    const starts = Int32Array.from(rows, (row) => longest - row.ids.length);
    this.#starts = longest === shortest ? undefined : starts;
    if (cache) {
      // A row may go on until its own length is the context's; the first room is for a reply of usual length.
      const most = longest + Math.min(maxTokens, contextLength - shortest);
      this.#cache = new DenseKeyValueCache(Math.min(most, longest + 256), most);
      this.#held = rows.map((row) => ({ row, length: row.ids.length, slides: row.slides }));
    }
    const ids = new Int32Array(rows.length * longest);
    const positions = new Int32Array(rows.length * longest);
    for (const [i, row] of rows.entries()) {
      ids.set(row.ids, i * longest + starts[i]);
      for (let t = 0; t < row.ids.length; t++) positions[i * longest + starts[i] + t] = t;
    }
    return this.#forward(ids, positions, rows);
  }

  /** The last token of each, on top of what the cache holds. */
  #step(rows: readonly Sequence[]): Tensor {
    if (rows.length < this.#held.length) {
      const places = rows.map((row) => this.#held.findIndex((entry) => entry.row === row));
      this.#cache?.select(places);
      this.#starts = this.#starts && Int32Array.from(places, (place) => this.#starts![place]);
      this.#held = places.map((place) => this.#held[place]);
    }
    for (const entry of this.#held) entry.length++;
    return this.#forward(Int32Array.from(rows, (row) => row.ids[row.ids.length - 1]), Int32Array.from(rows, (row) => row.ids.length - 1), rows);
  }

  /** ids and positions [rows, time] to the logits of the last column, [rows, 1, vocabSize]. */
  #forward(ids: Int32Array, positions: Int32Array, rows: readonly Sequence[]): Tensor {
    const { device } = this.model;
    const shape = [rows.length, ids.length / rows.length];
    return scope(() =>
      noGrad(() =>
        this.model.logits(Tensor.from(ids, { shape, device }), {
          lastOnly: true,
          dtype: this.options.dtype,
          positions: Tensor.from(positions, { shape, device }),
          lengths: rows.map((row) => row.ids.length),
          ...(this.#starts && { starts: Tensor.from(this.#starts, { device }) }),
          ...(this.#cache && { cache: this.#cache }),
        }),
      ),
    );
  }
}
