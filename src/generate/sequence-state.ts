/**
 * @file What a model remembers of several sequences, each in a slot with a length of its own. Sequences join, leave and fork at any time;
 * what is in one slot never bears on another. The memory itself is the modules' (`model/state.ts`); this is the book of who has which slot.
 */

import { isStateful, type Decoder, type Module, type ModuleState, type SavedSlot, type StateDType, type StatePass, type Stateful } from "../model/index.js";
import type { Tensor } from "../tensor/index.js";

export interface SequenceStateOptions {
  /** How keys and values are kept. */
  readonly dtype: StateDType;
  /** Slots to make room for at first; the room doubles where more come. */
  readonly slots?: number;
  /** Positions to make room for at first in each slot; likewise. */
  readonly positions: number;
  /** The most positions that a slot will need. */
  readonly maxPositions: number;
}

/** A slot set aside, which can be brought back any number of times. */
export interface Snapshot {
  /** Tokens of the sequence. */
  readonly length: number;
  readonly numBytes: number;
  dispose(): void;
}

class ModelSnapshot implements Snapshot {
  constructor(
    readonly length: number,
    readonly saved: ReadonlyMap<Module, SavedSlot>,
  ) {}

  get numBytes(): number {
    return [...this.saved.values()].reduce((sum, { numBytes }) => sum + numBytes, 0);
  }

  dispose(): void {
    for (const saved of this.saved.values()) saved.dispose();
  }
}

export class SequenceState {
  readonly #states: ReadonlyMap<Module, ModuleState>;
  readonly #regimes: readonly ((length: number) => number)[];
  /** Tokens in each slot; undefined where the slot is free. */
  readonly #lengths: (number | undefined)[] = [];
  #slots = 0;
  #positions: number;

  constructor(
    model: Decoder,
    private readonly options: SequenceStateOptions,
  ) {
    const modules = [...model.modules().values()].filter(isStateful);
    this.#states = new Map(modules.map((module) => [module, module.newState({ device: model.device, dtype: options.dtype })]));
    this.#regimes = [...this.#states.values()].flatMap(({ regimeOf }) => regimeOf ?? []);
    this.#positions = Math.min(options.positions, options.maxPositions);
  }

  /** Takes a slot for a new sequence. */
  add(): number {
    const free = this.#lengths.indexOf(undefined);
    const slot = free < 0 ? this.#lengths.length : free;
    if (slot >= this.#slots) this.#reserve(Math.max(slot + 1, 2 * this.#slots, this.options.slots ?? 1), this.#positions);
    this.clear(slot);
    return slot;
  }

  /** Gives a slot back. */
  remove(slot: number): void {
    this.lengthOf(slot);
    this.#lengths[slot] = undefined;
  }

  /** Tokens that the slot's sequence has so far. Throws RangeError for a slot that nobody has. */
  lengthOf(slot: number): number {
    const length = this.#lengths[slot];
    if (length === undefined) throw new RangeError(`Nobody has slot ${slot}.`);
    return length;
  }

  /** Forgets the slot's sequence; a new one begins there. */
  clear(slot: number): void {
    for (const state of this.#states.values()) state.clear(slot);
    this.#lengths[slot] = 0;
  }

  /** A new slot whose sequence begins as this one, with its first `length` tokens; undefined where the state cannot go back to there. */
  fork(slot: number, length = this.lengthOf(slot)): number | undefined {
    if (!this.#reaches(slot, length)) return undefined;
    const other = this.add();
    for (const state of this.#states.values()) state.copy(slot, other, length);
    this.#lengths[other] = length;
    return other;
  }

  /** Forgets the tokens from `length` on. False where the state cannot go back to there; then it is as it was. */
  truncate(slot: number, length: number): boolean {
    if (length === 0) this.clear(slot);
    else if (!this.#reaches(slot, length)) return false;
    this.#lengths[slot] = length;
    return true;
  }

  /** Whether slots can be truncated at any length. */
  get canTruncate(): boolean {
    return [...this.#states.values()].every(({ canTruncate }) => canTruncate);
  }

  #reaches(slot: number, length: number): boolean {
    const there = this.lengthOf(slot);
    if (length > there) throw new RangeError(`Slot ${slot} has ${there} tokens, not ${length}.`);
    return length === there || this.canTruncate;
  }

  /** Sets a slot aside as it is now. */
  snapshot(slot: number): Snapshot {
    const length = this.lengthOf(slot);
    return new ModelSnapshot(length, new Map([...this.#states].map(([module, state]) => [module, state.save(slot, length)])));
  }

  /** Brings a snapshot of this state back, into any slot. */
  restore(slot: number, snapshot: Snapshot): void {
    if (!(snapshot instanceof ModelSnapshot)) throw new TypeError("This is no snapshot of such a state.");
    this.lengthOf(slot);
    this.#makeRoom(snapshot.length);
    for (const [module, state] of this.#states) state.restore(slot, snapshot.saved.get(module)!);
    this.#lengths[slot] = snapshot.length;
  }

  /** A name for what the length of a sequence bears on (RoPE's angles may change with it); what is remembered holds while it stays the same. */
  regimeOf(length: number): string {
    return this.#regimes.map((regimeOf) => regimeOf(length)).join();
  }

  /** Whether what is remembered of the slot's sequence is right for a sequence of `length` tokens. */
  holds(slot: number, length: number): boolean {
    const before = this.lengthOf(slot);
    return before === 0 || this.#regimes.length === 0 || this.regimeOf(before) === this.regimeOf(length);
  }

  /** Bytes reserved. */
  get numBytes(): number {
    return [...this.#states.values()].reduce((sum, { numBytes }) => sum + numBytes, 0);
  }

  /** Positions that there is room for in each slot. */
  get capacity(): number {
    return this.#positions;
  }

  /** Adds `time` tokens to each of these slots: a pass that computes them must follow. Gives the new lengths. */
  grow(slots: readonly number[], time: number): number[] {
    const lengths = slots.map((slot) => (this.#lengths[slot] = this.lengthOf(slot) + time));
    this.#makeRoom(Math.max(0, ...lengths));
    return lengths;
  }

  #makeRoom(positions: number): void {
    if (positions > this.#positions) this.#reserve(this.#slots, Math.max(positions, Math.min(2 * this.#positions, this.options.maxPositions)));
  }

  #reserve(slots: number, positions: number): void {
    [this.#slots, this.#positions] = [slots, positions];
    for (const state of this.#states.values()) state.reserve(slots, positions);
  }

  /** What a forward pass needs to know: i32 [batch] each, as `grow` said. */
  pass(where: { readonly slots: Tensor; readonly starts: Tensor; readonly lengths: Tensor }): StatePass {
    const of = <State extends ModuleState>(module: Module & Stateful<State>): State => this.#states.get(module) as State;
    return { ...where, capacity: this.#positions, of };
  }

  dispose(): void {
    for (const state of this.#states.values()) state.dispose();
    this.#lengths.length = 0;
    this.#slots = 0;
  }
}
