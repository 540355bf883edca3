/**
 * @file The reference device: the kernels of this folder on memory of the JavaScript heap. It is the documentation of what every device
 * must compute, and the fallback where nothing native can be compiled.
 *
 * Everything happens at once, on the calling thread, yet it keeps the manners of a queue: an error in a kernel is kept, what follows is
 * skipped, and the next wait throws it; after that the device works again.
 */

import { DeviceError } from "../../errors.js";
import type { Attributes, KernelName, Operands } from "../contract.js";
import { kernelSpec } from "../contract.js";
import type { BufferId, BufferView, Device } from "../device.js";
import { rawArray } from "../dtype.js";
import { kernels } from "./kernels.js";
import type { HostView, Kernel } from "./view.js";

export class ReferenceDevice implements Device {
  readonly name = "reference";
  readonly description = "plain TypeScript, one thread";

  readonly #buffers: (ArrayBuffer | undefined)[] = [];
  readonly #freeIds: BufferId[] = [];
  #error: DeviceError | undefined;

  allocate(bytes: number): BufferId {
    // Whole words, so that the memory can be seen as an array of any dtype.
    const memory = new ArrayBuffer(Math.ceil(bytes / 8) * 8);
    const id = this.#freeIds.pop() ?? this.#buffers.length;
    this.#buffers[id] = memory;
    return id;
  }

  free(buffer: BufferId): void {
    this.#memory(buffer);
    this.#buffers[buffer] = undefined;
    this.#freeIds.push(buffer);
  }

  write(buffer: BufferId, byteOffset: number, bytes: Uint8Array): void {
    const memory = this.#memory(buffer);
    if (this.#error === undefined) new Uint8Array(memory).set(bytes, byteOffset);
  }

  async read(buffer: BufferId, byteOffset: number, byteLength: number): Promise<ArrayBuffer> {
    const memory = this.#memory(buffer);
    // The bytes as they are now, not when the caller gets to awaiting them.
    const bytes = memory.slice(byteOffset, byteOffset + byteLength);
    await this.synchronize();
    return bytes;
  }

  synchronize(): Promise<void> {
    const error = this.#error;
    this.#error = undefined;
    return error === undefined ? Promise.resolve() : Promise.reject(error);
  }

  launch<K extends KernelName>(kernel: K, operands: Operands<K, BufferView>, attributes: Attributes<K>): void {
    if (this.#error !== undefined) return;
    try {
      const run: Kernel<K> = kernels[kernel];
      run(this.#hostViews(operands), rounded(kernel, attributes));
    } catch (cause) {
      this.#error = new DeviceError(kernel, describe(operands), cause instanceof Error ? cause.message : String(cause), { cause });
    }
  }

  #hostViews<K extends KernelName>(operands: Operands<K, BufferView>): Operands<K, HostView> {
    const entries = Object.entries<BufferView | undefined>(operands).map(([name, view]) => [name, view && this.#hostView(view)] as const);
    return Object.fromEntries(entries) as Operands<K, HostView>;
  }

  #hostView({ buffer, dtype, shape, strides, offset }: BufferView): HostView {
    return { data: rawArray(dtype, this.#memory(buffer)), dtype, shape, strides, offset };
  }

  #memory(buffer: BufferId): ArrayBuffer {
    const memory = this.#buffers[buffer];
    if (memory === undefined) throw new RangeError(`Buffer ${buffer} is not allocated.`);
    return memory;
  }
}

/** The attributes as they would arrive over a command stream: floats as float32, integers as int32. */
function rounded<K extends KernelName>(kernel: K, attributes: Attributes<K>): Attributes<K> {
  const types = kernelSpec(kernel).attributes;
  const entries = Object.entries<string | number>(attributes).map(([name, value]) => {
    if (typeof value === "string") return [name, value] as const;
    return [name, types[name] === "f32" ? Math.fround(value) : value | 0] as const;
  });
  return Object.fromEntries(entries) as Attributes<K>;
}

function describe<K extends KernelName>(operands: Operands<K, BufferView>): string {
  return Object.entries<BufferView | undefined>(operands).flatMap(([name, view]) => (view === undefined ? [] : [`${name} [${view.shape.join(", ")}]`])).join(", ");
}
