/**
 * @file Writing GGUF, version 3 (see `header.ts` for the format). Tensors keep the order they are given in, each padded to the alignment, as
 * llama.cpp demands. The same content gives the same bytes.
 */

import { blockFormats } from "../../tensor/block-formats.js";
import { writeFileAtomically } from "../atomic.js";
import { fileDTypes, isFileDType } from "../dtype.js";
import { writeFully } from "../file-bytes.js";
import type { StoredDType } from "../stored-tensor.js";
import { alignmentKey, defaultAlignment, ggufMagic, plainTypes } from "./header.js";
import { GgufStrings, ggufTypes, type GgufArray, type GgufMetadata, type GgufValue } from "./metadata.js";

/** A tensor to be written; its bytes are asked for when their turn comes, so that a model need not be in memory twice. */
export interface GgufTensorToStore {
  readonly name: string;
  readonly dtype: StoredDType;
  /** Row-major: outermost first. */
  readonly shape: readonly number[];
  readonly data: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

export interface GgufToWrite {
  readonly metadata: ReadonlyMap<string, GgufValue> | GgufMetadata;
  readonly tensors: readonly GgufTensorToStore[];
}

/**
 * Writes one file, atomically. Its alignment is the metadata's `general.alignment`, else 32.
 *
 * @throws CheckpointError as `writeFileAtomically`; RangeError for data whose size is not its shape's, a name twice, a dtype that GGUF lacks.
 */
export async function writeGguf(path: string, { metadata, tensors }: GgufToWrite): Promise<void> {
  const values = "values" in metadata && !(metadata instanceof Map) ? (metadata as GgufMetadata).values : (metadata as ReadonlyMap<string, GgufValue>);
  const alignmentValue = values.get(alignmentKey)?.value;
  const alignment = typeof alignmentValue === "number" ? alignmentValue : defaultAlignment;
  const padded = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;
  const header = encodeHeader(values, tensors, padded);
  await writeFileAtomically(path, async (file) => {
    let position = await writeFully(file, header, 0);
    const pad = async (): Promise<void> => {
      position = await writeFully(file, new Uint8Array(padded(position) - position), position);
    };
    await pad();
    for (const tensor of tensors) {
      const data = typeof tensor.data === "function" ? await tensor.data() : tensor.data;
      if (data.byteLength !== storedBytes(tensor)) {
        throw new RangeError(`"${tensor.name}": ${tensor.dtype} of shape [${tensor.shape.join(", ")}] is ${storedBytes(tensor)} bytes, not ${data.byteLength}.`);
      }
      position = await writeFully(file, data, position);
      await pad();
    }
  });
}

function encodeHeader(values: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensorToStore[], padded: (bytes: number) => number): Uint8Array {
  const out = new Output();
  out.bytes(new TextEncoder().encode(ggufMagic));
  out.number("uint32", 3);
  out.number("uint64", BigInt(tensors.length));
  out.number("uint64", BigInt(values.size));
  for (const [key, value] of values) {
    out.string(key);
    out.number("uint32", ggufTypes.indexOf(value.type));
    encodeValue(out, value);
  }
  const names = new Set<string>();
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    if (names.has(name)) throw new RangeError(`The tensor name "${name}" is taken.`);
    names.add(name);
    out.string(name);
    out.number("uint32", shape.length);
    for (const length of shape.toReversed()) out.number("uint64", BigInt(length));
    out.number("uint32", ggmlType(dtype));
    out.number("uint64", BigInt(offset));
    offset += padded(storedBytes({ dtype, shape }));
  }
  return out.all();
}

function encodeValue(out: Output, value: GgufValue): void {
  if (value.type === "array") encodeArray(out, value);
  else if (value.type === "string") out.string(value.value);
  else if (value.type === "bool") out.bytes(new Uint8Array([Number(value.value)]));
  else out.number(value.type, value.value);
}

function encodeArray(out: Output, array: GgufArray): void {
  out.number("uint32", ggufTypes.indexOf(array.of));
  out.number("uint64", BigInt(array.value.length));
  if (array.of === "array") for (const item of array.value) encodeArray(out, item);
  else if (array.value instanceof GgufStrings) out.bytes(array.value.data);
  else {
    const { buffer, byteOffset, byteLength } = array.value;
    out.bytes(new Uint8Array(buffer, byteOffset, byteLength));
  }
}

function ggmlType(dtype: StoredDType): number {
  const type = isFileDType(dtype) ? plainTypes[dtype] : blockFormats[dtype].ggmlType;
  if (type === undefined) throw new RangeError(`GGUF has no type for ${dtype}; it has ${Object.keys(plainTypes).join(", ")} and the block formats.`);
  return type;
}

/** The bytes of a tensor. Throws RangeError for a row that is no whole number of blocks. */
export function storedBytes({ dtype, shape }: { readonly dtype: StoredDType; readonly shape: readonly number[] }): number {
  const elements = shape.reduce((product, length) => product * length, 1);
  if (isFileDType(dtype)) return elements * fileDTypes[dtype];
  const { blockSize, blockBytes } = blockFormats[dtype];
  if ((shape.at(-1) ?? 1) % blockSize !== 0) throw new RangeError(`Rows of ${shape.at(-1)} are not a whole number of blocks of ${blockSize}.`);
  return (elements / blockSize) * blockBytes;
}

const setters = {
  uint8: ["setUint8", 1], int8: ["setInt8", 1], uint16: ["setUint16", 2], int16: ["setInt16", 2], uint32: ["setUint32", 4], int32: ["setInt32", 4],
  float32: ["setFloat32", 4], float64: ["setFloat64", 8], uint64: ["setBigUint64", 8], int64: ["setBigInt64", 8],
} as const;

class Output {
  readonly #parts: Uint8Array[] = [];

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  number(type: keyof typeof setters, value: number | bigint): void {
    const [setter, bytes] = setters[type];
    const view = new DataView(new ArrayBuffer(bytes));
    (view[setter] as (offset: number, value: number | bigint, littleEndian: boolean) => void).call(view, 0, value, true);
    this.bytes(new Uint8Array(view.buffer));
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.number("uint64", BigInt(bytes.length));
    this.bytes(bytes);
  }

  all(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}
