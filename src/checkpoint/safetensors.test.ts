import fc from "fast-check";
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CheckpointError } from "../errors.js";
import { fileDTypes, fromFloat16, fromFloat32, fromFloat8E4M3, toFloat16, toFloat32, type FileDType } from "./dtype.js";
import { Safetensors, writeSafetensors, writeSafetensorsFolder, type TensorToStore } from "./safetensors.js";

const fixture = (name: string) => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-safetensors-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A file with any header and any data, right or wrong. */
async function craft(header: string | Buffer | object, dataBytes: number, claimedLength?: bigint): Promise<string> {
  const json = Buffer.isBuffer(header) ? header : Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimedLength ?? BigInt(json.length));
  const path = join(folder, "crafted.safetensors");
  await writeFile(path, Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
  return path;
}
const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown) => ({ dtype, shape, data_offsets: [begin, end] });

const example: TensorToStore[] = [
  { name: "b", dtype: "F32", shape: [2, 3], data: fromFloat32("F32", new Float32Array([1, 2, 3, 4, 5, 6])) },
  { name: "a", dtype: "U8", shape: [5], data: new Uint8Array([1, 2, 3, 4, 5]) },
  { name: "c", dtype: "BF16", shape: [3], data: () => fromFloat32("BF16", new Float32Array([0.5, -2, 3])) },
  { name: "__proto__", dtype: "I64", shape: [], data: () => Promise.resolve(new Uint8Array(new BigInt64Array([-7n]).buffer)) },
  { name: "none", dtype: "F32", shape: [0, 4], data: new Uint8Array(0) },
];

describe("reading", () => {
  it("gives the values PyTorch wrote, of every dtype", async () => {
    await using file = await Safetensors.open(fixture("dtypes.safetensors"));
    const expected = JSON.parse(await readFile(fixture("dtypes.json"), "utf8")) as Record<string, { shape: number[]; values: (number | string)[] }>;
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(expected).sort());
    expect(file.metadata).toEqual({ format: "pt", "made by": "PyTorch" });
    for (const [name, { shape, values }] of Object.entries(expected)) {
      const tensor = file.get(name);
      expect(tensor.shape).toEqual(shape);
      expect(await tensor.readFloat32(), name).toEqual(Float32Array.from(values, Number));
    }
    await file.verify();
  });

  it("opens a folder that transformers saved, and reads parts of a tensor", async () => {
    await using file = await Safetensors.open(fixture("families/gpt2"));
    const tensor = file.get("transformer.wte.weight");
    expect(tensor).toMatchObject({ dtype: "BF16", shape: [41, 24], byteLength: 41 * 24 * 2 });
    const part = new Uint8Array(100);
    await tensor.readInto(part, 40);
    expect(part).toEqual((await tensor.read()).subarray(40, 140));
    await expect(tensor.readInto(part, tensor.byteLength - 99)).rejects.toThrow(RangeError);
    await expect(tensor.readInto(part, -1)).rejects.toThrow(RangeError);
    expect(() => file.get("transformer.wte")).toThrow(expect.objectContaining({ code: "no-such-tensor", field: "transformer.wte" }));
  });

  it.each<[what: string, header: string | Buffer | object, dataBytes: number, says: RegExp]>([
    ["no JSON", "{nonsense", 0, /not JSON/],
    ["not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 0, /not JSON/],
    ["an array", [], 0, /not a JSON object/],
    ["metadata of numbers", { __metadata__: { a: 1 } }, 0, /"__metadata__".*strings/],
    ["an entry without shape", { t: { dtype: "F32", data_offsets: [0, 4] } }, 4, /"t".*malformed.*shape/],
    ["an entry that is null", { t: null }, 0, /"t".*malformed/],
    ["a negative length", { t: entry("F32", [-1, -1], 0, 4) }, 4, /"t".*malformed/],
    ["a fractional length", { t: entry("F32", [0.5, 2], 0, 4) }, 4, /"t".*malformed/],
    ["an unknown dtype", { t: entry("Z4", [8], 0, 4) }, 4, /"t".*"Z4" is not one of F64/],
    ["a dtype named like a method", { t: entry("toString", [4], 0, 4) }, 4, /"t".*is not one of/],
    ["offsets that go back", { t: entry("F32", [1], 4, 0) }, 4, /"t".*bytes 4 to 0/],
    ["offsets beyond the end", { t: entry("F32", [2], 0, 8) }, 4, /"t".*bytes 0 to 8 .* the 4 bytes/],
    ["a negative offset", { t: entry("F32", [1], -4, 0) }, 4, /"t".*malformed/],
    ["a shape of other size", { t: entry("F32", [3], 0, 8) }, 8, /"t".*shape \[3\] of F32 takes 12 bytes.* gives it 8/],
    ["2^60 elements", { t: entry("F32", [2 ** 30, 2 ** 30], 0, 4) }, 4, /takes 4611686018427387904 bytes/],
    ["a product that wraps to its size in 64 bits", { t: entry("U8", [2 ** 32, 2 ** 32], 0, 0) }, 0, /takes 18446744073709551616 bytes/],
    ["overlap", { a: entry("U8", [4], 0, 4), b: entry("U8", [4], 2, 6) }, 6, /"b".*overlaps/],
    ["the same bytes twice", { a: entry("U8", [4], 0, 4), b: entry("U8", [4], 0, 4) }, 4, /"b".*overlaps/],
    ["a hole", { a: entry("U8", [2], 0, 2), b: entry("U8", [2], 4, 6) }, 6, /"b".*leaves 2 bytes/],
    ["a name twice", '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}', 4, /"a".*leaves 2 bytes/],
    ["bytes after the end", { a: entry("U8", [2], 0, 2) }, 5, /goes on for 3 bytes/],
  ])("refuses %s", async (_, header, dataBytes, says) => {
    const path = await craft(header, dataBytes);
    const opening = Safetensors.open(path);
    await expect(opening).rejects.toThrow(CheckpointError);
    await expect(opening).rejects.toMatchObject({ code: "bad-checkpoint", file: path, message: expect.stringMatching(says) as string });
  });

  it("refuses a file cut short at any byte, and headers of absurd length", async () => {
    const whole = join(folder, "whole.safetensors");
    await writeSafetensors(whole, example);
    const bytes = await readFile(whole);
    const cut = join(folder, "cut.safetensors");
    for (let length = 0; length < bytes.length; length++) {
      await writeFile(cut, bytes.subarray(0, length));
      await expect(Safetensors.open(cut)).rejects.toMatchObject({ code: "bad-checkpoint", file: cut });
    }
    for (const claimed of [2n ** 64n - 1n, 2n ** 63n, 2n ** 53n + 1n, 200_000_000n, 3n]) {
      await expect(Safetensors.open(await craft("{}", 0, claimed))).rejects.toThrow(/the header claims/);
    }
  });

  it("says when a file shrinks while it is open", async () => {
    const path = join(folder, "model.safetensors");
    await writeSafetensors(path, example);
    await using file = await Safetensors.open(path);
    await truncate(path, (await readFile(path)).length - 3);
    await expect(file.get("a").read()).rejects.toMatchObject({ code: "bad-checkpoint" });
  });

  it("never does anything with random damage but refuse it or read it", async () => {
    const path = join(folder, "model.safetensors");
    await writeSafetensors(path, example);
    const bytes = await readFile(path);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (damage) => {
        const copy = Buffer.from(bytes);
        for (const [at, value] of damage) copy[at] = value;
        await writeFile(path, copy);
        try {
          await using file = await Safetensors.open(path);
          for (const tensor of file.tensors.values()) await tensor.readFloat32();
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointError);
        }
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it("says what is missing", async () => {
    await expect(Safetensors.open(join(folder, "none"))).rejects.toMatchObject({ code: "no-such-file", file: join(folder, "none") });
    await expect(Safetensors.open(folder)).rejects.toThrow(/neither model.safetensors nor model.safetensors.index.json/);
  });
});

describe("writing", () => {
  it("comes back as it was, aligned, and the same each time", async () => {
    const path = join(folder, "model.safetensors");
    await writeSafetensors(path, example, { "made for": "a test" });
    const first = await readFile(path);
    await writeSafetensors(path, example.toReversed(), { "made for": "a test" });
    expect(await readFile(path)).toEqual(first);
    await using file = await Safetensors.open(path);
    expect(file.metadata).toMatchObject({ format: "pt", "made for": "a test" });
    expect([...file.tensors.keys()]).toHaveLength(5);
    for (const { name, dtype, shape, data } of example) {
      expect(file.get(name)).toMatchObject({ dtype, shape });
      expect(await file.get(name).read()).toEqual(typeof data === "function" ? await data() : data);
    }
    await file.verify();
    expect(Number(first.readBigUInt64LE()) % 8).toBe(0);
  });

  it("tells when any byte of header or data has changed", async () => {
    const path = join(folder, "model.safetensors");
    await writeSafetensors(path, example);
    const bytes = await readFile(path);
    const header = bytes.toString("latin1");
    for (const at of [header.indexOf('"pt"') + 1, header.indexOf('"b"') + 1, bytes.length - 1, bytes.length - 30]) {
      const copy = Buffer.from(bytes);
      copy[at] ^= 0x20;
      await writeFile(path, copy);
      await using file = await Safetensors.open(path);
      await expect(file.verify()).rejects.toMatchObject({ code: "bad-checkpoint", file: path, message: expect.stringMatching(/checksum/) as string });
    }
  });

  it("refuses data that is not its shape's and names twice, and keeps what stood before", async () => {
    const path = join(folder, "model.safetensors");
    await writeSafetensors(path, example);
    const before = await readFile(path);
    const wrong: TensorToStore = { name: "w", dtype: "F32", shape: [2], data: () => new Uint8Array(4) };
    await expect(writeSafetensors(path, [wrong])).rejects.toThrow('"w": F32 of shape [2] is 8 bytes, not 4.');
    await expect(writeSafetensors(path, [example[1], example[1]])).rejects.toThrow("taken");
    await expect(writeSafetensors(path, [{ ...wrong, shape: [2 ** 30, 2 ** 30] }])).rejects.toThrow("not a shape");
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
  });
});

describe("shards", () => {
  it("are written when a limit asks for them and read as one", async () => {
    await writeSafetensorsFolder(folder, example, { maxShardBytes: 25 });
    expect((await readdir(folder)).sort()).toEqual([
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
    ]);
    await using file = await Safetensors.open(folder);
    expect([...file.tensors.keys()].sort()).toEqual(example.map(({ name }) => name).sort());
    expect(await file.get("c").readFloat32()).toEqual(new Float32Array([0.5, -2, 3]));
    await file.verify();
    const index = JSON.parse(await readFile(join(folder, "model.safetensors.index.json"), "utf8")) as { metadata: { total_size: number } };
    expect(index.metadata.total_size).toBe(24 + 5 + 6 + 8);
  });

  it("are one file within the limit", async () => {
    await writeSafetensorsFolder(folder, example);
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
  });

  it("may hold what their index does not list, and lack what it lists, which is known", async () => {
    await writeSafetensorsFolder(folder, example, { maxShardBytes: 25 });
    const indexPath = join(folder, "model.safetensors.index.json");
    const { weight_map: { c: place, ...map } } = JSON.parse(await readFile(indexPath, "utf8")) as { weight_map: Record<string, string> };
    await writeFile(indexPath, JSON.stringify({ metadata: { total_size: 1 }, weight_map: { ...map, extra: "model-00001-of-00002.safetensors" } }));
    await using file = await Safetensors.open(folder);
    expect(await file.get("c").readFloat32()).toEqual(new Float32Array([0.5, -2, 3]));
    expect([...file.absent]).toEqual([["extra", "model-00001-of-00002.safetensors"]]);
    expect(file.tensors.has("extra")).toBe(false);
    // In two files, it is the one that the index says, or nobody knows which.
    const twice = [{ name: "c", dtype: "F32" as const, shape: [1], data: new Uint8Array(4) }, { name: "d", dtype: "U8" as const, shape: [1], data: new Uint8Array(1) }];
    await writeSafetensors(join(folder, "more.safetensors"), twice);
    await writeFile(indexPath, JSON.stringify({ weight_map: { ...map, c: place, d: "more.safetensors" } }));
    await using again = await Safetensors.open(folder);
    expect(again.get("c").file).toBe(join(folder, place));
    await writeFile(indexPath, JSON.stringify({ weight_map: { ...map, d: "more.safetensors" } }));
    await expect(Safetensors.open(folder)).rejects.toMatchObject({ code: "bad-checkpoint", field: "c" });
  });

  it("are refused when one is missing or lies elsewhere", async () => {
    await writeSafetensorsFolder(folder, example, { maxShardBytes: 25 });
    const indexPath = join(folder, "model.safetensors.index.json");
    const index = JSON.parse(await readFile(indexPath, "utf8")) as { weight_map: Record<string, string> };
    const withMap = (changes: Record<string, string>) => writeFile(indexPath, JSON.stringify({ weight_map: { ...index.weight_map, ...changes } }));
    for (const outside of ["../x.safetensors", "/etc/x.safetensors", "a\\b.safetensors", "model.bin", ""]) {
      await withMap({ b: outside });
      await expect(Safetensors.open(folder)).rejects.toMatchObject({ code: "bad-checkpoint", field: "b", file: indexPath });
    }
    await withMap({});
    await rm(join(folder, "model-00002-of-00002.safetensors"));
    await expect(Safetensors.open(folder)).rejects.toMatchObject({ code: "no-such-file", file: indexPath, field: "model-00002-of-00002.safetensors" });
    await writeFile(indexPath, "{}");
    await expect(Safetensors.open(folder)).rejects.toMatchObject({ code: "bad-checkpoint", field: "weight_map" });
  });

  it("are found after a swap that stopped half way", async () => {
    await mkdir(join(folder, ".model.old"));
    await writeSafetensorsFolder(join(folder, ".model.old"), example);
    await using file = await Safetensors.open(join(folder, "model"));
    expect(file.tensors.size).toBe(5);
  });
});

describe("dtypes", () => {
  it("round to nearest even on the way to half precision, and every half comes back", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = fromFloat16(bits);
      if (Number.isNaN(value)) expect(fromFloat16(toFloat16(value))).toBeNaN();
      else if (toFloat16(value) !== bits) throw new Error(`${bits} became ${toFloat16(value)}`);
    }
    for (let bits = 0; bits < 0x7bff; bits++) {
      const middle = (fromFloat16(bits) + fromFloat16(bits + 1)) / 2;
      const even = bits + (bits & 1);
      if (toFloat16(middle) !== even || toFloat16(-middle) !== (even | 0x8000)) throw new Error(`the middle after ${bits} did not go to ${even}`);
      if (toFloat16(middle * (1 + 2 ** -40)) !== bits + 1 || toFloat16(middle * (1 - 2 ** -40)) !== bits) throw new Error(`around the middle after ${bits}`);
    }
    expect([toFloat16(65519), toFloat16(65520), toFloat16(-Infinity), toFloat16(1e-8)]).toEqual([0x7bff, 0x7c00, 0xfc00, 0]);
  });

  it("know the ends of E4M3", () => {
    expect([fromFloat8E4M3(0x7e), fromFloat8E4M3(0x01), fromFloat8E4M3(0x80)]).toEqual([448, 2 ** -9, -0]);
    expect(fromFloat8E4M3(0xff)).toBeNaN();
  });

  it("read unaligned bytes, and refuse parts of elements and complex numbers", () => {
    for (const dtype of Object.keys(fileDTypes) as FileDType[]) {
      if (dtype === "C64") continue;
      const size = fileDTypes[dtype];
      const bytes = new Uint8Array(2 * size + 1).map((_, i) => (i * 37) & 0x3f);
      expect(toFloat32(dtype, bytes.subarray(1)), dtype).toEqual(toFloat32(dtype, bytes.slice(1)));
      if (size > 1) expect(() => toFloat32(dtype, bytes)).toThrow(/no whole number/);
    }
    expect(() => toFloat32("C64", new Uint8Array(8))).toThrow(/Complex/);
  });
});
