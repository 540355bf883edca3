/**
 * @file What a model has read of one sequence, kept from one generation to the next, with the ids that it belongs to. A text that begins as
 * this one began goes on from where the two part; so each turn of a conversation computes what is new in it.
 *
 * A state that cannot go back (a recurrence) is set aside where a prompt ends, and a text that parts from this one later goes on from there.
 */

import type { Decoder, StateDType } from "../model/index.js";
import type { FloatDType } from "../tensor/index.js";
import type { Sequence } from "./sequence.js";
import { SequenceState, type Snapshot } from "./sequence-state.js";

interface Opened {
  readonly state: SequenceState;
  readonly slot: number;
}

export class CachedContext {
  #ids: readonly number[] = [];
  #held: (Opened & { readonly model: Decoder; readonly dtype: FloatDType; readonly kept: StateDType }) | undefined;
  #promptEnd: Snapshot | undefined;
  #reused = 0;

  /** The ids that are remembered. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** How many ids of the last prompt were remembered already. */
  get reused(): number {
    return this.#reused;
  }

  /** Bytes reserved. */
  get numBytes(): number {
    return (this.#held?.state.numBytes ?? 0) + (this.#promptEnd?.numBytes ?? 0);
  }

  /**
   * The slot for a sequence, which holds as much of it as there is: the longest common beginning, but for its last id, whose logits are
   * wanted. Nothing of it is of use where the model or a dtype is another, or where what is remembered depends on the length.
   */
  open(model: Decoder, ids: readonly number[], { dtype, kept, positions }: { readonly dtype: FloatDType; readonly kept: StateDType; readonly positions: number }): Opened {
    if (this.#held?.model !== model || this.#held.dtype !== dtype || this.#held.kept !== kept) this.dispose();
    this.#held ??= { model, dtype, kept, ...newSlot(model, kept, positions) };
    const { state, slot } = this.#held;
    let common = 0;
    while (common < this.#ids.length && common < ids.length - 1 && this.#ids[common] === ids[common]) common++;
    if (!state.holds(slot, ids.length)) state.clear(slot);
    else if (!state.truncate(slot, common)) this.#goBack(state, slot, common);
    this.#reused = state.lengthOf(slot);
    this.#ids = ids.slice(0, this.#reused);
    return { state, slot };
  }

  /** To where the last prompt ended, if that is in the common beginning; else to nothing. */
  #goBack(state: SequenceState, slot: number, common: number): void {
    if (this.#promptEnd !== undefined && this.#promptEnd.length <= common) state.restore(slot, this.#promptEnd);
    else state.clear(slot);
  }

  /** The prompt has been read, and nothing after it. */
  promptRead(): void {
    const { state, slot } = this.#held!;
    if (state.canTruncate) return;
    this.#promptEnd?.dispose();
    this.#promptEnd = state.snapshot(slot);
  }

  /** What is remembered is of this sequence now. */
  follow(sequence: Sequence): void {
    if (this.#held === undefined) return;
    this.#ids = sequence.ids.slice(0, this.#held.state.lengthOf(this.#held.slot));
  }

  /** Forgets all of it and frees the memory; what is read next begins anew. */
  dispose(): void {
    this.#held?.state.dispose();
    this.#promptEnd?.dispose();
    [this.#held, this.#promptEnd, this.#ids] = [undefined, undefined, []];
  }
}

function newSlot(model: Decoder, dtype: StateDType, positions: number): Opened {
  const state = new SequenceState(model, { dtype, positions, maxPositions: model.config.contextLength });
  return { state, slot: state.add() };
}
