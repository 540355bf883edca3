/**
 * @file Reading the head of a GGUF file (ggml/docs/gguf.md), which is all of it but the tensors' data. All little-endian:
 *
 *     "GGUF"  uint32 version (2 or 3)  uint64 tensor count  uint64 metadata count
 *     each value    string key, uint32 type, value       a string: uint64 length, UTF-8; an array: uint32 type of items, uint64 count, items
 *     each tensor   string name, uint32 rank, uint64 lengths (innermost first), uint32 type, uint64 offset into the data
 *     the data, from the next multiple of `general.alignment` (32 where nothing is said)
 *
 * A file from outside is hostile: a count is held against the bytes that its items would take at least before anything is made from
 * it, nesting is bounded, and a tensor must lie in the file, aligned and alone. How long the head is stands nowhere, so it is parsed
 * from as much as was read, and from more where that was too little.
 */

import { CheckpointError, type FilePlace } from "../../errors.js";
import { blockFormatOfGgmlType, blockFormats, blockFormatNames } from "../../tensor/block-formats.js";
import { fileDTypes, isFileDType, type FileDType } from "../dtype.js";
import type { StoredDType } from "../stored-tensor.js";
import { GgufMetadata, GgufStrings, ggufTypes, type GgufArray, type GgufType, type GgufValue } from "./metadata.js";

export const ggufMagic = "GGUF";
export const defaultAlignment = 32;
export const alignmentKey = "general.alignment";

/** ggml's numbers of plain element types; those of the block formats stand with them. */
export const plainTypes: Readonly<Partial<Record<FileDType, number>>> = { F32: 0, F16: 1, BF16: 30, I8: 24, I16: 25, I32: 26, I64: 27, F64: 28 };

/** ggml has no tensors of more. */
const maxRank = 4;
const maxNesting = 4;
/** Items of arrays in arrays: nothing that exists has more than a few. */
const maxNestedArrays = 65_536;
const maxNameBytes = 65_535;
/** Of an array of texts: where each begins is kept in 32 bits. */
const maxTextBytes = 2 ** 32 - 8;
const maxAlignment = 2 ** 20;

/** A tensor's entry. */
export interface GgufTensorInfo {
  readonly name: string;
  readonly dtype: StoredDType;
  /** Row-major: outermost first, the reverse of the file's order. */
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly begin: number;
  readonly byteLength: number;
}

export interface GgufHeader {
  readonly version: 2 | 3;
  readonly metadata: GgufMetadata;
  readonly alignment: number;
  readonly tensors: readonly GgufTensorInfo[];
  /** Where the tensors' data begins. */
  readonly dataStart: number;
}

/** The head is longer than what was read; `bytes` are needed at least. */
export class HeaderGoesOn extends Error {
  constructor(readonly bytes: number) {
    super(`The head goes on to byte ${bytes} at least.`);
  }
}

/**
 * Parses a head from the first bytes of a file of `fileBytes`.
 *
 * @throws CheckpointError `bad-checkpoint`, `unsupported-format` for versions and types that are not known; HeaderGoesOn when `bytes` do not hold
 * all of it.
 */
export function parseGgufHeader(file: string, bytes: Uint8Array, fileBytes: number): GgufHeader {
  const cursor = new Cursor(file, bytes, fileBytes);
  const version = parseVersion(cursor);
  const tensorCount = cursor.count("the tensors", 24);
  const valueCount = cursor.count("the metadata", 13);
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < valueCount; i++) {
    const at = cursor.position;
    const key = cursor.name("a metadata key");
    if (values.has(key)) throw cursor.broken("the key stands there twice.", key, at);
    values.set(key, parseValue(cursor, key));
  }
  const metadata = new GgufMetadata(file, values);
  const alignment = metadata.number(alignmentKey, defaultAlignment);
  if (!(alignment >= 1 && alignment <= maxAlignment && (alignment & (alignment - 1)) === 0)) {
    throw cursor.broken(`an alignment of ${alignment} cannot be: it is a power of two.`, alignmentKey);
  }
  const entries = Array.from({ length: tensorCount }, () => parseTensor(cursor));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = entries.map((entry) => placeTensor(cursor, entry, dataStart, alignment));
  checkApart(cursor, tensors);
  return { version, metadata, alignment, tensors, dataStart };
}

function parseVersion(cursor: Cursor): 2 | 3 {
  if (cursor.text(4) !== ggufMagic) throw cursor.broken(`it does not begin with "${ggufMagic}", so it is no GGUF file.`, undefined, 0);
  const version = cursor.uint32();
  if (version === 2 || version === 3) return version;
  const swapped = (version & 0xffff) === 0 && version !== 0;
  const message = swapped ? "its numbers are big-endian, and only little-endian ones are read." : `its version is ${version}; those read are 2 and 3.`;
  throw new CheckpointError({ file: cursor.file, offset: 4 }, message, { code: "unsupported-format" });
}

function parseType(cursor: Cursor, key: string): GgufType {
  const at = cursor.position;
  const code = cursor.uint32();
  if (code >= ggufTypes.length) throw cursor.broken(`there is no type ${code} of metadata; there are 0 to ${ggufTypes.length - 1}.`, key, at);
  return ggufTypes[code];
}

function parseValue(cursor: Cursor, key: string): GgufValue {
  const type = parseType(cursor, key);
  switch (type) {
    case "string":
      return { type, value: cursor.string(key) };
    case "array":
      return parseArray(cursor, key, 1);
    case "bool":
      return { type, value: cursor.bytes(1)[0] !== 0 };
    case "uint64":
      return { type, value: cursor.numbers("uint64", 1)[0] };
    case "int64":
      return { type, value: cursor.numbers("int64", 1)[0] };
    default:
      return { type, value: cursor.numbers(type, 1)[0] };
  }
}

function parseArray(cursor: Cursor, key: string, depth: number): GgufArray {
  const of = parseType(cursor, key);
  if (of === "string") return { type: "array", of, value: cursor.strings(cursor.count("the array", 8, key), key) };
  if (of === "array") {
    const count = cursor.count("the array", 12, key);
    cursor.nested += count;
    if (depth >= maxNesting || cursor.nested > maxNestedArrays) throw cursor.broken("arrays in arrays, deeper or more than any model has.", key);
    return { type: "array", of, value: Array.from({ length: count }, () => parseArray(cursor, key, depth + 1)) };
  }
  const count = cursor.count("the array", numberBytes[of], key);
  return { type: "array", of, value: cursor.numbers(of, count) } as GgufArray;
}

interface TensorEntry {
  readonly name: string;
  readonly at: number;
  readonly lengths: readonly bigint[];
  readonly type: number;
  readonly offset: bigint;
}

function parseTensor(cursor: Cursor): TensorEntry {
  const at = cursor.position;
  const name = cursor.name("a tensor's name");
  const rank = cursor.uint32();
  if (rank > maxRank) throw cursor.broken(`a tensor of ${rank} dimensions cannot be: there are at most ${maxRank}.`, name, at);
  const lengths = [...cursor.numbers("uint64", rank)];
  const type = cursor.uint32();
  return { name, at, lengths, type, offset: cursor.numbers("uint64", 1)[0] };
}

function placeTensor(cursor: Cursor, { name, at, lengths, type, offset }: TensorEntry, dataStart: number, alignment: number): GgufTensorInfo {
  const plain = (Object.keys(plainTypes) as FileDType[]).find((dtype) => plainTypes[dtype] === type);
  const dtype = plain ?? (blockFormatOfGgmlType(type) as StoredDType | undefined);
  if (dtype === undefined) {
    const known = [...new Set([...Object.keys(plainTypes), ...blockFormatNames.map((format) => format.toUpperCase())])].join(", ");
    throw new CheckpointError({ file: cursor.file, field: name, offset: at }, `the quantisation type ${ggmlTypeName(type)} is not one of those known here: ${known}.`, {
      code: "unsupported-format",
    });
  }
  const { blockSize, blockBytes } = isFileDType(dtype) ? { blockSize: 1, blockBytes: fileDTypes[dtype] } : blockFormats[dtype];
  const row = lengths[0] ?? 1n;
  if (row % BigInt(blockSize) !== 0n) {
    throw cursor.broken(`rows of ${row} are not a whole number of the ${blockSize} elements that ${dtype.toUpperCase()} keeps in a block.`, name, at);
  }
  const bytes = (lengths.reduce((product, length) => product * length, 1n) / BigInt(blockSize)) * BigInt(blockBytes);
  const shape = lengths.map(Number).reverse();
  // Each length on its own as well: beside a length of 0, any other would do.
  if (!shape.every(Number.isSafeInteger) || BigInt(dataStart) + offset + bytes > BigInt(cursor.fileBytes)) {
    const where = `${bytes} bytes from ${BigInt(dataStart) + offset} on`;
    throw cursor.broken(`[${shape.join(", ")}] of ${dtype.toUpperCase()} takes ${where}, and the file has ${cursor.fileBytes}: it is cut short or altered.`, name, at);
  }
  if (offset % BigInt(alignment) !== 0n) throw cursor.broken(`its offset ${offset} is no multiple of the alignment ${alignment}.`, name, at);
  return { name, dtype, shape, begin: dataStart + Number(offset), byteLength: Number(bytes) };
}

function checkApart(cursor: Cursor, tensors: readonly GgufTensorInfo[]): void {
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw cursor.broken("the file has two tensors of this name.", name);
    names.add(name);
  }
  let previous: GgufTensorInfo | undefined;
  for (const tensor of tensors.filter(({ byteLength }) => byteLength > 0).sort((a, b) => a.begin - b.begin)) {
    if (previous !== undefined && tensor.begin < previous.begin + previous.byteLength) {
      throw cursor.broken(`the tensor overlaps "${previous.name}".`, tensor.name, tensor.begin);
    }
    previous = tensor;
  }
}

/** Types of ggml that are not read, so that they can be named. */
const otherTypes: Readonly<Record<number, string>> = {
  9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 40: "NVFP4",
};
function ggmlTypeName(type: number): string {
  return otherTypes[type] ?? String(type);
}

const arrays = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array,
  float32: Float32Array, float64: Float64Array, uint64: BigUint64Array, int64: BigInt64Array, bool: Uint8Array,
} as const;
type Numeric = keyof typeof arrays;
const numberBytes = Object.fromEntries(Object.entries(arrays).map(([type, array]) => [type, array.BYTES_PER_ELEMENT])) as Record<Numeric, number>;

/** A place in the head that moves forward; whatever it is asked for is held against the file's size first, then against what was read of it. */
class Cursor {
  position = 0;
  /** Arrays in arrays so far. */
  nested = 0;
  readonly #view: DataView;

  constructor(
    readonly file: string,
    readonly data: Uint8Array,
    readonly fileBytes: number,
  ) {
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  broken(message: string, field?: string, offset?: number): CheckpointError {
    const place: FilePlace = { file: this.file, ...(field !== undefined && { field: field.slice(0, 200) }), ...(offset !== undefined && { offset }) };
    return new CheckpointError(place, message, { code: "bad-checkpoint", hint: "Download or save it again." });
  }

  bytes(count: number): Uint8Array {
    const begin = this.position;
    if (begin + count > this.fileBytes) throw this.broken(`${count} more bytes belong here, and the file ends at ${this.fileBytes}: it is cut short or altered.`, undefined, begin);
    if (begin + count > this.data.length) throw new HeaderGoesOn(begin + count);
    this.position += count;
    return this.data.subarray(begin, begin + count);
  }

  text(count: number): string {
    return Buffer.from(this.bytes(count)).toString("latin1");
  }

  uint32(): number {
    this.bytes(4);
    return this.#view.getUint32(this.position - 4, true);
  }

  /** A uint64 that counts items of at least so many bytes each, all of which are still to come. */
  count(what: string, itemBytes: number, field?: string): number {
    const at = this.position;
    this.bytes(8);
    const count = this.#view.getBigUint64(at, true);
    if (count * BigInt(itemBytes) > BigInt(this.fileBytes - this.position)) {
      throw this.broken(`${what} should have ${count} items, more than the file's ${this.fileBytes} bytes can hold.`, field, at);
    }
    return Number(count);
  }

  /** A string's bytes. */
  #string(field?: string): Uint8Array {
    return this.bytes(this.count("the string", 1, field));
  }

  string(field?: string): string {
    return Buffer.from(this.#string(field)).toString("utf8");
  }

  /** A key or name: short, and UTF-8. */
  name(what: string): string {
    const at = this.position;
    const bytes = this.#string();
    if (bytes.length > maxNameBytes) throw this.broken(`${what} of ${bytes.length} bytes is longer than any can be.`, undefined, at);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.broken(`${what} is not UTF-8.`, undefined, at);
    }
  }

  strings(count: number, field: string): GgufStrings {
    const begin = this.position;
    if (count > maxTextBytes / 8) throw this.broken(`${count} texts are more than any model has.`, field, begin);
    const starts = new Uint32Array(count + 1);
    const [view, known] = [this.#view, this.data.length];
    let at = begin;
    for (let i = 0; i < count; i++) {
      starts[i] = at + 8 - begin;
      if (at + 8 > known) this.#jump(at, 8n, field);
      const low = view.getUint32(at, true);
      const high = view.getUint32(at + 4, true);
      if (high !== 0 || at + 8 + low > known) this.#jump(at, (BigInt(high) << 32n) + BigInt(low) + 8n, field);
      at += 8 + low;
    }
    starts[count] = at + 8 - begin;
    if (at - begin >= maxTextBytes) throw this.broken(`${at - begin} bytes of texts are more than any model has.`, field, begin);
    this.position = at;
    return new GgufStrings(this.data.subarray(begin, at), starts);
  }

  /** Says why `bytes` cannot be had from `at`: the file is too short, or what was read of it. */
  #jump(at: number, bytes: bigint, field: string): never {
    if (BigInt(at) + bytes > BigInt(this.fileBytes)) throw this.broken("a string of the array goes on past the end of the file: it is cut short or altered.", field, at);
    throw new HeaderGoesOn(at + Number(bytes));
  }

  numbers<T extends Numeric>(type: T, count: number): InstanceType<(typeof arrays)[T]> {
    // Copied, because a typed array must start at a multiple of its element's size.
    const bytes = this.bytes(count * numberBytes[type]).slice();
    return new arrays[type](bytes.buffer, 0, count) as InstanceType<(typeof arrays)[T]>;
  }
}
