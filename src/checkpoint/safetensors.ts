/**
 * @file Tensors in files, as the ecosystem keeps them: safetensors (https://github.com/huggingface/safetensors, "Format").
 *
 *     8 bytes   N, little-endian
 *     N bytes   JSON: {"__metadata__": {...strings}, "NAME": {"dtype", "shape", "data_offsets": [begin, end]}, ...}, padded with spaces
 *     the rest  the tensors' bytes, row-major, little-endian; offsets count from here
 *
 * A file from outside is hostile: the header is checked as a whole before any of it is believed (sizes in exact arithmetic, offsets inside
 * the file, every byte belonging to exactly one tensor), and data is read tensor by tensor, never the whole file.
 *
 * What is written here also carries, in the metadata, a SHA-256 over its data and header, which other readers ignore; `verify` tells an
 * altered file by it.
 *
 * A large model is several files beside `model.safetensors.index.json`, which says in which file each tensor is.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { CheckpointError } from "../errors.js";
import { readableFolder, writeFileAtomically } from "./atomic.js";
import { fileDTypes, isFileDType, type FileDType } from "./dtype.js";
import { broken, cannotOpen, FileBytes, storedTensor, writeFully } from "./file-bytes.js";
import { quantizedError } from "./quantized.js";
import { inShards } from "./shards.js";
import type { StoredTensor, WeightFile } from "./stored-tensor.js";

/** The reference implementation's own limit. */
const maxHeaderBytes = 100_000_000;
/** Pieces of this size keep hashing in cache and memory low. */
const pieceBytes = 8 << 20;
const hashKey = "hornbook.sha256";
const noHash = "0".repeat(64);
export const singleFileName = "model.safetensors";
export const indexFileName = "model.safetensors.index.json";

/** A tensor to be written; `data` may be a function, called when its turn comes, so that a model need not be in memory twice. */
export interface TensorToStore {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  readonly data: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/** The tensors of one file, or of all the files of a sharded checkpoint. Close it (or `await using`). */
export class Safetensors implements WeightFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor<FileDType>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #files: readonly OpenFile[];

  private constructor(
    path: string,
    tensors: ReadonlyMap<string, StoredTensor<FileDType>>,
    metadata: Readonly<Record<string, string>>,
    files: readonly OpenFile[],
    /** Tensors that the index lists and no file has, with the file that it names. Often nobody needs them, such as a head that is the embedding. */
    readonly absent: ReadonlyMap<string, string> = new Map(),
  ) {
    this.path = path;
    this.tensors = tensors;
    this.metadata = metadata;
    this.#files = files;
  }

  /**
   * Opens a `.safetensors` file, an index file, or a folder that holds `model.safetensors` or `model.safetensors.index.json`.
   *
   * @throws CheckpointError `no-such-file`, or `bad-checkpoint` saying which file is wrong and how.
   */
  static async open(path: string): Promise<Safetensors> {
    const place = await findCheckpoint(path);
    if (place.endsWith(".json")) return Safetensors.#openShards(place);
    const file = await OpenFile.open(place);
    return new Safetensors(place, file.tensors, file.metadata, [file]);
  }

  static async #openShards(indexPath: string): Promise<Safetensors> {
    const index = new Map(await readIndex(indexPath));
    const files = new Map<string, OpenFile>();
    const tensors = new Map<string, StoredTensor<FileDType>>();
    try {
      for (const fileName of new Set(index.values())) files.set(fileName, await openShard(indexPath, fileName));
      for (const [fileName, file] of files) {
        for (const [name, tensor] of file.tensors) {
          const place = index.get(name);
          if (place !== undefined && place !== fileName && files.get(place)!.tensors.has(name)) continue;
          if (tensors.has(name)) throw broken({ file: tensor.file, field: name }, `this tensor is in ${basename(tensors.get(name)!.file)} as well, and ${basename(indexPath)} does not say which counts.`);
          tensors.set(name, tensor);
        }
      }
    } catch (error) {
      for (const file of files.values()) await file.close();
      throw error;
    }
    const metadata = [...files.values()].at(0)?.metadata ?? {};
    const absent = new Map([...index].filter(([name]) => !tensors.has(name)));
    return new Safetensors(indexPath, tensors, metadata, [...files.values()], absent);
  }

  /** @throws CheckpointError `no-such-tensor` */
  get(name: string): StoredTensor<FileDType> {
    const tensor = this.tensors.get(name);
    if (tensor !== undefined) return tensor;
    const some = [...this.tensors.keys()].slice(0, 5).join(", ");
    throw new CheckpointError({ file: this.path, field: name }, `there is no such tensor among its ${this.tensors.size}${some === "" ? "" : ` (${some}, ...)`}.`, {
      code: "no-such-tensor",
    });
  }

  /**
   * Reads everything and compares it with the hash that Hornbook writes; a file by another program carries none and passes.
   *
   * @throws CheckpointError `bad-checkpoint` where a single bit differs.
   */
  async verify(): Promise<void> {
    for (const file of this.#files) await file.verify();
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A file that an index lists. */
async function openShard(indexPath: string, fileName: string): Promise<OpenFile> {
  try {
    return await OpenFile.open(join(dirname(indexPath), fileName));
  } catch (error) {
    if (!(error instanceof CheckpointError && error.code === "no-such-file")) throw error;
    throw new CheckpointError({ file: indexPath, field: fileName }, "there is no such file beside the index, which lists it as a part of the model.", {
      code: "no-such-file",
      hint: "Download or copy all parts of the model.",
      cause: error,
    });
  }
}

/** One open file with its header checked. */
class OpenFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, StoredTensor<FileDType>>;
  readonly #file: FileBytes;
  readonly #header: Uint8Array;

  private constructor(file: FileBytes, header: Uint8Array) {
    const dataStart = 8 + header.length;
    const { metadata, entries } = parseHeader(file.path, header, file.size - dataStart);
    this.#file = file;
    this.#header = header;
    this.metadata = metadata;
    this.tensors = new Map(
      entries.map(({ name, dtype, shape, begin, end }) => [name, storedTensor(file, { name, dtype, shape, begin: dataStart + begin, byteLength: end - begin })]),
    );
  }

  static async open(path: string): Promise<OpenFile> {
    const file = await FileBytes.open(path);
    try {
      const { size } = file;
      if (size < 8) throw broken({ file: path }, `the file has ${size} bytes, too few for a safetensors header: it is cut short or something else.`);
      const length = new DataView((await file.read(0, 8)).buffer).getBigUint64(0, true);
      if (length > BigInt(size - 8) || length > maxHeaderBytes) {
        throw broken({ file: path, offset: 0 }, `the header claims ${length} bytes and the file has ${size}: it is cut short, or no safetensors file.`);
      }
      return new OpenFile(file, await file.read(8, Number(length)));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async verify(): Promise<void> {
    const expected = this.metadata[hashKey];
    if (expected === undefined) return;
    const hash = createHash("sha256");
    const piece = new Uint8Array(pieceBytes);
    const { size, path } = this.#file;
    for (let at = 8 + this.#header.length; at < size; at += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, size - at));
      await this.#file.readInto(part, at);
      hash.update(part);
    }
    hash.update(withoutHash(this.#header, expected));
    if (hash.digest("hex") !== expected) throw broken({ file: path }, "its content is not what was written: the checksum differs.");
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

interface HeaderEntry {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

const size = z.int().nonnegative();
const entrySchema = z.object({ dtype: z.string(), shape: z.array(size).max(64), data_offsets: z.tuple([size, size]) });
const metadataSchema = z.record(z.string(), z.string());

function parseHeader(file: string, bytes: Uint8Array, dataBytes: number): { metadata: Record<string, string>; entries: HeaderEntry[] } {
  const json = parseJson({ file, offset: 8 }, "the header", bytes);
  let metadata: Record<string, string> = {};
  const entries: HeaderEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") {
      const parsed = metadataSchema.safeParse(value);
      if (!parsed.success) throw broken({ file, field: name }, "the metadata is not an object of strings.");
      metadata = parsed.data;
    } else entries.push(parseEntry(file, name, value, dataBytes));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== position) {
      const how = begin < position ? "overlaps the tensor before it" : `leaves ${begin - position} bytes before it that belong to no tensor`;
      throw broken({ file, field: name, offset: 8 + bytes.length + begin }, `the tensor ${how}.`);
    }
    position = end;
  }
  if (position !== dataBytes) {
    throw broken({ file, offset: 8 + bytes.length + position }, `the tensors end here, and the file goes on for ${dataBytes - position} bytes.`);
  }
  return { metadata, entries };
}

function parseEntry(file: string, name: string, value: unknown, dataBytes: number): HeaderEntry {
  const place = { file, field: name };
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) throw broken(place, `the tensor's entry is malformed: ${z.prettifyError(parsed.error).replaceAll("\n", " ")}.`);
  const { dtype, shape, data_offsets: [begin, end] } = parsed.data;
  if (!isFileDType(dtype)) {
    if (/^(F4|F6_E\dM\d|F8_E\dM\d(FNUZ)?|[IU][1-7])$/.test(dtype)) throw quantizedError(place, `to ${dtype}`);
    throw new CheckpointError(place, `the dtype ${JSON.stringify(dtype)} is not one of ${Object.keys(fileDTypes).join(", ")}.`, { code: "bad-checkpoint" });
  }
  if (begin > end || end > dataBytes) {
    throw broken(place, `its bytes ${begin} to ${end} do not lie in the ${dataBytes} bytes of data that the file has: it is cut short or altered.`);
  }
  const byteLength = shape.reduce((product, length) => product * BigInt(length), BigInt(fileDTypes[dtype]));
  if (byteLength !== BigInt(end - begin)) {
    throw broken(place, `shape [${shape.join(", ")}] of ${dtype} takes ${byteLength} bytes, and the entry gives it ${end - begin}.`);
  }
  return { name, dtype, shape, begin, end };
}

/** As entries, since zod's own objects drop a tensor that is called `__proto__`. */
const weightMapSchema = z.custom<object>(isPlainObject).transform((map) => Object.entries(map)).pipe(z.array(z.tuple([z.string(), z.string()])));
const indexSchema = z.object({ weight_map: weightMapSchema });

async function readIndex(path: string): Promise<[name: string, file: string][]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw cannotOpen(path, error);
  });
  const parsed = indexSchema.safeParse(parseJson({ file: path }, "the index", bytes));
  if (!parsed.success) throw broken({ file: path, field: "weight_map" }, "it is not an object that gives each tensor's file.");
  const entries = parsed.data.weight_map;
  for (const [name, file] of entries) {
    // A name is a file beside the index and nothing else: an index from outside must not reach into other folders.
    if (!/^[^/\\]+\.safetensors$/.test(file)) throw broken({ file: path, field: name }, `${JSON.stringify(file)} is not the name of a safetensors file.`);
  }
  return entries;
}

function parseJson(place: { file: string; offset?: number }, what: string, bytes: Uint8Array): object {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw broken(place, `${what} is not JSON (${error instanceof Error ? error.message : String(error)}).`);
  }
  if (!isPlainObject(json)) throw broken(place, `${what} is not a JSON object.`);
  return json;
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function findCheckpoint(path: string): Promise<string> {
  const place = await readableFolder(path);
  const info = await stat(place).catch((error: unknown) => {
    throw cannotOpen(path, error);
  });
  if (!info.isDirectory()) return place;
  for (const name of [singleFileName, indexFileName]) {
    const inside = join(place, name);
    if ((await stat(inside).catch(() => undefined)) !== undefined) return inside;
  }
  throw new CheckpointError({ file: path }, `the folder holds neither ${singleFileName} nor ${indexFileName}.`, {
    code: "no-such-file",
    hint: "Name the folder of a model that was saved or downloaded whole.",
  });
}

/**
 * Writes one file, atomically. Tensors are laid out by element size, then name, as the reference implementation does, so that each is aligned
 * and the same tensors give the same bytes. The metadata says `"format": "pt"`, which transformers asks for.
 *
 * @throws CheckpointError as `writeFileAtomically`; RangeError for data whose size is not its shape's.
 */
export async function writeSafetensors(path: string, tensors: Iterable<TensorToStore>, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
  const sorted = [...tensors].sort((a, b) => fileDTypes[b.dtype] - fileDTypes[a.dtype] || (a.name < b.name ? -1 : 1));
  const headerBytes = encodeHeader(sorted, metadata, noHash).length;
  await streamSafetensors(path, headerBytes, async (append) => {
    for (const tensor of sorted) {
      const data = typeof tensor.data === "function" ? await tensor.data() : tensor.data;
      if (data.byteLength !== bytesOf(tensor)) {
        throw new RangeError(`"${tensor.name}": ${tensor.dtype} of shape [${tensor.shape.join(", ")}] is ${bytesOf(tensor)} bytes, not ${data.byteLength}.`);
      }
      await append(data);
    }
    return { tensors: sorted, metadata };
  });
}

type Layout = Pick<TensorToStore, "name" | "dtype" | "shape">;

/**
 * Writes a file whose shapes are known only when its data is: `fill` appends the bytes, then says which tensors, in the order of the
 * bytes, they were. The header goes into `headerBytes` left free for it, a multiple of 8.
 *
 * @throws as `writeSafetensors`; RangeError for a header that does not fit.
 */
export async function streamSafetensors(
  path: string,
  headerBytes: number,
  fill: (append: (data: Uint8Array) => Promise<void>) => Promise<{ tensors: readonly Layout[]; metadata: Readonly<Record<string, string>> }>,
): Promise<void> {
  await writeFileAtomically(path, async (file) => {
    const hash = createHash("sha256");
    const start = 8 + headerBytes;
    let position = start;
    const { tensors, metadata } = await fill(async (data) => {
      hash.update(data);
      position = await writeFully(file, data, position);
    });
    const promised = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    if (promised !== position - start) throw new RangeError(`The tensors take ${promised} bytes, and ${position - start} were written.`);
    const digest = hash.update(encodeHeader(tensors, metadata, noHash, headerBytes)).digest("hex");
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(headerBytes), true);
    await writeFully(file, encodeHeader(tensors, metadata, digest, headerBytes), await writeFully(file, length, 0));
  });
}

/** The header's JSON, padded with spaces to `length`, or to the next multiple of 8, so that the data is aligned. */
function encodeHeader(tensors: readonly Layout[], metadata: Readonly<Record<string, string>>, hash: string, length?: number): Uint8Array {
  const entries = new Map<string, unknown>([["__metadata__", { format: "pt", ...metadata, [hashKey]: hash }]]);
  let position = 0;
  for (const { name, dtype, shape } of tensors) {
    if (entries.has(name)) throw new RangeError(`The tensor name "${name}" is taken.`);
    const begin = position;
    position += bytesOf({ dtype, shape });
    entries.set(name, { dtype, shape, data_offsets: [begin, position] });
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const header = new Uint8Array(length ?? Math.ceil(json.length / 8) * 8).fill(0x20);
  if (json.length > header.length) throw new RangeError(`A header of ${json.length} bytes does not fit into ${header.length}.`);
  header.set(json);
  return header;
}

/**
 * Writes a checkpoint's tensors into a fresh folder (see `writeFolderAtomically`): `model.safetensors`, or, beyond `maxShardBytes`,
 * `model-00001-of-0000N.safetensors` with their index. Tensors keep their order over the shards.
 */
export async function writeSafetensorsFolder(
  folder: string,
  tensors: Iterable<TensorToStore>,
  { maxShardBytes = 5e9, metadata = {} }: { maxShardBytes?: number; metadata?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const shards = inShards(tensors, bytesOf, maxShardBytes);
  const totalBytes = shards.flat().reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  if (shards.length === 1) return writeSafetensors(join(folder, singleFileName), shards[0], metadata);
  const number = (n: number): string => String(n).padStart(5, "0");
  const weightMap: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(join(folder, file), shard, metadata);
    for (const { name } of shard) weightMap.push([name, file]);
  }
  const index = { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries(weightMap) };
  await writeFileAtomically(join(folder, indexFileName), `${JSON.stringify(index, null, 2)}\n`);
}

function bytesOf({ dtype, shape }: { dtype: FileDType; shape: readonly number[] }): number {
  const bytes = shape.reduce((product, length) => product * length, fileDTypes[dtype]);
  if (!Number.isSafeInteger(bytes) || !shape.every((length) => Number.isInteger(length) && length >= 0)) {
    throw new RangeError(`[${shape.join(", ")}] is not a shape that can be stored.`);
  }
  return bytes;
}

/** A header as it was hashed: with zeros where the hash stands now. */
function withoutHash(header: Uint8Array, hash: string): Uint8Array {
  const copy = Buffer.from(header);
  const key = `"${hashKey}":"`;
  const at = copy.indexOf(key + hash);
  if (at >= 0) copy.write(noHash, at + key.length, "latin1");
  return copy;
}
