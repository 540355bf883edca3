/** What config.json, generation_config.json and the tensors of a folder say beyond a plain model: acted on, told as a warning, or refused by name. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LanguageModel } from "../language-model.js";
import { openModel } from "./model-source.js";
import { Safetensors, writeSafetensors, type TensorToStore } from "./safetensors.js";

const sizes = { vocabSize: 19, hiddenSize: 12, numLayers: 2, numHeads: 2, intermediateSize: 20, contextLength: 8, norm: "rmsnorm", position: "rope", feedForward: "swiglu", bias: false } as const;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-folder-"));
  const model = new LanguageModel({ ...sizes, tieEmbeddings: false }, { seed: 1 });
  await model.save(folder);
  model.dispose();
});
afterEach(() => rm(folder, { recursive: true }));

async function change(file: string, changes: Readonly<Record<string, unknown>>): Promise<void> {
  const path = join(folder, file);
  await writeFile(path, JSON.stringify({ ...(JSON.parse(await readFile(path, "utf8")) as object), ...changes }));
}

async function opened() {
  await using source = await openModel(folder);
  return source;
}

/** Rewrites the weights. */
async function changeTensors(edit: (tensors: TensorToStore[]) => TensorToStore[]): Promise<void> {
  const path = join(folder, "model.safetensors");
  const file = await Safetensors.open(path);
  const tensors = await Promise.all([...file.tensors.values()].map(async (tensor) => ({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, data: await tensor.read() })));
  await file.close();
  await writeSafetensors(path, edit(tensors));
}

const load = async () => {
  const model = await LanguageModel.load(folder);
  model.dispose();
};

describe("a setting that nothing acts on", () => {
  it("is named with its value, all in one warning", async () => {
    await change("config.json", { final_logit_softcapping: 30, layer_scale: [1, 2], rope_scaling: { rope_type: "linear", factor: 2, alpha: 3 } });
    const { warnings } = await opened();
    expect(warnings).toHaveLength(1);
    for (const words of ['"final_logit_softcapping" (30)', '"layer_scale" ([1,2])', '"rope_scaling.alpha" (3)', join(folder, "config.json")]) expect(warnings[0]).toContain(words);
  });

  it("is told by the process, each text once", async () => {
    const told: string[] = [];
    const listen = ({ message, ...more }: Error): void => void told.push(`${(more as { code?: string }).code}: ${message}`);
    process.on("warning", listen);
    await change("config.json", { layer_scale: 2 });
    await load();
    await load();
    await new Promise(setImmediate);
    process.off("warning", listen);
    expect(told.filter((text) => text.includes(folder))).toEqual([expect.stringMatching(/^HORNBOOK_MODEL_FILES: .*"layer_scale" \(2\)/)]);
  });

  it("is none where it is off, idle, or what the family takes anyway", async () => {
    await change("config.json", {
      final_logit_softcapping: null, use_qk_norm: false, layer_scale: "", pruned_heads: {}, quantization_config: null, is_encoder_decoder: false, torch_dtype: "float16", use_cache: false,
      attention_dropout: 0.3, _name_or_path: "x", id2label: { 0: "a" }, temperature: 3, mlp_bias: false, pretraining_tp: 4, auto_map: { AutoModel: "x" },
    });
    expect((await opened()).warnings).toEqual([]);
  });

  it.each([
    ["per_layer_config", { 0: { hidden_size: 3 } }], ["is_encoder_decoder", true], ["add_cross_attention", true], ["is_causal", false], ["use_bidirectional_attention", true], ["pruned_heads", { 0: [1] }],
  ])("is refused where it changes what any model computes: %s", async (field, value) => {
    await change("config.json", { [field]: value });
    await expect(openModel(folder)).rejects.toMatchObject({ code: "unsupported-config", field });
  });

  it("may have any name", async () => {
    await writeFile(join(folder, "config.json"), (await readFile(join(folder, "config.json"), "utf8")).replace("{", '{"__proto__": {"x": 1}, "constructor": 1, "toString": true, "hasOwnProperty": [2],'));
    await writeFile(join(folder, "generation_config.json"), '{"__proto__": 1, "constructor": 2, "valueOf": {"a": 1}}');
    const { warnings } = await opened();
    for (const name of ["constructor", "toString", "hasOwnProperty", "valueOf"]) expect(warnings.join()).toContain(`"${name}"`);
  });

  it("sizes that the file does not say are taken from transformers, and that is told", async () => {
    await change("config.json", { num_hidden_layers: undefined });
    const said = expect.stringMatching(/does not say "num_hidden_layers" \(32\)/) as string;
    expect((await opened()).warnings).toEqual([said]);
    await expect(load()).rejects.toMatchObject({ code: "missing-tensor", message: said });
    await change("config.json", { num_hidden_layers: 2, hidden_size: undefined });
    await expect(openModel(folder)).rejects.toMatchObject({ code: "bad-config", message: expect.stringContaining('does not say "hidden_size" (4096)') as string });
  });
});

describe("generation_config.json", () => {
  const generation = async (says: unknown) => {
    await writeFile(join(folder, "generation_config.json"), typeof says === "string" ? says : JSON.stringify(says));
    const { generation, warnings } = await opened();
    return { generation, warnings: warnings.join("\n") };
  };

  it.each<[what: string, says: Record<string, unknown>, expected: Record<string, unknown>]>([
    ["-1 of the most probable tokens, as vLLM writes all", { do_sample: true, top_k: -1, top_p: 0.9 }, { topK: 0, topP: 0.9 }],
    ["0 of them", { do_sample: true, top_k: 0 }, { topK: 0 }],
    ["null of all", { do_sample: true, top_k: null, top_p: null, temperature: null, min_p: null, repetition_penalty: null }, {}],
    ["a share of 0, which keeps the most probable", { do_sample: true, top_p: 0, temperature: 0.5 }, { topK: 1, temperature: 0.5 }],
    ["several ends of text", { eos_token_id: [2, 5] }, { stopIds: [2, 5] }],
    ["a temperature of 0", { do_sample: true, temperature: 0 }, { temperature: 0 }],
    ["that nothing is drawn", { do_sample: false, temperature: null, top_p: 0.5 }, { temperature: 0 }],
    ["filters without a word on whether they are meant", { temperature: 0.3, top_k: 4 }, {}],
    ["all that is acted on", { do_sample: true, min_p: 0.1, repetition_penalty: 1.2, max_new_tokens: 7, stop_strings: ["a", ""] }, { minP: 0.1, repetitionPenalty: 1.2, maxTokens: 7, stop: ["a"] }],
    ["what changes nothing", { num_beams: 1, typical_p: 1.0, no_repeat_ngram_size: 0, suppress_tokens: [], max_length: 20, pad_token_id: 0, transformers_version: "5", cache_implementation: "hybrid" }, {}],
  ])("that says %s", async (_, says, expected) => {
    expect(await generation(says)).toEqual({ generation: expected, warnings: "" });
  });

  it("that says what nothing acts on is told by name, and no reason not to load", async () => {
    const { warnings } = await generation({ suppress_tokens: [3], num_beams: 4, forced_bos_token_id: 5, begin_suppress_tokens: [1], no_repeat_ngram_size: 3, unheard_of: 1 });
    for (const field of ["suppress_tokens", "num_beams", "forced_bos_token_id", "begin_suppress_tokens", "no_repeat_ngram_size", "unheard_of"]) expect(warnings).toContain(`"${field}"`);
  });

  it.each<[what: string, says: unknown, word: string]>([
    ["a share above 1", { do_sample: true, top_p: 3 }, '"top_p" (3)'], ["a negative temperature", { do_sample: true, temperature: -1 }, '"temperature" (-1)'],
    ["an end of text below 0", { eos_token_id: -1 }, '"eos_token_id" (-1)'], ["a text for a number", { do_sample: true, min_p: "x" }, '"min_p" ("x")'],
    ["half of a file", '{"top_k": ', "no JSON"], ["a list", [], "not a JSON object"],
  ])("with %s loads, and that is told", async (_, says, word) => {
    const { generation: read, warnings } = await generation(says);
    expect(warnings).toContain(word);
    expect(read).toEqual({});
    await load();
  });

  it("comes back as written", async () => {
    for (const given of [{ temperature: 0.7, topK: 5, topP: 0.9, minP: 0.1, repetitionPenalty: 1.1, maxTokens: 9, stop: ["x"], stopIds: [3] }, { temperature: 0, stopIds: [2, 3] }]) {
      const model = new LanguageModel(sizes, { seed: 1, generation: given });
      await model.save(folder);
      model.dispose();
      expect((await opened()).generation).toEqual(given);
    }
  });
});

describe("a head that the configuration says is the embedding", () => {
  const tie = () => change("config.json", { tie_word_embeddings: true });

  it("and that the file has otherwise, is the file's, and stays so when saved", async () => {
    await tie();
    const { config, warnings } = await opened();
    expect(config.head.tied).toBe(false);
    expect(warnings.join()).toContain("lm_head.weight differs from model.embed_tokens.weight");
    const model = await LanguageModel.load(folder);
    await model.save(folder);
    model.dispose();
    expect(await opened()).toMatchObject({ config: { head: { tied: false } }, warnings: [] });
  });

  it.each<[string, (embedding: TensorToStore) => TensorToStore[]]>([
    ["both, alike", (embedding) => [embedding, { ...embedding, name: "lm_head.weight" }]],
    ["the embedding alone", (embedding) => [embedding]],
    ["the head alone", (embedding) => [{ ...embedding, name: "lm_head.weight" }]],
  ])("of which the file has %s, is it", async (_, make) => {
    await tie();
    const before = await LanguageModel.load(folder);
    const embedding = await before.parameters().get("embed")!.data();
    before.dispose();
    await changeTensors((tensors) => [...tensors.filter(({ name }) => !/embed_tokens|lm_head/.test(name)), ...make(tensors.find(({ name }) => name.includes("embed_tokens"))!)]);
    expect(await opened()).toMatchObject({ config: { head: { tied: true } }, warnings: [] });
    const model = await LanguageModel.load(folder);
    expect(await model.parameters().get("embed")!.data()).toEqual(embedding);
    model.dispose();
  });
});

describe("weights that are quantised", () => {
  it.each<[Record<string, unknown>, RegExp]>([
    [{ quant_method: "fp8", weight_block_size: [128, 128], fmt: "e4m3" }, /by FP8 \(e4m3\)/],
    [{ quant_method: "gptq", bits: 4, group_size: 128 }, /by GPTQ \(4 bits\)/],
    [{ quant_method: "awq", bits: 4 }, /by AWQ \(4 bits\)/],
    [{ load_in_4bit: true, bnb_4bit_quant_type: "nf4" }, /by bitsandbytes \(4 bits, nf4\)/],
    [{ quant_method: "compressed-tensors", format: "pack-quantized" }, /by compressed-tensors \(pack-quantized\)/],
    [{ quant_method: "mxfp4" }, /by MXFP4/],
    [{ quant_method: "brand-new" }, /by brand-new/],
    [{}, /in a way it does not name/],
  ])("by the configuration %o", async (quantization_config, says) => {
    await change("config.json", { quantization_config });
    const refused = { code: "quantized-weights", field: "quantization_config", message: expect.stringMatching(says) as string, hint: expect.stringContaining("GGUF") as string };
    await expect(openModel(folder)).rejects.toMatchObject(refused);
  });

  it("by MLX's own field", async () => {
    await change("config.json", { quantization: { group_size: 64, bits: 4 } });
    await expect(openModel(folder)).rejects.toMatchObject({ code: "quantized-weights", field: "quantization", message: expect.stringContaining("(4 bits)") as string });
  });

  it("by ModelOpt's own file", async () => {
    await writeFile(join(folder, "hf_quant_config.json"), JSON.stringify({ quantization: { quant_algo: "NVFP4" } }));
    await expect(openModel(folder)).rejects.toMatchObject({ code: "quantized-weights", message: expect.stringContaining("ModelOpt (NVFP4)") as string });
  });

  const scale = (name: string): TensorToStore => ({ name, dtype: "F32", shape: [1], data: new Uint8Array(4) });
  it.each(["q_proj.weight_scale", "q_proj.weight_scale_inv", "q_proj.input_scale", "q_proj.qzeros", "q_proj.weight.absmax", "q_proj.SCB", "q_proj.weight_zero_point", "q_proj.scales"])("by a tensor %s, and leaving tensors aside does not help", async (name) => {
    await changeTensors((tensors) => [...tensors, scale(`model.layers.0.self_attn.${name}`)]);
    await expect(load()).rejects.toMatchObject({ code: "quantized-weights" });
    const model = new LanguageModel({ ...sizes, tieEmbeddings: false }, { seed: 2 });
    const { loadWeights } = await import("./model.js");
    await expect(loadWeights(folder, model, { allowUnused: true })).rejects.toMatchObject({ code: "quantized-weights" });
    model.dispose();
  });

  it("in place of the weights", async () => {
    await changeTensors((tensors) => tensors.map((tensor) => (tensor.name.endsWith("q_proj.weight") ? { ...tensor, name: tensor.name.replace("weight", "qweight") } : tensor)));
    await expect(load()).rejects.toMatchObject({ code: "quantized-weights", message: expect.stringContaining("GPTQ or AWQ") as string });
  });

  it("to types narrower than a byte", async () => {
    const header = Buffer.from(JSON.stringify({ t: { dtype: "F4", shape: [8], data_offsets: [0, 4] } }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(join(folder, "model.safetensors"), Buffer.concat([length, header, Buffer.alloc(4)]));
    await expect(openModel(folder)).rejects.toMatchObject({ code: "quantized-weights", field: "t" });
  });
});
