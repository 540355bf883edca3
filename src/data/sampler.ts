/**
 * @file Which windows of the training split a run sees, in which order. Window number i is a function of (seed, i) alone, so that the state
 * of the order is one number, and a resumed run sees the same windows as one never stopped.
 *
 *   random           nanoGPT's: each window starts anywhere, drawn with replacement
 *   shuffled-epochs  every window of a partition of the split once an epoch, in an order of the epoch's own
 *   sequential       the windows of that partition as they stand, again and again
 */
import { z } from "zod";
import { ConfigError, DataError } from "../errors.js";
import { Random } from "../tensor/random.js";
import type { Batches } from "./batches.js";
import { permuted } from "./permutation.js";
import type { TokenSplit } from "./tokens.js";

export const batchOrders = ["random", "shuffled-epochs", "sequential"] as const;
export type BatchOrder = (typeof batchOrders)[number];

export interface BatchOptions {
  /** Windows in a batch, B. */
  readonly batchSize: number;
  /** Tokens in a window, T. */
  readonly contextLength: number;
  /** Default 0. */
  readonly seed?: number;
  /** Default `random`. */
  readonly order?: BatchOrder;
}

/** Inputs and what follows each of them, both [B, T], row-major. */
export interface TokenBatch {
  readonly inputs: Int32Array<ArrayBuffer>;
  readonly targets: Int32Array<ArrayBuffer>;
  readonly batchSize: number;
  readonly contextLength: number;
}

export const samplerStateSchema = z.strictObject({
  /** Windows drawn so far. */
  position: z.int().nonnegative(),
  order: z.enum(batchOrders),
  seed: z.int().nonnegative(),
  contextLength: z.int().positive(),
  data: z.string(),
});
/** All that a checkpoint must keep of the order; plain JSON. */
export type SamplerState = z.infer<typeof samplerStateSchema>;

/** Streams of the seed, apart from those that initialisation and dropout draw from. */
const offsetStream = 0x64617461; // "data"
const permutationStream = 0x73687566; // "shuf"
const epochOffsetStream = 0x65706f63; // "epoc"

/** An endless stream of batches; `next` or `for await`. */
export class BatchSampler implements Batches<TokenBatch>, AsyncIterable<TokenBatch> {
  readonly #split: TokenSplit;
  readonly #batchSize: number;
  readonly #contextLength: number;
  readonly #seed: number;
  readonly #order: BatchOrder;
  #position = 0;

  constructor(split: TokenSplit, { batchSize, contextLength, seed = 0, order = "random" }: BatchOptions) {
    for (const [field, value] of Object.entries({ batchSize, contextLength })) {
      if (!Number.isSafeInteger(value) || value < 1) throw new ConfigError(field, `${value} is not a whole number from 1 on.`);
    }
    if (!Number.isSafeInteger(seed) || seed < 0) throw new ConfigError("seed", `${seed} is not a whole number from 0 to 2^53 - 1.`);
    split.requireTokens(contextLength + 1, `one more than the context of ${contextLength}`);
    this.#split = split;
    this.#batchSize = batchSize;
    this.#contextLength = contextLength;
    this.#seed = seed;
    this.#order = order;
  }

  /** Whole windows of a partition of the split, which an epoch goes through. */
  get windowsPerEpoch(): number {
    return Math.floor((this.#split.length - 1) / this.#contextLength);
  }

  /** Passes over the split so far; for `random`, as many windows' worth. */
  get epoch(): number {
    return this.#position / this.windowsPerEpoch;
  }

  get state(): SamplerState {
    return {
      position: this.#position,
      order: this.#order,
      seed: this.#seed,
      contextLength: this.#contextLength,
      data: this.#split.fingerprint,
    };
  }

  get fingerprint(): string {
    return this.#split.fingerprint;
  }

  tokens({ inputs }: TokenBatch): number {
    return inputs.length;
  }

  /**
   * Goes on where another sampler of the same data and settings stood. (The batch size may differ: the windows come in the same order.)
   *
   * @throws DataError `other-data`, naming what differs; `bad-state` for what is no state of a sampler.
   */
  restore(state: unknown): void {
    const parsed = samplerStateSchema.safeParse(state);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new DataError({ field: issue.path.join(".") }, `the position in the data is not valid: ${issue.message}.`, { code: "bad-state" });
    }
    const { position, ...theirs } = parsed.data;
    const { position: _, ...mine } = this.state;
    for (const key of ["data", "order", "seed", "contextLength"] as const) {
      if (theirs[key] === mine[key]) continue;
      throw new DataError({ field: key }, `the run that is resumed had ${theirs[key]}, and this one has ${mine[key]}.`, {
        code: "other-data",
        hint: key === "data" ? "Resume on the same text, split and tokenizer, or start a new run." : "Resume with the same setting, or start a new run.",
      });
    }
    this.#position = position;
  }

  async next(): Promise<TokenBatch> {
    const B = this.#batchSize;
    const T = this.#contextLength;
    const inputs = new Int32Array(B * T);
    const targets = new Int32Array(B * T);
    const first = this.#position;
    const windows = await Promise.all(Array.from({ length: B }, (_, row) => this.#split.read(this.#start(first + row), T + 1)));
    for (const [row, tokens] of windows.entries()) {
      inputs.set(tokens.subarray(0, T), row * T);
      targets.set(tokens.subarray(1), row * T);
    }
    this.#position = first + B;
    return { inputs, targets, batchSize: B, contextLength: T };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TokenBatch> {
    for (;;) yield await this.next();
  }

  /** Where window i starts. */
  #start(i: number): number {
    const T = this.#contextLength;
    if (this.#order === "random") return drawn(this.#seed, offsetStream, i, this.#split.length - T);
    const perEpoch = this.windowsPerEpoch;
    const within = i % perEpoch;
    if (this.#order === "sequential") return within * T;
    const epoch = Math.floor(i / perEpoch);
    // What is left over after the last whole window would never be seen; each epoch leaves it partly at the start, partly at the end.
    const offset = drawn(this.#seed, epochOffsetStream, epoch, this.#split.length - perEpoch * T);
    return offset + permuted(within, perEpoch, { seed: this.#seed, stream: permutationStream, number: epoch }) * T;
  }
}

/** Draw number i of a stream: uniform in [0, n). */
function drawn(seed: number, stream: number, i: number, n: number): number {
  return new Random(seed, stream, 2 * i).integer(n); // One draw takes two words.
}
