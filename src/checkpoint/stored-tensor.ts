/**
 * @file What every kind of weight file gives: tensors by name, each with its shape, its element type or block format, and its bytes. Safetensors,
 * GGUF and llama2.c's `.bin` all come down to this, so that nothing above need ask which one it reads.
 */

import { blockFormats, type BlockFormat } from "../tensor/block-formats.js";
import { Tensor, launch, scope } from "../tensor/index.js";
import type { RowOrder } from "./row-order.js";
import { isFileDType, toFloat32, type FileDType } from "./dtype.js";

/** An element type, or the format of a quantised tensor's blocks. F16 and BF16 are always the former. */
export type StoredDType = FileDType | Exclude<BlockFormat, "f16" | "bf16">;

/** One tensor of an open file. */
export interface StoredTensor<D extends StoredDType = StoredDType> {
  readonly name: string;
  readonly dtype: D;
  /** Row-major, in elements. */
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** The path of the file that holds it. */
  readonly file: string;
  /** All its bytes, row-major, little-endian, in a buffer of their own. */
  read(): Promise<Uint8Array<ArrayBuffer>>;
  /** Fills `target` with its bytes from `start` on, for reading a large tensor in parts or into memory that exists. */
  readInto(target: Uint8Array, start?: number): Promise<void>;
  /**
   * Puts its bytes, with rows in another order where one is given, into a dense tensor of as many. They are there once the device's queue has come
   * so far; where the file ends before, the next wait says so.
   */
  readOnto(target: Tensor, rows?: RowOrder): Promise<void>;
  /** Its elements as float32, de-quantised where they are blocks; see `toFloat32`. */
  readFloat32(): Promise<Float32Array<ArrayBuffer>>;
}

/** The tensors of one file, or of all the files of a sharded checkpoint. Close it (or `await using`). */
export interface WeightFile extends AsyncDisposable {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Reads everything and compares it with a checksum, where the file carries one. Throws CheckpointError `bad-checkpoint` where a bit differs. */
  verify(): Promise<void>;
  close(): Promise<void>;
}

/** Elements of any real dtype or format as float32. */
export async function storedFloat32(dtype: StoredDType, bytes: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
  if (isFileDType(dtype)) return toFloat32(dtype, bytes);
  const { blockBytes, blockSize } = blockFormats[dtype];
  const blocks = bytes.length / blockBytes;
  const y = scope(() => {
    const w = Tensor.from(bytes, { shape: [blocks, blockBytes] });
    const y = Tensor.empty([blocks, blockSize], "f32", w.device);
    launch("dequantize", { w, y }, { format: dtype, layout: "rows" });
    return y;
  });
  try {
    return (await y.data()) as Float32Array<ArrayBuffer>;
  } finally {
    y.dispose();
  }
}
