/**
 * @file The keys and values of earlier positions, so that a new token costs one position and not the whole sequence. One buffer a layer for
 * keys and one for values, [batch, capacity, keyHeads, headSize] in the dtype they come in, filled from the front; what attention reads
 * is a view of the filled part. For inference alone: gradients do not pass through it.
 */

import type { KeyValueCache } from "../model/context.js";
import { Tensor, keep, launch, scope } from "../tensor/index.js";

interface Layer {
  k: Tensor;
  v: Tensor;
  length: number;
}

export class DenseKeyValueCache implements KeyValueCache {
  readonly #layers: Layer[] = [];

  /** `capacity` positions are reserved at once; where more come, the buffers double, to at most `maxLength`. */
  constructor(
    private readonly capacity: number,
    private readonly maxLength = Infinity,
  ) {}

  /** Positions held. */
  get length(): number {
    return this.#layers.at(0)?.length ?? 0;
  }

  /** Bytes reserved. */
  get numBytes(): number {
    return this.#layers.reduce((sum, { k, v }) => sum + k.storage.bytes + v.storage.bytes, 0);
  }

  append(index: number, k: Tensor, v: Tensor): { k: Tensor; v: Tensor } {
    return scope(() => {
      const [batch, time] = k.shape;
      const layer = (this.#layers[index] ??= { k: buffer(k, batch, this.capacity), v: buffer(v, batch, this.capacity), length: 0 });
      const begin = layer.length;
      const end = begin + time;
      const capacity = layer.k.shape[1];
      if (end > capacity) move(layer, Array.from({ length: batch }, (_, row) => row), Math.max(end, Math.min(2 * capacity, this.maxLength)));
      copy(k, positions(layer.k, begin, end));
      copy(v, positions(layer.v, begin, end));
      layer.length = end;
      return { k: positions(layer.k, 0, end), v: positions(layer.v, 0, end) };
    });
  }

  /** Keeps these rows of the batch, in this order: sequences that ended make room. */
  select(rows: readonly number[]): void {
    scope(() => {
      for (const layer of this.#layers) move(layer, rows, layer.k.shape[1]);
    });
  }

  dispose(): void {
    for (const { k, v } of this.#layers.splice(0)) {
      k.dispose();
      v.dispose();
    }
  }
}

/** A buffer for as many rows and positions, otherwise like `like` [batch, time, heads, size]. */
function buffer(like: Tensor, batch: number, capacity: number): Tensor {
  return keep(Tensor.empty([batch, capacity, ...like.shape.slice(2)], like.dtype, like.device));
}

/** Moves the chosen rows into buffers of that capacity. */
function move(layer: Layer, rows: readonly number[], capacity: number): void {
  for (const name of ["k", "v"] as const) {
    const from = layer[name];
    const to = buffer(from, rows.length, capacity);
    rows.forEach((row, i) => copy(rowOf(positions(from, 0, layer.length), row), rowOf(positions(to, 0, layer.length), i)));
    from.dispose();
    layer[name] = to;
  }
}

/** Positions begin to end of every row. */
function positions(buffer: Tensor, begin: number, end: number): Tensor {
  const [batch, , ...rest] = buffer.shape;
  return buffer.view([batch, end - begin, ...rest], buffer.strides, buffer.offset + begin * buffer.strides[1]);
}

function rowOf(buffer: Tensor, row: number): Tensor {
  return buffer.view([1, ...buffer.shape.slice(1)], buffer.strides, buffer.offset + row * buffer.strides[0]);
}

function copy(x: Tensor, y: Tensor): void {
  launch("copy", { x, y }, {});
}
