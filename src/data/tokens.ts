/**
 * @file A corpus as token ids: a training and a validation split, each read by range, from memory where it is small and from its file where
 * it is not.
 *
 * On disk the two are the tensors `train` and `validation` of a safetensors file (U16 where the vocabulary allows, else U32), with what they
 * were made from in its metadata.
 */
import { z } from "zod";
import { Safetensors } from "../checkpoint/safetensors.js";
import type { StoredTensor } from "../checkpoint/stored-tensor.js";
import { CheckpointError, DataError } from "../errors.js";
import { BatchSampler, type BatchOptions, type TokenBatch } from "./sampler.js";

export type TokenArray = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** As in the loss: a target that counts for nothing. */
export const ignoredTarget = -1;

/** One split: a long row of token ids. */
export class TokenSplit {
  readonly name: "train" | "validation";
  /** In tokens. */
  readonly length: number;
  /** UTF-8 bytes of the text that the tokens stand for; a loss in nats a token is loss / ln 2 * length / textBytes in bits a byte. */
  readonly textBytes: number;
  /** Tells the data from any other, so that a run is not resumed on something else. */
  readonly fingerprint: string;
  readonly #tokens: TokenArray | StoredTensor;

  constructor(name: "train" | "validation", tokens: TokenArray | StoredTensor, { textBytes, fingerprint }: { textBytes: number; fingerprint: string }) {
    this.name = name;
    this.length = "shape" in tokens ? tokens.shape[0] : tokens.length;
    this.textBytes = textBytes;
    this.fingerprint = fingerprint;
    this.#tokens = tokens;
  }

  get bytesPerToken(): number {
    return this.textBytes / this.length;
  }

  /** Tokens `start` to `start + count`, not to be written to. */
  async read(start: number, count: number): Promise<TokenArray> {
    if (!(start >= 0 && count >= 0 && start + count <= this.length)) {
      throw new RangeError(`Tokens ${start} to ${start + count} are not all among the ${this.length} of the ${this.name} split.`);
    }
    const tokens = this.#tokens;
    if (!("shape" in tokens)) return tokens.subarray(start, start + count);
    const part = tokens.dtype === "U16" ? new Uint16Array(count) : new Uint32Array(count);
    await tokens.readInto(new Uint8Array(part.buffer), start * part.BYTES_PER_ELEMENT);
    return part;
  }

  /**
   * An endless, seeded, resumable stream of training batches.
   *
   * @throws DataError `text-too-short` where the split does not hold one window of contextLength + 1 tokens.
   */
  batches(options: BatchOptions): BatchSampler {
    return new BatchSampler(this, options);
  }

  /**
   * The whole split once, in order: every token but the first is predicted exactly once. Windows follow each other without overlap; the
   * last one is filled up with token 0 and ignored targets (-1), and the last batch may have fewer rows.
   *
   * @throws DataError `text-too-short` for fewer than two tokens.
   */
  windows({ contextLength, batchSize }: { contextLength: number; batchSize: number }): AsyncGenerator<TokenBatch> {
    this.requireTokens(2, "since each is predicted from those before it");
    return this.#windows(contextLength, batchSize);
  }

  /** @throws DataError `text-too-short`, with both lengths and the reason for the one. */
  requireTokens(needed: number, why: string): void {
    if (this.length >= needed) return;
    throw new DataError({}, `the ${this.name} split has ${this.length} token${this.length === 1 ? "" : "s"} and needs at least ${needed}, ${why}.`, {
      code: "text-too-short",
      hint: this.name === "train" ? "Give more text, or a shorter context (contextLength)." : "Give more text, or a larger share for validation.",
    });
  }

  async *#windows(contextLength: number, batchSize: number): AsyncGenerator<TokenBatch> {
    const count = Math.ceil((this.length - 1) / contextLength);
    for (let window = 0; window < count; window += batchSize) {
      const rows = Math.min(batchSize, count - window);
      const inputs = new Int32Array(rows * contextLength);
      const targets = new Int32Array(rows * contextLength).fill(ignoredTarget);
      const start = window * contextLength;
      const tokens = await this.read(start, Math.min(rows * contextLength + 1, this.length - start));
      inputs.set(tokens.subarray(0, -1));
      targets.set(tokens.subarray(1));
      yield { inputs, targets, batchSize: rows, contextLength };
    }
  }
}

/** A corpus as token ids. Close it (or `await using`) if it is large: it then reads from its file. */
export class TokenDataset implements AsyncDisposable {
  readonly train: TokenSplit;
  /** Absent where no part was set aside. */
  readonly validation: TokenSplit | undefined;
  readonly vocabSize: number;
  readonly #file: Safetensors | undefined;

  constructor(train: TokenSplit, validation: TokenSplit | undefined, vocabSize: number, file?: Safetensors) {
    this.train = train;
    this.validation = validation;
    this.vocabSize = vocabSize;
    this.#file = file;
  }

  /**
   * Opens what `Corpus.tokenized` wrote. Up to `memoryBytes` it is read whole, and checked; beyond, by range when asked for.
   *
   * @throws CheckpointError for a file that is absent, damaged or something else.
   */
  static async open(path: string, { memoryBytes = 256 << 20 }: { memoryBytes?: number } = {}): Promise<TokenDataset> {
    const file = await Safetensors.open(path);
    try {
      const parsed = metadataSchema.safeParse(file.metadata);
      const stored = [file.get("train"), file.get("validation")];
      if (!parsed.success || stored.some(({ dtype, shape }) => shape.length !== 1 || (dtype !== "U16" && dtype !== "U32"))) {
        throw new CheckpointError({ file: path }, "it is not a file of tokens.", { code: "bad-checkpoint", hint: "Delete it; it will be made again." });
      }
      const { vocabSize, fingerprint, trainBytes, validationBytes } = parsed.data;
      const small = stored[0].byteLength + stored[1].byteLength <= memoryBytes;
      if (small) await file.verify();
      const [train, validation] = small ? await Promise.all(stored.map(load)) : stored;
      if (small) await file.close();
      return new TokenDataset(
        new TokenSplit("train", train, { textBytes: trainBytes, fingerprint }),
        stored[1].shape[0] === 0 ? undefined : new TokenSplit("validation", validation, { textBytes: validationBytes, fingerprint }),
        vocabSize,
        small ? undefined : file,
      );
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Shorthand for `train.batches`. */
  batches(options: BatchOptions): BatchSampler {
    return this.train.batches(options);
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const wholeNumber = z.coerce.number().int().nonnegative();
const metadataSchema = z.object({ vocabSize: wholeNumber, fingerprint: z.string(), trainBytes: wholeNumber, validationBytes: wholeNumber });
/** The metadata of a file of tokens; safetensors holds it as strings. */
export type TokenMetadata = z.infer<typeof metadataSchema>;

async function load(tensor: StoredTensor): Promise<TokenArray> {
  const { buffer } = await tensor.read();
  return tensor.dtype === "U16" ? new Uint16Array(buffer) : new Uint32Array(buffer);
}
