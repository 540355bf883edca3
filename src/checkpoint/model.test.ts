import { mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CheckpointError } from "../errors.js";
import { LanguageModel } from "../language-model.js";
import { Decoder, transformerOf, type ModelOptions } from "../model/index.js";
import { Random, Tensor } from "../tensor/index.js";
import { CharTokenizer } from "../tokenizer/index.js";
import { readModelConfig } from "./folder.js";
import { loadModel, loadWeights, saveModel } from "./model.js";
import { openModel } from "./model-source.js";
import { Safetensors, writeSafetensors, type TensorToStore } from "./safetensors.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-model-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const sizes = { vocabSize: 19, hiddenSize: 12, numLayers: 2, numHeads: 2, contextLength: 8 };

/** Every weight random, so that none that is mixed up or forgotten goes unseen. */
function randomModel(options: Partial<ModelOptions>): LanguageModel {
  const model = new LanguageModel({ ...sizes, ...options });
  const random = new Random(6);
  for (const parameter of model.parameters().values()) parameter.write(Float32Array.from({ length: parameter.size }, () => random.normal()));
  return model;
}

async function weightsOf(model: Decoder): Promise<Map<string, ArrayLike<number>>> {
  const all = new Map<string, ArrayLike<number>>();
  for (const [name, parameter] of model.parameters()) all.set(name, await parameter.data());
  return all;
}

const readConfig = async (path: string) => JSON.parse(await readFile(join(path, "config.json"), "utf8")) as Record<string, unknown>;
async function changeConfig(path: string, changes: Record<string, unknown>): Promise<void> {
  await writeFile(join(path, "config.json"), JSON.stringify({ ...(await readConfig(path)), ...changes }));
}
/** Rewrites the weights, each tensor kept, changed or dropped. */
async function changeTensors(path: string, change: (tensor: TensorToStore) => TensorToStore | undefined, added: TensorToStore[] = []): Promise<void> {
  const file = join(path, "model.safetensors");
  const stored = await Safetensors.open(file);
  const kept: TensorToStore[] = [];
  for (const tensor of stored.tensors.values()) {
    const { name, dtype, shape } = tensor;
    const changed = change({ name, dtype, shape, data: await tensor.read() });
    if (changed !== undefined) kept.push(changed);
  }
  await stored.close();
  await writeSafetensors(file, [...kept, ...added]);
}

const llama: Partial<ModelOptions> = { position: "rope", norm: "rmsnorm", feedForward: "swiglu", bias: false };
const shapes: [string, string, Partial<ModelOptions>][] = [
  ["gpt2", "GPT-2", {}],
  ["gpt2", "GPT-2 with another activation and a head of its own", { feedForward: "relu", tieEmbeddings: false, intermediateSize: 20, normEps: 1e-6 }],
  ["gpt2", "GPT-2 without biases", { bias: false, dropout: 0.2 }],
  ["llama", "Llama", { ...llama, numKeyValueHeads: 1, tieEmbeddings: false }],
  ["llama", "Llama with biases, tied, with dropout and wide heads", { ...llama, bias: true, headSize: 8, dropout: 0.1, ropeTheta: 500_000 }],
  ["hornbook", "ALiBi", { position: "alibi", slidingWindow: 3 }],
  ["hornbook", "post-norm", { normPlacement: "post", position: "sinusoidal" }],
  ["hornbook", "qk-norm", { ...llama, qkNorm: true, rotaryFraction: 0.5 }],
  ["hornbook", "LayerNorm without biases", { position: "none", bias: false, tieEmbeddings: false }],
];

describe.each(shapes)("as %s: %s", (modelType, _, options) => {
  it("comes back as it was, to the bit", async () => {
    const model = randomModel(options);
    const target = join(folder, "m");
    await model.save(target);
    expect((await readConfig(target))["model_type"]).toBe(modelType);
    const loaded = await LanguageModel.load(target);
    expect(loaded.config).toEqual(model.config);
    expect(await weightsOf(loaded)).toEqual(await weightsOf(model));
    expect((await readdir(target)).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors"]);
  });

  it("in bf16 comes back rounded", async () => {
    const model = randomModel(options);
    await model.save(join(folder, "m"), { dtype: "bf16" });
    const [before, after] = [await weightsOf(model), await weightsOf(await LanguageModel.load(join(folder, "m")))];
    for (const [name, values] of before) {
      const rounded = await Tensor.from(values as Float32Array, { dtype: "bf16" }).data();
      expect(after.get(name), name).toEqual(rounded);
    }
  });
});

describe("files of transformers", () => {
  it("are read where the bare model was saved, or old tables are among them", async () => {
    const target = join(folder, "m");
    const model = randomModel({});
    await model.save(target);
    const mask = { name: "h.0.attn.bias", dtype: "F32" as const, shape: [1, 1, 8, 8], data: new Uint8Array(256) };
    await changeTensors(target, (tensor) => ({ ...tensor, name: tensor.name.replace("transformer.", "") }), [mask]);
    expect(await weightsOf(await LanguageModel.load(target))).toEqual(await weightsOf(model));
  });

  it("in f16 become f32", async () => {
    await randomModel({}).save(join(folder, "m"));
    const ones = (shape: readonly number[]) => new Uint8Array(new Uint16Array(shape.reduce((a, b) => a * b, 1)).fill(0x3c00).buffer);
    await changeTensors(join(folder, "m"), ({ name, shape }) => ({ name, shape, dtype: "F16", data: ones(shape) }));
    for (const values of (await weightsOf(await LanguageModel.load(join(folder, "m")))).values()) expect(Array.from(values).every((value) => value === 1)).toBe(true);
  });
});

it("remembers its tokenizer and how it is sampled from", async () => {
  const tokenizer = await CharTokenizer.fromText("abcdefg hijklmnopq");
  const model = new LanguageModel({ ...sizes, vocabSize: tokenizer.vocabSize }, { generation: { stopIds: [3, 4], temperature: 0.7, topK: 5, repetitionPenalty: 1.1 } });
  await model.save(join(folder, "m"), { tokenizer });
  const loaded = await LanguageModel.load(join(folder, "m"));
  expect(loaded.generation).toEqual(model.generation);
  expect(loaded.tokenizer?.decode(loaded.tokenizer.encode("fed"))).toBe("fed");
  const { text } = await loaded.generateText("abc", { maxTokens: 4, temperature: 0, stopIds: [] });
  expect(text).toBe((await model.generateText("abc", { maxTokens: 4, temperature: 0, stopIds: [] })).text);
  // Saved again without naming it, and to another place.
  await loaded.save(join(folder, "again"));
  expect((await readdir(join(folder, "again"))).includes("tokenizer.json")).toBe(true);
});

it("replaces a model whole, and leaves alone what is not a model's", async () => {
  const target = join(folder, "m");
  await randomModel({}).save(target);
  await writeFile(join(target, "notes.txt"), "mine");
  const second = randomModel(llama);
  await second.save(target);
  expect(await readFile(join(target, "notes.txt"), "utf8")).toBe("mine");
  expect(await weightsOf(await LanguageModel.load(target))).toEqual(await weightsOf(second));
  await mkdir(join(folder, "other"));
  await writeFile(join(folder, "other", "thesis.tex"), "");
  await expect(second.save(join(folder, "other"))).rejects.toMatchObject({ code: "not-a-checkpoint" });
});

describe("what cannot be loaded is said", () => {
  const target = () => join(folder, "m");
  const attempt = () => LanguageModel.load(target());
  const expectError = async (code: string, ...words: string[]) => {
    const error: unknown = await attempt().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as CheckpointError).code).toBe(code);
    for (const word of words) expect((error as CheckpointError).message).toContain(word);
  };
  beforeEach(() => randomModel({ ...llama, numKeyValueHeads: 1 }).save(target()));

  it("no such folder, a file, a folder without a model", async () => {
    await rm(target(), { recursive: true });
    await expectError("no-such-file", target());
    await writeFile(target(), "");
    await expectError("not-a-model", "no file that holds a model");
    await rm(target());
    await mkdir(target());
    await expectError("not-a-model", "config.json");
  });

  it("a pickle", async () => {
    await rm(join(target(), "model.safetensors"));
    await expectError("no-such-file");
    await writeFile(join(target(), "pytorch_model.bin"), "");
    await expectError("pickle", "pytorch_model.bin", "any program");
    await expect(readModelConfig(join(target(), "pytorch_model.bin"))).rejects.toMatchObject({ code: "pickle" });
  });

  it("an architecture that is not known, with those that are", async () => {
    await changeConfig(target(), { model_type: "mamba" });
    await expectError("unknown-architecture", '"mamba"', "gpt2, llama");
    await changeConfig(target(), { model_type: "gemma3", text_config: {} });
    await expectError("unknown-architecture", '"gemma3"', "more than text");
  });

  it("a configuration that is no JSON, lacks a field, has a wrong one, or cannot be built", async () => {
    await changeConfig(target(), { hidden_size: undefined });
    await expectError("bad-config", "hidden_size", "does not say");
    await changeConfig(target(), { hidden_size: "twelve" });
    await expectError("bad-config", "hidden_size", '"twelve"');
    await changeConfig(target(), { hidden_size: 12, num_key_value_heads: 5 });
    await expectError("bad-config", "numKeyValueHeads");
    await changeConfig(target(), { num_key_value_heads: 1, hornbook: { qkNorm: true } });
    await expectError("bad-config", "llama");
    await truncate(join(target(), "config.json"), 30);
    await expectError("bad-config", "config.json", "JSON");
  });

  it("kinds of an architecture that compute something else", async () => {
    await changeConfig(target(), { rope_parameters: { rope_type: "proportional", rope_theta: 1e4 } });
    await expectError("unsupported-config", "rope_type", '"proportional"');
    await changeConfig(target(), { rope_parameters: undefined, hidden_act: "gelu" });
    await expectError("unsupported-config", "hidden_act");
  });

  it("a shape that contradicts the configuration, with both", async () => {
    await changeConfig(target(), { intermediate_size: 44 });
    await expectError("shape-mismatch", "model.layers.0.mlp.gate_proj.weight", "[32, 12]", "[44, 12]");
  });

  it("a tensor that is missing, and one too many", async () => {
    await changeTensors(target(), (tensor) => (tensor.name === "model.layers.1.self_attn.v_proj.weight" ? undefined : tensor));
    await expectError("missing-tensor", "model.layers.1.self_attn.v_proj.weight");
    await randomModel(llama).save(target());
    await changeTensors(target(), (tensor) => tensor, [{ name: "model.layers.0.self_attn.q_proj.bias", dtype: "F32", shape: [12], data: new Uint8Array(48) }]);
    await expectError("unexpected-tensor", "model.layers.0.self_attn.q_proj.bias");
    await using source = await openModel(target());
    await loadModel(source, ({ config }) => new Decoder(config, { weights: "none" }), { allowUnused: true });
  });

  it("a file that is cut short, or has one bit changed", async () => {
    const file = join(target(), "model.safetensors");
    const bytes = await readFile(file);
    await truncate(file, bytes.length - 1);
    await expectError("bad-checkpoint", "model.safetensors");
    bytes[bytes.length - 7] ^= 1;
    await writeFile(file, bytes);
    await expectError("bad-checkpoint", "model.safetensors", "checksum");
  });

  it("biases that the configuration denies", async () => {
    await randomModel({ bias: false }).save(target());
    await changeTensors(target(), (tensor) => (tensor.name === "transformer.ln_f.bias" ? { ...tensor, data: new Uint8Array(48).fill(63) } : tensor));
    await expectError("bad-config", "transformer.ln_f.bias", "not zero");
    await changeConfig(target(), { hornbook: undefined });
    expect(transformerOf((await attempt()).config)!.bias).toBe(true);
  });

  it.each([["GPT-2", {}], ["Llama", llama]] as const)("a model with frozen layers comes back whole: %s", async (_, options) => {
    const model = randomModel(options);
    expect(model.setTrainable(false, (name) => name.startsWith("blocks.0.") || name === "embed")).toBeGreaterThan(4);
    expect(model.trainableParameters().size).toBeLessThan(model.parameters().size);
    await model.save(target());
    const loaded = await LanguageModel.load(target());
    expect([...loaded.parameters().keys()]).toEqual([...model.parameters().keys()]);
    for (const [name, parameter] of model.parameters()) expect(await loaded.parameters().get(name)!.data(), name).toEqual(await parameter.data());
  });

  it("a model in its own form from before the project had this name", async () => {
    await randomModel({ bias: false }).save(target());
    await changeConfig(target(), { hornbook: undefined, inkling: { bias: false } });
    await expectError("old-form", "inkling", "before the project became Hornbook");
    await changeConfig(target(), { inkling: undefined, model_type: "inkling", architectures: ["InklingDecoder"] });
    await expectError("old-form", "architectures");
    await changeConfig(target(), { architectures: ["SomebodyElses"] });
    await expectError("unknown-architecture", "model_type", "inkling");
  });

  it("another model than the one to load into, and a job that was aborted", async () => {
    await expect(loadWeights(target(), randomModel({ ...llama, normEps: 1e-6, numKeyValueHeads: 1 }))).rejects.toMatchObject({ code: "other-model", field: "layers.0.norm.eps" });
    const reason = new Error("enough");
    await expect(LanguageModel.load(target(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it("nothing of it leaves a model that was there damaged when saving fails", async () => {
    const before = await readFile(join(target(), "model.safetensors"));
    const broken = randomModel(llama);
    broken.dispose();
    await expect(saveModel(target(), { model: broken })).rejects.toThrow();
    expect(await readFile(join(target(), "model.safetensors"))).toEqual(before);
    expect(await readdir(folder)).toEqual(["m"]);
  });
});
