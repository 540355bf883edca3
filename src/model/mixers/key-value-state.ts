/**
 * @file What attention remembers: the keys and values of earlier positions, so that a new token costs one position and not the whole
 * sequence. They lie in two buffers [slots, capacity, keyHeads, headSize], in memory with the positions of one head together, as a query of
 * that head reads them; as floats, or as 8-bit integers with a scale for each head and position. For inference alone: no gradient passes.
 */

import { Tensor, append, keep, launch, scope, type DType, type Device, type FloatDType, type Int8Rows } from "../../tensor/index.js";
import type { ModuleState, SavedSlot, StateOptions, StatePass } from "../state.js";

export interface KeyValueShape {
  readonly keyHeads: number;
  readonly headSize: number;
  /** Where RoPE's angles depend on the length of a sequence; keys turned by other angles do not hold. */
  readonly regimeOf?: ((length: number) => number) | undefined;
}

export class KeyValueState implements ModuleState<SavedKeysAndValues> {
  readonly canTruncate = true;
  #slots = 0;
  #capacity = 0;
  #keys: Rows | undefined;
  #values: Rows | undefined;

  constructor(
    private readonly shape: KeyValueShape,
    private readonly options: StateOptions,
  ) {}

  get regimeOf(): ((length: number) => number) | undefined {
    return this.shape.regimeOf;
  }

  get numBytes(): number {
    return (this.#keys?.numBytes ?? 0) + (this.#values?.numBytes ?? 0);
  }

  /** Adds k and v [batch, time, keyHeads, headSize] of new positions; gives all there are, [slots, capacity, keyHeads, headSize]. */
  append(k: Tensor, v: Tensor, { starts: at, slots }: StatePass): { readonly k: Tensor | Int8Rows; readonly v: Tensor | Int8Rows } {
    const [keys, values] = [this.#keys!.view(), this.#values!.view()];
    append(k, keys, { at, slots });
    append(v, values, { at, slots });
    return { k: keys, v: values };
  }

  reserve(slots: number, positions: number): void {
    if (slots <= this.#slots && positions <= this.#capacity) return;
    const [oldKeys, oldValues] = [this.#keys, this.#values];
    const [oldSlots, length] = [this.#slots, this.#capacity];
    this.#slots = Math.max(slots, this.#slots);
    this.#capacity = Math.max(positions, this.#capacity);
    [this.#keys, this.#values] = [this.#newRows(this.#slots, this.#capacity), this.#newRows(this.#slots, this.#capacity)];
    for (let slot = 0; slot < oldSlots; slot++) {
      oldKeys?.copyTo(this.#keys, slot, slot, length);
      oldValues?.copyTo(this.#values, slot, slot, length);
    }
    oldKeys?.dispose();
    oldValues?.dispose();
  }

  /** Positions beyond a slot's length are never read, so nothing has to be erased. */
  clear(): void {}

  copy(from: number, to: number, length: number): void {
    this.#keys?.copyTo(this.#keys, from, to, length);
    this.#values?.copyTo(this.#values, from, to, length);
  }

  save(slot: number, length: number): SavedKeysAndValues {
    const [keys, values] = [this.#newRows(1, Math.max(length, 1)), this.#newRows(1, Math.max(length, 1))];
    this.#keys?.copyTo(keys, slot, 0, length);
    this.#values?.copyTo(values, slot, 0, length);
    return new SavedKeysAndValues(keys, values, length);
  }

  restore(slot: number, { keys, values, length }: SavedKeysAndValues): void {
    keys.copyTo(this.#keys!, 0, slot, length);
    values.copyTo(this.#values!, 0, slot, length);
  }

  dispose(): void {
    this.#keys?.dispose();
    this.#values?.dispose();
    [this.#keys, this.#values, this.#slots, this.#capacity] = [undefined, undefined, 0, 0];
  }

  #newRows(slots: number, capacity: number): Rows {
    return new Rows([slots, capacity, this.shape.keyHeads, this.shape.headSize], this.options);
  }
}

class SavedKeysAndValues implements SavedSlot {
  constructor(
    readonly keys: Rows,
    readonly values: Rows,
    readonly length: number,
  ) {}

  get numBytes(): number {
    return this.keys.numBytes + this.values.numBytes;
  }

  dispose(): void {
    this.keys.dispose();
    this.values.dispose();
  }
}

/** The keys, or the values: [slots, capacity, heads, size] as floats, or as bytes with scales [slots, capacity, heads]. */
class Rows {
  readonly #buffers: readonly Tensor[];

  constructor(shape: readonly number[], { dtype, device }: StateOptions) {
    this.#buffers = dtype === "q8" ? [headMajor(shape, "u8", device), headMajor(shape.slice(0, -1), "f32", device)] : [headMajor(shape, dtype, device)];
  }

  get numBytes(): number {
    return this.#buffers.reduce((sum, { storage }) => sum + storage.bytes, 0);
  }

  /** Views that belong to the caller's scope. */
  view(): Tensor | Int8Rows {
    const [bytes, scale] = this.#buffers.map((buffer) => buffer.view(buffer.shape, buffer.strides)) as [Tensor, Tensor | undefined];
    return scale === undefined ? bytes : { bytes, scale };
  }

  copyTo(other: Rows, from: number, to: number, length: number): void {
    if (length === 0) return;
    scope(() => {
      this.#buffers.forEach((buffer, i) => launch("copy", { x: firstPositions(buffer, from, length), y: firstPositions(other.#buffers[i], to, length) }, {}));
    });
  }

  dispose(): void {
    for (const buffer of this.#buffers) buffer.dispose();
  }
}

/** A tensor [slots, capacity, heads, ...rest] in which the positions of a head follow each other in memory. */
function headMajor([slots, capacity, heads, ...rest]: readonly number[], dtype: DType | FloatDType, device: Device): Tensor {
  return scope(() => {
    const memory = Tensor.empty([slots, heads, capacity, ...rest], dtype, device);
    const [slot, head, ...within] = memory.strides;
    return keep(memory.view([slots, capacity, heads, ...rest], [slot, within[0], head, ...within.slice(1)]));
  });
}

function firstPositions(buffer: Tensor, slot: number, length: number): Tensor {
  return buffer.view([1, length, ...buffer.shape.slice(2)], buffer.strides, buffer.offset + slot * buffer.strides[0]);
}
