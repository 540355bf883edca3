import { describe, expect, it } from "vitest";
import { ConfigError } from "../errors.js";
import { Decoder, modelConfig, countParameters, type ModelOptions } from "../model/index.js";
import { ReferenceDevice, defaultDevice } from "../tensor/index.js";
import { availableMemory, checkMemory, estimateMemory, measureMatmulRate } from "./machine.js";
import { trainSettings } from "./settings.js";

const small: ModelOptions = { vocabSize: 50, hiddenSize: 16, numLayers: 2, numHeads: 4, contextLength: 12 };

describe("countParameters", () => {
  it.each<Partial<ModelOptions>>([
    {},
    { bias: false, tieEmbeddings: false },
    { norm: "rmsnorm", position: "rope", feedForward: "swiglu", numKeyValueHeads: 2, bias: false },
    { norm: "rmsnorm", feedForward: "swiglu", qkNorm: true, headSize: 6, position: "alibi" },
    { normPlacement: "post", position: "sinusoidal", intermediateSize: 20, numLayers: 3 },
  ])("is what the model has: %j", (options) => {
    const model = new Decoder({ ...small, ...options }, { device: new ReferenceDevice() });
    expect(countParameters(model.config)).toBe(model.numParameters);
  });
});

describe("memory", () => {
  const config = modelConfig({ vocabSize: 50257, hiddenSize: 768, numLayers: 12, numHeads: 12, contextLength: 1024 });
  const settings = trainSettings({ steps: 1, batchSize: 4, contextLength: 256, dtype: "f32" });

  it("of GPT-2's weights, gradients and AdamW is what arithmetic says, and activations grow with the batch", () => {
    const { weights, gradients, optimizer, activations, total } = estimateMemory({ config }, settings);
    expect(weights).toBe(4 * 124_439_808);
    expect(optimizer).toBe(2 * weights);
    expect(gradients).toBeGreaterThanOrEqual(weights);
    expect(total).toBe(weights + gradients + optimizer + activations);
    const larger = estimateMemory({ config }, { ...settings, batchSize: 16 });
    expect(larger.activations).toBeGreaterThan(2 * activations);
    expect(estimateMemory({ config }, { ...settings, batchSize: 16, recompute: true }).activations).toBeLessThan(larger.activations / 2);
    expect(estimateMemory({ config }, trainSettings({ steps: 1, optimizer: { kind: "sgd" } })).optimizer).toBe(0);
  });

  it("that is not there is refused before the run, in bytes, saying what takes it", () => {
    const check = (batchSize: number, available: number, built = true) => () => checkMemory({ config }, { ...settings, batchSize }, { available, built });
    const { total, weights, activations } = estimateMemory({ config }, { ...settings, batchSize: 64 });
    expect(check(64, 1e9)).toThrow(ConfigError);
    expect(check(64, 1e9)).toThrow(expect.objectContaining({ code: "not-enough-memory", field: "batchSize" }));
    expect(check(64, 1e9)).toThrow(`about ${total - weights} bytes of memory, and 1000000000 are available`);
    expect(check(64, 1e9)).toThrow(`${activations} are activations`);
    expect(check(1, 1e9)).toThrow(expect.objectContaining({ code: "not-enough-memory", field: "model" }));
    expect(check(64, total - weights)).not.toThrow();
    expect(check(64, total - weights, false)).toThrow(expect.objectContaining({ code: "not-enough-memory" }));
  });

  it("available is some, and no more than there is", () => {
    expect(availableMemory()).toBeGreaterThan(1e6);
    expect(availableMemory()).toBeLessThan(1e14);
  });
});

it("the matmul rate is a positive number of operations a second", async () => {
  const rate = await measureMatmulRate(defaultDevice(), "f32");
  expect(rate).toBeGreaterThan(1e5);
  expect(rate).toBeLessThan(1e15);
});
