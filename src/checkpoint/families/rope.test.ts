import { describe, expect, it } from "vitest";
import { transformerConfig, type TransformerConfig, type TransformerOptions } from "../../model/index.js";
import { ConfigFile } from "./family.js";
import { readRope, writeRope, type RopeNames } from "./rope.js";

const sizes = { vocabSize: 7, hiddenSize: 16, numLayers: 2, numHeads: 2, contextLength: 400, position: "rope" } as const;
const read = (json: Record<string, unknown>, names: RopeNames = {}) => readRope(new ConfigFile("config.json", { max_position_embeddings: 100, ...json }), names);

describe("says the same in the form of transformers 4 and 5", () => {
  it.each([
    [{}, { kind: "none" }],
    [{ factor: 3, rope_type: "linear" }, { kind: "linear", factor: 3 }],
    [{ factor: 3, rope_type: "dynamic" }, { kind: "dynamic", factor: 3, originalContextLength: 100 }],
    [{ factor: 4, rope_type: "yarn", original_max_position_embeddings: 50 }, { kind: "yarn", factor: 4, originalContextLength: 50, betaFast: 32, betaSlow: 1, truncate: true }],
    [{ factor: 8, rope_type: "llama3", low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 25 }, { kind: "llama3", factor: 8, originalContextLength: 25, lowFrequencyFactor: 1, highFrequencyFactor: 4 }],
    [{ rope_type: "longrope", short_factor: [1, 2], long_factor: [3, 4], original_max_position_embeddings: 25 }, { kind: "longrope", originalContextLength: 25, shortFactors: [1, 2], longFactors: [3, 4] }],
  ])("%o", (scaling, expected) => {
    const older = read({ rope_theta: 77, rope_scaling: Object.keys(scaling).length > 0 ? scaling : null });
    expect(older).toMatchObject({ ropeTheta: 77, ropeScaling: expected });
    expect(read({ rope_parameters: { rope_theta: 77, ...scaling } })).toEqual(older);
  });

  it("older names: type, and su for longrope, with the original context outside", () => {
    expect(read({ rope_scaling: { type: "linear", factor: 2 } }).ropeScaling).toEqual({ kind: "linear", factor: 2 });
    const su = read({ original_max_position_embeddings: 25, rope_scaling: { type: "su", short_factor: [1, 2], long_factor: [3, 4] } }).ropeScaling;
    expect(su).toMatchObject({ kind: "longrope", originalContextLength: 25, shortFactors: [1, 2], longFactors: [3, 4] });
  });
});

it("dynamic and YaRN reach beyond what the model learned on", () => {
  expect(read({ rope_scaling: { rope_type: "dynamic", factor: 2.5 } }).contextLength).toBe(250);
  expect(read({ rope_scaling: { rope_type: "yarn", factor: 2.5 } }).contextLength).toBe(250);
  expect(read({ rope_scaling: { rope_type: "yarn", factor: 2, original_max_position_embeddings: 50 } }).contextLength).toBe(100);
  expect(read({ rope_scaling: { rope_type: "linear", factor: 2 } }).contextLength).toBe(100);
});

it("what follows from other settings is computed from them", () => {
  const yarn = read({ rope_scaling: { rope_type: "yarn", factor: 40, mscale: 0.707, mscale_all_dim: 1 } }).ropeScaling;
  expect(yarn).toMatchObject({ attentionFactor: (0.0707 * Math.log(40) + 1) / (0.1 * Math.log(40) + 1) });
  expect(read({ rope_scaling: { rope_type: "yarn", original_max_position_embeddings: 20 } }).ropeScaling).toMatchObject({ factor: 5 });
  const longrope = { rope_type: "longrope", short_factor: [1], long_factor: [1], original_max_position_embeddings: 10 };
  expect(read({ rope_scaling: { ...longrope, factor: 4 } }).ropeScaling).toMatchObject({ attentionFactor: Math.sqrt(1 + Math.log(4) / Math.log(10)) });
  expect(read({ rope_scaling: { ...longrope, attention_factor: 1.5 } }).ropeScaling).toMatchObject({ attentionFactor: 1.5 });
});

it("comes back as written, whatever the kind", () => {
  const scalings: TransformerOptions["ropeScaling"][] = [
    { kind: "none" }, { kind: "linear", factor: 2 }, { kind: "dynamic", factor: 4, originalContextLength: 100 }, { kind: "yarn", factor: 4, originalContextLength: 100 },
    { kind: "yarn", factor: 4, originalContextLength: 100, attentionFactor: 2, betaFast: 20, betaSlow: 3, truncate: false },
    { kind: "llama3", factor: 8, originalContextLength: 100, lowFrequencyFactor: 1, highFrequencyFactor: 4 },
    { kind: "longrope", originalContextLength: 100, shortFactors: [1, 2], longFactors: [3, 4] }, { kind: "longrope", originalContextLength: 100, shortFactors: [1, 2], longFactors: [3, 4], attentionFactor: 3 },
  ];
  for (const ropeScaling of scalings) {
    const config = transformerConfig({ ...sizes, ropeTheta: 123, rotaryFraction: 0.5, ...(ropeScaling && { ropeScaling }) });
    const { rope_parameters, ...flat } = { max_position_embeddings: config.contextLength, ...writeRope(config) };
    const { rope_theta, rope_scaling, ...rest } = flat as Record<string, unknown>;
    for (const fields of [{ ...rest, rope_parameters }, { ...rest, rope_theta, rope_scaling }]) {
      const again: TransformerConfig = transformerConfig({ ...sizes, ...read(fields, { wholeHeads: false }) });
      expect(again).toEqual(config);
    }
  }
});

it("refuses kinds it does not know, a part of a head where the family has none, and settings for each kind of layer", () => {
  expect(() => read({ rope_scaling: { type: "mrope" } })).toThrow(expect.objectContaining({ code: "unsupported-config", field: "type" }));
  expect(() => read({ rope_scaling: { rope_type: "linear" } })).toThrow(expect.objectContaining({ code: "bad-config", field: "factor" }));
  expect(() => read({ rope_scaling: { rope_type: "longrope", short_factor: "all", long_factor: [1] } })).toThrow(expect.objectContaining({ code: "bad-config", field: "short_factor" }));
  expect(() => read({ partial_rotary_factor: 0.5 })).toThrow(expect.objectContaining({ code: "unsupported-config", field: "partial_rotary_factor" }));
  expect(read({ partial_rotary_factor: 0.5 }, { wholeHeads: false }).rotaryFraction).toBe(0.5);
  expect(() => read({ rope_parameters: { full_attention: { rope_theta: 5 } } })).toThrow(expect.objectContaining({ code: "unsupported-config", field: "rope_parameters" }));
});
