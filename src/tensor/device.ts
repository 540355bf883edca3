/**
 * @file A device is a queue. Everything here only appends to it, in program order, and returns at once; the one thing that waits is
 * the promise of `read` and `synchronize`. Because the order is fixed, a buffer freed in program order may be reused by the next
 * allocation without any further synchronisation, which is what makes memory deterministic.
 */

import type { Attributes, KernelName, Operands } from "./contract.js";
import type { DType } from "./dtype.js";

/** A buffer of a device: a name for it, chosen by the device. */
export type BufferId = number;

/** A strided view on a buffer. `strides` and `offset` count elements. */
export interface BufferView {
  readonly buffer: BufferId;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Bytes of an open file. */
export interface FileSource {
  /** Of the operating system; the device holds the file open as long as it needs it. */
  readonly descriptor: number;
  readonly position: number;
  readonly byteLength: number;
  /** In which order the file has its rows: row i of ours is row `order[i]` of the file's. */
  readonly rows?: { readonly order: Uint32Array; readonly rowBytes: number } | undefined;
}

/** Commands that were queued once and can be queued again as they are. */
export interface Recording {
  /** False once a buffer that it uses was freed; it cannot be replayed then. */
  readonly valid: boolean;
  replay(): void;
  /** Gives back what it held; harmless when that was done already. */
  dispose(): void;
}

export interface Device {
  /** `cpu`, `reference`, ... */
  readonly name: string;
  /** For people: the instruction set and thread count, or whatever else decides speed. */
  readonly description: string;

  /** A buffer of at least `bytes` bytes; its contents are undefined. */
  allocate(bytes: number): BufferId;
  free(buffer: BufferId): void;
  /** Copies `bytes` into the buffer at its turn in the queue; the caller may reuse its array at once. */
  write(buffer: BufferId, byteOffset: number, bytes: Uint8Array): void;
  /**
   * Fills the buffer from a file at its turn in the queue, without a copy in JavaScript's memory; the next wait rejects where the file cannot be
   * read or ends before. Absent where the device cannot.
   */
  readonly writeFile?: ((buffer: BufferId, byteOffset: number, source: FileSource) => void) | undefined;
  /**
   * The bytes of the buffer once everything before has run. Rejects with a `DeviceError` when anything queued before failed,
   * naming the kernel and its shapes; the queue is usable again after that.
   */
  read(buffer: BufferId, byteOffset: number, byteLength: number): Promise<ArrayBuffer>;
  /** Resolves once everything before has run; rejects as `read` does. */
  synchronize(): Promise<void>;
  /**
   * Runs `body`, and keeps the commands that it queues. What it allocates and does not free is left as it is by a replay, which writes it anew; what it
   * writes from JavaScript's memory is not written again. Undefined where it wrote to a buffer of its own, whose contents would be missing. Absent where
   * the device cannot.
   */
  readonly record?: ((body: () => void) => Recording | undefined) | undefined;
  /** Appends a kernel. The operands obey the contract (shapes, dtypes and layouts were checked by the launcher). */
  launch<K extends KernelName>(kernel: K, operands: Operands<K, BufferView>, attributes: Attributes<K>): void;
  /** For the profile of a device that keeps one: what was launched since the last call was a step, a token, or whatever `name` says. */
  endPhase?(name: string): void;
  /** Gives memory that was freed and is kept, outside the device's own, back to the system. About a millisecond. */
  trim?(): void;
}
