/**
 * Every family of models against Hugging Face transformers: tiny random models that it made, with what it and PyTorch compute from them
 * (scripts/reference/families.py). The logits of every position, greedy text with and without a cache, alone and in a batch, the losses of training
 * steps, and the files when saved again.
 */

import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { families } from "../src/checkpoint/families/index.js";
import { Safetensors } from "../src/checkpoint/safetensors.js";
import { LanguageModel } from "../src/language-model.js";
import { transformerOf, type Taps, type TransformerConfig, type TransformerOptions } from "../src/model/index.js";
import { CpuDevice, ReferenceDevice, Tensor, backward, scope, type Device } from "../src/tensor/index.js";
import { clipScale } from "../src/train/clip.js";
import { makeOptimizer } from "../src/train/optimizers/index.js";

interface Expected {
  ids: number[][];
  /** Of every position of `ids`, float32 in base64. */
  logits: string;
  prompts: number[][];
  greedy: number[][];
  training: {
    learningRate: number; beta1: number; beta2: number; epsilon: number; weightDecay: number; clipNorm: number; steps: number;
    batch: number[][]; losses: number[]; gradientNorms: number[];
  };
}

const fixtures = fileURLToPath(new URL("fixtures/families", import.meta.url));
const names = await readdir(fixtures);

const reference = new ReferenceDevice();
const device: Device = CpuDevice.isAvailable() ? CpuDevice.create() : reference;

const load = (name: string, on = device) => LanguageModel.load(join(fixtures, name), { device: on });
const readJson = async <T>(...path: string[]) => JSON.parse(await readFile(join(...path), "utf8")) as T;
const expectedOf = (name: string) => readJson<Expected>(fixtures, name, "expected.json");
const logitsIn = ({ logits }: Expected) => new Float32Array(new Uint8Array(Buffer.from(logits, "base64")).buffer);
const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i])), a.length === b.length ? 0 : Infinity);

async function logitsOf(model: LanguageModel, rows: readonly number[][], taps?: Taps): Promise<Float32Array> {
  const logits = scope(() => model.logits(Tensor.from(rows, { dtype: "i32", device: model.device }), taps && { taps }));
  const values = await logits.data();
  logits.dispose();
  return values as Float32Array;
}

/** Each token from its whole text, with no cache. */
async function continuedWithoutCache(model: LanguageModel, prompt: readonly number[], count: number): Promise<number[]> {
  const ids = [...prompt];
  while (ids.length < prompt.length + count) {
    const last = (await logitsOf(model, [ids])).subarray(-model.config.vocabSize);
    ids.push(last.indexOf(Math.max(...last)));
  }
  return ids.slice(prompt.length);
}

async function trained(model: LanguageModel, { batch, steps, learningRate: rate, beta1, beta2, epsilon: eps, weightDecay, clipNorm }: Expected["training"], recompute: boolean) {
  const parameters = model.parameters();
  const optimizer = makeOptimizer({ kind: "adamw", beta1, beta2, eps, weightDecay }, parameters);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < steps; step++) {
    const { loss, norm } = scope(() => {
      const tokens = Tensor.from(batch, { dtype: "i32", device: model.device });
      const loss = model.loss(tokens.slice(1, 0, -1), tokens.slice(1, 1), { recompute });
      backward(loss);
      const { norm, scale } = clipScale(parameters.values(), clipNorm, model.device);
      optimizer.step({ rate, gradScale: scale });
      for (const parameter of parameters.values()) {
        parameter.grad?.dispose();
        parameter.grad = undefined;
      }
      return { loss: loss.detach(), norm };
    });
    losses.push(await loss.item());
    norms.push(await norm.item());
  }
  return { losses, norms };
}

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "hornbook-families-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

it("has a model of every family", async () => {
  const types = await Promise.all(names.map(async (name) => (await readJson<{ model_type: string }>(fixtures, name, "config.json")).model_type));
  expect(new Set(types)).toEqual(new Set(families.map(({ modelType }) => modelType).filter((type) => type !== "hornbook")));
});

describe.each(names)("%s", (name) => {
  it("has transformers' logits at every position, by fused kernels, step by step, and on the reference device", async () => {
    const expected = await expectedOf(name);
    const model = await load(name);
    expect(largestDifference(await logitsOf(model, expected.ids), logitsIn(expected))).toBeLessThanOrEqual(1e-4);
    const everything: Taps = { wants: () => true, on: () => undefined };
    expect(largestDifference(await logitsOf(model, expected.ids, everything), logitsIn(expected))).toBeLessThanOrEqual(1e-4);
    model.dispose();
    const slow = await load(name, reference);
    expect(largestDifference(await logitsOf(slow, expected.ids), logitsIn(expected))).toBeLessThanOrEqual(1e-4);
  });

  it("goes on greedily as transformers does, with a cache and without, alone and in a batch of unequal prompts", async () => {
    const { prompts, greedy } = await expectedOf(name);
    const model = await load(name);
    const options = { temperature: 0, maxTokens: greedy[0].length, stopIds: [] };
    for (const [i, prompt] of prompts.entries()) {
      expect((await model.generateText(prompt, options)).ids).toEqual(greedy[i]);
      expect(await continuedWithoutCache(model, prompt, greedy[i].length)).toEqual(greedy[i]);
    }
    expect((await model.generateBatch(prompts, options)).map(({ ids }) => ids)).toEqual(greedy);
    model.dispose();
  });

  it.each([false, true])("has PyTorch's losses and gradient norms over six steps of AdamW (recomputing blocks: %s)", async (recompute) => {
    const { training } = await expectedOf(name);
    const model = await load(name);
    const { losses, norms } = await trained(model, training, recompute);
    expect(largestDifference(losses, training.losses)).toBeLessThanOrEqual(1e-4);
    // In proportion: after some steps of AdamW, which divides by small numbers, they say less than the losses do.
    for (const [step, norm] of training.gradientNorms.entries()) expect(Math.abs(norms[step] - norm)).toBeLessThanOrEqual(5e-4 * norm);
    model.dispose();
  });

  it("is saved as the same tensors and settings", async () => {
    const model = await load(name);
    const saved = join(folder, name);
    await model.save(saved, { dtype: "bf16" });
    await using theirs = await Safetensors.open(join(fixtures, name));
    await using ours = await Safetensors.open(saved);
    expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    for (const [tensor, { shape }] of theirs.tensors) {
      expect(ours.get(tensor).shape, tensor).toEqual(shape);
      expect(Buffer.compare(await ours.get(tensor).read(), await theirs.get(tensor).read()), tensor).toBe(0);
    }
    const [before, after] = await Promise.all([join(fixtures, name), saved].map((path) => readJson<Record<string, unknown>>(path, "config.json")));
    expect(after).not.toHaveProperty("hornbook");
    for (const [field, value] of Object.entries(after)) {
      if ((before[field] ?? null) !== null && field !== "bos_token_id") expect({ [field]: value }).toEqual({ [field]: before[field] });
    }
    expect((await LanguageModel.load(saved, { device })).config).toEqual(model.config);
    // transformers 5 refuses 3 where it expects 3.0.
    const fractions = async (path: string) => [...(await readFile(join(path, "config.json"), "utf8")).matchAll(/"(\w+)": -?\d+\.0\b/g)].map(([, field]) => field);
    const [theirFractions, ourFractions] = [await fractions(join(fixtures, name)), await fractions(saved)];
    expect(ourFractions).toEqual(expect.arrayContaining(theirFractions.filter((field) => field in after && !/drop/.test(field))));
    model.dispose();
  });

  it("has other logits with any of its settings a little off, so that the comparison would show it", async () => {
    const expected = await expectedOf(name);
    const model = await load(name);
    const transformer = transformerOf(model.config)!;
    for (const change of slightlyOff(transformer)) {
      const other = new LanguageModel({ ...transformer, ...change }, { weights: "none", device });
      for (const [parameter, tensor] of other.parameters()) tensor.write((await model.parameters().get(parameter)!.data()));
      expect(largestDifference(await logitsOf(other, expected.ids), logitsIn(expected)), JSON.stringify(change)).toBeGreaterThan(5e-4);
      other.dispose();
    }
    model.dispose();
  });
});

/** Configurations with the same parameters, or some of them, that compute something else: of each, one setting is a little off, or a term is forgotten. */
function slightlyOff(config: TransformerConfig): Partial<TransformerOptions>[] {
  const { numLayers, norm, normOffset, parallelBlock, position, ropeLayers, ropeScaling, layerTypes, slidingWindow } = config;
  const off: Partial<TransformerOptions>[] = [{ normEps: 2 * config.normEps }];
  for (const field of ["embeddingScale", "residualScale", "logitScale", "attentionScale"] as const) off.push({ [field]: 1.02 * config[field] });
  for (const field of ["logitSoftcap", "attentionSoftcap"] as const) off.push({ [field]: config[field] > 0 ? 0 : 30 });
  for (const field of ["queryKeyValueBias", "attentionOutputBias", "mlpBias", "normBias", "embeddingNorm"] as const) if (config[field]) off.push({ [field]: false });
  if (config.qkNorm !== "none") off.push({ qkNorm: "none" });
  if (norm === "rmsnorm") off.push({ normOffset: normOffset + 0.01 });
  if (parallelBlock === "twoNorms") off.push({ parallelBlock: "none" });
  const twins = { gelu: "geluTanh", geluTanh: "gelu", geglu: "gegluTanh", gegluTanh: "geglu", swiglu: "geglu", relu: "gelu", silu: "gelu" } as const;
  off.push({ feedForward: twins[config.feedForward] });

  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  if (position === "alibi") off.push({ alibiScale: 1.02 * config.alibiScale });
  if (position === "rope") {
    off.push({ ropeTheta: 1.05 * config.ropeTheta }, { ropeInterleaved: !config.ropeInterleaved });
    if (config.rotaryFraction < 1) off.push({ rotaryFraction: 1, ropeScaling: { kind: "none" } });
    if (config.localRopeTheta > 0) off.push({ localRopeTheta: 1.05 * config.localRopeTheta });
    if (ropeScaling.kind !== "none") off.push({ ropeScaling: { kind: "none" } });
    for (const layer of layers) off.push({ ropeLayers: ropeLayers.with(layer, !ropeLayers[layer]) });
  }
  if (slidingWindow > 0) {
    off.push({ slidingWindow: slidingWindow + 1 });
    for (const layer of layers) off.push({ layerTypes: layerTypes.with(layer, layerTypes[layer] === "full" ? "sliding" : "full") });
  }
  return off;
}
