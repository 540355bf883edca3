/**
 * @file Finds and loads the native addon. Without one (no compiler when Hornbook was installed) everything falls back to TypeScript; an
 * addon that does not fit this source is refused rather than trusted.
 */

import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { HornbookError } from "../errors.js";
import { contractFingerprint } from "../tensor/contract.fingerprint.js";
import type { NativeTokenizer } from "../tokenizer/native.js";

/** A native device; opaque here. */
export type NativeDevice = object & { readonly __nativeDevice: unique symbol };

/** The functions of native/napi/. */
export interface NativeAddon {
  /** Instruction sets that this machine can run, best first. */
  supportedIsas(): string[];
  contractFingerprint(): string;
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

const buildFolder = findBuildFolder();
let loaded: NativeAddon | null | undefined;

/** The addon, or undefined where none was built. Throws HornbookError when it was built from another version of the source. */
export function loadAddon(): NativeAddon | undefined {
  if (loaded === undefined) {
    const path = join(buildFolder, "hornbook.node");
    loaded = process.env["HORNBOOK_NATIVE"] === "0" || !existsSync(path) ? null : (createRequire(import.meta.url)(path) as NativeAddon);
    if (loaded !== null && loaded.contractFingerprint() !== contractFingerprint) {
      loaded = undefined;
      throw new HornbookError(`${path} was built from another version of Hornbook.`, { code: "stale-addon", hint: "Run `npm run install` to build it again." });
    }
  }
  return loaded ?? undefined;
}

/** The path of the kernels for an instruction set, whether or not they were built. */
export function kernelLibrary(isa: string): string {
  const suffix = process.platform === "darwin" ? "dylib" : process.platform === "win32" ? "dll" : "so";
  return join(buildFolder, `kernels-${isa}.${suffix}`);
}

/** The instruction sets that were built. */
export function builtIsas(): string[] {
  if (!existsSync(buildFolder)) return [];
  return readdirSync(buildFolder).flatMap((name) => /^kernels-(\w+)\.(?:so|dylib|dll)$/.exec(name)?.[1] ?? []);
}

/** HORNBOOK_BUILD, or build/ beside package.json, above this file in src/ as in dist/src/. */
function findBuildFolder(): string {
  const given = process.env["HORNBOOK_BUILD"];
  if (given !== undefined) return resolve(given);
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) break;
    folder = parent;
  }
  return join(folder, "build");
}
