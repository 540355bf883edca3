/**
 * @file The state of a recurrence: a few tensors of fixed size for each sequence, whatever its length. What is forgotten cannot be brought
 * back, so such a state has no undo; whoever may want to go back sets a slot aside (`save`).
 */

import { Tensor, append, keep, launch, scope, type Device } from "../tensor/index.js";
import type { ModuleState, SavedSlot, StateOptions, StatePass } from "./state.js";

export class RecurrentState<Name extends string = string> implements ModuleState<SavedRecurrence> {
  readonly canTruncate = false;
  readonly #names: readonly Name[];
  readonly #shapes: readonly (readonly number[])[];
  readonly #device: Device;
  /** f32 [slots, 1, ...shape], in the order of the names. */
  #buffers: readonly Tensor[] = [];

  /** `shapes`: of each tensor for one sequence, by name. They begin as zeros. */
  constructor(shapes: Readonly<Record<Name, readonly number[]>>, { device }: StateOptions) {
    this.#names = Object.keys(shapes) as Name[];
    this.#shapes = Object.values(shapes);
    this.#device = device;
  }

  get numBytes(): number {
    return this.#buffers.reduce((sum, { storage }) => sum + storage.bytes, 0);
  }

  /** The tensors of the rows of a pass, f32 [batch, ...shape] each. */
  read({ slots }: StatePass): Record<Name, Tensor> {
    const entries = this.#buffers.map((buffer, i) => [this.#names[i], buffer.indexSelect(slots).reshape([slots.size, ...this.#shapes[i]])] as const);
    return Object.fromEntries(entries) as Record<Name, Tensor>;
  }

  /** Keeps new tensors [batch, ...shape] of the rows of a pass, in any float dtype. */
  write({ slots }: StatePass, values: Readonly<Record<Name, Tensor>>): void {
    scope(() => {
      const at = Tensor.zeros([], { dtype: "i32", device: this.#device });
      this.#buffers.forEach((buffer, i) => append(values[this.#names[i]].reshape([slots.size, 1, ...this.#shapes[i]]), buffer, { at, slots }));
    });
  }

  reserve(slots: number): void {
    const old = this.#buffers;
    const oldSlots = old[0]?.shape[0] ?? 0;
    if (slots <= oldSlots) return;
    this.#buffers = this.#newBuffers(slots);
    for (let slot = 0; slot < oldSlots; slot++) copySlot(old, slot, this.#buffers, slot);
    for (const buffer of old) buffer.dispose();
  }

  clear(slot: number): void {
    scope(() => this.#buffers.forEach((buffer) => launch("fill", { y: slotOf(buffer, slot) }, { value: 0 })));
  }

  copy(from: number, to: number): void {
    copySlot(this.#buffers, from, this.#buffers, to);
  }

  save(slot: number): SavedRecurrence {
    const saved = new SavedRecurrence(this.#newBuffers(1));
    copySlot(this.#buffers, slot, saved.buffers, 0);
    return saved;
  }

  restore(slot: number, { buffers }: SavedRecurrence): void {
    copySlot(buffers, 0, this.#buffers, slot);
  }

  dispose(): void {
    for (const buffer of this.#buffers) buffer.dispose();
    this.#buffers = [];
  }

  #newBuffers(slots: number): Tensor[] {
    return this.#shapes.map((shape) => keep(Tensor.zeros([slots, 1, ...shape], { device: this.#device })));
  }
}

class SavedRecurrence implements SavedSlot {
  constructor(readonly buffers: readonly Tensor[]) {}

  get numBytes(): number {
    return this.buffers.reduce((sum, { storage }) => sum + storage.bytes, 0);
  }

  dispose(): void {
    for (const buffer of this.buffers) buffer.dispose();
  }
}

/** A view of one slot, [1, 1, ...shape]. */
function slotOf(buffer: Tensor, slot: number): Tensor {
  return buffer.view([1, ...buffer.shape.slice(1)], buffer.strides, slot * buffer.strides[0]);
}

function copySlot(from: readonly Tensor[], slot: number, to: readonly Tensor[], place: number): void {
  scope(() => from.forEach((buffer, i) => launch("copy", { x: slotOf(buffer, slot), y: slotOf(to[i], place) }, {})));
}
