/**
 * @file The element types a safetensors file may hold, and their way to float32 and back.
 *
 * Files are little-endian, as is every machine Node runs on, so numbers are read in place through typed arrays. Rounding down is to
 * nearest, ties to even, as everywhere in Hornbook.
 */
import { toBfloat16 } from "../tensor/dtype.js";

/** Bytes per element. Types narrower than a byte (F4, F6) exist in the format's newest revisions and are refused by name. */
export const fileDTypes = {
  F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1, C64: 8,
  I64: 8, U64: 8, I32: 4, U32: 4, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1,
} as const;
export type FileDType = keyof typeof fileDTypes;

export function isFileDType(name: string): name is FileDType {
  return Object.hasOwn(fileDTypes, name);
}

/**
 * Little-endian elements of any real dtype as float32. Integers beyond 2^24 and F64 are rounded to nearest.
 *
 * @throws RangeError for complex numbers, or bytes that are no whole number of elements.
 */
export function toFloat32(dtype: FileDType, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const size = fileDTypes[dtype];
  if (bytes.byteLength % size !== 0) throw new RangeError(`${bytes.byteLength} bytes are no whole number of ${dtype} elements of ${size} bytes.`);
  // A typed array must start at a multiple of its element size, and a slice of a larger buffer may not.
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  const length = bytes.byteLength / size;
  switch (dtype) {
    case "F32":
      return new Float32Array(new Float32Array(buffer, byteOffset, length));
    case "F64":
      return new Float32Array(new Float64Array(buffer, byteOffset, length));
    case "BF16": {
      const result = new Float32Array(length);
      const bits = new Uint32Array(result.buffer);
      const words = new Uint16Array(buffer, byteOffset, length);
      for (let i = 0; i < length; i++) bits[i] = words[i] << 16;
      return result;
    }
    case "F16":
      return lookUp(float16Table(), new Uint16Array(buffer, byteOffset, length));
    case "F8_E4M3":
      return lookUp(float8Table("F8_E4M3", fromFloat8E4M3), aligned);
    case "F8_E5M2":
      return lookUp(float8Table("F8_E5M2", (byte) => fromFloat16(byte << 8)), aligned);
    case "F8_E8M0":
      return lookUp(float8Table("F8_E8M0", (byte) => (byte === 255 ? NaN : 2 ** (byte - 127))), aligned);
    case "I64":
      return Float32Array.from(new BigInt64Array(buffer, byteOffset, length), Number);
    case "U64":
      return Float32Array.from(new BigUint64Array(buffer, byteOffset, length), Number);
    case "I32":
      return new Float32Array(new Int32Array(buffer, byteOffset, length));
    case "U32":
      return new Float32Array(new Uint32Array(buffer, byteOffset, length));
    case "I16":
      return new Float32Array(new Int16Array(buffer, byteOffset, length));
    case "U16":
      return new Float32Array(new Uint16Array(buffer, byteOffset, length));
    case "I8":
      return new Float32Array(new Int8Array(buffer, byteOffset, length));
    case "U8":
      return new Float32Array(aligned);
    case "BOOL":
      return Float32Array.from(aligned, (byte) => (byte === 0 ? 0 : 1));
    case "C64":
      throw new RangeError("Complex numbers (C64) have no float32 value.");
  }
}

/** float32 values as the bytes of a float dtype. */
export function fromFloat32(dtype: "F32" | "F16" | "BF16", values: Float32Array): Uint8Array<ArrayBuffer> {
  if (dtype === "F32") return new Uint8Array(new Float32Array(values).buffer);
  const words = new Uint16Array(values.length);
  const convert = dtype === "F16" ? toFloat16 : toBfloat16;
  for (let i = 0; i < values.length; i++) words[i] = convert(values[i]);
  return new Uint8Array(words.buffer);
}

/** The value of IEEE 754 half-precision bits: 1 sign, 5 exponent (bias 15), 10 fraction. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** To half-precision bits: beyond 65,520 becomes infinity, a NaN stays a NaN. */
export function toFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // The spacing of halves around the value is 2^step; in units of it the bits count up through every exponent.
  const step = Math.max(exponentOf(size) - 10, -24);
  const units = roundToEven(size * 2 ** -step);
  return sign | (step === -24 ? units : ((step + 24) << 10) + units);
}

/** 1 sign, 4 exponent (bias 7), 3 fraction; no infinities, and only all ones is NaN (Micikevicius et al. 2022, "FP8 formats for deep learning"). */
export function fromFloat8E4M3(bits: number): number {
  if ((bits & 0x7f) === 0x7f) return NaN;
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >>> 3) & 0xf;
  const fraction = bits & 7;
  return exponent === 0 ? sign * fraction * 2 ** -9 : sign * (8 + fraction) * 2 ** (exponent - 10);
}

const float64 = new Float64Array(1);
const float64Words = new Uint32Array(float64.buffer);

function exponentOf(value: number): number {
  float64[0] = value;
  return ((float64Words[1] >>> 20) & 0x7ff) - 1023;
}

function roundToEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

let halves: Float32Array | undefined;
function float16Table(): Float32Array {
  return (halves ??= Float32Array.from({ length: 65536 }, (_, bits) => fromFloat16(bits)));
}

const bytesTables = new Map<string, Float32Array>();
function float8Table(name: string, value: (byte: number) => number): Float32Array {
  const known = bytesTables.get(name) ?? Float32Array.from({ length: 256 }, (_, byte) => value(byte));
  bytesTables.set(name, known);
  return known;
}

function lookUp(table: Float32Array, codes: Uint8Array | Uint16Array): Float32Array<ArrayBuffer> {
  const result = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) result[i] = table[codes[i]];
  return result;
}
