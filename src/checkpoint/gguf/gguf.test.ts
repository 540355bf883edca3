import fc from "fast-check";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CheckpointError } from "../../errors.js";
import { fromFloat32 } from "../dtype.js";
import { Gguf, GgufStrings, gguf, writeGguf, type GgufTensorToStore, type GgufValue } from "./index.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-gguf-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const everyType: [string, GgufValue][] = [
  ["u8", { type: "uint8", value: 255 }],
  ["i8", { type: "int8", value: -128 }],
  ["u16", { type: "uint16", value: 65_535 }],
  ["i16", { type: "int16", value: -32_768 }],
  ["u32", gguf.uint32(2 ** 32 - 1)],
  ["i32", { type: "int32", value: -(2 ** 31) }],
  ["f32", gguf.float32(0.1)],
  ["f64", { type: "float64", value: 0.1 }],
  ["u64", { type: "uint64", value: 2n ** 64n - 1n }],
  ["i64", { type: "int64", value: -(2n ** 63n) }],
  ["yes", gguf.bool(true)],
  ["text", gguf.string("naïve 🖋")],
  ["texts", gguf.strings(["", "a", "🖋", "\u0000"])],
  ["no texts", gguf.strings([])],
  ["numbers", gguf.float32s([1.5, -2])],
  ["bools", gguf.bools([true, false])],
  ["longs", { type: "array", of: "int64", value: BigInt64Array.of(-1n, 5n) }],
  ["lists", { type: "array", of: "array", value: [gguf.int32s([1, 2]), gguf.strings(["x"])] as never }],
];

const tensors: GgufTensorToStore[] = [
  { name: "a", dtype: "F32", shape: [2, 3], data: fromFloat32("F32", new Float32Array([1, 2, 3, 4, 5, 6])) },
  { name: "b", dtype: "F16", shape: [3], data: () => fromFloat32("F16", new Float32Array([0.5, -2, 3])) },
  { name: "c", dtype: "q8_0", shape: [2, 1, 32], data: () => Promise.resolve(Uint8Array.from({ length: 68 }, (_, i) => i)) },
  { name: "scalar", dtype: "F32", shape: [], data: new Uint8Array(4) },
  { name: "none", dtype: "BF16", shape: [0, 7], data: new Uint8Array(0) },
];

/** The parts of a file, right or wrong. */
const u32 = (value: number) => Buffer.from(new Uint32Array([value]).buffer);
const u64 = (value: bigint | number) => Buffer.from(new BigUint64Array([BigInt(value)]).buffer);
const text = (value: string | Buffer) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const head = (tensorCount: bigint | number, valueCount: bigint | number) => [Buffer.from("GGUF"), u32(3), u64(tensorCount), u64(valueCount)];
const tensor = (name: string, lengths: (bigint | number)[], type: number, offset: bigint | number) => [text(name), u32(lengths.length), ...lengths.map(u64), u32(type), u64(offset)];
const padded = (parts: Buffer[], dataBytes: number) => {
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(Math.ceil(header.length / 32) * 32 - header.length + dataBytes)]);
};

async function open(bytes: Uint8Array): Promise<Gguf> {
  const path = join(folder, "file.gguf");
  await writeFile(path, bytes);
  return Gguf.open(path);
}

describe("GGUF", () => {
  it("gives back what was written: every type of value and its type, and the tensors", async () => {
    const path = join(folder, "file.gguf");
    await writeGguf(path, { metadata: new Map(everyType), tensors });
    await using file = await Gguf.open(path);
    expect([...file.metadata.values]).toEqual(everyType);
    expect([...file.tensors.values()].map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })));
    for (const { name, data } of tensors) expect(await file.tensors.get(name)!.read()).toEqual(new Uint8Array(typeof data === "function" ? await data() : data));
    expect(await file.tensors.get("b")!.readFloat32()).toEqual(new Float32Array([0.5, -2, 3]));

    const again = join(folder, "again.gguf");
    await writeGguf(again, { metadata: file.metadata, tensors: [...file.tensors.values()].map((tensor) => ({ ...tensor, data: () => tensor.read() })) });
    expect(await readFile(again)).toEqual(await readFile(path));
  });

  it("keeps the alignment that the metadata asks for", async () => {
    const path = join(folder, "file.gguf");
    await writeGguf(path, { metadata: new Map([["general.alignment", gguf.uint32(256)]]), tensors });
    await using file = await Gguf.open(path);
    expect(file.alignment).toBe(256);
    expect(await file.tensors.get("c")!.read()).toEqual(Uint8Array.from({ length: 68 }, (_, i) => i));
  });

  it("reads heads longer than the first read, and version 2", async () => {
    const many = gguf.strings(Array.from({ length: 30_000 }, (_, i) => `token number ${i}`));
    const path = join(folder, "file.gguf");
    await writeGguf(path, { metadata: new Map([["tokens", many], ["after", gguf.uint32(7)]]), tensors });
    const bytes = await readFile(path);
    bytes.writeUInt32LE(2, 4);
    await using file = await open(bytes);
    expect(file.version).toBe(2);
    const tokens = file.metadata.strings("tokens");
    expect([tokens.length, tokens.at(29_999), Buffer.from(tokens.bytes(123)).toString()]).toEqual([30_000, "token number 29999", "token number 123"]);
    expect(tokens.toArray().slice(5, 7)).toEqual(["token number 5", "token number 6"]);
    expect(() => tokens.at(30_000)).toThrow(RangeError);
    expect(file.metadata.number("after")).toBe(7);
  });

  it("reads values as what is expected, and names the key where they are something else", async () => {
    const path = join(folder, "file.gguf");
    await writeGguf(path, { metadata: new Map(everyType), tensors: [] });
    await using file = await Gguf.open(path);
    const { metadata } = file;
    expect([metadata.number("i8"), metadata.number("none", 5), metadata.flag("yes"), metadata.text("text")]).toEqual([-128, 5, true, "naïve 🖋"]);
    expect([metadata.numbers("longs"), metadata.strings("texts").length]).toEqual([Float64Array.of(-1, 5), 4]);
    expect(() => metadata.number("u64")).toThrow(/"u64": this must be a number, and it is uint64 18446744073709551615/);
    expect(() => metadata.text("texts")).toThrow(/"texts": this must be a text, and it is an array of string/);
    expect(() => metadata.strings("numbers")).toThrow(/list of texts.*array of float32/);
    expect(() => metadata.flag("absent")).toThrow(expect.objectContaining({ code: "bad-config", field: "absent", file: path }));
  });

  it("opens what the gguf package wrote", async () => {
    await using file = await Gguf.open(fileURLToPath(new URL("../../../test/fixtures/gguf-package.gguf", import.meta.url)));
    const expected = JSON.parse(await readFile(new URL("../../../test/fixtures/gguf-package.json", import.meta.url), "utf8")) as {
      fields: Record<string, unknown>;
      tensors: Record<string, { shape: number[]; values: number[] }>;
    };
    for (const [key, value] of Object.entries(expected.fields)) {
      const found = file.metadata.values.get(key)!;
      const plain = found.type !== "array" ? found.value : found.value instanceof GgufStrings ? found.value.toArray() : Array.from(found.value as ArrayLike<number>);
      expect(typeof plain === "bigint" ? Number(plain) : plain, key).toEqual(value);
    }
    expect([...file.tensors.keys()]).toEqual(Object.keys(expected.tensors));
    for (const [name, { shape, values }] of Object.entries(expected.tensors)) {
      expect(file.tensors.get(name)!.shape).toEqual(shape);
      expect([...(await file.tensors.get(name)!.readFloat32())], name).toEqual(values);
    }
  });
});

describe("a hostile GGUF file", () => {
  it.each<[what: string, bytes: Buffer, says: RegExp]>([
    ["another magic", Buffer.concat([Buffer.from("GGML"), Buffer.alloc(40)]), /at byte 0: .*no GGUF file/],
    ["2^64 - 1 tensors", padded(head(2n ** 64n - 1n, 0), 0), /at byte 8: the tensors should have 18446744073709551615 items/],
    ["2^60 values", padded(head(0, 2n ** 60n), 0), /at byte 16: the metadata should have/],
    ["a key of 2^62 bytes", padded([...head(0, 1), u64(2n ** 62n), u32(0)], 64), /at byte 24: the string should have/],
    ["a key that is no UTF-8", padded([...head(0, 1), text(Buffer.from([0xff, 0xfe])), u32(0), u32(0)], 64), /at byte 24: a metadata key is not UTF-8/],
    ["a key twice", padded([...head(0, 2), text("k"), u32(4), u32(1), text("k"), u32(4), u32(1)], 64), /"k".*stands there twice/],
    ["a type of value that is none", padded([...head(0, 1), text("k"), u32(13)], 64), /"k".*no type 13/],
    ["an array of 2^61 numbers", padded([...head(0, 1), text("k"), u32(9), u32(4), u64(2n ** 61n)], 64), /"k".*array should have 2305843009213693952 items/],
    ["an array of 2^40 strings", padded([...head(0, 1), text("k"), u32(9), u32(8), u64(2n ** 40n)], 64), /"k".*array should have/],
    ["a string in an array that goes past the end", padded([...head(0, 1), text("k"), u32(9), u32(8), u64(2), u64(2n ** 63n)], 64), /"k".*goes on past the end/],
    ["arrays in arrays in arrays in arrays in arrays", padded([...head(0, 1), text("k"), u32(9), ...Array.from({ length: 5 }, () => [u32(9), u64(1)]).flat()], 64), /"k".*arrays in arrays/],
    ["many arrays in an array", padded([...head(0, 1), text("k"), u32(9), u32(9), u64(70_000)], 12 * 70_000), /"k".*arrays in arrays/],
    ["an alignment of 0", padded([...head(0, 1), text("general.alignment"), u32(4), u32(0)], 64), /"general.alignment".*alignment of 0/],
    ["an alignment of 24", padded([...head(0, 1), text("general.alignment"), u32(4), u32(24)], 64), /"general.alignment".*alignment of 24/],
    ["a tensor of 9 dimensions", padded([...head(1, 0), ...tensor("t", [1, 1, 1, 1, 1, 1, 1, 1, 1], 0, 0)], 64), /"t".*9 dimensions/],
    ["2^60 elements", padded([...head(1, 0), ...tensor("t", [2n ** 60n], 0, 0)], 64), /"t".*takes 4611686018427387904 bytes/],
    ["a product that wraps to its size in 64 bits", padded([...head(1, 0), ...tensor("t", [2n ** 32n, 2n ** 32n], 24, 0)], 64), /"t".*takes 18446744073709551616 bytes/],
    ["2^63 rows of nothing", padded([...head(1, 0), ...tensor("t", [0, 2n ** 63n], 0, 0)], 64), /"t".*takes 0 bytes/],
    ["an offset past the end", padded([...head(1, 0), ...tensor("t", [8], 0, 64)], 64), /"t".*cut short/],
    ["an offset of 2^64 - 32", padded([...head(1, 0), ...tensor("t", [8], 0, 2n ** 64n - 32n)], 64), /"t".*cut short/],
    ["an offset off the alignment", padded([...head(1, 0), ...tensor("t", [4], 0, 4)], 64), /"t".*offset 4 is no multiple/],
    ["rows that are no whole number of blocks", padded([...head(1, 0), ...tensor("t", [48, 2], 2, 0)], 64), /"t".*rows of 48 .* 32 .* Q4_0/],
    ["overlap", padded([...head(2, 0), ...tensor("a", [16], 0, 0), ...tensor("b", [8], 0, 32)], 64), /"b", at byte .*overlaps "a"/],
    ["two tensors of one name", padded([...head(2, 0), ...tensor("a", [8], 0, 0), ...tensor("a", [8], 0, 32)], 64), /"a".*two tensors/],
  ])("is refused: %s", async (_, bytes, says) => {
    const opening = open(bytes);
    await expect(opening).rejects.toThrow(CheckpointError);
    await expect(opening).rejects.toMatchObject({ code: "bad-checkpoint", file: join(folder, "file.gguf"), message: expect.stringMatching(says) as string });
  });

  it.each<[what: string, bytes: Buffer, says: RegExp]>([
    ["version 1", padded([Buffer.from("GGUF"), u32(1), u64(0), u64(0)], 0), /at byte 4: its version is 1; those read are 2 and 3/],
    ["big-endian numbers", padded([Buffer.from("GGUF"), Buffer.from([0, 0, 0, 3]), u64(0), u64(0)], 0), /big-endian/],
    ["an unknown quantisation", padded([...head(1, 0), ...tensor("t", [256], 16, 0)], 256), /"t".*IQ2_XXS is not one of .*Q4_K.*MXFP4/],
  ])("is refused as not supported: %s", async (_, bytes, says) => {
    await expect(open(bytes)).rejects.toMatchObject({ code: "unsupported-format", message: expect.stringMatching(says) as string });
  });

  it("is refused wherever it is cut short", async () => {
    const path = join(folder, "whole.gguf");
    await writeGguf(path, { metadata: new Map(everyType), tensors });
    const bytes = await readFile(path);
    const end = bytes.length - 32; // the last tensors are a scalar, padded, and nothing
    for (let length = 0; length < end; length++) await expect(open(bytes.subarray(0, length)), String(length)).rejects.toMatchObject({ code: "bad-checkpoint" });
  });

  it("does nothing with random damage but refuse it or read it", async () => {
    const path = join(folder, "whole.gguf");
    await writeGguf(path, { metadata: new Map(everyType), tensors });
    const bytes = await readFile(path);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (damage) => {
        const damaged = Buffer.from(bytes);
        for (const [at, value] of damage) damaged[at] = value;
        try {
          await using file = await open(damaged);
          for (const tensor of file.tensors.values()) await tensor.read();
          for (const value of file.metadata.values.values()) if (value.type === "array" && value.of === "string") value.value.toArray();
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointError);
          expect((error as CheckpointError).file).toBe(join(folder, "file.gguf"));
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});
