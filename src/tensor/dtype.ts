/**
 * @file Element types. The numbers are the codes on the command stream and in `native/generated/contract.h`.
 *
 * bfloat16 is the upper half of a float32, so that it keeps the range and gives up precision (8 bits); JavaScript sees it as
 * raw 16-bit words. Rounding is to nearest, ties to even, everywhere.
 */

export const dtypes = ["f32", "bf16", "i32", "u8"] as const;
export type DType = (typeof dtypes)[number];
export type FloatDType = "f32" | "bf16";

export const bytesPerElement: Readonly<Record<DType, number>> = { f32: 4, bf16: 2, i32: 4, u8: 1 };

export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "f32" || dtype === "bf16";
}

/** The typed array that holds elements of a dtype; bf16 appears as its raw 16-bit words. */
export type RawArray<D extends DType = DType> = {
  f32: Float32Array<ArrayBuffer>;
  bf16: Uint16Array<ArrayBuffer>;
  i32: Int32Array<ArrayBuffer>;
  u8: Uint8Array<ArrayBuffer>;
}[D];

export function rawArray(dtype: DType, buffer: ArrayBuffer, byteOffset = 0, length?: number): RawArray {
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, byteOffset, length);
    case "bf16":
      return new Uint16Array(buffer, byteOffset, length);
    case "i32":
      return new Int32Array(buffer, byteOffset, length);
    case "u8":
      return new Uint8Array(buffer, byteOffset, length);
  }
}

const word = new Uint32Array(1);
const asFloat = new Float32Array(word.buffer);

/** float32 to bfloat16 bits, to nearest even; a NaN stays a NaN. */
export function toBfloat16(value: number): number {
  asFloat[0] = value;
  const bits = word[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBfloat16(bits: number): number {
  word[0] = bits << 16;
  return asFloat[0];
}

/** float32 to IEEE 754 half-precision bits, to nearest even; what is too large becomes infinite, and a NaN stays a NaN. */
export function toFloat16(value: number): number {
  asFloat[0] = value;
  const sign = (word[0] >>> 16) & 0x8000;
  const magnitude = word[0] & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520, half way to what would be the next
  if (magnitude < 0x38800000) {
    // Below the smallest normal half a unit is 2^-24, and the sum with 0.5, whose last bit is that, rounds to it.
    asFloat[0] = Math.abs(value) + 0.5;
    return sign | (word[0] - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
