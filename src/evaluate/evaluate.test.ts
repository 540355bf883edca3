/** Windows, likelihood and divergence against direct computation in float64 from the whole logits. */

import { afterAll, describe, expect, it } from "vitest";
import { LanguageModel } from "../language-model.js";
import type { Decoder, ModelOptions } from "../model/index.js";
import { Tensor, memory, noGrad, scope } from "../tensor/index.js";
import { compareModels, type Divergence } from "./divergence.js";
import { likelihood } from "./likelihood.js";
import { evaluationWindows } from "./windows.js";

const options: ModelOptions = { vocabSize: 37, hiddenSize: 24, numLayers: 2, numHeads: 3, contextLength: 16 };
const models: LanguageModel[] = [];
function modelOf(seed: number, changes: Partial<ModelOptions> = {}): LanguageModel {
  const model = new LanguageModel({ ...options, ...changes }, { seed });
  models.push(model);
  return model;
}
afterAll(() => {
  for (const model of models) model.dispose();
});

async function scaleEmbedding(model: LanguageModel, factor: (i: number) => number): Promise<void> {
  const embed = model.parameters().get("embed")!;
  embed.write(Float32Array.from(await embed.data(), (x, i) => x * factor(i)));
}

const ids = Int32Array.from({ length: 75 }, (_, i) => (i * i * 7 + 3 * i) % 37);

/** log softmax in float64 of every position of one window. */
async function logProbabilities(model: Decoder, window: Int32Array): Promise<Float64Array[]> {
  const tensor = noGrad(() => scope(() => model.logits(Tensor.from(Int32Array.from(window), { shape: [1, window.length], device: model.device }))));
  const flat = await tensor.data();
  tensor.dispose();
  const { vocabSize } = model.config;
  return Array.from({ length: window.length }, (_, t) => {
    const row = Float64Array.from(flat.subarray(t * vocabSize, (t + 1) * vocabSize));
    const most = row.reduce((a, b) => Math.max(a, b));
    const norm = most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
    return row.map((x) => x - norm);
  });
}

const likeliest = (row: Float64Array): number => row.indexOf(row.reduce((a, b) => Math.max(a, b)));

/** What `compareModels` says, computed plainly. */
async function direct(model: Decoder, base: Decoder, ids: Int32Array, time: number, bos?: number) {
  const kl: number[] = [];
  const nll = { model: [] as number[], base: [] as number[] };
  const moved: number[] = [];
  let same = 0;
  const text = bos === undefined ? ids.subarray(1) : ids;
  for (let at = 0; at < text.length; at += time) {
    const targets = text.subarray(at, at + time);
    const window = Int32Array.from(targets, (_, i) => (bos === undefined ? ids[at + i] : i === 0 ? bos : ids[at + i - 1]));
    const [q, p] = [await logProbabilities(model, window), await logProbabilities(base, window)];
    targets.forEach((target, t) => {
      kl.push(p[t].reduce((sum, logP, v) => sum + Math.exp(logP) * (logP - q[t][v]), 0));
      nll.model.push(-q[t][target]);
      nll.base.push(-p[t][target]);
      moved.push(Math.exp(q[t][target]) - Math.exp(p[t][target]));
      if (likeliest(q[t]) === likeliest(p[t])) same++;
    });
  }
  const n = kl.length;
  const mean = (values: number[]): number => values.reduce((sum, x) => sum + x, 0) / n;
  const error = (values: number[]): number => Math.sqrt(values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (n - 1) / n);
  const sorted = kl.toSorted((a, b) => a - b);
  const at = (share: number): number => {
    const place = share * (n - 1);
    return sorted[Math.floor(place)] * (1 - (place % 1)) + sorted[Math.ceil(place)] * (place % 1);
  };
  const difference = nll.model.map((x, i) => x - nll.base[i]);
  const ratio = Math.exp(mean(difference));
  return {
    tokens: n,
    kl: { mean: mean(kl), standardError: error(kl), median: at(0.5), p90: at(0.9), p99: at(0.99), max: sorted[n - 1] },
    sameTop1: { mean: same / n, standardError: Math.sqrt(((same / n) * (1 - same / n)) / (n - 1)) },
    perplexity: Math.exp(mean(nll.model)),
    basePerplexity: Math.exp(mean(nll.base)),
    perplexityRatio: { mean: ratio, standardError: ratio * error(difference) },
    deltaP: { mean: mean(moved), rms: Math.sqrt(mean(moved.map((x) => x * x))) },
  } satisfies Divergence;
}

function expectClose(actual: unknown, expected: unknown, path = "result"): void {
  if (typeof expected === "number") expect(Math.abs((actual as number) - expected), path).toBeLessThan(2e-5 * Math.max(1, Math.abs(expected)));
  else for (const [name, value] of Object.entries(expected as object)) expectClose((actual as Record<string, unknown>)[name], value, `${path}.${name}`);
}

describe("windows", () => {
  it("predict every token but the first once, from what stands before it in its window", () => {
    const { windows, tokens } = evaluationWindows(modelOf(1).config, ids.subarray(0, 40), { batchSize: 2 });
    const read = [...windows].flatMap(({ inputs, targets, batchSize, contextLength }) => {
      expect(contextLength).toBe(16);
      return Array.from({ length: batchSize }, (_, row) => ({ inputs: inputs.subarray(row * 16, row * 16 + 16), targets: targets.subarray(row * 16, row * 16 + 16) }));
    });
    expect(tokens).toBe(39);
    expect(read).toHaveLength(3);
    expect(read.flatMap(({ targets }) => [...targets]).filter((id) => id >= 0)).toEqual([...ids.subarray(1, 40)]);
    read.forEach(({ inputs, targets }, row) => targets.forEach((target, i) => target >= 0 && expect([inputs[i], target]).toEqual([ids[16 * row + i], ids[16 * row + i + 1]])));
  });

  it("begin with the token that is to begin them, which is not predicted", () => {
    const { windows, tokens } = evaluationWindows(modelOf(1).config, ids.subarray(0, 20), { bos: 36, contextLength: 8, batchSize: 3 });
    const [{ inputs, targets }] = [...windows];
    expect(tokens).toBe(20);
    expect([...targets].filter((id) => id >= 0)).toEqual([...ids.subarray(0, 20)]);
    expect([inputs[0], inputs[8], inputs[16]]).toEqual([36, 36, 36]);
    expect([...inputs.subarray(9, 16)]).toEqual([...ids.subarray(8, 15)]);
  });

  it.each<[string, ArrayLike<number>, object, object]>([
    ["one token", [1], {}, { code: "text-too-short" }],
    ["no token", [], { bos: 1 }, { code: "text-too-short" }],
    ["an id outside", [1, 37], {}, { code: "token-out-of-range" }],
    ["a beginning outside", [1, 2], { bos: 99 }, { code: "token-out-of-range" }],
    ["no id", [1, NaN], {}, { code: "token-out-of-range" }],
    ["a window longer than the context", [1, 2], { contextLength: 17 }, { field: "contextLength" }],
    ["no window", [1, 2], { contextLength: 0 }, { field: "contextLength" }],
  ])("refuse %s", (_, ids, windowOptions, error) => {
    expect(() => evaluationWindows(modelOf(1).config, ids, windowOptions)).toThrow(expect.objectContaining(error));
  });
});

describe("likelihood", () => {
  it.each([undefined, 36])("is the sum over windows, with %s before each", async (bos) => {
    const model = modelOf(2);
    const { basePerplexity, tokens } = await direct(model, model, ids, 16, bos);
    const done: number[] = [];
    const result = await likelihood(model, ids, { bos, batchSize: 2, onProgress: (n) => done.push(n) });
    expect(result.tokens).toBe(tokens);
    expect(result.perplexity).toBeCloseTo(basePerplexity, 3);
    expect(result.nll).toBeCloseTo(tokens * Math.log(basePerplexity), 2);
    expect(result.bitsPerByte).toBeNull();
    expect(done).toEqual([0, 32, 64]);
    // One token, after nothing but the beginning.
    if (bos !== undefined) expect((await likelihood(model, [5], { bos })).nll).toBeCloseTo(-(await logProbabilities(model, Int32Array.of(bos)))[0][5], 4);
  });
});

describe("divergence", () => {
  it.each<[string, Partial<ModelOptions>, object, number, number | undefined]>([
    ["windows of the context", {}, {}, 16, undefined],
    ["shorter windows, a token before each", {}, { contextLength: 10, bos: 36, batchSize: 3 }, 10, 36],
    ["a soft cap and a scale of the logits", { logitSoftcap: 1.5, logitScale: 4 }, {}, 16, undefined],
    ["a model of another size", { hiddenSize: 12, numLayers: 1, contextLength: 12 }, {}, 12, undefined],
  ])("agrees with the direct computation: %s", async (_, changes, settings, time, bos) => {
    const [model, base] = [modelOf(3, { ...changes }), modelOf(4)];
    // Far from uniform, so that a wrong direction shows.
    for (const one of [model, base]) await scaleEmbedding(one, () => 20);
    expectClose(await compareModels(model, base, ids, settings), await direct(model, base, ids, time, bos));
  });

  it("of a model from itself is nothing, to the last bit", async () => {
    const model = modelOf(5);
    const result = await compareModels(model, model, ids);
    expect(result).toMatchObject({ tokens: 74, kl: { mean: 0, standardError: 0, max: 0 }, sameTop1: { mean: 1, standardError: 0 }, perplexityRatio: { mean: 1, standardError: 0 }, deltaP: { mean: 0, rms: 0 } });
    expect(result.perplexity).toBe(result.basePerplexity);
    expect(result.perplexity).toBeCloseTo((await likelihood(model, ids)).perplexity, 4);
  });

  it("as small as a rounding's is still told: 1e-7 of a nat does not drown", async () => {
    const [model, base] = [modelOf(6), modelOf(6)];
    await scaleEmbedding(model, (i) => 1 + (i % 2 === 0 ? 1e-3 : -1e-3));
    const [result, exact] = [await compareModels(model, base, ids), await direct(model, base, ids, 16)];
    expect(exact.kl.mean).toBeLessThan(1e-6);
    expect(result.kl.mean / exact.kl.mean).toBeCloseTo(1, 1);
    expect(result.kl.median).toBeGreaterThan(0);
  });

  it("goes through a large vocabulary in chunks of rows, leaves nothing behind, and stops when told", async () => {
    const sizes = { vocabSize: 300_000, hiddenSize: 4, numLayers: 1, numHeads: 1, contextLength: 64 };
    const [model, base] = [modelOf(8, sizes), modelOf(9, sizes)];
    const far = ids.subarray(0, 20).map((id) => id * 8000);
    const before = memory.live;
    const done: number[] = [];
    const result = await compareModels(model, base, far, { onProgress: (n) => done.push(n) });
    expect(done).toEqual([16, 19]);
    expectClose(result, await direct(model, base, far, 64));
    const controller = new AbortController();
    await expect(compareModels(model, base, far, { signal: controller.signal, onProgress: () => controller.abort() })).rejects.toMatchObject({ name: "AbortError" });
    expect(memory.live).toBe(before);
  });

  it("is refused for vocabularies of different sizes, naming both", async () => {
    await expect(compareModels(modelOf(1), modelOf(1, { vocabSize: 38 }), ids)).rejects.toMatchObject({ code: "other-vocabulary", message: expect.stringMatching(/37 and 38/) as string });
  });
});
