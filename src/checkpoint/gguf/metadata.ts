/**
 * @file The metadata of a GGUF file: named values, each with its type, as ggml's specification has them (ggml/docs/gguf.md, "File structure").
 *
 * A value keeps the type it has in the file, so that a file can be written again as it was. Arrays are kept as they lie there: numbers as typed
 * arrays, strings as bytes with the place of each. A vocabulary of 262,144 tokens costs a walk over its lengths; a token becomes a
 * JavaScript string when it is asked for.
 */

import { CheckpointError } from "../../errors.js";

/** The types that metadata has; the index is the number in the file. */
export const ggufTypes = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64", "int64", "float64"] as const;
export type GgufType = (typeof ggufTypes)[number];

type NumberType = "uint8" | "int8" | "uint16" | "int16" | "uint32" | "int32" | "float32" | "float64";
type BigType = "uint64" | "int64";

interface NumberArrays {
  uint8: Uint8Array; int8: Int8Array; uint16: Uint16Array; int16: Int16Array; uint32: Uint32Array; int32: Int32Array;
  float32: Float32Array; float64: Float64Array; uint64: BigUint64Array; int64: BigInt64Array;
  /** A byte each, 0 or 1. */
  bool: Uint8Array;
}
export type GgufNumberArray = NumberArrays[keyof NumberArrays];

export type GgufArray =
  | { [T in keyof NumberArrays]: { readonly type: "array"; readonly of: T; readonly value: NumberArrays[T] } }[keyof NumberArrays]
  | { readonly type: "array"; readonly of: "string"; readonly value: GgufStrings }
  | { readonly type: "array"; readonly of: "array"; readonly value: readonly GgufArray[] };

export type GgufValue =
  | { readonly type: NumberType; readonly value: number }
  | { readonly type: BigType; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | GgufArray;

/** Constructors of the values that are written most. */
export const gguf = {
  uint16: (value: number): GgufValue => ({ type: "uint16", value }),
  uint32: (value: number): GgufValue => ({ type: "uint32", value }),
  int32: (value: number): GgufValue => ({ type: "int32", value }),
  float32: (value: number): GgufValue => ({ type: "float32", value: Math.fround(value) }),
  bool: (value: boolean): GgufValue => ({ type: "bool", value }),
  string: (value: string): GgufValue => ({ type: "string", value }),
  strings: (value: Iterable<string | Uint8Array>): GgufValue => ({ type: "array", of: "string", value: GgufStrings.from(value) }),
  int32s: (value: Iterable<number>): GgufValue => ({ type: "array", of: "int32", value: Int32Array.from(value) }),
  float32s: (value: Iterable<number>): GgufValue => ({ type: "array", of: "float32", value: Float32Array.from(value) }),
  bools: (value: Iterable<boolean>): GgufValue => ({ type: "array", of: "bool", value: Uint8Array.from(value, Number) }),
} as const;

/** Bytes before each string: its length as a uint64. */
const lengthBytes = 8;

/** Many strings as they lie in a file, each decoded when it is asked for. */
export class GgufStrings implements Iterable<string> {
  readonly length: number;
  readonly #buffer: SlicedBuffer;
  /** Bytes between two texts. */
  readonly gap = lengthBytes;

  /**
   * @param data the strings as in the file, each after its length (uint64)
   * @param starts where in `data` each string's text begins, and, last, where that of one more would
   */
  constructor(
    readonly data: Uint8Array,
    readonly starts: Uint32Array,
  ) {
    this.length = starts.length - 1;
    this.#buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength) as SlicedBuffer;
  }

  static from(strings: Iterable<string | Uint8Array>): GgufStrings {
    const encoder = new TextEncoder();
    const texts = Array.from(strings, (text) => (typeof text === "string" ? encoder.encode(text) : text));
    const starts = new Uint32Array(texts.length + 1);
    starts[0] = lengthBytes;
    texts.forEach((text, i) => (starts[i + 1] = starts[i] + text.length + lengthBytes));
    const data = new Uint8Array(starts[texts.length] - lengthBytes);
    const view = new DataView(data.buffer);
    texts.forEach((text, i) => {
      view.setBigUint64(starts[i] - lengthBytes, BigInt(text.length), true);
      data.set(text, starts[i]);
    });
    return new GgufStrings(data, starts);
  }

  /** The UTF-8 of one. */
  bytes(i: number): Uint8Array {
    this.#check(i);
    return this.data.subarray(this.starts[i], this.starts[i + 1] - this.gap);
  }

  /** One as a string; bytes that are no UTF-8 become U+FFFD. Throws RangeError where there is none. */
  at(i: number): string {
    this.#check(i);
    return this.#buffer.utf8Slice(this.starts[i], this.starts[i + 1] - this.gap);
  }

  *[Symbol.iterator](): Iterator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  toArray(): string[] {
    return [...this];
  }

  #check(i: number): void {
    if (!(i >= 0 && i < this.length)) throw new RangeError(`There is no string ${i} among ${this.length}.`);
  }
}

/** Node's Buffer decodes a short piece several times faster than TextDecoder. */
type SlicedBuffer = Buffer & { utf8Slice(begin: number, end: number): string };

/** The values of a file by their keys, read with the type that is expected; each complaint names the file and the key. */
export class GgufMetadata {
  constructor(
    /** Named in errors. */
    readonly file: string,
    readonly values: ReadonlyMap<string, GgufValue>,
  ) {}

  has(key: string): boolean {
    return this.values.has(key);
  }

  /** Where there is none, the fallback; without one, that is an error. So it is with all that follow. */
  text(key: string, fallback?: string): string {
    return this.#read(key, "a text", fallback, (found) => (found.type === "string" ? found.value : undefined));
  }

  /** A number of any type. Integers beyond 2^53 are refused. */
  number(key: string, fallback?: number): number {
    return this.#read(key, "a number", fallback, (found) => {
      if (typeof found.value === "number") return found.value;
      return typeof found.value === "bigint" && Number.isSafeInteger(Number(found.value)) ? Number(found.value) : undefined;
    });
  }

  flag(key: string, fallback?: boolean): boolean {
    return this.#read(key, "true or false", fallback, (found) => (found.type === "bool" ? found.value : undefined));
  }

  strings(key: string, fallback?: GgufStrings): GgufStrings {
    return this.#read(key, "a list of texts", fallback, (found) => {
      if (found.type !== "array") return undefined;
      // An empty list may be of any type.
      return found.of === "string" ? found.value : found.value.length === 0 ? GgufStrings.from([]) : undefined;
    });
  }

  /** A list of numbers or flags as it lies in the file; 64-bit integers as float64. */
  numbers(key: string, fallback?: Exclude<GgufNumberArray, BigInt64Array | BigUint64Array>): Exclude<GgufNumberArray, BigInt64Array | BigUint64Array> {
    return this.#read(key, "a list of numbers", fallback, (found) => {
      if (found.type !== "array" || found.of === "string" || found.of === "array") return undefined;
      return found.of === "int64" || found.of === "uint64" ? Float64Array.from(found.value, Number) : found.value;
    });
  }

  #read<T>(key: string, expected: string, fallback: T | undefined, take: (value: GgufValue) => T | undefined): T {
    const found = this.values.get(key);
    if (found === undefined) {
      if (fallback !== undefined) return fallback;
      throw new CheckpointError({ file: this.file, field: key }, "the metadata has no such key.", { code: "bad-config" });
    }
    const value = take(found);
    if (value !== undefined) return value;
    const is = found.type === "array" ? `an array of ${found.of}` : `${found.type} ${String(found.value).slice(0, 40)}`;
    throw new CheckpointError({ file: this.file, field: key }, `this must be ${expected}, and it is ${is}.`, { code: "bad-config" });
  }
}
