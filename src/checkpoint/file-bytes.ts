/**
 * @file Bytes of files, by position. What is asked for is in the file as it was when it was opened, or the error says where it now ends.
 */

import { open, stat, type FileHandle } from "node:fs/promises";
import { CheckpointError, systemErrorCode, type FilePlace } from "../errors.js";
import { rawArray } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/index.js";
import { fromFileOrder, type RowOrder } from "./row-order.js";
import { storedFloat32, type StoredDType, type StoredTensor } from "./stored-tensor.js";

/** One read or write moves at most 2 GiB. */
const maxPiece = 1 << 30;

export class FileBytes implements AsyncDisposable {
  private constructor(
    readonly path: string,
    readonly size: number,
    readonly handle: FileHandle,
  ) {}

  /** @throws CheckpointError `no-such-file`, `cannot-read`; `not-a-file` for a folder, a pipe, a device. */
  static async open(path: string): Promise<FileBytes> {
    try {
      // Before it is opened: to open a pipe is to wait for its writer.
      if (!(await stat(path)).isFile()) throw new CheckpointError({ file: path }, "this is not a file.", { code: "not-a-file" });
      const handle = await open(path, "r");
      return new FileBytes(path, (await handle.stat()).size, handle);
    } catch (error) {
      throw cannotOpen(path, error);
    }
  }

  /** Fills `target` with the bytes from `position` on. Throws CheckpointError `bad-checkpoint` where the file ends before. */
  async readInto(target: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < target.length; ) {
      const { bytesRead } = await this.handle.read(target, done, Math.min(target.length - done, maxPiece), position + done);
      if (bytesRead === 0) throw broken({ file: this.path, offset: position + done }, "the file ends here: it was cut short while being read.");
      done += bytesRead;
    }
  }

  async read(position: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    await this.readInto(bytes, position);
    return bytes;
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A file that is not what it should be. */
export function broken(place: FilePlace, message: string): CheckpointError {
  return new CheckpointError(place, message, { code: "bad-checkpoint", hint: "Download or save it again." });
}

/** A failed call to open a file, as an error that says so; our own pass. */
export function cannotOpen(path: string, error: unknown): CheckpointError {
  if (error instanceof CheckpointError) return error;
  if (systemErrorCode(error) === "ENOENT") return new CheckpointError({ file: path }, "there is no such file.", { code: "no-such-file", hint: "Check the path.", cause: error });
  return new CheckpointError({ file: path }, `cannot be read (${error instanceof Error ? error.message : String(error)}).`, { code: "cannot-read", cause: error });
}

/** Writes all of `bytes` at a position, and gives the position after them. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<number> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, Math.min(bytes.length - done, maxPiece), position + done)).bytesWritten;
  }
  return position + bytes.length;
}

/** Where a tensor's bytes lie, as a header says. */
interface TensorPlace<D extends StoredDType> {
  readonly name: string;
  readonly dtype: D;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly begin: number;
  readonly byteLength: number;
}

/** A tensor of an open file. */
export function storedTensor<D extends StoredDType>(file: FileBytes, { name, dtype, shape, begin, byteLength }: TensorPlace<D>): StoredTensor<D> {
  const readInto = async (target: Uint8Array, start = 0): Promise<void> => {
    if (!(start >= 0 && start + target.length <= byteLength)) {
      throw new RangeError(`Bytes ${start} to ${start + target.length} are not all in "${name}", which has ${byteLength}.`);
    }
    await file.readInto(target, begin + start);
  };
  const read = (): Promise<Uint8Array<ArrayBuffer>> => file.read(begin, byteLength);
  const readOnto = async (target: Tensor, order?: RowOrder): Promise<void> => {
    const rows = order && { order, rowBytes: byteLength / order.length };
    if (target.writeFile({ descriptor: file.handle.fd, position: begin, byteLength, rows })) return;
    const bytes = await read();
    const ordered = order === undefined ? bytes : fromFileOrder(bytes, order);
    target.write(rawArray(target.dtype, ordered.buffer));
  };
  return { name, dtype, shape, byteLength, file: file.path, readInto, read, readOnto, readFloat32: async () => storedFloat32(dtype, await read()) };
}
