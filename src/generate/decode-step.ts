/**
 * @file The decode step: one more token for each of some rows. It is the same commands each time, with other contents, so the device keeps
 * them (`Replay`): tokens, slots, positions and lengths lie in one tensor that is written before each run.
 */

import type { Decoder } from "../model/index.js";
import { Replay, Tensor, keep, launch, scope } from "../tensor/index.js";
import { outcomeOf, type Best, type Outcome } from "./outcome.js";
import type { PassOptions } from "./prefill.js";
import type { SequenceState } from "./sequence-state.js";

/** Recorded steps to keep: of the last few numbers of rows. */
const keptSteps = 4;

export class DecodeSteps {
  readonly #steps = new Map<string, DecodeStep>();

  constructor(
    private readonly model: Decoder,
    private readonly state: SequenceState,
    private readonly options: PassOptions,
  ) {}

  /**
   * Queues the step: each slot's sequence grows by its token. `ids` are numbers, or lie on the device as i32 [rows, 1]. The outcome is
   * overwritten by the next step.
   */
  run(slots: readonly number[], ids: readonly number[] | Tensor, best: Best | undefined): Outcome {
    const lengths = this.state.grow(slots, 1);
    // RoPE's angles may depend on the lengths; a recorded step holds for those that it was recorded with.
    const key = [slots.length, best?.count, best?.choices, ...lengths.map((length) => this.state.regimeOf(length))].join();
    const step = this.#steps.get(key) ?? new DecodeStep(this.model, this.state, this.options, slots.length, best);
    // The step used last comes last.
    this.#steps.delete(key);
    this.#steps.set(key, step);
    if (this.#steps.size > keptSteps) this.#dropOldest();
    return step.run(slots, ids, lengths);
  }

  /** Whether a step for so many rows has run before. */
  has(rows: number): boolean {
    return [...this.#steps.keys()].some((key) => key.startsWith(`${rows},`));
  }

  #dropOldest(): void {
    const [[key, step]] = this.#steps;
    step.dispose();
    this.#steps.delete(key);
  }

  dispose(): void {
    for (const step of this.#steps.values()) step.dispose();
    this.#steps.clear();
  }
}

class DecodeStep {
  /** i32 [4, rows]: slots, positions, lengths, ids. */
  readonly #inputs: Tensor;
  readonly #replay: Replay<Outcome>;
  #lengths: readonly number[] = [];

  constructor(
    model: Decoder,
    state: SequenceState,
    { dtype, taps }: PassOptions,
    private readonly rows: number,
    best: Best | undefined,
  ) {
    this.#inputs = keep(Tensor.empty([4, rows], "i32", model.device));
    const body = (): Outcome => scope(() => {
      const [slots, starts, lengths] = [0, 1, 2].map((row) => this.#row(row, [rows]));
      const [positions, ids] = [1, 3].map((row) => this.#row(row, [rows, 1]));
      const options = { dtype, positions, lengths: this.#lengths, state: state.pass({ slots, starts, lengths }), ...(taps && { taps }) };
      return outcomeOf(model, ids, options, best);
    });
    // Whoever listens is to hear every step, and a step that is repeated runs nothing of the model.
    this.#replay = new Replay(model.device, body, { record: taps === undefined });
  }

  run(slots: readonly number[], ids: readonly number[] | Tensor, lengths: readonly number[]): Outcome {
    this.#lengths = lengths;
    const known = ids instanceof Tensor ? Array<number>(this.rows).fill(0) : ids;
    this.#inputs.write(Int32Array.from([...slots, ...lengths.map((length) => length - 1), ...lengths, ...known]));
    if (ids instanceof Tensor) {
      const place = this.#row(3, [this.rows, 1]);
      launch("copy", { x: ids, y: place }, {});
      place.dispose();
    }
    return this.#replay.run();
  }

  #row(row: number, shape: readonly number[]): Tensor {
    return this.#inputs.view(shape, shape.length === 1 ? [1] : [1, 1], row * this.rows);
  }

  dispose(): void {
    this.#replay.dispose();
    this.#inputs.dispose();
  }
}
