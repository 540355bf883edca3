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
}

/** The step that makes one more token, and the tensors that say which. */
interface Step {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly starts: Tensor | undefined;
  readonly replay: Replay;
}

/** A row of the cache, how much of it is there, and its slides by then. */
interface Held {
  readonly row: Sequence;
  length: number;
  readonly slides: number;
}

/** The best tokens: i32 [rows, 1] on the device, which belong to whoever holds this, and as they come over. */
interface Choice {
  readonly ids: Tensor;
  readonly best: Promise<Int32Array>;
}

/** A step that was queued before anybody asked for it: these rows, each grown by the token that the device chose. */
interface Ahead {
  readonly rows: readonly Readonly<Held>[];
  readonly chosen: Promise<Int32Array>;
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
    return this.#guarded(async () => (await this.#following(rows, (logits) => logits.data())) as Float32Array);
  }

  /** The most probable token of each, the first of equals. Throws as `next`, and InklingError `not-finite` as the sampler does. */
  async best(rows: readonly Sequence[]): Promise<Int32Array> {
    return this.#guarded(async () => {
      const choice = (await this.#foreseen(rows)) ?? (await this.#following(rows, (logits) => this.#choose(logits, rows)));
      this.#runAhead(rows, choice);
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

  /** Queues what gives the logits, and with `use` what is to be made of them. */
  async #following<T>(rows: readonly Sequence[], use: (logits: Tensor) => T): Promise<T> {
    this.#forgetAhead();
    const held = this.#isHeld(rows);
    const logits = held ? this.#step(rows) : await this.#read(rows);
    try {
      return use(logits);
    } finally {
      this.model.device.endPhase?.(held ? "token" : "prompt");
      // That of a step is the replay's.
      if (!held) logits.dispose();
    }
  }

  #choose(logits: Tensor, rows: readonly Sequence[]): Choice {
    const [ids, scores] = scope(() => {
      const choices = logits.reshape([rows.length, -1]).slice(1, 0, Math.min(rows[0].numChoices, logits.shape[2]));
      const best = choices.argmax(-1, { keepDims: true });
      return [best, choices.gather(best)];
    });
    const best = Promise.all([ids.data(), scores.data()]).then(([best, values]) => {
      for (const [i, id] of best.entries()) checkLogit(id, values[i]);
      return best as Int32Array;
    });
    scores.dispose();
    return { ids, best };
  }

  /** Queues the step after a choice, where it is all but certain to be wanted. The first one is recorded while a long prompt is still being read. */
  #runAhead(rows: readonly Sequence[], { ids, best: chosen }: Choice): void {
    const [cache, { device }] = [this.#cache, this.model];
    const expected = ({ row, length }: Held): boolean => row.expectsMore && this.model.regimeOf(length) === this.model.regimeOf(length + 1);
    if (device.record === undefined || cache === undefined || cache.length === cache.capacity || !this.#held.every(expected)) return;
    if (this.#steps === undefined && this.#held.every(({ length }) => length < longPrompt)) return;
    const step = (this.#steps ??= this.#makeStep(rows));
    launch("copy", { x: ids, y: step.ids }, {});
    const choice = this.#choose(this.#runStep(step, Int32Array.from(rows, (row) => row.ids.length)), rows);
    device.endPhase?.("token");
    // Whoever asks for it hears of an error, if anybody does.
    choice.best.catch(() => undefined);
    this.#ahead = { rows: rows.map((row) => ({ row, length: row.ids.length + 1, slides: row.slides })), chosen, choice };
  }

  /** The step that was queued ahead, if it is the one that these rows want. */
  async #foreseen(rows: readonly Sequence[]): Promise<Choice | undefined> {
    if (this.#ahead === undefined) return undefined;
    const { rows: grown, chosen, choice } = this.#ahead;
    const ids = await chosen;
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
      entry.length === ids.length - 1 && entry.slides === slides && this.model.regimeOf(entry.length) === this.model.regimeOf(ids.length);
    return this.#cache !== undefined && rows.every((row) => holds(row, held.get(row)));
  }

  /** All of every sequence, or what its context does not hold. */
  async #read(rows: readonly Sequence[]): Promise<Tensor> {
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
  #step(rows: readonly Sequence[]): Tensor {
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

  #runStep(step: Step, positions: Int32Array<ArrayBuffer>): Tensor {
    step.positions.write(positions);
    if (step.replay.ready) this.#cache!.advance(1);
    return step.replay.run();
  }

  /** One more token for these rows, which is the same commands until the cache grows. */
  #makeStep(rows: readonly Sequence[]): Step {
    const column = (): Tensor => keep(Tensor.empty([rows.length, 1], "i32", this.model.device));
    const inputs = { ids: column(), positions: column() };
    const starts = this.#starts && keep(Tensor.from(this.#starts, { device: this.model.device }));
    const forward = () =>
      noGrad(() => this.model.logits(inputs.ids, { lastOnly: true, ...this.#options(rows), positions: inputs.positions, ...(starts && { starts }) }));
    return { ...inputs, starts, replay: new Replay(this.model.device, forward) };
  }

  #endSteps(): void {
    this.#steps?.replay.dispose();
    for (const tensor of [this.#steps?.ids, this.#steps?.positions, this.#steps?.starts]) tensor?.dispose();
    this.#steps = undefined;
  }

  /** ids and positions [rows, time] to the logits of the last column, [rows, 1, vocabSize]. */
  #forward(ids: Int32Array<ArrayBuffer>, positions: Int32Array<ArrayBuffer>, rows: readonly Sequence[]): Tensor {
    return scope(() => noGrad(() => this.model.logits(this.#columns(ids, rows), { lastOnly: true, ...this.#inputs(positions, rows) })));
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
