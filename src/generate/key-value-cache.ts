/**
 * @file The keys and values of earlier positions, so that a new token costs one position and not the whole sequence. One buffer a layer for
 * keys and one for values, [batch, capacity, keyHeads, headSize], filled from the front; what attention reads is a view of the filled part.
 * They are kept as floats, or as 8-bit integers with a scale for each head and position. For inference alone: gradients do not pass through it.
 */

import type { KeyValueCache } from "../model/context.js";
import { Tensor, keep, launch, quantizeInt8, scope, type FloatDType, type Int8Rows } from "../tensor/index.js";

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

  constructor({ dtype, capacity, maxLength = Infinity }: CacheOptions) {
    this.#dtype = dtype;
    this.#capacity = capacity;
    this.#maxLength = maxLength;
  }

  /** Positions held. */
  get length(): number {
    return this.#layers.at(0)?.length ?? 0;
  }

  /** Bytes reserved. */
  get numBytes(): number {
    return this.#layers.reduce((sum, { k, v }) => sum + k.numBytes + v.numBytes, 0);
  }

  append(index: number, k: Tensor, v: Tensor): { k: Tensor | Int8Rows; v: Tensor | Int8Rows } {
    return scope(() => {
      const [batch, time] = k.shape;
      const make = (like: Tensor): Store => (this.#dtype === "q8" ? new Int8Store(like, batch, this.#capacity) : new FloatStore(like, batch, this.#capacity, this.#dtype ?? (like.dtype as FloatDType)));
      const layer = (this.#layers[index] ??= { k: make(k), v: make(v), length: 0 });
      const begin = layer.length;
      const end = begin + time;
      const { capacity } = layer.k;
      if (end > capacity) move(layer, Array.from({ length: batch }, (_, row) => row), Math.max(end, Math.min(2 * capacity, this.#maxLength)));
      layer.k.write(k, begin);
      layer.v.write(v, begin);
      layer.length = end;
      return { k: layer.k.read(end), v: layer.v.read(end) };
    });
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
  /** Writes x [batch, time, heads, size] at positions from `begin` on. */
  write(x: Tensor, begin: number): void;
  /** All up to `end`. */
  read(end: number): Tensor | Int8Rows;
  /** The first `length` positions of these rows, in new buffers. */
  moved(rows: readonly number[], length: number, capacity: number): Store;
  dispose(): void;
}

class FloatStore implements Store {
  readonly #buffer: Tensor;

  /** `like` [batch, time, heads, size]. */
  constructor(like: Tensor, batch: number, readonly capacity: number, dtype: FloatDType) {
    this.#buffer = keep(Tensor.empty([batch, capacity, ...like.shape.slice(2)], dtype, like.device));
  }

  get numBytes(): number {
    return this.#buffer.storage.bytes;
  }

  write(x: Tensor, begin: number): void {
    copy(x, positions(this.#buffer, begin, begin + x.shape[1]));
  }

  read(end: number): Tensor {
    return positions(this.#buffer, 0, end);
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
  /** [batch, capacity, heads] to look at; in memory those of one head lie together, as a query of that head reads them. */
  readonly #scale: Tensor;

  constructor(like: Tensor, batch: number, readonly capacity: number) {
    const [, , heads, size] = like.shape;
    this.#bytes = keep(Tensor.empty([batch, capacity, heads, size], "u8", like.device));
    const scale = keep(Tensor.empty([batch, heads, capacity], "f32", like.device));
    this.#scale = keep(scale.view([batch, capacity, heads], [heads * capacity, 1, capacity], 0));
    scale.dispose();
  }

  get numBytes(): number {
    return this.#bytes.storage.bytes + this.#scale.storage.bytes;
  }

  write(x: Tensor, begin: number): void {
    const end = begin + x.shape[1];
    quantizeInt8(x, { bytes: positions(this.#bytes, begin, end), scale: positions(this.#scale, begin, end) });
  }

  read(end: number): Int8Rows {
    return { bytes: positions(this.#bytes, 0, end), scale: positions(this.#scale, 0, end) };
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

/** Positions begin to end of every row. */
function positions(buffer: Tensor, begin: number, end: number): Tensor {
  const [batch, , ...rest] = buffer.shape;
  return buffer.view([batch, end - begin, ...rest], buffer.strides, buffer.offset + begin * buffer.strides[1]);
}

function copyRows(from: Tensor, to: Tensor, rows: readonly number[], length: number): void {
  rows.forEach((row, i) => copy(rowOf(positions(from, 0, length), row), rowOf(positions(to, 0, length), i)));
}

function rowOf(buffer: Tensor, row: number): Tensor {
  return buffer.view([1, ...buffer.shape.slice(1)], buffer.strides, buffer.offset + row * buffer.strides[0]);
}

function copy(x: Tensor, y: Tensor): void {
  launch("copy", { x, y }, {});
}
