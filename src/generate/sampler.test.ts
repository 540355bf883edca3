import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HornbookError } from "../errors.js";
import { Random } from "../tensor/random.js";
import { candidates, largest, logProbabilities, sample, type Sampling } from "./sampler.js";
import { repetitionPenalty } from "./logit-processors.js";

const plain: Sampling = { temperature: 1, topK: 0, topP: 1, minP: 0 };
/** Logits whose softmax is these probabilities. */
const logitsOf = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);
const asObject = ({ ids, probabilities }: ReturnType<typeof candidates>) =>
  Object.fromEntries([...ids].map((id, i) => [id, Number(probabilities[i].toFixed(5))]));

/** On a grid, so that logits which differ have probabilities that do. */
const logitsArbitrary = fc.float32Array({ minLength: 1, maxLength: 60, noNaN: true, min: -20, max: 20 }).map((logits) => logits.map((x) => Math.round(x * 4) / 4));

describe("candidates", () => {
  const logits = logitsOf(0.1, 0.4, 0.2, 0.05, 0.25);

  it("are softmax(logits / temperature) when nothing filters", () => {
    expect(asObject(candidates(logits, plain))).toEqual({ 0: 0.1, 1: 0.4, 2: 0.2, 3: 0.05, 4: 0.25 });
    const squares = [0.01, 0.16, 0.04, 0.0025, 0.0625];
    const sum = squares.reduce((a, b) => a + b);
    expect(asObject(candidates(logits, { ...plain, temperature: 0.5 }))).toEqual(
      Object.fromEntries(squares.map((square, i) => [i, Number((square / sum).toFixed(5))])),
    );
  });

  it("keeps the k best", () => {
    expect(asObject(candidates(logits, { ...plain, topK: 2 }))).toEqual({ 1: 0.61538, 4: 0.38462 });
    expect(asObject(candidates(logits, { ...plain, topK: 99 }))).toEqual(asObject(candidates(logits, plain)));
  });

  it("keeps the fewest that hold p, the one that crosses it included", () => {
    expect(Object.keys(asObject(candidates(logits, { ...plain, topP: 0.39 })))).toEqual(["1"]);
    expect(asObject(candidates(logits, { ...plain, topP: 0.5 }))).toEqual({ 1: 0.61538, 4: 0.38462 });
    expect(Object.keys(asObject(candidates(logits, { ...plain, topP: 0.9 })))).toEqual(["0", "1", "2", "4"]);
  });

  it("keeps those within a factor of the best", () => {
    expect(Object.keys(asObject(candidates(logits, { ...plain, minP: 0.49 })))).toEqual(["1", "2", "4"]);
    expect(Object.keys(asObject(candidates(logits, { ...plain, minP: 1 })))).toEqual(["1"]);
  });

  it("applies temperature, then top-k, then top-p, each to what the one before left", () => {
    // Of the best two, the first holds 0.615: alone it is the nucleus of 0.6, though it is not of the whole.
    expect(Object.keys(asObject(candidates(logits, { ...plain, topK: 2, topP: 0.6 })))).toEqual(["1"]);
    // At temperature 0.5 the first holds 0.582 of the whole.
    expect(Object.keys(asObject(candidates(logits, { ...plain, temperature: 0.5, topP: 0.55 })))).toEqual(["1"]);
  });

  it("agrees with the definitions on any logits", () => {
    fc.assert(
      fc.property(logitsArbitrary, fc.integer({ min: 1, max: 70 }), fc.double({ min: 0.01, max: 1, noNaN: true }), fc.double({ min: 0.1, max: 3, noNaN: true }), (logits, topK, topP, temperature) => {
        const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b).slice(0, topK);
        const weights = order.map((id) => Math.exp((logits[id] - logits[order[0]]) / temperature));
        const total = weights.reduce((a, b) => a + b);
        const share = (count: number) => weights.slice(0, count).reduce((a, b) => a + b, 0) / total;
        const { ids, probabilities } = candidates(logits, { ...plain, topK, topP, temperature });
        const n = ids.length;
        expect(new Set(ids)).toEqual(new Set(order.slice(0, n)));
        // Enough to hold p, and no more than enough; sums in another order differ in the last bits.
        expect(share(n)).toBeGreaterThan(topP - 1e-9);
        if (topP < 1) expect(share(n - 1)).toBeLessThan(topP + 1e-9);
        else expect(n).toBe(order.length);
        ids.forEach((id, i) => expect(probabilities[i]).toBeCloseTo(weights[order.indexOf(id)] / total / share(n), 9));
      }),
      { seed: 1 },
    );
  });
});

describe("sample", () => {
  it("takes the best at temperature 0, the first of equals, without a random number", () => {
    const random = new Random(1);
    expect(sample(Float32Array.of(1, 3, -2, 3), { ...plain, temperature: 0 }, random)).toBe(1);
    expect(random.position).toBe(0);
  });

  it("draws each token as often as its probability says, and the same for the same seed", () => {
    const probabilities = [0.5, 0.1, 0.15, 0.25];
    const logits = logitsOf(...probabilities);
    const counts = [0, 0, 0, 0];
    const draws = 20_000;
    const random = new Random(7);
    const first: number[] = [];
    for (let i = 0; i < draws; i++) {
      const id = sample(logits, plain, random);
      counts[id]++;
      if (i < 50) first.push(id);
    }
    // Five standard deviations.
    probabilities.forEach((p, id) => expect(Math.abs(counts[id] / draws - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws)));
    const again = new Random(7);
    expect(first.map(() => sample(logits, plain, again))).toEqual(first);
    const other = new Random(8);
    expect(first.map(() => sample(logits, plain, other))).not.toEqual(first);
  });

  it("never draws what has no probability", () => {
    const logits = Float32Array.of(-Infinity, 0, -Infinity, 0, -Infinity);
    const random = new Random(0);
    const drawn = new Set(Array.from({ length: 200 }, () => sample(logits, plain, random)));
    expect([...drawn].sort()).toEqual([1, 3]);
  });

  it("penalizes what was said, and leaves the logits as they are", () => {
    const logits = Float32Array.of(2, 1.5, -1, -1.5);
    const scores = (values: Float32Array, ids: number[]) => {
      repetitionPenalty(2)(values, { ids, numNew: 0 });
      return sample(values, { ...plain, temperature: 0 }, new Random(0));
    };
    expect(scores(logits.slice(), [0])).toBe(1);
    expect(scores(logits.map((x) => x - 2), [0, 1])).toBe(0); // 0 stays 0, -0.5 becomes -1
    expect(logits).toEqual(Float32Array.of(2, 1.5, -1, -1.5));
  });

  it("refuses logits that are no numbers", () => {
    for (const bad of [NaN, Infinity]) {
      for (const at of [0, 2]) {
        const logits = Float32Array.of(1, 2, 3);
        logits[at] = bad;
        for (const temperature of [0, 1]) {
          const run = () => sample(logits, { ...plain, temperature }, new Random(0));
          expect(run).toThrow(HornbookError);
          expect(run).toThrow(`token ${at}`);
        }
      }
    }
  });
});

it("largest agrees with sorting, for few and for many", () => {
  fc.assert(
    fc.property(fc.float32Array({ minLength: 0, maxLength: 200, noNaN: true, min: -3, max: 3 }).map((x) => x.map(Math.round)), fc.nat(200), (scores, k) => {
      const count = Math.min(k, scores.length);
      const expected = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b).slice(0, count);
      expect([...largest(scores, count)]).toEqual(expected);
    }),
    { seed: 1 },
  );
});

it("log-probabilities are those of softmax", () => {
  const { logprob, top } = logProbabilities(logitsOf(0.1, 0.6, 0.3), 2, 2);
  expect(logprob).toBeCloseTo(Math.log(0.3), 6);
  expect(top.map(({ id }) => id)).toEqual([1, 2]);
  expect(Math.exp(top[0].logprob)).toBeCloseTo(0.6, 6);
  expect(logProbabilities(Float32Array.of(1000, 1000), 0, 0)).toEqual({ logprob: -Math.log(2), top: [] });
});
