/**
 * What the families of open models have beyond GPT-2 and Llama, each feature alone and in the company it keeps: its gradients against finite
 * differences, the open attention path against the fused one, with the cache against without, a batch of unequal prompts against one by one.
 */

import { describe, expect, it } from "vitest";
import { SequenceState } from "../generate/sequence-state.js";
import { ConfigError } from "../errors.js";
import { Random, Tensor, backward, noGrad, scope } from "../tensor/index.js";
import { Decoder, countParameters, ignoreIndex, layersOf, modelConfig, transformerConfig, transformerOf, type ForwardOptions, type TransformerOptions } from "./index.js";

const sizes = { vocabSize: 11, hiddenSize: 12, numLayers: 3, numHeads: 4, numKeyValueHeads: 2, headSize: 6, intermediateSize: 10, contextLength: 16 };
const llama = { ...sizes, position: "rope", norm: "rmsnorm", feedForward: "swiglu", bias: false, tieEmbeddings: false, normEps: 0.1 } as const;
const layernorm = { ...sizes, position: "rope", bias: false, normEps: 0.1 } as const;
const long = [0.7, 2, 5];

const features: [string, TransformerOptions][] = [
  ["OLMo 2: norms of what is added, queries and keys normed whole", { ...llama, normPlacement: "output", qkNorm: "whole" }],
  ["Gemma 2: sandwich, offset, scaled embedding, both soft caps, every other layer sliding", {
    ...llama, normPlacement: "sandwich", normOffset: 1, embeddingScale: 12 ** 0.5, logitSoftcap: 3, attentionSoftcap: 2, attentionScale: 0.3, feedForward: "gegluTanh",
    slidingWindow: 3, layerTypes: ["sliding", "full"], tieEmbeddings: true,
  }],
  ["Gemma 3: local RoPE base in sliding layers, full ones linearly scaled, heads normed", {
    ...llama, normPlacement: "sandwich", normOffset: 1, qkNorm: "head", localRopeTheta: 20, ropeTheta: 900, ropeScaling: { kind: "linear", factor: 4 },
    slidingWindow: 3, layerTypes: ["sliding", "sliding", "full"], feedForward: "gegluTanh",
  }],
  ["Cohere: parallel halves with one norm, weight without bias, RoPE in pairs, scaled logits, a norm for each head", {
    ...layernorm, parallelBlock: "sharedNorm", ropeInterleaved: true, logitScale: 0.25, qkNorm: "heads", feedForward: "swiglu",
  }],
  ["Cohere 2: no RoPE in full layers", { ...layernorm, parallelBlock: "sharedNorm", slidingWindow: 4, layerTypes: ["sliding", "sliding", "full"], ropeLayers: [true, true, false] }],
  ["GPT-NeoX: parallel halves with two norms, a quarter turned", { ...sizes, headSize: 8, position: "rope", parallelBlock: "twoNorms", rotaryFraction: 0.25 }],
  ["BLOOM: a norm on the embedding, ALiBi", { ...sizes, embeddingNorm: true, position: "alibi", feedForward: "geluTanh", numKeyValueHeads: 4 }],
  ["Granite: multipliers", { ...llama, embeddingScale: 3, residualScale: 0.4, logitScale: 0.5, attentionScale: 0.2 }],
  ["Qwen 2: biases of queries, keys and values alone", { ...llama, queryKeyValueBias: true }],
  ["a gate of exact gelu, biases outside the attention", { ...llama, feedForward: "geglu", mlpBias: true, attentionOutputBias: true }],
  ["YaRN", { ...llama, ropeScaling: { kind: "yarn", factor: 4, originalContextLength: 5 } }],
  ["llama3", { ...llama, ropeScaling: { kind: "llama3", factor: 4, originalContextLength: 8, lowFrequencyFactor: 0.5, highFrequencyFactor: 1.2 } }],
  ["dynamic, beyond the original context", { ...llama, ropeScaling: { kind: "dynamic", factor: 2, originalContextLength: 4 } }],
  ["longrope, on both sides of the original context", { ...llama, ropeScaling: { kind: "longrope", originalContextLength: 6, shortFactors: [1, 1.1, 1.3], longFactors: long } }],
];
/** Their angles change as a sequence grows, and cached keys keep those of the length at which they were turned. */
const changing = (options: TransformerOptions): boolean => options.ropeScaling?.kind === "dynamic" || options.ropeScaling?.kind === "longrope";

const random = new Random(1);
const [batch, time] = [2, 8];
const tokens = Array.from({ length: batch }, () => Array.from({ length: time }, () => random.integer(11)));
const asIds = (rows: number[][]) => Tensor.from(rows, { dtype: "i32" });
const ids = asIds(tokens);
const targets = asIds(tokens.map((row) => [...row.slice(1), ignoreIndex]));

function shaken(options: TransformerOptions, { normOffset = 0 } = options): Decoder {
  const model = new Decoder(options);
  const random = new Random(2);
  for (const [name, parameter] of model.parameters()) {
    const center = /[nN]orm.*weight/.test(name) ? 1 - normOffset : 0;
    parameter.write(Float32Array.from({ length: parameter.size }, () => center + (random.uniform() - 0.5)));
  }
  return model;
}

const logitsOf = async (model: Decoder, input: Tensor = ids, options: ForwardOptions = {}) => (await model.logits(input, options).data()) as Float32Array;
function apart(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
  return largest;
}

describe.each(features)("%s", (_, options) => {
  const model = shaken(options);

  it("has as many parameters as counted, and completes to itself", () => {
    expect(model.numParameters).toBe(countParameters(model.config));
    expect(modelConfig(model.config)).toEqual(model.config);
    expect(layersOf(transformerOf(model.config)!)).toEqual(model.config);
  });

  it("has the gradients that differences say", async () => {
    scope(() => backward(model.loss(ids, targets)));
    const loss = async () => noGrad(() => model.loss(ids, targets)).item();
    const random = new Random(3);
    for (const [name, parameter] of model.parameters()) {
      const gradient = (await parameter.grad!.data()) as Float32Array;
      const values = (await parameter.data()) as Float32Array<ArrayBuffer>;
      // Along a random direction, so that one pair of losses checks all elements at once.
      const direction = values.map(() => random.uniform() - 0.5);
      const at = async (step: number) => {
        parameter.write(values.map((value, i) => value + step * direction[i]));
        return loss();
      };
      const step = 0.003;
      const numeric = ((await at(step)) - (await at(-step))) / (2 * step);
      parameter.write(values);
      const expected = gradient.reduce((sum, g, i) => sum + g * direction[i], 0);
      expect(Math.abs(expected - numeric), name).toBeLessThan(5e-4 + 0.01 * Math.abs(numeric));
    }
    for (const parameter of model.parameters().values()) parameter.grad = undefined;
  });

  it("gives the same loss from the logits, and the same of everything in the open and again in the backward pass", async () => {
    const logProbabilities = await model.logits(ids).logSoftmax(-1).data();
    let sum = 0;
    for (let row = 0; row < batch; row++) for (let t = 0; t + 1 < time; t++) sum -= logProbabilities[(row * time + t) * 11 + tokens[row][t + 1]];
    expect(await model.loss(ids, targets).item()).toBeCloseTo(sum / (batch * (time - 1)), 5);

    const taps = { wants: () => true, on: () => undefined };
    expect(apart(await logitsOf(model, ids, { taps }), await logitsOf(model))).toBeLessThan(1e-5);
    const gradients = async (recompute: boolean) => {
      scope(() => backward(model.loss(ids, targets, { recompute })));
      const all: ArrayLike<number>[] = [];
      for (const parameter of model.parameters().values()) {
        all.push(await parameter.grad!.data());
        parameter.grad!.dispose();
        parameter.grad = undefined;
      }
      return all;
    };
    const [again, kept] = [await gradients(true), await gradients(false)];
    for (const [i, name] of [...model.parameters().keys()].entries()) expect(apart(again[i], kept[i]), name).toBe(0);
  });

  it("gives with a state what it gives without, for sequences of unequal lengths side by side", async () => {
    const [short, whole] = [tokens[0].slice(0, 6), tokens[1]];
    const alone = [await logitsOf(model, asIds([short])), await logitsOf(model, asIds([whole]))];
    if (changing(options)) return;
    const state = new SequenceState(model, { dtype: "f32", positions: 4, maxPositions: 16 });
    const slots = [state.add(), state.add(), state.add()].slice(1);
    const i32 = (values: number[]) => Tensor.from(values, { dtype: "i32" });
    const read = async (rows: readonly (readonly number[])[], which: readonly number[]) => {
      const lengths = state.grow(which, rows[0].length);
      const starts = lengths.map((length) => length - rows[0].length);
      const logits = scope(() => noGrad(() => {
        const positions = asIds(starts.map((start) => rows[0].map((_, i) => start + i)));
        return model.logits(asIds(rows.map((row) => [...row])), { positions, lengths, state: state.pass({ slots: i32([...which]), starts: i32(starts), lengths: i32(lengths) }) });
      }));
      return (await logits.data()) as Float32Array;
    };
    const ofShort = [...(await read([short.slice(0, 5)], [slots[0]]))];
    const ofWhole = [...(await read([whole.slice(0, 6)], [slots[1]])), ...(await read([whole.slice(6, 7)], [slots[1]]))];
    const together = await read([short.slice(5), whole.slice(7)], slots);
    expect(apart([...ofShort, ...together.subarray(0, 11)], alone[0])).toBeLessThan(1e-5);
    expect(apart([...ofWhole, ...together.subarray(11)], alone[1])).toBeLessThan(1e-5);
    state.dispose();
  });

  it("computes in bf16 close to f32", async () => {
    const [exact, rounded] = [await logitsOf(model), await logitsOf(model, ids, { dtype: "bf16" })];
    expect(Math.hypot(...exact.map((value, i) => value - rounded[i]))).toBeLessThan(0.05 * Math.hypot(...exact));
  });
});

it("each of these settings changes what is computed", async () => {
  const changes: [TransformerOptions, Partial<TransformerOptions>][] = [
    [llama, { normOffset: 1 }], [llama, { embeddingScale: 2 }], [llama, { residualScale: 2 }], [llama, { logitScale: 2 }], [llama, { logitSoftcap: 0.5 }],
    [llama, { attentionSoftcap: 0.1 }], [llama, { attentionScale: 2 }], [llama, { ropeInterleaved: true }], [llama, { ropeLayers: [true, false] }],
    [llama, { ropeScaling: { kind: "linear", factor: 2 } }], [llama, { ropeScaling: { kind: "yarn", factor: 2, originalContextLength: 4 } }],
    [llama, { slidingWindow: 2 }], [{ ...llama, slidingWindow: 2 }, { layerTypes: ["full", "sliding"] }], [{ ...llama, slidingWindow: 2 }, { localRopeTheta: 5 }],
    [llama, { parallelBlock: "twoNorms" }], [llama, { feedForward: "geglu" }], [{ ...llama, feedForward: "geglu" }, { feedForward: "gegluTanh" }],
  ];
  for (const [base, change] of changes) {
    const [a, b] = [await logitsOf(shaken(base)), await logitsOf(shaken({ ...base, ...change }, base))];
    expect(apart(a, b), JSON.stringify(change)).toBeGreaterThan(1e-5);
  }
});

describe("a configuration that cannot be is refused, naming", () => {
  const wrong: [string, Partial<TransformerOptions>][] = [
    ["parallelBlock", { parallelBlock: "twoNorms", normPlacement: "sandwich" }], ["normOffset", { normOffset: 1 }], ["normBias", { norm: "rmsnorm", normBias: true }],
    ["slidingWindow", { layerTypes: ["full", "sliding"] }], ["layerTypes", { slidingWindow: 2, layerTypes: [] }], ["layerTypes", { slidingWindow: 2, layerTypes: ["full", "full", "full", "full"] }],
    ["ropeLayers", { ropeLayers: [true] }], ["ropeScaling.longFactors", { position: "rope", ropeScaling: { kind: "longrope", originalContextLength: 4, shortFactors: long, longFactors: [1] } }],
    ["ropeScaling.factor", { position: "rope", ropeScaling: { kind: "yarn", factor: 0.5, originalContextLength: 4 } }], ["ropeTheta", { position: "rope", ropeTheta: 1, ropeScaling: { kind: "yarn", factor: 2, originalContextLength: 4 } }],
    ["ropeScaling.highFrequencyFactor", { position: "rope", ropeScaling: { kind: "llama3", factor: 2, originalContextLength: 4, lowFrequencyFactor: 2, highFrequencyFactor: 2 } }],
    ["logitSoftcap", { logitSoftcap: -1 }], ["qkNorm", { qkNorm: "all" as "head" }], ["numLayers", { numLayers: 1e9 }],
  ];
  it.each(wrong)("%s: %o", (field, options) => {
    const build = () => modelConfig({ ...sizes, ...options });
    expect(build).toThrow(ConfigError);
    expect(build).toThrow(expect.objectContaining({ field }));
  });
});

it("a pattern stands for the list that it repeats to, and a boolean for the kind of norm it named before", () => {
  const config = transformerConfig({ ...llama, slidingWindow: 4, layerTypes: ["sliding", "full"], ropeLayers: [false, true], qkNorm: true });
  expect(config).toMatchObject({ layerTypes: ["sliding", "full", "sliding"], ropeLayers: [false, true, false], qkNorm: "head" });
  expect(transformerConfig({ ...sizes, slidingWindow: 4 })).toMatchObject({ layerTypes: ["sliding", "sliding", "sliding"], ropeLayers: [false, false, false], qkNorm: "none" });
});
