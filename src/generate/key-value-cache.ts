/**
 * @file The keys and values of earlier positions, so that a new token costs one position and not the whole sequence. One buffer a layer for
 * keys and one for values, [batch, capacity, keyHeads, headSize], filled from the front. In memory the positions of one head lie together, as a
 * query of that head reads them. How far it is filled lies on the device, so that one more position is the same commands each time (`Replay`).
 * They are kept as floats, or as 8-bit integers with a scale for each head and position. For inference alone: gradients do not pass through it.
 */

import type { CachedKeys, KeyValueCache } from "../model/context.js";
import { Tensor, append, keep, launch, scope, type DType, type Device, type FloatDType, type Int8Rows } from "../tensor/index.js";

/** How keys and values are kept: 4, 2 or (q8) little more than 1 byte a number. */
export type CacheDType = FloatDType | "q8";

export interface CacheOptions {
  /** By default that of the keys as they come. */
  readonly dtype?: CacheDType | undefined;
  /** Positions for which room is reserved at once; where more come, the buffers double. */
  readonly capacity: number;
  /** The most positions there will be. */
  readonly maxLength?: number;
}

interface Layer {
  k: Store;
  v: Store;
  length: number;
}

export class DenseKeyValueCache implements KeyValueCache {
  readonly #layers: Layer[] = [];
  readonly #dtype: CacheDType | undefined;
  readonly #capacity: number;
  readonly #maxLength: number;
  /** i32 [2]: where the positions that are being added begin and end; and what was last written there. */
  #span: Tensor | undefined;
  #written = [-1, -1];

  constructor({ dtype, capacity, maxLength = Infinity }: CacheOptions) {
    this.#dtype = dtype;
    this.#capacity = capacity;
    this.#maxLength = maxLength;
  }

  /** Positions held. */
  get length(): number {
    return this.#layers.at(0)?.length ?? 0;
  }

  /** Positions there is room for. */
  get capacity(): number {
    return this.#layers.at(0)?.k.capacity ?? this.#capacity;
  }

  /** Bytes reserved. */
  get numBytes(): number {
    return this.#layers.reduce((sum, { k, v }) => sum + k.numBytes + v.numBytes, 0);
  }

  append(index: number, k: Tensor, v: Tensor): CachedKeys {
    return scope(() => {
      const [batch, time] = k.shape;
      const make = (like: Tensor): Store => (this.#dtype === "q8" ? new Int8Store(like, batch, this.#capacity) : new FloatStore(like, batch, this.#capacity, this.#dtype ?? (like.dtype as FloatDType)));
      const layer = (this.#layers[index] ??= { k: make(k), v: make(v), length: 0 });
      const begin = layer.length;
      const end = begin + time;
      const { capacity } = layer.k;
      if (end > capacity) move(layer, Array.from({ length: batch }, (_, row) => row), Math.max(end, Math.min(2 * capacity, this.#maxLength)));
      this.#tell(begin, end, k.device);
      const [at, length] = [0, 1].map((place) => this.#span!.view([], [], place));
      layer.k.write(k, at);
      layer.v.write(v, at);
      layer.length = end;
      return { k: layer.k.rows, v: layer.v.rows, keys: end, length };
    });
  }

  /** For a replay of what appended to every layer: so many positions come again. There must be room for them. */
  advance(count: number): void {
    const [begin, end] = [this.length, this.length + count];
    if (end > this.capacity) throw new RangeError(`${end} positions do not fit a cache of ${this.capacity}.`);
    this.#tell(begin, end, this.#span!.device);
    for (const layer of this.#layers) layer.length = end;
  }

  #tell(begin: number, end: number, device: Device): void {
    if (this.#written[0] === begin && this.#written[1] === end) return;
    this.#span ??= keep(Tensor.empty([2], "i32", device));
    this.#span.write(Int32Array.of(begin, end));
    this.#written = [begin, end];
  }

  /** Keeps these rows of the batch, in this order: sequences that ended make room. */
  select(rows: readonly number[]): void {
    scope(() => {
      for (const layer of this.#layers) move(layer, rows, layer.k.capacity);
    });
  }

  /** Forgets the positions from `length` on. */
  truncate(length: number): void {
    for (const layer of this.#layers) layer.length = Math.min(layer.length, length);
  }

  dispose(): void {
    this.#span?.dispose();
    this.#span = undefined;
    this.#written = [-1, -1];
    for (const { k, v } of this.#layers.splice(0)) {
      k.dispose();
      v.dispose();
    }
  }
}

/** Moves the chosen rows into buffers of that capacity. */
function move(layer: Layer, rows: readonly number[], capacity: number): void {
  for (const name of ["k", "v"] as const) {
    const from = layer[name];
    layer[name] = from.moved(rows, layer.length, capacity);
    from.dispose();
  }
}

/** Keys or values of one layer. */
interface Store {
  readonly capacity: number;
  readonly numBytes: number;
  /** [batch, capacity, heads, size]. */
  readonly rows: Tensor | Int8Rows;
  /** Writes x [batch, time, heads, size] at positions from `at` (i32 []) on. */
  write(x: Tensor, at: Tensor): void;
  /** The first `length` positions of these rows, in new buffers. */
  moved(rows: readonly number[], length: number, capacity: number): Store;
  dispose(): void;
}

class FloatStore implements Store {
  readonly #buffer: Tensor;

  /** `like` [batch, time, heads, size]. */
  constructor(like: Tensor, batch: number, readonly capacity: number, dtype: FloatDType) {
    const [, , heads, size] = like.shape;
    this.#buffer = byHead([batch, capacity, heads, size], dtype, like.device);
  }

  get numBytes(): number {
    return this.#buffer.storage.bytes;
  }

  get rows(): Tensor {
    return this.#buffer.view(this.#buffer.shape, this.#buffer.strides);
  }

  write(x: Tensor, at: Tensor): void {
    append(x, this.#buffer, { at });
  }

  moved(rows: readonly number[], length: number, capacity: number): FloatStore {
    const to = new FloatStore(this.#buffer, rows.length, capacity, this.#buffer.dtype as FloatDType);
    copyRows(this.#buffer, to.#buffer, rows, length);
    return to;
  }

  dispose(): void {
    this.#buffer.dispose();
  }
}

class Int8Store implements Store {
  readonly #bytes: Tensor;
  /** [batch, capacity, heads]. */
  readonly #scale: Tensor;

  constructor(like: Tensor, batch: number, readonly capacity: number) {
    const [, , heads, size] = like.shape;
    this.#bytes = byHead([batch, capacity, heads, size], "u8", like.device);
    this.#scale = byHead([batch, capacity, heads], "f32", like.device);
  }

  get numBytes(): number {
    return this.#bytes.storage.bytes + this.#scale.storage.bytes;
  }

  get rows(): Int8Rows {
    return { bytes: this.#bytes.view(this.#bytes.shape, this.#bytes.strides), scale: this.#scale.view(this.#scale.shape, this.#scale.strides) };
  }

  write(x: Tensor, at: Tensor): void {
    append(x, { bytes: this.#bytes, scale: this.#scale }, { at });
  }

  moved(rows: readonly number[], length: number, capacity: number): Int8Store {
    const to = new Int8Store(this.#bytes, rows.length, capacity);
    copyRows(this.#bytes, to.#bytes, rows, length);
    copyRows(this.#scale, to.#scale, rows, length);
    return to;
  }

  dispose(): void {
    this.#bytes.dispose();
    this.#scale.dispose();
  }
}

/** A tensor [batch, capacity, heads, ...rest] in which the positions of a head follow each other in memory. */
function byHead([batch, capacity, heads, ...rest]: readonly number[], dtype: DType, device: Device): Tensor {
  const memory = Tensor.empty([batch, heads, capacity, ...rest], dtype, device);
  const [row, head, ...within] = memory.strides;
  return keep(memory.view([batch, capacity, heads, ...rest], [row, within[0], head, ...within.slice(1)]));
}

function copyRows(from: Tensor, to: Tensor, rows: readonly number[], length: number): void {
  rows.forEach((row, i) => {
    launch("copy", { x: positions(from, row, length), y: positions(to, i, length) }, {});
  });
}

/** The first positions of a row. */
function positions(buffer: Tensor, row: number, length: number): Tensor {
  return buffer.view([1, length, ...buffer.shape.slice(2)], buffer.strides, buffer.offset + row * buffer.strides[0]);
}
