/**
 * @file How a reference kernel sees its operands: strided views on typed arrays in host memory, and the two moves that every kernel is
 * made of: `values` brings a view into a dense row-major array of numbers, `store` puts such an array back. Between the two a kernel
 * computes on plain arrays, in float64, as the formula in its paper reads; the store rounds once to the dtype of the output.
 *
 * What `values` gives may be the operand's own memory (when that is dense already): a kernel never writes to it, and writes
 * its results in the end, so that an output may share memory with an input.
 */

import type { Attributes, KernelName, Operands } from "../contract.js";
import type { DType, RawArray } from "../dtype.js";
import { isFloat, toBfloat16 } from "../dtype.js";
import { elementsOf, isDense } from "../shape.js";

/** A strided view on host memory; `strides` and `offset` count elements of `data`, which is the whole buffer. */
export interface HostView {
  readonly data: RawArray;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Throws a plain `Error` (or RangeError) when the data are not as they must be; the device adds the name and the shapes. */
export type Kernel<K extends KernelName> = (operands: Operands<K, HostView>, attributes: Attributes<K>) => void;
export type Kernels = { readonly [K in KernelName]: Kernel<K> };

/** Dense numbers: bf16 widened to float32, which holds it exactly. */
export type Values = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

export function elements(view: HostView): number {
  return elementsOf(view.shape);
}

/** The length of the last axis, and how many rows of it there are. A scalar is one row of one. */
export function rowsOf(view: HostView): { rows: number; n: number } {
  return { rows: elementsOf(view.shape.slice(0, -1)), n: view.shape.at(-1) ?? 1 };
}

/** The position in `data` of each row's first element, in row-major order of the leading axes. */
export function rowStarts({ shape, strides, offset }: HostView): number[] {
  let starts = [offset];
  for (let axis = 0; axis < shape.length - 1; axis++) {
    starts = starts.flatMap((start) => Array.from({ length: shape[axis] }, (_, i) => start + i * strides[axis]));
  }
  return starts;
}

/** An array for `n` results on their way to a view of this dtype. */
export function valuesArray(dtype: DType, n: number): Values {
  return isFloat(dtype) ? new Float32Array(n) : dtype === "i32" ? new Int32Array(n) : new Uint8Array(n);
}

/** The elements in row-major order; the operand's own memory where that is possible, so not to be written. */
export function values(view: HostView): Values {
  const count = elements(view);
  const { data, dtype } = view;
  if (isDense(view.shape, view.strides)) {
    const part = data.subarray(view.offset, view.offset + count);
    return dtype === "bf16" ? widen(part) : (part as Values);
  }
  const { n } = rowsOf(view);
  const stride = view.strides[view.strides.length - 1];
  const raw = dtype === "bf16" ? new Uint16Array(count) : valuesArray(dtype, count);
  let i = 0;
  for (const start of rowStarts(view)) {
    for (let j = 0, at = start; j < n; j++, at += stride) raw[i++] = data[at];
  }
  return dtype === "bf16" ? widen(raw) : (raw as Values);
}

/** The elements of a float view. */
export function floats(view: HostView): Float32Array<ArrayBuffer> {
  const result = values(view);
  if (!(result instanceof Float32Array)) throw new Error(`expected floats, got ${view.dtype}.`);
  return result;
}

/** The elements of an optional float view. */
export function optionalFloats(view: HostView | undefined): Float32Array | undefined {
  return view === undefined ? undefined : floats(view);
}

/** The one element of an optional scalar. */
export function scalar(view: HostView | undefined, absent: number): number {
  return view === undefined ? absent : floats(view)[0];
}

function widen(bits: ArrayLike<number>): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return new Float32Array(words.buffer);
}

/**
 * Writes dense row-major numbers into a view, rounded to its dtype: to nearest even for floats; integers must be whole and wrap around.
 */
export function store(view: HostView, source: ArrayLike<number>): void {
  const { data, dtype } = view;
  const count = elements(view);
  if (count === 0) return;
  if (isDense(view.shape, view.strides) && dtype !== "bf16") {
    data.set(source, view.offset);
    return;
  }
  if (isDense(view.shape, view.strides)) {
    for (let i = 0; i < count; i++) data[view.offset + i] = toBfloat16(source[i]);
    return;
  }
  const { n } = rowsOf(view);
  const stride = view.strides[view.strides.length - 1];
  let i = 0;
  for (const start of rowStarts(view)) {
    for (let j = 0, at = start; j < n; j++, at += stride, i++) data[at] = dtype === "bf16" ? toBfloat16(source[i]) : source[i];
  }
}

/** Where the rows of a batch lie in a larger buffer: the slot of each, and the place along the second axis at which its `count` places begin. */
export interface RowPlaces {
  readonly at: HostView;
  readonly slots?: HostView | undefined;
}

/** The part of y [slots, room, ...] that belongs to each row of a batch: [1, count, ...] from its place on. */
export function placesOf({ at, slots }: RowPlaces, count: number, y: HostView): HostView[] {
  const rows = slotsOf(slots, at.shape[0], y);
  return Array.from(values(at), (first, row) => {
    if (first < 0 || first > y.shape[1] - count) throw new RangeError(`${count} places from ${first} on, of row ${row}, are not in ${y.shape[1]}.`);
    return { ...y, shape: [1, count, ...y.shape.slice(2)], offset: y.offset + rows[row] * y.strides[0] + first * y.strides[1] };
  });
}

/** Which slot of y [slots, ...] each row of a batch has: by default its own number. */
export function slotsOf(slots: HostView | undefined, batch: number, y: HostView): ArrayLike<number> {
  const rows = slots === undefined ? Int32Array.from({ length: batch }, (_, row) => row) : values(slots);
  for (let row = 0; row < batch; row++) {
    if (rows[row] < 0 || rows[row] >= y.shape[0]) throw new RangeError(`slot ${rows[row]} of row ${row} is not in [0, ${y.shape[0]}).`);
  }
  return rows;
}

/** How many keys of k [slots, keys, ...] each row of a batch has: by default all. */
export function lengthsOf(lengths: HostView | undefined, batch: number, k: HostView): ArrayLike<number> {
  const room = k.shape[1];
  const counts = lengths === undefined ? new Int32Array(batch).fill(room) : values(lengths);
  for (let row = 0; row < batch; row++) {
    if (counts[row] < 0 || counts[row] > room) throw new RangeError(`${counts[row]} keys of row ${row} are not in ${room}.`);
  }
  return counts;
}
