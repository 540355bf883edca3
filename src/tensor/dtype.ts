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
