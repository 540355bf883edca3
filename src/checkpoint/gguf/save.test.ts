import { mkdtemp, readFile, readdir, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LanguageModel } from "../../language-model.js";
import { transformerOf, type TransformerConfig, type TransformerOptions } from "../../model/index.js";
import { CpuDevice, ReferenceDevice, type Device } from "../../tensor/index.js";
import { CharTokenizer } from "../../tokenizer/index.js";
import { loadModel } from "../model.js";
import { openModel } from "../model-source.js";
import { Gguf, saveGguf, type GgufValue } from "./index.js";

const fixtures = fileURLToPath(new URL("../../../test/fixtures/families", import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-gguf-model-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function weightsOf(model: LanguageModel): Promise<Map<string, Float32Array>> {
  const named = await Promise.all([...model.parameters()].map(async ([name, tensor]) => [name, (await tensor.data()) as Float32Array] as const));
  return new Map(named);
}

/** Kinds that GGUF, or llama.cpp behind it, has no way to say. */
const unsaid: Record<string, [says: RegExp, instead?: (config: TransformerConfig) => TransformerOptions]> = {
  "llama-dynamic": [/"ropeScaling".*dynamic/],
  "falcon-rw": [/falcon cannot say/],
  qwen2: [/"layerTypes": .*qwen2 cannot say \["full","sliding","sliding"\]/, (config) => ({ ...config, layerTypes: undefined, slidingWindow: 0 })],
  smollm3: [/"ropeLayers"/, (config) => ({ ...config, ropeLayers: [true, true, true, false] })],
  ministral: [/"layerTypes"/, (config) => ({ ...config, layerTypes: undefined })],
  cohere2: [/"ropeLayers"/, (config) => ({ ...config, ropeLayers: [true, true, true, false], layerTypes: ["sliding", "sliding", "sliding", "full"] })],
  "falcon-40b": [/"bias".*falcon cannot say true/, (config) => ({ ...config, bias: false, queryKeyValueBias: false, attentionOutputBias: false, mlpBias: false })],
  "cohere-qknorm": [/"qkNorm"/, (config) => ({ ...config, numLayers: 64, layerTypes: undefined, ropeLayers: undefined })],
  gemma2: [/"attentionScale".*0.24/, (config) => ({ ...config, attentionScale: undefined, layerTypes: ["sliding", "full"] })],
  gemma3: [/"attentionScale".*0.24/, (config) => ({ ...config, attentionScale: undefined })],
};

const sizes = { vocabSize: 70, hiddenSize: 64, numLayers: 2, numHeads: 2, contextLength: 16 };
const llama: TransformerOptions = { ...sizes, numKeyValueHeads: 1, intermediateSize: 96, norm: "rmsnorm", position: "rope", feedForward: "swiglu", bias: false };

describe("a model as GGUF", async () => {
  it.each(await readdir(fixtures))("%s comes back as it was", async (name) => {
    let model = await LanguageModel.load(join(fixtures, name));
    const path = join(folder, "model.gguf");
    const save = () => saveGguf(path, model, { modelType: model.modelType });
    if (name in unsaid) {
      const [says, instead] = unsaid[name];
      await expect(save()).rejects.toMatchObject({ code: "unsupported-config", message: expect.stringMatching(says) as string });
      if (instead === undefined) return;
      model = new LanguageModel(instead(transformerOf(model.config)!), { modelType: model.modelType, seed: 1 });
    }
    await save();
    const loaded = await LanguageModel.load(path);
    expect(loaded.config).toEqual(model.config);
    const [before, after] = [await weightsOf(model), await weightsOf(loaded)];
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const [name, values] of before) {
      // Gemma's norms are stored with 1 added, which rounds.
      const apart = values.reduce((most, value, i) => Math.max(most, Math.abs(value - after.get(name)![i])), 0);
      expect(apart, name).toBeLessThanOrEqual(transformerOf(model.config)!.normOffset !== 0 && name.includes("orm") ? 1.2e-7 : 0);
    }
  });

  it("a quantised file comes back block by block, with all its metadata", async () => {
    const model = new LanguageModel(llama, { seed: 3 });
    const [first, second] = [join(folder, "first.gguf"), join(folder, "second.gguf")];
    const tokenizer = await CharTokenizer.fromText("abcdefghijklmnopqrstuvwxyz .,\n");
    const { formats } = await saveGguf(first, model, { quantize: "q4_k_m", tokenizer, chatTemplate: "{{ messages }}" });
    // Rows of 64 and 96 are no whole number of 256.
    expect(Object.fromEntries(formats)).toEqual({ F32: 5, q8_0: 3, q5_0: 12 });
    await using file = await Gguf.open(first);
    const loaded = await LanguageModel.load(first);
    expect([loaded.parameters().size, loaded.weights().size]).toEqual([5, 14]);
    await saveGguf(second, loaded, { metadata: file.metadata });
    expect(await readFile(second)).toEqual(await readFile(first));
    await saveGguf(second, loaded, { metadata: file.metadata, quantize: "f16" });
    await using again = await Gguf.open(second);
    expect(again.metadata.number("general.file_type")).toBe(1);
    expect(again.tensors.get("blk.0.attn_q.weight")!.dtype).toBe("F16");
    expect(await again.tensors.get("blk.1.ffn_norm.weight")!.readFloat32()).toEqual(await file.tensors.get("blk.1.ffn_norm.weight")!.readFloat32());
  });

  it("holds the tokenizer as llama.cpp reads it", async () => {
    const tokenizer = await CharTokenizer.fromText("ab \n~", { specialTokens: ["<|endoftext|>"] });
    const path = join(folder, "model.gguf");
    await saveGguf(path, new LanguageModel({ ...llama, vocabSize: 8 }), { tokenizer });
    await using file = await Gguf.open(path);
    const { metadata } = file;
    expect(metadata.strings("tokenizer.ggml.tokens").toArray()).toEqual(["Ċ", "Ġ", "a", "b", "~", "<|endoftext|>", "[PAD6]", "[PAD7]"]);
    expect([...metadata.numbers("tokenizer.ggml.token_type")]).toEqual([1, 1, 1, 1, 1, 3, 5, 5]);
    expect([metadata.text("tokenizer.ggml.model"), metadata.text("tokenizer.ggml.pre"), metadata.strings("tokenizer.ggml.merges").length]).toEqual(["gpt2", "gpt-2", 0]);
    await expect(saveGguf(path, new LanguageModel(llama), { tokenizer: await CharTokenizer.fromText("é") })).rejects.toMatchObject({ code: "no-gguf-form" });
  });

  it("names what it cannot write", async () => {
    const path = join(folder, "model.gguf");
    await expect(saveGguf(path, new LanguageModel(llama), { quantize: "Q3_K" })).rejects.toMatchObject({ field: "quantize", message: expect.stringMatching(/"Q3_K".*Q4_K_M/) as string });
    const alibi = new LanguageModel({ ...llama, position: "alibi" });
    await expect(saveGguf(path, alibi)).rejects.toMatchObject({ code: "unsupported-config", message: expect.stringMatching(/no architecture.*llama, / ) as string });
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([["reference", () => new ReferenceDevice()], ...(CpuDevice.isAvailable() ? [["cpu", () => CpuDevice.create()] as const] : [])] as const)(
    "a file that is cut short while it is read is said to be, on the %s device",
    async (_, makeDevice) => {
      const device: Device = makeDevice();
      const path = join(folder, "model.gguf");
      for (const quantize of ["f32", "q8_0"]) {
        await saveGguf(path, new LanguageModel(llama, { seed: 1 }), { quantize });
        await using source = await openModel(path);
        const { size } = await stat(path);
        await truncate(path, size - 2000);
        const loading = loadModel(source, ({ config }) => new LanguageModel(config, { weights: "none", device }));
        await expect(loading).rejects.toMatchObject({ code: "bad-checkpoint", file: path, offset: expect.any(Number) as number, message: expect.stringMatching(/the file ends here/) as string });
        await device.synchronize();
      }
    },
  );

  it("says what is wrong in a file of another architecture, a part of several, or with a key that is missing or odd", async () => {
    const path = join(folder, "model.gguf");
    await saveGguf(path, new LanguageModel(llama));
    await using file = await Gguf.open(path);
    const changed = async (...entries: [string, GgufValue | undefined][]) => {
      const values = new Map(file.metadata.values);
      for (const [key, value] of entries) if (value === undefined) values.delete(key);
      else values.set(key, value);
      const other = join(folder, "changed.gguf");
      const { writeGguf } = await import("./write.js");
      await writeGguf(other, { metadata: values, tensors: [...file.tensors.values()].map((tensor) => ({ ...tensor, data: () => tensor.read() })) });
      return LanguageModel.load(other);
    };
    const cases: [code: string, says: RegExp, ...entries: [string, GgufValue | undefined][]][] = [
      ["unknown-architecture", /"general.architecture".*"mamba".*gpt2, llama/, ["general.architecture", { type: "string", value: "mamba" }]],
      ["bad-config", /"general.architecture".*no such key/, ["general.architecture", undefined]],
      ["bad-config", /"llama.block_count".*no such key/, ["llama.block_count", undefined]],
      ["bad-config", /"llama.embedding_length".*must be a number.*string/, ["llama.embedding_length", { type: "string", value: "64" }]],
      ["bad-config", /"llama.attention.head_count": 0 cannot be/, ["llama.attention.head_count", { type: "uint32", value: 0 }]],
      ["bad-config", /numKeyValueHeads/, ["llama.attention.head_count_kv", { type: "uint32", value: 3 }]],
      ["bad-config", /describes a model that cannot be: model: it has a parameter/, ["llama.feed_forward_length", { type: "uint32", value: 2 ** 29 }]],
      ["bad-config", /describes a model of \d+ parameters, and the tensors have \d+ elements/, ["llama.feed_forward_length", { type: "uint32", value: 2 ** 22 }]],
      ["bad-config", /describes a model (of|that cannot be)/, ["llama.attention.head_count", { type: "uint32", value: 2 ** 24 }]],
      ["bad-config", /"llama.block_count": 4294967295 cannot be: .* to 10000/, ["llama.block_count", { type: "uint32", value: 2 ** 32 - 1 }]],
      ["missing-tensor", /"blk.2.attn_norm.weight"/, ["llama.block_count", { type: "uint32", value: 3 }]],
      ["shape-mismatch", /"blk.0.ffn_gate.weight".*\[96, 64\].*\[97, 64\]/, ["llama.feed_forward_length", { type: "uint32", value: 97 }]],
      ["unsupported-config", /"llama.rope.scaling.type".*"spiral"/, ["llama.rope.scaling.type", { type: "string", value: "spiral" }]],
      ["bad-checkpoint", /"split.count".*one of 4 files/, ["split.count", { type: "uint16", value: 4 }]],
      ["bad-config", /"hornbook.config"/, ["hornbook.config", { type: "string", value: "[" }]],
      ["old-form", /"inkling.config".*before the project became Hornbook/, ["inkling.config", { type: "string", value: "{}" }]],
    ];
    for (const [code, says, ...entries] of cases) await expect(changed(...entries), String(says)).rejects.toMatchObject({ code, message: expect.stringMatching(says) as string });
  });
});
