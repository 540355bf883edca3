/**
 * @file Runs the model over sequences that grow, computing no more than is new.
 *
 * Sequences of unequal length are padded on the left: each row's last token stands in the last column, `starts` says where a row begins, and
 * its positions count from there, so a row of a batch gives what it gives alone. When a sequence slid, all are computed anew, since
 * positions and everything that depended on the lost tokens have changed; likewise when a sequence's length changes RoPE's angles. A long
 * prompt is read some columns at a time.
 *
 * A token more is the same kernels each time, with other contents: its commands are kept (`Replay`) until rows end or the cache grows.
 *
 * One sequence alone may go on in the cache that an earlier one left (`CachedContext`).
 */

import type { Decoder, ForwardOptions } from "../model/index.js";
import { Replay, Tensor, keep, noGrad, scope, type FloatDType } from "../tensor/index.js";
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

export class Reader {
  #cache: DenseKeyValueCache | undefined;
  /** The rows of the cache, how much of each it holds, and its slides by then. */
  #held: { readonly row: Sequence; length: number; readonly slides: number }[] = [];
  /** The first column that belongs to each row; undefined where that is 0 for all. */
  #starts: Int32Array | undefined;
  #steps: Step | undefined;

  constructor(
    private readonly model: Decoder,
    private readonly options: ReaderOptions,
  ) {}

  /** The logits that follow each sequence, [rows, vocabSize]. Throws the signal's reason between two parts of a prompt. */
  async next(rows: readonly Sequence[]): Promise<Float32Array> {
    return this.#following(rows, async (logits) => (await logits.data()) as Float32Array);
  }

  /** The most probable token of each, the first of equals. Throws as `next`, and InklingError `not-finite` as the sampler does. */
  async best(rows: readonly Sequence[]): Promise<Int32Array> {
    return this.#following(rows, async (logits) => {
      const [ids, scores] = scope(() => {
        const choices = logits.reshape([rows.length, -1]).slice(1, 0, Math.min(rows[0].numChoices, logits.shape[2]));
        const best = choices.argmax(-1, { keepDims: true });
        return [best, choices.gather(best)];
      });
      try {
        const [best, values] = await Promise.all([ids.data(), scores.data()]);
        for (const [i, id] of best.entries()) checkLogit(id, values[i]);
        return best as Int32Array;
      } finally {
        for (const tensor of [ids, scores]) tensor.dispose();
      }
    });
  }

  async #following<T>(rows: readonly Sequence[], use: (logits: Tensor) => Promise<T>): Promise<T> {
    try {
      const held = this.#isHeld(rows);
      const logits = held ? this.#step(rows) : await this.#read(rows);
      try {
        const result = await use(logits);
        this.model.device.endPhase?.(held ? "token" : "prompt");
        return result;
      } finally {
        // That of a step is the replay's.
        if (!held) logits.dispose();
      }
    } catch (error) {
      // What a failed pass left in the cache is not known.
      if (this.options.signal?.aborted !== true) this.options.context?.dispose();
      throw error;
    }
  }

  /** Bytes of the cache. */
  get cacheBytes(): number {
    return this.#cache?.numBytes ?? 0;
  }

  dispose(): void {
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
    const step = (this.#steps ??= this.#makeStep(ids, positions, rows));
    step.ids.write(ids);
    step.positions.write(positions);
    if (step.replay.ready) cache.advance(1);
    return step.replay.run();
  }

  /** One more token for these rows, which is the same commands until the cache grows. */
  #makeStep(ids: Int32Array<ArrayBuffer>, positions: Int32Array<ArrayBuffer>, rows: readonly Sequence[]): Step {
    const inputs = { ids: keep(this.#columns(ids, rows)), positions: keep(this.#columns(positions, rows)) };
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
