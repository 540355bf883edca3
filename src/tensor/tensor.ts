/**
 * @file A tensor: a dtype, a shape and strides over a storage on a device. Views (reshape, permute, slice, expand) share the storage.
 *
 * Tensor and storage are counted: a handle holds one reference to its storage, and whoever owns a handle (a scope, the tape, a user) holds
 * one reference to the handle. When the last goes, the buffer is freed at that place in the queue. The fluent methods (`x.add(y)`) are
 * attached by `methods.ts`; each is an op in `ops/`.
 */

import { HornbookError } from "../errors.js";
import { currentScope, disown, keep } from "./scope.js";
import type { BufferId, BufferView, Device, FileSource } from "./device.js";
import { defaultDevice } from "./devices.js";
import { bytesPerElement, fromBfloat16, rawArray, toBfloat16, type DType, type RawArray } from "./dtype.js";
import { checkShape, denseStrides, elementsOf, isDense, type Shape } from "./shape.js";
import type { GraphNode } from "./tape.js";

/** What `await tensor.data()` gives: bf16 is widened to Float32Array. */
export type TensorData = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** Nested lists of numbers, or one number. */
export type NestedNumbers = number | readonly NestedNumbers[];

/**
 * A counted buffer, taken from the device at once or, when `deferred`, with its first use. `version` grows with every write in place, so that
 * copies derived from it know when they are stale. Contents that can be made again may rest: the buffer goes, and comes back, filled anew, with
 * its next use.
 */
export class Storage {
  references = 0;
  version = 0;
  #buffer: BufferId | undefined;
  #freed = false;
  /** How the contents of a version are made again. */
  #remake: { version: number; readonly fill: () => void } | undefined;
  /** Whether the contents wait to be made again. */
  resting = false;

  constructor(
    readonly device: Device,
    readonly bytes: number,
    deferred = false,
  ) {
    if (!deferred) this.#buffer = this.#allocate();
  }

  get buffer(): BufferId {
    if (this.#freed) throw new HornbookError("This memory was freed.", { code: "disposed" });
    if (this.#buffer === undefined) {
      this.#buffer = this.#allocate();
      if (this.resting) this.#wake();
    }
    return this.#buffer;
  }

  get alive(): boolean {
    return !this.#freed;
  }

  release(): void {
    if (--this.references > 0 || this.#freed) return;
    this.#freed = true;
    this.#remake = undefined;
    this.#letGo();
  }

  /** Says how what is here now can be made again: `fill` launches the kernels that write it, on this storage. Without one it no longer can. */
  makeableBy(fill: (() => void) | undefined): void {
    this.#remake = fill && { version: this.version, fill };
  }

  /** The contents have changed, and are made again as before. */
  staysMakeable(): void {
    if (this.#remake !== undefined) this.#remake.version = this.version;
  }

  /** Gives the buffer up until somebody asks for it, if the contents can be made again. */
  rest(): void {
    if (this.#remake?.version !== this.version || this.#buffer === undefined) return;
    this.#letGo();
    this.resting = true;
  }

  #wake(): void {
    this.resting = false;
    const { version, fill } = this.#remake!;
    fill();
    this.version = version;
  }

  #letGo(): void {
    if (this.#buffer === undefined) return;
    this.device.free(this.#buffer);
    this.#buffer = undefined;
    memory.live -= this.bytes;
  }

  #allocate(): BufferId {
    const buffer = this.device.allocate(this.bytes);
    memory.live += this.bytes;
    memory.peak = Math.max(memory.peak, memory.live);
    return buffer;
  }
}

/** Bytes held by tensors on all devices, counted in program order, so the same in every run. */
export const memory = { live: 0, peak: 0 };

/** Tensors that belong to no scope may be forgotten by their owner; their storage is freed when the collector finds out. */
const forgotten = new FinalizationRegistry<Storage>((storage) => storage.release());

export class Tensor implements BufferView {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly strides: Shape;
  readonly offset: number;
  readonly storage: Storage;

  /** Whether backward() should reach this tensor. For a leaf (a parameter) it is set by the user. */
  requiresGrad = false;
  /** For a leaf: the accumulated gradient, once backward() has run. */
  grad: Tensor | undefined;
  /** What computed this tensor, when the tape recorded it. */
  node: GraphNode | undefined;
  /**
   * For a master weight: its copy in the compute dtype, and the version of the storage that it was made from; while it is trained, also what
   * rounding took from the copy, so that the weight itself may rest. Kept in step by the optimizers; see `ops/master.ts`.
   */
  shadow: { readonly tensor: Tensor; version: number; remainder?: Tensor | undefined } | undefined;

  #references = 1;
  #disposed = false;
  #watched = false;

  /** Use `Tensor.from`, `Tensor.zeros` and their like; this is the plain constructor of a view. */
  constructor(storage: Storage, dtype: DType, shape: Shape, strides: Shape, offset: number) {
    this.storage = storage;
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    storage.references++;
    const owner = currentScope();
    if (owner === undefined) this.watch();
    else owner.tensors.add(this);
  }

  // ---- making ------------------------------------------------------------------------------------------------------------

  /** A dense tensor whose contents are undefined. Throws RangeError on a shape that cannot be. */
  static empty(shape: Shape, dtype: DType = "f32", device: Device = defaultDevice()): Tensor {
    checkShape(shape);
    return new Tensor(new Storage(device, elementsOf(shape) * bytesPerElement[dtype]), dtype, [...shape], denseStrides(shape), 0);
  }

  /** The same, but memory is taken only with its first use: for a parameter that is about to be loaded, or replaced by a quantised one. */
  static deferred(shape: Shape, dtype: DType = "f32", device: Device = defaultDevice()): Tensor {
    checkShape(shape);
    return new Tensor(new Storage(device, elementsOf(shape) * bytesPerElement[dtype], true), dtype, [...shape], denseStrides(shape), 0);
  }

  /**
   * From numbers: a (nested) list, or a typed array with a shape. The dtype follows the array (a plain list is f32); bf16 is rounded to
   * nearest even. Throws RangeError when the lists are ragged or the count does not fit the shape.
   */
  static from(
    values: NestedNumbers | Float32Array | Float64Array | Int32Array | Uint8Array,
    options: { shape?: Shape; dtype?: DType; device?: Device } = {},
  ): Tensor {
    const listed = typeof values === "number" || Array.isArray(values) ? flatten(values as NestedNumbers) : undefined;
    const flat = listed?.values ?? (values as Float32Array | Float64Array | Int32Array | Uint8Array);
    const shape = options.shape ?? listed?.shape ?? [flat.length];
    if (elementsOf(shape) !== flat.length) throw new RangeError(`${flat.length} numbers do not fill the shape [${shape.join(", ")}].`);
    const dtype = options.dtype ?? (flat instanceof Int32Array ? "i32" : flat instanceof Uint8Array ? "u8" : "f32");
    // The write copies, so an array that is already as it will lie in memory needs no other.
    if ((dtype === "i32" && flat instanceof Int32Array) || (dtype === "f32" && flat instanceof Float32Array)) {
      return Tensor.fromRaw(flat as RawArray, shape, dtype, options.device);
    }
    const raw = rawArray(dtype, new ArrayBuffer(flat.length * bytesPerElement[dtype]));
    if (dtype === "bf16") for (let i = 0; i < flat.length; i++) raw[i] = toBfloat16(flat[i]);
    else raw.set(flat);
    return Tensor.fromRaw(raw, shape, dtype, options.device);
  }

  /** From elements as they lie in memory (bf16 as 16-bit words). The array may be reused at once. */
  static fromRaw(raw: RawArray, shape: Shape, dtype: DType, device?: Device): Tensor {
    const tensor = Tensor.empty(shape, dtype, device);
    tensor.write(raw);
    return tensor;
  }

  // ---- reading and writing -----------------------------------------------------------------------------------------------

  get device(): Device {
    return this.storage.device;
  }
  get buffer(): BufferId {
    this.checkAlive();
    return this.storage.buffer;
  }
  get rank(): number {
    return this.shape.length;
  }
  /** The number of elements. */
  get size(): number {
    return elementsOf(this.shape);
  }
  get isDense(): boolean {
    return isDense(this.shape, this.strides);
  }
  get alive(): boolean {
    return this.#references > 0 && this.storage.alive;
  }

  /** Throws HornbookError when the tensor was given up: another view may keep the memory, but whoever uses this handle has lost count. */
  checkAlive(): void {
    if (!this.alive) throw new HornbookError("This tensor was disposed of, by its scope or by dispose().", { code: "disposed" });
  }

  /** Overwrites a dense tensor with elements as they lie in memory, at its turn in the queue. Throws RangeError on another count. */
  write(raw: RawArray): void {
    if (!this.isDense) throw new HornbookError("write() takes a dense tensor.");
    if (raw.length !== this.size) throw new RangeError(`${raw.length} elements do not fill the shape [${this.shape.join(", ")}].`);
    this.device.write(this.buffer, this.offset * bytesPerElement[this.dtype], new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength));
    this.storage.version++;
  }

  /** Overwrites a dense tensor with bytes of a file, as `write` does. False where the device cannot, and nothing was done. */
  writeFile(source: FileSource): boolean {
    const width = bytesPerElement[this.dtype];
    if (!this.isDense || source.byteLength !== this.size * width) throw new RangeError(`${source.byteLength} bytes do not fill a dense ${this.toString()}.`);
    if (this.device.writeFile === undefined) return false;
    this.device.writeFile(this.buffer, this.offset * width, source);
    this.storage.version++;
    return true;
  }

  /**
   * The elements in row-major order as they lie in memory (bf16 as 16-bit words), once everything queued before has run.
   * Rejects with a DeviceError when any of that failed.
   */
  async raw(): Promise<RawArray> {
    const width = bytesPerElement[this.dtype];
    const { resting } = this.storage;
    // Now, since a device encodes one command at a time.
    void this.buffer;
    const dense = this.isDense ? this : keep(Tensor.empty(this.shape, this.dtype, this.device));
    if (dense !== this) this.device.launch("copy", { x: this, y: dense }, {});
    const bytes = this.device.read(dense.buffer, dense.offset * width, this.size * width);
    if (dense !== this) dense.release();
    // Who only reads leaves the memory as it was.
    if (resting) this.storage.rest();
    return rawArray(this.dtype, await bytes);
  }

  /** The elements in row-major order; bf16 widened. See `raw`. */
  async data(): Promise<TensorData> {
    const raw = await this.raw();
    return raw instanceof Uint16Array ? Float32Array.from(raw, fromBfloat16) : raw;
  }

  /** The one element of a tensor of one. Throws RangeError on any other. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new RangeError(`item() takes a tensor of one element, not of shape [${this.shape.join(", ")}].`);
    return (await this.data())[0];
  }

  // ---- lifetime ----------------------------------------------------------------------------------------------------------

  /** One more owner of this handle. */
  retain(): this {
    this.#references++;
    return this;
  }

  /** One owner less; the last one lets go of the storage. */
  release(): void {
    if (--this.#references !== 0) return;
    if (this.#watched) forgotten.unregister(this);
    this.shadow?.tensor.dispose();
    this.shadow?.remainder?.dispose();
    this.storage.release();
  }

  /**
   * Gives up the owner's reference, and the gradient with it; harmless when that was done already. What the tape saved
   * and other views of the storage stay usable.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    disown(this);
    this.grad?.dispose();
    this.grad = undefined;
    this.release();
    // Should the tape still hold it: within a scope its node belongs to that, and outside this is the net.
    if (currentScope() === undefined) this.watch();
  }

  /** Its holder owns it from here: dispose() gives up that reference, though an earlier owner gave up his by it. */
  adopt(): void {
    this.#disposed = false;
  }

  /** Makes the garbage collector the safety net of a tensor that no scope owns. */
  watch(): void {
    if (this.#watched || this.#references === 0) return;
    this.#watched = true;
    forgotten.register(this, this.storage, this);
  }

  /** Whether this handle is the only way to its memory, so that it may be overwritten. */
  get isExclusive(): boolean {
    return this.#references === 1 && this.storage.references === 1;
  }

  /** Another view on the same storage. */
  view(shape: Shape, strides: Shape, offset = this.offset): Tensor {
    this.checkAlive();
    return new Tensor(this.storage, this.dtype, shape, strides, offset);
  }

  /** The same elements, cut off from the tape. */
  detach(): Tensor {
    return this.view(this.shape, this.strides);
  }

  toString(): string {
    return `Tensor(${this.dtype} [${this.shape.join(", ")}] on ${this.device.name})`;
  }
}

function flatten(values: NestedNumbers): { values: Float64Array; shape: number[] } {
  const shape: number[] = [];
  for (let level = values; typeof level !== "number"; level = level[0] ?? 0) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const flat = new Float64Array(elementsOf(shape));
  let filled = 0;
  const visit = (level: NestedNumbers, depth: number): void => {
    if (typeof level === "number") {
      if (depth !== shape.length) throw new RangeError("The lists are ragged: not all have the same length.");
      flat[filled++] = level;
    } else {
      if (level.length !== shape[depth]) throw new RangeError("The lists are ragged: not all have the same length.");
      for (const item of level) visit(item, depth + 1);
    }
  };
  visit(values, 0);
  return { values: flat, shape };
}
