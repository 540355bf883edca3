/**
 * @file Sequences that grow together. Each has a slot of the model's state; a step reads the next part of one prompt and then makes one more
 * token for every sequence whose prompt is read. Sequences join and leave between steps, and none bears on another: a row's tokens are those
 * that it has alone.
 *
 *   add -> prefill, in chunks -> decode step by step -> finished (or removed)
 *
 * Where every sequence takes its best token, the device goes on with it before anybody here has seen it (`#lookAhead`), so that it never waits
 * for JavaScript.
 */

import type { Decoder, StateDType, Taps } from "../model/index.js";
import type { FloatDType, Tensor } from "../tensor/index.js";
import { DecodeSteps } from "./decode-step.js";
import { kept, scoresOf, type Best, type Outcome, type Scores } from "./outcome.js";
import { readLast, readOn, type Chunk, type PassOptions } from "./prefill.js";
import type { Piece, Sequence } from "./sequence.js";
import { SequenceState } from "./sequence-state.js";

export interface SchedulerOptions {
  /** The dtype to compute in. */
  readonly dtype: FloatDType;
  /** How keys and values are kept; false keeps nothing, and every token costs its whole sequence. */
  readonly cache: false | StateDType;
  /** Tokens of a prompt that are read at once. */
  readonly prefillChunk: number;
  /** Sequences, and tokens of each, to make room for at first. */
  readonly slots?: number;
  readonly positions?: number;
  /** A state to work in, which stays the caller's; by default the scheduler makes one. */
  readonly state?: SequenceState | undefined;
  readonly taps?: Taps | undefined;
}

export interface AddOptions {
  /** A slot of the state that holds the beginning of the sequence; it stays the caller's. */
  readonly slot?: number | undefined;
  /** Called when the prompt has been read and nothing after it. */
  readonly onPromptRead?: (() => void) | undefined;
}

interface Row extends AddOptions {
  readonly sequence: Sequence;
  /** Undefined where nothing is remembered. */
  readonly slot: number | undefined;
  readonly ownsSlot: boolean;
  /** The sequence's slides when it was last read; another number means that what is remembered is of no use. */
  slides: number;
}

/** A step that is in the device's queue, and what it gives. */
interface Queued {
  readonly rows: readonly Row[];
  readonly scores: Promise<Scores[]>;
  /** i32 [rows, 1] where each row takes its best token: the device may go on with them. */
  readonly chosen: Tensor | undefined;
}

/** Tokens that the device reads for as long as JavaScript takes to record a step: after fewer, the first token would wait for it. */
const longPrompt = 64;

export class Scheduler {
  #rows: Row[] = [];
  #state: SequenceState | undefined;
  #steps: DecodeSteps | undefined;
  #ahead: Queued | undefined;

  constructor(
    private readonly model: Decoder,
    private readonly options: SchedulerOptions,
  ) {
    this.#state = options.state;
  }

  /** Sequences that are not finished. */
  get size(): number {
    return this.#rows.length;
  }

  /** Bytes reserved for what is remembered. */
  get stateBytes(): number {
    return this.#state?.numBytes ?? 0;
  }

  /** A sequence joins; its tokens come from the next steps. */
  add(sequence: Sequence, options: AddOptions = {}): void {
    const state = this.options.cache === false ? undefined : (this.#state ??= this.#newState());
    const slot = options.slot ?? state?.add();
    this.#rows.push({ ...options, sequence, slot, ownsSlot: options.slot === undefined, slides: sequence.slides });
  }

  /** A sequence leaves before its end; its slot is free at once. */
  remove(sequence: Sequence): void {
    this.#leave(this.#rows.filter((row) => row.sequence === sequence));
  }

  /** Reads the next part of a prompt, and makes one token for each sequence that has been read; gives the new pieces. */
  async step(): Promise<Piece[]> {
    const queued = this.#state === undefined ? this.#readWhole() : await this.#queueStep();
    const [only] = queued;
    if (queued.length === 1 && only.rows.length === this.#rows.length) this.#lookAhead(only);
    const pieces: Piece[] = [];
    for (const { rows, scores, chosen } of queued) {
      chosen?.dispose();
      const ofRows = await scores;
      for (const [i, row] of rows.entries()) if (this.#rows.includes(row)) pieces.push(row.sequence.advance(ofRows[i]));
    }
    this.#leave(this.#rows.filter(({ sequence }) => sequence.finished));
    return pieces;
  }

  /** Queues what this step computes: the end of a prompt, the step that was queued ahead, one more token for the other rows. */
  async #queueStep(): Promise<Queued[]> {
    const unread = new Map(this.#rows.map((row) => [row, this.#unread(row)]));
    const rowsWith = (fits: (unread: number) => boolean) => this.#rows.filter((row) => fits(unread.get(row)!));
    const reading = rowsWith((count) => count > 1);
    const prompt = reading.length > 0 ? await this.#read(reading) : undefined;
    // What was queued ahead is of use to the rows whose last token the device has taken already.
    const ahead = rowsWith((count) => count === 0).length > 0 ? this.#ahead : undefined;
    if (ahead === undefined) this.#ahead?.chosen?.dispose();
    this.#ahead = undefined;
    const ready = rowsWith((count) => count === 1);
    return [prompt, ahead, ready.length > 0 ? this.#decode(ready) : undefined].filter((queued) => queued !== undefined);
  }

  dispose(): void {
    this.#ahead?.chosen?.dispose();
    this.#ahead = undefined;
    this.#steps?.dispose();
    this.#steps = undefined;
    this.#leave(this.#rows);
    if (this.options.state === undefined) this.#state?.dispose();
    this.#state = undefined;
  }

  #leave(rows: readonly Row[]): void {
    for (const { slot, ownsSlot } of rows) if (slot !== undefined && ownsSlot) this.#state?.remove(slot);
    this.#rows = this.#rows.filter((row) => !rows.includes(row));
  }

  /** Tokens of the row that are not in the state. What it remembers is dropped first where it no longer holds. */
  #unread(row: Row): number {
    const { sequence } = row;
    const [state, slot] = [this.#state!, row.slot!];
    if (row.slides !== sequence.slides || !state.holds(slot, sequence.ids.length)) state.clear(slot);
    row.slides = sequence.slides;
    return sequence.ids.length - state.lengthOf(slot);
  }

  // ---- prefill -------------------------------------------------------------------------------------------------------------

  /**
   * Reads the next chunk of the row that has waited longest, together with those of the same size. Gives what follows where their prompts end
   * with it.
   */
  async #read(rows: readonly Row[]): Promise<Queued | undefined> {
    const state = this.#state!;
    const unreadIds = ({ sequence, slot }: Row) => sequence.ids.slice(state.lengthOf(slot!));
    const chunkOf = (row: Row) => unreadIds(row).slice(0, this.options.prefillChunk);
    const isLast = (row: Row) => unreadIds(row).length <= this.options.prefillChunk;
    const together = rows.filter((row) => chunkOf(row).length === chunkOf(rows[0]).length && isLast(row) === isLast(rows[0]));
    const chunk = { ids: together.map(chunkOf), slots: together.map(({ slot }) => slot!) };
    try {
      if (isLast(rows[0])) {
        const queued = this.#readLast(together, chunk);
        for (const { onPromptRead } of together) onPromptRead?.();
        return queued;
      }
      // The wait keeps the queue short, and with it the time until an abort is heard.
      const hidden = readOn(this.model, state, chunk, this.#passOptions);
      await hidden.data().finally(() => hidden.dispose());
      return undefined;
    } finally {
      this.model.device.endPhase?.("prompt");
    }
  }

  /** Without a state: every sequence is read whole, those of one length together. */
  #readWhole(): Queued[] {
    const lengths = new Set(this.#rows.map(({ sequence }) => sequence.ids.length));
    return Array.from(lengths, (length) => {
      const rows = this.#rows.filter(({ sequence }) => sequence.ids.length === length);
      return this.#readLast(rows, { ids: rows.map(({ sequence }) => sequence.ids), slots: undefined });
    });
  }

  #readLast(rows: readonly Row[], chunk: Chunk): Queued {
    const best = this.#bestOf(rows);
    const outcome = readLast(this.model, this.#state, chunk, this.#passOptions, best);
    const queued = this.#queued(rows, outcome, best);
    for (const tensor of outcome) tensor.dispose();
    return queued;
  }

  // ---- decoding ------------------------------------------------------------------------------------------------------------

  /** Queues one more token for each of these rows. */
  #decode(rows: readonly Row[], ids: Tensor | readonly number[] = rows.map(({ sequence }) => sequence.ids[sequence.ids.length - 1])): Queued {
    const best = this.#bestOf(rows);
    this.#steps ??= new DecodeSteps(this.model, this.#state!, this.#passOptions);
    const outcome = this.#steps.run(rows.map(({ slot }) => slot!), ids, best);
    const queued = this.#queued(rows, outcome, best);
    this.model.device.endPhase?.("token");
    return queued;
  }

  /**
   * Queues the step after this one, with the tokens that the device chose, where it is all but certain to be wanted. The first step is
   * recorded while a long prompt is still being read.
   */
  #lookAhead({ rows, chosen }: Queued): void {
    const state = this.#state;
    if (state === undefined || chosen === undefined || this.model.device.record === undefined || this.options.taps !== undefined) return;
    const isExpected = ({ sequence, slot }: Row): boolean => {
      const length = state.lengthOf(slot!);
      return sequence.expectsMore && length < state.capacity && state.regimeOf(length) === state.regimeOf(length + 1);
    };
    if (!rows.every(isExpected)) return;
    if (this.#steps?.has(rows.length) !== true && rows.every(({ sequence }) => sequence.ids.length < longPrompt)) return;
    this.#ahead = this.#decode(rows, chosen);
    // Whoever asks for it hears of an error, if anybody does.
    this.#ahead.scores.catch(() => undefined);
  }

  #queued(rows: readonly Row[], outcome: Outcome, best: Best | undefined): Queued {
    return { rows, scores: scoresOf(outcome, best), chosen: best?.count === 1 ? kept(outcome[0]) : undefined };
  }

  /** How many of the best tokens decide for all of these rows; undefined where one needs all logits. */
  #bestOf(rows: readonly Row[]): Best | undefined {
    const { head, config: { vocabSize } } = this.model;
    const [choices, ...others] = new Set(rows.map(({ sequence }) => Math.min(sequence.numChoices, vocabSize)));
    const counts = rows.map(({ sequence }) => sequence.bestWanted(choices));
    if (others.length > 0 || counts.includes(undefined)) return undefined;
    const count = Math.max(...(counts as number[]));
    return count === 1 || head.skipsLogits ? { count, choices } : undefined;
  }

  get #passOptions(): PassOptions {
    return { dtype: this.options.dtype, taps: this.options.taps };
  }

  #newState(): SequenceState {
    const { cache, slots = 1, positions = 256 } = this.options;
    return new SequenceState(this.model, { dtype: cache as StateDType, slots, positions, maxPositions: this.model.config.contextLength });
  }
}
