/**
 * @file What a model remembers of sequences, seen from its modules. Sequences live in numbered slots; a module that remembers (attention its
 * keys and values, a recurrence its state) keeps a `ModuleState` with a row for each slot. A forward pass works on some slots, each with a
 * length of its own; where they lie is data on the device, so that the same commands serve every step.
 */

import type { Device, FloatDType, Tensor } from "../tensor/index.js";
import type { Module } from "./module.js";

/** How keys and values are kept: 4, 2 or (q8) little more than 1 byte a number. */
export type StateDType = FloatDType | "q8";

export interface StateOptions {
  readonly device: Device;
  /** For keys and values; a recurrent state stays f32. */
  readonly dtype: StateDType;
}

/** A slot's memory, set aside. */
export interface SavedSlot {
  readonly numBytes: number;
  dispose(): void;
}

/** What one module remembers. */
export interface ModuleState<Saved extends SavedSlot = SavedSlot> {
  /** Bytes reserved. */
  readonly numBytes: number;
  /** Makes room for so many slots, and so many positions in each; what is there stays. */
  reserve(slots: number, positions: number): void;
  /** Prepares a slot for a new sequence. */
  clear(slot: number): void;
  /** Makes `to` what `from` is after its first `length` tokens. A state that cannot go back is only asked for its whole length. */
  copy(from: number, to: number, length: number): void;
  /** Whether it can forget its last tokens. A recurrence cannot: its state has no undo. */
  readonly canTruncate: boolean;
  /** Where what is remembered depends on how long the sequence is: a number that stays the same as it grows for as long as the memory holds. */
  readonly regimeOf?: ((length: number) => number) | undefined;
  /** Sets aside what the slot is after `length` tokens, and brings it back. */
  save(slot: number, length: number): Saved;
  restore(slot: number, saved: Saved): void;
  dispose(): void;
}

/** A module that remembers. */
export interface Stateful<State extends ModuleState = ModuleState> {
  newState(options: StateOptions): State;
}

export function isStateful(module: Module): module is Module & Stateful {
  return "newState" in module && typeof module.newState === "function";
}

/** One forward pass over some slots: rows of the batch are in their order. */
export interface StatePass {
  /** i32 [batch]: the slot of each row. */
  readonly slots: Tensor;
  /** i32 [batch]: the position of each row's first new token. */
  readonly starts: Tensor;
  /** i32 [batch]: the length of each row with its new tokens. */
  readonly lengths: Tensor;
  /** Positions that there is room for. */
  readonly capacity: number;
  /** What this module remembers. */
  of<State extends ModuleState>(module: Module & Stateful<State>): State;
}
