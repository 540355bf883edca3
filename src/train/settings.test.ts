import { describe, expect, it } from "vitest";
import { ConfigError } from "../errors.js";
import { trainSchema, trainSettings, type TrainSettingsInput } from "./settings.js";

describe("trainSettings", () => {
  it("completes what is left out, and takes its own output", () => {
    const settings = trainSettings({ steps: 2000 });
    expect(settings).toMatchObject({ batchSize: 12, accumulation: 1, dtype: "bf16", clip: 1, schedule: { kind: "cosine", rate: 1e-3, warmup: 100 }, optimizer: { kind: "adamw", weightDecay: 0.1 } });
    expect(trainSettings(settings)).toEqual(settings);
    expect(trainSchema.parse(JSON.parse(JSON.stringify(settings)))).toEqual(settings);
  });

  it("warms a short run up for a tenth of it", () => {
    expect(trainSettings({ steps: 50 }).schedule.warmup).toBe(5);
    expect(trainSettings({ steps: 5 }).schedule.warmup).toBe(0);
  });

  it.each([
    [{ steps: 0 }, "steps"],
    [{ steps: 1.5 }, "steps"],
    [{ steps: NaN }, "steps"],
    [{}, "steps"],
    [{ steps: 1, batchSize: 0 }, "batchSize"],
    [{ steps: 1, contextLength: -8 }, "contextLength"],
    [{ steps: 1, accumulation: 0 }, "accumulation"],
    [{ steps: 1, dtype: "f16" }, "dtype"],
    [{ steps: 1, clip: -1 }, "clip"],
    [{ steps: 1, seed: -1 }, "seed"],
    [{ steps: 1, order: "backwards" }, "order"],
    [{ steps: 1, evaluateEvery: -1 }, "evaluateEvery"],
    [{ steps: 1, schedule: { kind: "constant", rate: -1e-3 } }, "schedule.rate"],
    [{ steps: 1, schedule: { kind: "cosine", rate: 1, lowest: 0 } }, "schedule.lowest"],
    [{ steps: 1, optimizer: { kind: "adamw", beta2: 1 } }, "optimizer.beta2"],
    [{ steps: 1, optimizer: { kind: "lion" } }, "optimizer.kind"],
    [{ steps: 1, optimizer: { kind: "sgd", beta1: 0.9 } }, "optimizer.beta1"],
    [{ steps: 1, learningRate: 1e-3 }, "learningRate"],
  ])("refuses %j, naming %s", (input, field) => {
    const parse = () => trainSettings(input as TrainSettingsInput);
    expect(parse).toThrow(ConfigError);
    expect(parse).toThrow(expect.objectContaining({ field }));
    expect(parse).toThrow(/\.$/);
  });
});
