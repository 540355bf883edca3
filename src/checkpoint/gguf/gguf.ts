/**
 * @file A GGUF file, open: its metadata, and its tensors to be read one by one. The format is in `header.ts`.
 */

import { broken, FileBytes, storedTensor } from "../file-bytes.js";
import type { StoredTensor, WeightFile } from "../stored-tensor.js";
import { HeaderGoesOn, parseGgufHeader, type GgufHeader } from "./header.js";
import type { GgufMetadata } from "./metadata.js";

/** A head with a vocabulary of 50,000 tokens has just less, with a quarter of a million seven megabytes. */
const firstHeaderBytes = 1 << 21;
const maxHeaderBytes = 2 ** 30;

export class Gguf implements WeightFile {
  readonly path: string;
  readonly version: number;
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #file: FileBytes;

  private constructor(file: FileBytes, header: GgufHeader) {
    this.path = file.path;
    this.version = header.version;
    this.alignment = header.alignment;
    this.metadata = header.metadata;
    this.#file = file;
    this.tensors = new Map(header.tensors.map((info) => [info.name, storedTensor(file, info)]));
  }

  /**
   * Opens a file and reads its head; the tensors' data stays where it is. Close it (or `await using`); the metadata stays usable after that.
   *
   * @throws CheckpointError `no-such-file`, `cannot-read`; `bad-checkpoint` for a file that is cut short, altered or something else, naming the
   * key or tensor and the offset; `unsupported-format` for versions and quantisation types that are not known, naming those that are.
   */
  static async open(path: string): Promise<Gguf> {
    const file = await FileBytes.open(path);
    try {
      return new Gguf(file, await readHeader(file));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** GGUF carries no checksum. */
  verify(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function readHeader(file: FileBytes): Promise<GgufHeader> {
  for (let length = firstHeaderBytes; ; ) {
    const bytes = await file.read(0, Math.min(length, file.size));
    try {
      return parseGgufHeader(file.path, bytes, file.size);
    } catch (goesOn) {
      if (!(goesOn instanceof HeaderGoesOn)) throw goesOn;
      if (goesOn.bytes > maxHeaderBytes) throw broken({ file: file.path }, `its head takes more than ${maxHeaderBytes} bytes, as no model's does.`);
      length = Math.max(4 * length, goesOn.bytes);
    }
  }
}
