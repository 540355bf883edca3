/**
 * @file A GGUF file, open, or all files of a model in several: its metadata, and its tensors to be read one by one. The format is in `header.ts`.
 */

import { basename, resolve } from "node:path";
import { CheckpointError } from "../../errors.js";
import { broken, FileBytes, storedTensor } from "../file-bytes.js";
import type { StoredTensor, WeightFile } from "../stored-tensor.js";
import { HeaderGoesOn, parseGgufHeader, type GgufHeader } from "./header.js";
import type { GgufMetadata } from "./metadata.js";
import { checkPart, partsOf } from "./split.js";

/** A head with a vocabulary of 50,000 tokens has just less, with a quarter of a million seven megabytes. */
const firstHeaderBytes = 1 << 21;
const maxHeaderBytes = 2 ** 30;

export class Gguf implements WeightFile {
  readonly path: string;
  readonly version: number;
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #files: readonly FileBytes[];

  private constructor(parts: readonly OpenPart[]) {
    const [{ file, header }] = parts;
    this.path = file.path;
    this.version = header.version;
    this.alignment = header.alignment;
    this.metadata = header.metadata;
    this.#files = parts.map((part) => part.file);
    this.tensors = new Map(parts.flatMap((part) => part.header.tensors.map((info) => [info.name, storedTensor(part.file, info)] as const)));
  }

  /**
   * Opens a file and reads its head; the tensors' data stays where it is. Of a model in several files, any of which may be named, all are opened
   * (`split.ts`). Close it (or `await using`); the metadata stays usable after that.
   *
   * @throws CheckpointError `no-such-file`, naming the part that is missing; `cannot-read`; `bad-checkpoint` for a file that is cut short, altered or
   * something else, naming the key or tensor and the offset, and for parts that do not belong together; `unsupported-format` for versions and
   * quantisation types that are not known, naming those that are.
   */
  static async open(path: string): Promise<Gguf> {
    const open: OpenPart[] = [];
    try {
      const named = await openPart(path);
      open.push(named);
      const paths = partsOf(path, named.header.metadata);
      if (paths === undefined) return new Gguf([named]);
      const parts: OpenPart[] = [];
      for (const part of paths) {
        const opened = samePath(part, path) ? named : await openPart(part, paths.length);
        if (opened !== named) open.push(opened);
        parts.push(opened);
      }
      checkTogether(parts);
      return new Gguf(parts);
    } catch (error) {
      for (const { file } of open) await file.close();
      throw error;
    }
  }

  /** The paths of its files: one, or all parts. */
  get files(): readonly string[] {
    return this.#files.map((file) => file.path);
  }

  /** GGUF carries no checksum. */
  verify(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

interface OpenPart {
  readonly file: FileBytes;
  readonly header: GgufHeader;
}

/** `count`: of how many parts it is one, where it is. */
async function openPart(path: string, count?: number): Promise<OpenPart> {
  const file = await FileBytes.open(path).catch((error: unknown) => {
    if (count === undefined || !(error instanceof CheckpointError) || error.code !== "no-such-file") throw error;
    throw new CheckpointError({ file: path }, `this part of the model is missing; it lies in ${count} files.`, { code: "no-such-file", hint: "Download or copy all parts into one folder.", cause: error });
  });
  try {
    return { file, header: await readHeader(file) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function checkTogether(parts: readonly OpenPart[]): void {
  const { metadata } = parts[0].header;
  const places = new Map<string, string>();
  for (const [index, { file, header }] of parts.entries()) {
    checkPart(file.path, header.metadata, index, metadata);
    for (const { name } of header.tensors) {
      const other = places.get(name);
      if (other !== undefined) throw broken({ file: file.path, field: name }, `this tensor is in ${basename(other)} as well.`);
      places.set(name, file.path);
    }
  }
  const promised = metadata.number("split.tensors.count", places.size);
  if (promised !== places.size) throw broken({ file: parts[0].file.path, field: "split.tensors.count" }, `the parts have ${places.size} tensors, and the first says that they have ${promised}.`);
}

const samePath = (a: string, b: string): boolean => resolve(a) === resolve(b);

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
