/**
 * @file Runs the model over sequences that grow, computing no more than is new.
 *
 * Sequences of unequal length are padded on the left: each row's last token stands in the last column, `starts` says where a row begins, and
 * its positions count from there, so a row of a batch gives what it gives alone. When a sequence slid, all are computed anew, since
 * positions and everything that depended on the lost tokens have changed; likewise when a sequence's length changes RoPE's angles. A long
 * prompt is read some columns at a time.
 *
 * A token more is the same kernels each time, with other contents: its commands are kept (`Replay`) until rows end or the cache grows. Where the best
 * token is taken, the device goes on with it before anybody here has seen it, so that it never waits for JavaScript; if it turns out that a sequence has
 * ended, that step is forgotten.
 *
 * One sequence alone may go on in the cache that an earlier one left (`CachedContext`).
 */

import type { Decoder, ForwardOptions } from "../model/index.js";
import { Replay, Tensor, keep, launch, noGrad, scope, type FloatDType } from "../tensor/index.js";
import type { CachedContext } from "./cached-context.js";
import { DenseKeyValueCache, type CacheDType } from "./key-value-cache.js";
import { positionRegime } from "./position-regime.js";
import { checkLogit } from "./sampler.js";
import type { Sequence } from "./sequence.js";

export interface ReaderOptions {
  readonly cache: boolean | CacheDType;
  readonly dtype: FloatDType;
  /** The most tokens that a sequence will grow by. */
  readonly maxTokens: number;
  /** Columns read at once. */
  readonly prefillChunk: number;
  /** Of a single sequence. */
  readonly context?: CachedContext | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How many of the best tokens are wanted, for `best`; all logits otherwise, for `next`. */
  readonly best?: number | undefined;
}

/** The best tokens of each row and their logits, [rows, count], the best first. */
export interface BestTokens {
  readonly ids: Int32Array;
  readonly logits: Float32Array;
}

/** What the model gives for the last column: all logits [rows, 1, vocabSize]; or the best tokens [rows, count], and their logits. */
type Outcome = readonly Tensor[];

/** The step that makes one more token, and the tensors that say which. */
interface Step {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly starts: Tensor | undefined;
  readonly replay: Replay<Outcome>;
}

/** A row of the cache, how much of it is there, and its slides by then. */
interface Held {
  readonly row: Sequence;
  length: number;
  readonly slides: number;
}

/** The best tokens: i32 [rows, count] on the device, which belong to whoever holds this, and as they come over. */
interface Choice {
  readonly ids: Tensor;
  readonly best: Promise<BestTokens>;
}

/** A step that was queued before anybody asked for it: these rows, each grown by the token that the device chose. */
interface Ahead {
  readonly rows: readonly Readonly<Held>[];
  readonly chosen: Promise<BestTokens>;
  readonly choice: Choice;
}

/** Tokens that the device reads for as long as JavaScript takes to record a step: after fewer, the first token would wait for it. */
const longPrompt = 64;

export class Reader {
  #cache: DenseKeyValueCache | undefined;
  #held: Held[] = [];
  /** The first column that belongs to each row; undefined where that is 0 for all. */
  #starts: Int32Array | undefined;
  #steps: Step | undefined;
  #ahead: Ahead | undefined;

  constructor(
    private readonly model: Decoder,
    private readonly options: ReaderOptions,
  ) {}

  /** The logits that follow each sequence, [rows, vocabSize]. Throws the signal's reason between two parts of a prompt. */
  async next(rows: readonly Sequence[]): Promise<Float32Array> {
    return this.#guarded(async () => (await this.#following(rows, ([logits]) => logits.data())) as Float32Array);
  }

  /** The most probable tokens of each, equals by id. Throws as `next`, and HornbookError `not-finite` as the sampler does. */
  async best(rows: readonly Sequence[]): Promise<BestTokens> {
    return this.#guarded(async () => {
      const choice = (await this.#foreseen(rows)) ?? (await this.#following(rows, (outcome) => this.#choose(outcome)));
      if (this.options.best === 1) this.#runAhead(rows, choice);
      choice.ids.dispose();
      return choice.best;
    });
  }

  /** What a failed pass left in the cache is not known. */
  async #guarded<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      if (this.options.signal?.aborted !== true) this.options.context?.dispose();
      throw error;
    }
  }

  /** Queues what gives the outcome, and with `use` what is to be made of it. */
  async #following<T>(rows: readonly Sequence[], use: (outcome: Outcome) => T): Promise<T> {
    this.#forgetAhead();
    const held = this.#isHeld(rows);
    const outcome = held ? this.#step(rows) : await this.#read(rows);
    try {
      return use(outcome);
    } finally {
      this.model.device.endPhase?.(held ? "token" : "prompt");
      // That of a step is the replay's.
      if (!held) for (const tensor of outcome) tensor.dispose();
    }
  }

  #choose([ids, logits]: Outcome): Choice {
    const best = Promise.all([ids.data(), logits.data()]).then(([ids, logits]) => {
      // What is not finite is among the best, and comes first.
      for (let i = 0; i < ids.length; i += this.options.best!) checkLogit(ids[i], logits[i]);
      return { ids: ids as Int32Array, logits: logits as Float32Array };
    });
    // Those of a step are the replay's.
    return { ids: keep(ids.view(ids.shape, ids.strides, 0)), best };
  }

  /** Queues the step after a choice, where it is all but certain to be wanted. The first one is recorded while a long prompt is still being read. */
  #runAhead(rows: readonly Sequence[], { ids, best: chosen }: Choice): void {
    const [cache, { device }] = [this.#cache, this.model];
    const expected = ({ row, length }: Held): boolean => row.expectsMore && positionRegime(this.model, length) === positionRegime(this.model, length + 1);
    if (device.record === undefined || cache === undefined || cache.length === cache.capacity || !this.#held.every(expected)) return;
    if (this.#steps === undefined && this.#held.every(({ length }) => length < longPrompt)) return;
    const step = (this.#steps ??= this.#makeStep(rows));
    launch("copy", { x: ids, y: step.ids }, {});
    const choice = this.#choose(this.#runStep(step, Int32Array.from(rows, (row) => row.ids.length)));
    device.endPhase?.("token");
    // Whoever asks for it hears of an error, if anybody does.
    choice.best.catch(() => undefined);
    this.#ahead = { rows: rows.map((row) => ({ row, length: row.ids.length + 1, slides: row.slides })), chosen, choice };
  }

  /** The step that was queued ahead, if it is the one that these rows want. */
  async #foreseen(rows: readonly Sequence[]): Promise<Choice | undefined> {
    if (this.#ahead === undefined) return undefined;
    const { rows: grown, chosen, choice } = this.#ahead;
    const { ids } = await chosen;
    const wanted = rows.length === grown.length && grown.every(({ row, length, slides }, i) => row === rows[i] && row.ids.length === length && row.ids[length - 1] === ids[i] && row.slides === slides);
    if (!wanted) return undefined;
    this.#ahead = undefined;
    for (const entry of this.#held) entry.length++;
    this.options.context?.advance(ids);
    return choice;
  }

  #forgetAhead(): void {
    if (this.#ahead === undefined) return;
    this.#ahead.choice.ids.dispose();
    this.#ahead = undefined;
    this.#cache?.truncate(this.#cache.length - 1);
  }

  /** Bytes of the cache. */
  get cacheBytes(): number {
    return this.#cache?.numBytes ?? 0;
  }

  dispose(): void {
    this.#forgetAhead();
    this.#endSteps();
    // A context's cache is the context's.
    if (this.options.context === undefined) this.#cache?.dispose();
    this.#cache = undefined;
    this.#held = [];
  }

  /** Whether the cache holds all but the last token of each. */
  #isHeld(rows: readonly Sequence[]): boolean {
    const held = new Map(this.#held.map((entry) => [entry.row, entry]));
    const holds = ({ ids, slides }: Sequence, entry = { length: -1, slides }): boolean =>
      entry.length === ids.length - 1 && entry.slides === slides && positionRegime(this.model, entry.length) === positionRegime(this.model, ids.length);
    return this.#cache !== undefined && rows.every((row) => holds(row, held.get(row)));
  }

  /** All of every sequence, or what its context does not hold. */
  async #read(rows: readonly Sequence[]): Promise<Outcome> {
    this.dispose();
    const { cache, context, prefillChunk, signal } = this.options;
    const longest = Math.max(...rows.map((row) => row.ids.length));
    const shortest = Math.min(...rows.map((row) => row.ids.length));
    const starts = Int32Array.from(rows, (row) => longest - row.ids.length);
    this.#starts = longest === shortest ? undefined : starts;
    if (cache !== false) this.#cache = this.#makeCache(rows, longest, shortest);

    const step = this.#cache === undefined ? longest : prefillChunk;
    for (let begin = this.#cache?.length ?? 0; ; begin += step) {
      const end = Math.min(longest, begin + step);
      const columns = Array.from({ length: end - begin }, (_, i) => begin + i);
      const ids = Int32Array.from(rows.flatMap((row, i) => columns.map((column) => row.ids[column - starts[i]] ?? 0)));
      const positions = Int32Array.from(rows.flatMap((_, i) => columns.map((column) => Math.max(0, column - starts[i]))));
      context?.advance(ids);
      if (end === longest) {
        this.#held = this.#cache === undefined ? [] : rows.map((row) => ({ row, length: row.ids.length, slides: row.slides }));
        return this.#forward(ids, positions, rows);
      }
      // The wait keeps what is queued short, and with it the time until an abort is heard.
      const hidden = this.#hidden(ids, positions, rows);
      await hidden.data().finally(() => hidden.dispose());
      signal?.throwIfAborted();
    }
  }

  #makeCache(rows: readonly Sequence[], longest: number, shortest: number): DenseKeyValueCache {
    const { contextLength } = this.model.config;
    const { cache, context, dtype, maxTokens } = this.options;
    const kept = typeof cache === "string" ? cache : dtype;
    // A row may go on until its own length is the context's; the first room is for a reply of usual length.
    const most = longest + Math.min(maxTokens, contextLength - shortest);
    const capacity = Math.min(most, longest + 256);
    return context?.open(this.model, rows[0].ids, { dtype, kept, capacity }) ?? new DenseKeyValueCache({ dtype: kept, capacity, maxLength: most });
  }

  /** The last token of each, on top of what the cache holds. */
  #step(rows: readonly Sequence[]): Outcome {
    if (rows.length < this.#held.length) {
      const places = rows.map((row) => this.#held.findIndex((entry) => entry.row === row));
      this.#cache?.select(places);
      this.#starts = this.#starts && Int32Array.from(places, (place) => this.#starts![place]);
      this.#held = places.map((place) => this.#held[place]);
      this.#endSteps();
    }
    for (const entry of this.#held) entry.length++;
    const ids = Int32Array.from(rows, (row) => row.ids[row.ids.length - 1]);
    const positions = Int32Array.from(rows, (row) => row.ids.length - 1);
    this.options.context?.advance(ids);
    const cache = this.#cache!;
    if (cache.length === cache.capacity) this.#endSteps();
    const step = (this.#steps ??= this.#makeStep(rows));
    step.ids.write(ids);
    return this.#runStep(step, positions);
  }

  #runStep(step: Step, positions: Int32Array<ArrayBuffer>): Outcome {
    step.positions.write(positions);
    if (step.replay.ready) this.#cache!.advance(1);
    return step.replay.run();
  }

  /** One more token for these rows, which is the same commands until the cache grows. */
  #makeStep(rows: readonly Sequence[]): Step {
    const column = (): Tensor => keep(Tensor.empty([rows.length, 1], "i32", this.model.device));
    const inputs = { ids: column(), positions: column() };
    const starts = this.#starts && keep(Tensor.from(this.#starts, { device: this.model.device }));
    const forward = () => this.#outcome(inputs.ids, { ...this.#options(rows), positions: inputs.positions, ...(starts && { starts }) }, rows);
    return { ...inputs, starts, replay: new Replay(this.model.device, forward) };
  }

  #endSteps(): void {
    this.#steps?.replay.dispose();
    for (const tensor of [this.#steps?.ids, this.#steps?.positions, this.#steps?.starts]) tensor?.dispose();
    this.#steps = undefined;
  }

  #outcome(ids: Tensor, options: ForwardOptions, rows: readonly Sequence[]): Outcome {
    return noGrad(() => {
      const { best: count } = this.options;
      if (count === undefined) return [this.model.logits(ids, { lastOnly: true, ...options })];
      const last = this.model.hidden(ids, options).slice(1, -1).reshape([rows.length, this.model.config.hiddenSize]);
      const { indices, values } = this.model.head.topK(last, count, { choices: Math.min(rows[0].numChoices, this.model.config.vocabSize) });
      return [indices, values];
    });
  }

  /** ids and positions [rows, time] to the outcome of the last column. */
  #forward(ids: Int32Array<ArrayBuffer>, positions: Int32Array<ArrayBuffer>, rows: readonly Sequence[]): Outcome {
    return scope(() => this.#outcome(this.#columns(ids, rows), this.#inputs(positions, rows), rows));
  }

  /** As `#forward`, for the cache's sake alone; the last column's hidden state, to wait for. */
  #hidden(ids: Int32Array<ArrayBuffer>, positions: Int32Array<ArrayBuffer>, rows: readonly Sequence[]): Tensor {
    return scope(() => noGrad(() => this.model.hidden(this.#columns(ids, rows), this.#inputs(positions, rows)).slice(1, -1).contiguous()));
  }

  #columns(values: Int32Array<ArrayBuffer>, rows: readonly Sequence[]): Tensor {
    return Tensor.from(values, { shape: [rows.length, values.length / rows.length], device: this.model.device });
  }

  #inputs(positions: Int32Array<ArrayBuffer>, rows: readonly Sequence[]): ForwardOptions {
    const starts = this.#starts && Tensor.from(this.#starts, { device: this.model.device });
    return { ...this.#options(rows), positions: this.#columns(positions, rows), ...(starts && { starts }) };
  }

  #options(rows: readonly Sequence[]): ForwardOptions {
    return { dtype: this.options.dtype, lengths: rows.map((row) => row.ids.length), ...(this.#cache && { cache: this.#cache }) };
  }
}
