/**
 * Tiny random models that Hugging Face transformers made, with what it and PyTorch compute from them (scripts/reference/tiny_models.py):
 * the logits of every position, greedy text, and the losses of training steps.
 */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { LanguageModel } from "../src/language-model.js";
import { CpuDevice, ReferenceDevice, Tensor, backward, scope, type Device } from "../src/tensor/index.js";
import { clipScale } from "../src/train/clip.js";
import { makeOptimizer } from "../src/train/optimizers/index.js";

interface Expected {
  inputIds: number[][];
  logits: number[][][];
  greedy: number[][];
  training: {
    learningRate: number; beta1: number; beta2: number; epsilon: number; weightDecay: number; clipNorm: number;
    batches: number[][][]; losses: number[]; gradientNorms: number[];
  };
}

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const largestDifference = (a: ArrayLike<number>, b: readonly number[]) => b.reduce((largest, value, i) => Math.max(largest, Math.abs(a[i] - value)), a.length === b.length ? 0 : Infinity);

const devices: [string, () => Device][] = [["reference", () => new ReferenceDevice()]];
if (CpuDevice.isAvailable()) devices.push(["cpu", () => CpuDevice.create()]);

describe.each(devices)("on the %s device", (_, makeDevice) => {
  const device = makeDevice();

  describe.each(["tiny-gpt2", "tiny-llama"])("%s", (name) => {
    const load = async () => ({
      model: await LanguageModel.load(fixture(name), { device }),
      expected: JSON.parse(await readFile(`${fixture(name)}/expected.json`, "utf8")) as Expected,
    });

    it("has the same logits at every position", async () => {
      const { model, expected } = await load();
      const logits = await model.logits(Tensor.from(expected.inputIds, { dtype: "i32", device })).data();
      expect(largestDifference(logits, expected.logits.flat(2))).toBeLessThanOrEqual(1e-4);
    });

    it("goes on greedily with the same tokens, in a batch and alone", async () => {
      const { model, expected } = await load();
      const options = { temperature: 0, maxTokens: 12, stopIds: [] };
      const together = await model.generateBatch(expected.inputIds, options);
      expect(together.map(({ ids }) => ids)).toEqual(expected.greedy);
      for (const [i, prompt] of expected.inputIds.entries()) expect((await model.generateText(prompt, options)).ids).toEqual(expected.greedy[i]);
    });

    it("has the same losses and gradient norms over ten steps of AdamW", async () => {
      const { model, expected } = await load();
      const { learningRate: rate, beta1, beta2, epsilon: eps, weightDecay, clipNorm, batches } = expected.training;
      const parameters = model.parameters();
      const optimizer = makeOptimizer({ kind: "adamw", beta1, beta2, eps, weightDecay }, parameters);
      const losses: number[] = [];
      const norms: number[] = [];
      for (const rows of batches) {
        const { loss, norm } = scope(() => {
          const tokens = Tensor.from(rows, { dtype: "i32", device });
          const loss = model.loss(tokens.slice(1, 0, -1), tokens.slice(1, 1));
          backward(loss);
          const { norm, scale } = clipScale(parameters.values(), clipNorm, device);
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
      expect(largestDifference(losses, expected.training.losses)).toBeLessThanOrEqual(1e-4);
      expect(largestDifference(norms, expected.training.gradientNorms)).toBeLessThanOrEqual(1e-3);
    });
  });
});
