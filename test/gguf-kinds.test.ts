/**
 * Settings in the metadata of GGUF files, old and new: those of RoPE against llama.cpp's logits (scripts/reference/gguf_rope.mjs), and what is said of
 * those that nothing acts on.
 */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { transformerOf } from "../src/model/index.js";
import { openModel } from "../src/checkpoint/model-source.js";
import { writeGguf, Gguf as GgufFile, gguf, type GgufValue } from "../src/checkpoint/gguf/index.js";
import { LanguageModel } from "../src/index.js";
import { Tensor, noGrad, scope } from "../src/tensor/index.js";

interface Kind {
  name: string;
  set: Record<string, GgufValue>;
  /** The first, after the last of the ids. */
  logits: number[];
}

const fixtures = fileURLToPath(new URL("fixtures", import.meta.url));
const kinds = JSON.parse(await readFile(join(fixtures, "gguf-rope.json"), "utf8")) as Kind[];
const ids = [1, 5, 9, 13, 2, 40, 7, 7, 3, 30, 21, 11];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-gguf-kinds-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** The file of a case without its own scaling, with these keys besides. */
async function changed(set: Readonly<Record<string, GgufValue>>): Promise<string> {
  await using file = await GgufFile.open(join(fixtures, "cases/gguf-rope-scale_linear.gguf"));
  const path = join(await mkdtemp(join(folder, "kind-")), "model.gguf");
  const metadata = new Map([...file.metadata.values].filter(([key]) => key !== "llama.rope.scale_linear"));
  for (const [key, value] of Object.entries(set)) metadata.set(key, value);
  const tensors = [...file.tensors.values()].map((tensor) => ({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, data: () => tensor.read() }));
  await writeGguf(path, { metadata, tensors });
  return path;
}

describe("llama.cpp's logits with", () => {
  it.each(kinds)("$name", async ({ set, logits }) => {
    const path = await changed(Object.fromEntries(Object.entries(set).map(([key, value]) => [`llama.${key}`, value])));
    const model = await LanguageModel.load(path);
    const tensor = noGrad(() => scope(() => model.logits(Tensor.from([ids], { dtype: "i32", device: model.device }), { lastOnly: true })));
    const ours = [...(await tensor.data())];
    expect(logits.reduce((most, value, i) => Math.max(most, Math.abs(value - ours[i])), 0)).toBeLessThan(1e-3);
    model.dispose();
  });
});

const warningsOf = async (set: Readonly<Record<string, GgufValue>>): Promise<readonly string[]> => {
  await using source = await openModel(await changed(set));
  return source.warnings;
};

describe("a key that nothing acts on", () => {
  it("is named, once for the file, unless it is switched off", async () => {
    const [warning, ...others] = await warningsOf({ "llama.attention.scale": gguf.float32(0.5), "llama.swin_norm": gguf.bool(true), "llama.token_shift_count": gguf.uint32(0), "llama.whatever": gguf.bool(false) });
    expect(others).toEqual([]);
    expect(warning).toContain('"llama.attention.scale" (0.5), "llama.swin_norm" (true)');
    expect(warning).not.toMatch(/token_shift|whatever/);
  });

  it("is none where all is acted on, or bears on nothing", async () => {
    expect(await warningsOf({ "general.author": gguf.string("a"), "quantize.imatrix.file": gguf.string("b"), "llama.expert_count": gguf.uint32(0), "llama.rope.scaling.finetuned": gguf.bool(true) })).toEqual([]);
  });

  it.each<[string, GgufValue]>([
    ["llama.expert_count", gguf.uint32(8)], ["llama.attention.causal", gguf.bool(false)], ["llama.attention.clamp_kqv", gguf.float32(8)],
    ["llama.attention.key_length_swa", gguf.uint32(8)], ["llama.rope.dimension_count_swa", gguf.uint32(2)], ["llama.rope.scaling.type", gguf.string("spiral")],
    ["llama.attention.head_count_kv", { type: "array", of: "int32", value: Int32Array.from([2, 1, 2]) }],
  ])("is refused where it changes what is computed: %s", async (key, value) => {
    await expect(openModel(await changed({ [key]: value }))).rejects.toMatchObject({ code: "unsupported-config", field: key });
  });

  it("and a list of one entry a layer that are all alike is one number", async () => {
    await using source = await openModel(await changed({ "llama.attention.head_count_kv": { type: "array", of: "int32", value: Int32Array.from([2, 2, 2]) } }));
    expect(transformerOf(source.config)!.numKeyValueHeads).toBe(2);
  });
});

it("how a file advises to sample is acted on, or told", async () => {
  await using source = await openModel(await changed({
    "general.sampling.temp": gguf.float32(0.7), "general.sampling.top_k": gguf.int32(20), "general.sampling.top_p": gguf.float32(0.8), "general.sampling.penalty_repeat": gguf.float32(1.1),
    "general.sampling.mirostat": gguf.int32(2), "tokenizer.ggml.eos_token_id": gguf.uint32(2), "tokenizer.ggml.eot_token_id": gguf.uint32(4_294_967_295),
  }));
  expect(source.generation).toEqual({ temperature: 0.7, topK: 20, topP: 0.8, repetitionPenalty: 1.1, stopIds: [2] });
  expect(source.warnings.join()).toContain('"mirostat" (2)');
});

it("a file that is no model says what it is", async () => {
  await expect(openModel(await changed({ "general.type": gguf.string("mmproj") }))).rejects.toMatchObject({ code: "not-a-model", field: "general.type" });
});
