/** The head against its logits, with everything that changes them. */

import { describe, expect, it } from "vitest";
import { QuantizedTensor, Tensor, type Weight } from "../tensor/index.js";
import { Head } from "./head.js";

const normal = (shape: readonly number[], stream: number): Tensor => Tensor.randn(shape, { seedLow: 1, seedHigh: 0, stream });
const [vocab, hidden] = [33, 32];
const h = normal([2, 5, hidden], 1);
const targets = Tensor.from(Int32Array.of(3, -1, 32, 0, 7, 7, 12, -1, 30, 1), { shape: [2, 5] });
const table = normal([vocab, hidden], 2);
const weights: [string, Weight][] = [["f32", table], ["q8_0", QuantizedTensor.quantize(table, "q8_0")]];

describe.each(weights)("a head with a weight in %s", (_, weight) => {
  describe.each([{}, { scale: 0.25 }, { scale: 2, softcap: 5 }])("%j", (options) => {
    const head = new Head({ weight: () => weight, ...options });
    const logProbs = (temperature = 1) => head.logits(h).div(temperature).logSoftmax();

    it("has the log-probabilities, entropies and the loss of its logits", async () => {
      for (const temperature of [1, 0.6]) {
        const all = logProbs(temperature);
        const expected = await all.gather(targets.maximum(0).unsqueeze(-1)).squeeze(-1).mul(targets.greaterEqual(0).cast("f32")).data();
        const { logProbs: actual, entropy } = head.tokenLogProbsAndEntropy(h, targets, { temperature });
        expect(await head.tokenLogProbs(h, targets, { temperature }).data()).toEqual(await actual.data());
        (await actual.data()).forEach((value, i) => expect(value).toBeCloseTo(expected[i], 4));
        const entropies = await all.exp().mul(all).sum(-1).neg().data();
        (await entropy.data()).forEach((value, i) => expect(value).toBeCloseTo(entropies[i], 4));
      }
      const { sum, count } = head.loss(h, targets);
      expect(await count.item()).toBe(8);
      expect(await sum.item()).toBeCloseTo(-(await head.tokenLogProbs(h, targets).sum().item()), 3);
      const weighted = head.loss(h, targets, Tensor.full([2, 5], 0.5));
      expect(await weighted.sum.item()).toBeCloseTo(0.5 * (await sum.item()), 3);
    });

    it("finds the best as sorting its logits does, to the last bit", async () => {
      for (const [k, choices] of [[1, 33], [4, 20], [7, 33]]) {
        const { values, indices } = head.topK(h, k, { choices });
        const sorted = head.logits(h).slice(-1, 0, choices).topK(k);
        expect(values.shape).toEqual([2, 5, k]);
        expect(await values.data()).toEqual(await sorted.values.data());
        expect(await indices.data()).toEqual(await sorted.indices.data());
      }
    });
  });
});
