import fc from "fast-check";
import { mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CheckpointError } from "../errors.js";
import { transformerOf } from "../model/index.js";
import { LanguageModel } from "../language-model.js";
import { Random } from "../tensor/index.js";
import { openModel } from "./model-source.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-source-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const sizes = { vocabSize: 19, hiddenSize: 12, numLayers: 2, numHeads: 2, numKeyValueHeads: 1, intermediateSize: 20, contextLength: 8 };
const randomLlama = (seed: number, tieEmbeddings: boolean) =>
  new LanguageModel({ ...sizes, norm: "rmsnorm", position: "rope", feedForward: "swiglu", bias: false, tieEmbeddings }, { seed });

/** A model's weights as llama2.c writes them. */
async function llama2c(model: LanguageModel, version: 0 | 1): Promise<Buffer> {
  const { hiddenSize, intermediateSize, numLayers, numHeads, numKeyValueHeads, vocabSize, contextLength, headSize, tieEmbeddings } = transformerOf(model.config)!;
  const parameters = model.parameters();
  const get = async (name: string) => (await parameters.get(name)!.data()) as Float32Array;
  const part = async (name: string, begin: number, rows: number) => (await get(name)).subarray(begin * hiddenSize, (begin + rows) * hiddenSize);
  const paired = (rows: Float32Array) => {
    const result = new Float32Array(rows.length);
    for (let row = 0; row * hiddenSize < rows.length; row++) {
      const i = row % headSize;
      const from = row - i + (i % 2) * (headSize / 2) + Math.floor(i / 2);
      result.set(rows.subarray(from * hiddenSize, (from + 1) * hiddenSize), row * hiddenSize);
    }
    return result;
  };
  const each = async (what: (block: string) => Promise<Float32Array>) => Promise.all(Array.from({ length: numLayers }, (_, i) => what(`blocks.${i}`)));
  const [queries, keys] = [hiddenSize, numKeyValueHeads * headSize];
  const qkv = "mixer.queryKeyValue.weight";
  const attentionNorms = await each((block) => get(`${block}.norm1.weight`));
  const feedForwardNorms = await each((block) => get(`${block}.norm2.weight`));
  const attention = [
    ...(await each(async (block) => paired(await part(`${block}.${qkv}`, 0, queries)))),
    ...(await each(async (block) => paired(await part(`${block}.${qkv}`, queries, keys)))),
    ...(await each((block) => part(`${block}.${qkv}`, queries + keys, keys))),
    ...(await each((block) => get(`${block}.mixer.output.weight`))),
  ];
  const feedForward = [
    ...(await each((block) => part(`${block}.feedForward.gateUp.weight`, 0, intermediateSize))),
    ...(await each((block) => get(`${block}.feedForward.down.weight`))),
    ...(await each((block) => part(`${block}.feedForward.gateUp.weight`, intermediateSize, intermediateSize))),
  ];
  const [embedding, finalNorm] = [await get("embed"), await get("finalNorm.weight")];
  const head = tieEmbeddings ? [] : [await get("unembed")];
  const fields = [hiddenSize, intermediateSize, numLayers, numHeads, numKeyValueHeads, version === 0 && !tieEmbeddings ? -vocabSize : vocabSize, contextLength];
  const start = Buffer.alloc(version === 0 ? 28 : 256);
  if (version === 1) {
    start.writeUInt32LE(0x616b3432, 0);
    start.writeInt32LE(1, 4);
    start[36] = Number(tieEmbeddings);
  }
  fields.forEach((field, i) => start.writeInt32LE(field, (version === 1 ? 8 : 0) + 4 * i));
  const order =
    version === 0
      ? [embedding, ...attentionNorms, ...attention, ...feedForwardNorms, ...feedForward, finalNorm, new Float32Array(contextLength * headSize), ...head]
      : [...attentionNorms, ...feedForwardNorms, finalNorm, embedding, ...attention, ...feedForward, ...head];
  return Buffer.concat([start, ...order.map((values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength))]);
}

async function weightsOf(model: LanguageModel): Promise<[string, unknown][]> {
  return Promise.all([...model.parameters()].map(async ([name, tensor]): Promise<[string, unknown]> => [name, await tensor.data()]));
}

describe("a llama2.c checkpoint", () => {
  it.each([[0, true], [0, false], [1, true], [1, false]] as const)("of version %i, with a tied head: %s, gives the weights", async (version, tied) => {
    const model = randomLlama(version + 1, tied);
    const path = join(folder, "model.bin");
    await writeFile(path, await llama2c(model, version));
    const loaded = await LanguageModel.load(path);
    expect(loaded.config).toEqual(model.config);
    expect(await weightsOf(loaded)).toEqual(await weightsOf(model));
  });

  it("is refused where it is cut short, longer, quantised, or of sizes that cannot be", async () => {
    const path = join(folder, "model.bin");
    const bytes = await llama2c(randomLlama(1, true), 0);
    const attempt = async (content: Buffer) => {
      await writeFile(path, content);
      return openModel(path);
    };
    await expect(attempt(bytes.subarray(0, -4))).rejects.toMatchObject({ code: "bad-checkpoint", file: path, offset: 0, message: expect.stringMatching(/takes \d+ bytes, and this one has \d+/) as string });
    await expect(attempt(Buffer.concat([bytes, Buffer.alloc(4)]))).rejects.toMatchObject({ code: "bad-checkpoint" });
    await expect(attempt(bytes.subarray(0, 20))).rejects.toThrow(CheckpointError);
    const quantised = await llama2c(randomLlama(1, true), 1);
    quantised.writeInt32LE(2, 4);
    await expect(attempt(quantised)).rejects.toMatchObject({ code: "unsupported-format", message: expect.stringMatching(/version 2/) as string });
    for (const at of [8, 16, 20, 24]) {
      const broken = Buffer.from(quantised);
      broken.writeInt32LE(1, 4);
      broken.writeInt32LE(0x7fffffff, at);
      await expect(attempt(broken), String(at)).rejects.toMatchObject({ code: "bad-checkpoint" });
    }
  });

  it("with random damage is refused or read", async () => {
    const path = join(folder, "model.bin");
    const whole = [await llama2c(randomLlama(1, true), 0), await llama2c(randomLlama(1, false), 1)];
    const random = new Random(1);
    for (let run = 0; run < 300; run++) {
      const bytes = Buffer.from(whole[run % 2]);
      for (let i = 0; i < 1 + (run % 3); i++) bytes[Math.floor(random.uniform() * (run % 4 === 0 ? bytes.length : 40))] = Math.floor(random.uniform() * 256);
      await writeFile(path, run % 5 === 0 ? bytes.subarray(0, Math.floor(random.uniform() * bytes.length)) : bytes);
      try {
        await using source = await openModel(path);
        for (const tensor of source.weights.tensors.values()) await tensor.readFloat32();
      } catch (error) {
        expect(error).toBeInstanceOf(CheckpointError);
        expect((error as CheckpointError).file).toBe(path);
      }
    }
  });
});

describe("a file is what its first bytes say", () => {
  it("safetensors and config.json open the folder they are in", async () => {
    await randomLlama(1, true).save(join(folder, "m"));
    for (const name of ["model.safetensors", "config.json"]) expect((await LanguageModel.load(join(folder, "m", name))).config.hiddenSize).toBe(12);
    await rename(join(folder, "m", "model.safetensors"), join(folder, "m", "other.safetensors"));
    expect((await LanguageModel.load(join(folder, "m", "other.safetensors"))).config.hiddenSize).toBe(12);
    await rm(join(folder, "m", "config.json"));
    await expect(openModel(join(folder, "m", "other.safetensors"))).rejects.toMatchObject({ code: "not-a-model", message: expect.stringMatching(/other\.safetensors: this is safetensors, and beside it there is no config\.json/) as string });
  });

  it("a name that says something else is an error", async () => {
    await randomLlama(1, true).save(join(folder, "m"));
    const bytes = await readFile(join(folder, "m", "model.safetensors"));
    await writeFile(join(folder, "model.gguf"), bytes);
    await expect(openModel(join(folder, "model.gguf"))).rejects.toMatchObject({ code: "not-what-it-says", message: expect.stringMatching(/says GGUF.*content is safetensors/) as string });
    await writeFile(join(folder, "model.safetensors"), "GGUF and so on, as long as a head is");
    await expect(openModel(join(folder, "model.safetensors"))).rejects.toMatchObject({ code: "not-what-it-says", message: expect.stringMatching(/says safetensors.*content is GGUF/) as string });
  });

  it.each([
    ["model.bin", Buffer.from("PK\x03\x04 a zip file, as torch.save makes"), "pickle"],
    ["model.safetensors", Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc]), "pickle"],
    ["pytorch_model.bin", Buffer.from("anything"), "pickle"],
    ["model.gguf", Buffer.from("nonsense"), "bad-checkpoint"],
    ["model.safetensors", Buffer.from("short"), "not-a-model"],
    ["notes.txt", Buffer.from("Dear diary, today I trained a model."), "not-a-model"],
    ["empty", Buffer.alloc(0), "not-a-model"],
  ])("%s of other content: %#", async (name, content, code) => {
    await writeFile(join(folder, name), content);
    await expect(openModel(join(folder, name))).rejects.toMatchObject({ code, file: expect.stringContaining(folder) as string });
  });

  it("random bytes by any name are refused with a typed error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), fc.constantFrom("m.bin", "m.gguf", "m.safetensors", "m"), async (bytes, name) => {
        await writeFile(join(folder, name), bytes);
        await expect(openModel(join(folder, name))).rejects.toThrow(CheckpointError);
        await truncate(join(folder, name), 0);
      }),
      { numRuns: 200, seed: 1 },
    );
  });
});
