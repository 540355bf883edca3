/** @file The functions of the native addon. */

import type { NativeTokenizer } from "../tokenizer/native.js";

/** A native device; opaque here. */
export type NativeDevice = object & { readonly __nativeDevice: unique symbol };

/** The functions of native/napi/. */
export interface NativeAddon {
  /** Instruction sets that this machine can run, best first. */
  supportedIsas(): string[];
  contractFingerprint(): string;
  /** Why a kernel library cannot be used, or undefined when it can. */
  checkKernels(kernelLibrary: string): string | undefined;
  createDevice(kernelLibrary: string, threads: number): NativeDevice;
  submit(device: NativeDevice, words: Int32Array, count: number): void;
  write(device: NativeDevice, buffer: number, byteOffset: number, bytes: Uint8Array): void;
  writeFile(device: NativeDevice, buffer: number, byteOffset: number, descriptor: number, position: number, byteLength: number, order: Uint32Array, rowBytes: number): void;
  read(device: NativeDevice, buffer: number, byteOffset: number, byteLength: number): Promise<ArrayBuffer>;
  /** Before the first launch. */
  setProfiling(device: NativeDevice, on: boolean): void;
  /** For each launch that ended since the last call, in order: when it began and ended, and how long the queue was empty before it, in seconds. */
  profile(device: NativeDevice): Float64Array;
  /** Gives memory that the C library keeps, though it was freed, back to the system. About a millisecond. */
  trim(): void;
  readonly tokenizer: NativeTokenizer;
}

/** Every member of `NativeAddon`: one that lacks any was built from another version. */
const members: Record<keyof NativeAddon, true> = {
  supportedIsas: true, contractFingerprint: true, checkKernels: true, createDevice: true, submit: true, write: true, writeFile: true, read: true, setProfiling: true, profile: true, trim: true, tokenizer: true,
};

export function isNativeAddon(value: unknown): value is NativeAddon {
  return typeof value === "object" && value !== null && Object.keys(members).every((name) => name in value);
}
