/**
 * @file The CPU device: encodes commands into words and hands them in batches to the native executor, whose thread runs them on a pool.
 * A batch goes out when it is full, when enough kernels wait, or when somebody waits for a result; so this side runs ahead of the kernels and
 * costs nothing while they are busy.
 */

import { availableParallelism } from "node:os";
import { DeviceError, HornbookError } from "../../errors.js";
import { explainAbsence } from "../../native/absence.js";
import type { NativeAddon, NativeDevice } from "../../native/addon.js";
import { nativeSearch } from "../../native/find.js";
import { enums, kernelNames, kernelSpec, type Attributes, type KernelName, type Operands } from "../contract.js";
import type { BufferId, BufferView, Device, FileSource, Recording } from "../device.js";
import { dtypes, type DType } from "../dtype.js";
import { Profiler, formatProfile, type PhaseProfile } from "./profile.js";

export interface CpuDeviceOptions {
  /** An instruction set of `availableIsas()`; by default HORNBOOK_ISA, else the best. */
  isa?: string | undefined;
  /** By default HORNBOOK_THREADS, else one a core. The results do not depend on it. */
  threads?: number | undefined;
  /** Times every launch; by default with HORNBOOK_PROFILE=1, which also prints the profile when the process ends. */
  profile?: boolean | undefined;
}

const control = { allocate: -1, free: -2 };
const batchWords = 1 << 15;
/** The most words one command can take: 16 operands of rank 8. */
const longestCommand = 512;
/** Kernels after which a batch goes out, so that the executor starts early. */
const batchKernels = 8;

const dtypeCode = Object.fromEntries(dtypes.map((dtype, code) => [dtype, code])) as Record<DType, number>;

/** A kernel's opcode and the order of its words, from the contract. */
const encodings = Object.fromEntries(
  kernelNames.map((name, opcode) => [
    name,
    {
      opcode,
      operands: Object.keys(kernelSpec(name).operands),
      attributes: Object.entries(kernelSpec(name).attributes).map(([attribute, type]) => ({
        attribute,
        type,
        codes: type in enums ? Object.fromEntries((enums[type as keyof typeof enums] as readonly string[]).map((member, code) => [member, code])) : {},
      })),
    },
  ]),
) as Record<KernelName, { opcode: number; operands: string[]; attributes: { attribute: string; type: string; codes: Record<string, number> }[] }>;

/** A recording as it is made, and as it is kept. */
interface Tape {
  readonly words: Int32Array[];
  /** Buffers that its commands use. */
  readonly uses: Set<BufferId>;
  /** Those that they allocate. Their names are theirs alone for as long as the recording is kept. */
  readonly allocated: Set<BufferId>;
  readonly freed: Set<BufferId>;
  /** For the profile: tells of each launch again. */
  readonly launches: (() => void)[];
  /** Whether a buffer of its own was written from JavaScript's memory. */
  written: boolean;
  valid: boolean;
}

export class CpuDevice implements Device {
  readonly name = "cpu";
  readonly isa: string;
  readonly threads: number;
  readonly #addon: NativeAddon;
  readonly #native: NativeDevice;
  readonly #profiler: Profiler | undefined;

  readonly #words = new Int32Array(batchWords);
  readonly #floats = new Float32Array(this.#words.buffer);
  #length = 0;
  #kernels = 0;

  /** Ids of freed buffers, for reuse: the queue is in order, so an id is free as soon as its `free` is queued. */
  readonly #freeIds: BufferId[] = [];
  #nextId: BufferId = 0;
  /** Recordings that can be replayed, and the one being made. */
  readonly #tapes = new Set<Tape>();
  #tape: Tape | undefined;

  private constructor(addon: NativeAddon, isa: string, kernelLibrary: string, threads: number, profile: boolean) {
    this.isa = isa;
    this.threads = threads;
    this.#addon = addon;
    this.#native = addon.createDevice(kernelLibrary, threads);
    if (profile) {
      addon.setProfiling(this.#native, true);
      this.#profiler = new Profiler(() => addon.profile(this.#native));
    }
  }

  /** Whether there are native kernels for this machine. */
  static isAvailable(): boolean {
    return nativeSearch().found !== undefined;
  }

  /** Instruction sets that this machine can run and for which there are kernels, best first. */
  static availableIsas(): string[] {
    const native = nativeSearch().found;
    return native?.addon.supportedIsas().filter((isa) => native.kernels(isa) !== undefined) ?? [];
  }

  /** The instruction set of a device that is told of none: HORNBOOK_ISA, else the best with kernels. Undefined where there are none. */
  static defaultIsa(): string | undefined {
    return process.env["HORNBOOK_ISA"] ?? nativeSearch().found?.bestIsa();
  }

  /** The threads of a device that is told of none: HORNBOOK_THREADS, else one a core. */
  static defaultThreads(): number {
    return Number(process.env["HORNBOOK_THREADS"] ?? availableParallelism());
  }

  /** Throws HornbookError when there are no native kernels for what is asked. */
  static create(options: CpuDeviceOptions = {}): CpuDevice {
    const native = nativeSearch().found;
    if (native === undefined) {
      const { reason, remedy } = explainAbsence(nativeSearch());
      throw new HornbookError(`There are no native kernels: ${reason}.`, { code: "no-addon", hint: remedy });
    }
    const { addon } = native;
    const isa = options.isa ?? CpuDevice.defaultIsa() ?? "portable";
    if (!addon.supportedIsas().includes(isa)) {
      throw new HornbookError(`This machine cannot run ${isa}; it can run ${addon.supportedIsas().join(", ")}.`, { code: "bad-isa" });
    }
    const kernels = native.kernels(isa);
    if (kernels === undefined) {
      const why = nativeSearch().skipped.find(({ path }) => path.includes(`kernels-${isa}.`))?.reason ?? `${native.folder} has none`;
      throw new HornbookError(`There are no kernels for ${isa}: ${why}.`, { code: "no-kernels", hint: `\`npx hornbook build --isa ${isa}\` compiles them.` });
    }
    const threads = options.threads ?? CpuDevice.defaultThreads();
    if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
      throw new HornbookError(`The number of threads is a whole number from 1 to 1024, not ${threads}.`, { code: "bad-threads" });
    }
    const printed = process.env["HORNBOOK_PROFILE"] === "1";
    const device = new CpuDevice(addon, isa, kernels, threads, options.profile ?? printed);
    if (printed && device.#profiler !== undefined) process.on("exit", () => console.error(`\n${formatProfile(device.profile(), device.description)}`));
    return device;
  }

  get description(): string {
    return `cpu (${this.isa}, ${this.threads} thread${this.threads === 1 ? "" : "s"})`;
  }

  allocate(bytes: number): BufferId {
    const id = (this.#tape === undefined ? this.#freeIds.pop() : undefined) ?? this.#nextId++;
    this.#tape?.allocated.add(id);
    this.#begin(control.allocate);
    this.#words[this.#length++] = id;
    this.#words[this.#length++] = bytes | 0;
    this.#words[this.#length++] = Math.floor(bytes / 2 ** 32);
    this.#end();
    return id;
  }

  free(buffer: BufferId): void {
    this.#begin(control.free);
    this.#words[this.#length++] = buffer;
    this.#end();
    if (this.#tape?.allocated.has(buffer) === true) this.#tape.freed.add(buffer);
    else this.#freeIds.push(buffer);
    for (const tape of this.#tapes) if (tape.uses.has(buffer)) tape.valid = false;
    // What used a buffer of before and frees it (a cache that grows) cannot be repeated.
    if (this.#tape?.uses.has(buffer) === true && !this.#tape.allocated.has(buffer)) this.#tape.valid = false;
  }

  write(buffer: BufferId, byteOffset: number, bytes: Uint8Array): void {
    if (this.#tape?.allocated.has(buffer) === true) this.#tape.written = true;
    this.#flush();
    this.#addon.write(this.#native, buffer, byteOffset, bytes);
  }

  /** By default undefined on Windows, where Node's descriptors mean nothing to an addon. */
  readonly writeFile = process.platform === "win32" ? undefined : (buffer: BufferId, byteOffset: number, { descriptor, position, byteLength, rows }: FileSource): void => {
    this.#flush();
    this.#addon.writeFile(this.#native, buffer, byteOffset, descriptor, position, byteLength, rows?.order ?? new Uint32Array(), rows?.rowBytes ?? 0);
  };

  async read(buffer: BufferId, byteOffset: number, byteLength: number): Promise<ArrayBuffer> {
    this.#flush();
    try {
      return await this.#addon.read(this.#native, buffer, byteOffset, byteLength);
    } catch (error) {
      const [, kernel, operands, message] = /^(\w+)\((.*?)\): (.*)$/s.exec((error as Error).message) ?? [undefined, "queue", "", (error as Error).message];
      throw new DeviceError(kernel, operands, message, { cause: error });
    }
  }

  async synchronize(): Promise<void> {
    await this.read(0, 0, 0);
  }

  launch<K extends KernelName>(kernel: K, operands: Operands<K, BufferView>, attributes: Attributes<K>): void {
    if (this.#profiler !== undefined) {
      this.#profiler.launched(kernel, operands, attributes);
      this.#tape?.launches.push(() => this.#profiler?.launched(kernel, operands, attributes));
    }
    const { opcode, operands: names, attributes: list } = encodings[kernel];
    const views = operands as Readonly<Record<string, BufferView | undefined>>;
    const values = attributes as Readonly<Record<string, number | string>>;
    const words = this.#words;
    this.#begin(opcode);
    let at = this.#length;
    for (const name of names) {
      const view = views[name];
      if (view === undefined) {
        words[at++] = -1;
        continue;
      }
      const { shape, strides } = view;
      const rank = shape.length;
      words[at++] = view.buffer;
      this.#tape?.uses.add(view.buffer);
      words[at++] = dtypeCode[view.dtype] | (rank << 8);
      words[at++] = view.offset;
      for (let i = 0; i < rank; i++) words[at++] = shape[i];
      for (let i = 0; i < rank; i++) words[at++] = strides[i];
    }
    for (const { attribute, type, codes } of list) {
      const value = values[attribute];
      if (type === "f32") this.#floats[at++] = value as number;
      else words[at++] = type === "i32" ? (value as number) : codes[value];
    }
    this.#length = at;
    this.#end();
    if (++this.#kernels >= batchKernels) this.#flush();
    this.#profiler?.keepUp();
  }

  record(body: () => void): Recording | undefined {
    if (this.#tape !== undefined) throw new HornbookError("A recording is being made already.");
    this.#flush();
    const tape: Tape = { words: [], uses: new Set(), allocated: new Set(), freed: new Set(), launches: [], written: false, valid: true };
    this.#tape = tape;
    const giveBack = (): void => {
      this.#freeIds.push(...tape.freed);
      tape.freed.clear();
    };
    try {
      body();
      this.#flush();
    } catch (error) {
      giveBack();
      throw error;
    } finally {
      this.#tape = undefined;
    }
    if (tape.written) {
      giveBack();
      return undefined;
    }
    const words = repeatable(tape);
    this.#tapes.add(tape);
    return {
      get valid() {
        return tape.valid;
      },
      replay: () => {
        this.#flush();
        for (const launched of tape.launches) launched();
        this.#addon.submit(this.#native, words, words.length);
        this.#profiler?.keepUp();
      },
      dispose: () => {
        tape.valid = false;
        if (this.#tapes.delete(tape)) giveBack();
      },
    };
  }

  trim(): void {
    this.#addon.trim();
  }

  endPhase(name: string): void {
    this.#profiler?.endPhase(name);
  }

  /** Where the time went of all that has run; empty unless profiling is on. */
  profile(): PhaseProfile[] {
    return this.#profiler?.profile() ?? [];
  }

  #start = 0;

  /** Opens a command: its code, and a place for the number of its words. */
  #begin(code: number): void {
    if (this.#length + longestCommand > batchWords) this.#flush();
    this.#start = this.#length;
    this.#words[this.#length++] = code;
    this.#length++;
  }

  #end(): void {
    this.#words[this.#start + 1] = this.#length - this.#start - 2;
  }

  #flush(): void {
    if (this.#length > 0) {
      this.#tape?.words.push(this.#words.slice(0, this.#length));
      this.#addon.submit(this.#native, this.#words, this.#length);
    }
    this.#length = 0;
    this.#kernels = 0;
  }
}

/** The commands of a recording, but for those that happen once: allocations of what it keeps, and frees of what was there before. */
function repeatable({ words, allocated, freed }: Tape): Int32Array<ArrayBuffer> {
  const kept: number[] = [];
  for (const part of words) {
    for (let at = 0, next; at < part.length; at = next) {
      next = at + 2 + part[at + 1];
      const once = (part[at] === control.allocate && !freed.has(part[at + 2])) || (part[at] === control.free && !allocated.has(part[at + 2]));
      if (!once) for (let i = at; i < next; i++) kept.push(part[i]);
    }
  }
  return Int32Array.from(kept);
}
