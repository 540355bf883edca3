import { describe, expect, it } from "vitest";
import { inverseNormal, naturalLog, normalAt, philox, Random, randomKey, randomWord, uniformAt } from "./random.js";

/** Philox 4x32-10 with whole numbers of any size, as the paper has it, to hold the fast one against. */
function plainPhilox(counter: readonly number[], key: readonly number[]): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt);
  let [k0, k1] = key.map(BigInt);
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
    [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
  }
  return [c0, c1, c2, c3].map(Number);
}

describe("philox", () => {
  it("gives the published answers (Salmon et al. 2011, known-answer tests of Random123)", () => {
    const ones = 0xffffffff;
    expect(plainPhilox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(plainPhilox([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect([...philox({ seedLow: 0, seedHigh: 0, stream: 0 }, 0)]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  });

  it("agrees with the plain one for any seed, stream and block", () => {
    const random = new Random(1);
    for (let i = 0; i < 200; i++) {
      const [seedLow, seedHigh, stream] = [random.word() | 0, random.word() | 0, random.word() | 0];
      const block = i % 2 === 0 ? random.word() : random.integer(2 ** 53);
      const counter = [block % 2 ** 32, Math.floor(block / 2 ** 32), stream >>> 0, 0];
      expect([...philox({ seedLow, seedHigh, stream }, block)]).toEqual(plainPhilox(counter, [seedLow >>> 0, seedHigh >>> 0]));
    }
  });

  it("deals out the four words of a block in order", () => {
    const key = randomKey(7, 3);
    expect([8, 9, 10, 11].map((i) => randomWord(key, i))).toEqual([...philox(key, 2)]);
  });
});

describe("the normal distribution", () => {
  it("has its quantiles where tables have them", () => {
    const table = [[0.5, 0], [0.975, 1.959963984540054], [0.8413447460685429, 1], [0.0013498980316300946, -3], [1e-10, -6.361340902404056], [1e-300, -37.0471]];
    for (const [p, quantile] of table) expect(inverseNormal(p)).toBeCloseTo(quantile, p < 1e-100 ? 4 : 13);
    expect(inverseNormal(2 ** -33)).toBe(-inverseNormal(1 - 2 ** -33));
  });

  it("has a logarithm of its own that is as good as the engine's", () => {
    const random = new Random(2);
    for (let i = 0; i < 1000; i++) {
      const x = i % 2 === 0 ? random.uniform() : Math.exp(random.normal() * 100);
      expect(Math.abs(naturalLog(x) - Math.log(x))).toBeLessThanOrEqual(4e-16 * Math.max(1, Math.abs(Math.log(x))));
    }
  });
});

describe("samples", () => {
  const n = 100_000;
  const key = randomKey(12345);

  it("are uniform: every bucket, the mean, the variance, neighbours uncorrelated", () => {
    const buckets = new Array<number>(64).fill(0);
    let [sum, squares, products] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const u = uniformAt(key, i);
      expect(u >= 0 && u < 1).toBe(true);
      buckets[Math.floor(u * 64)]++;
      sum += u;
      squares += (u - 0.5) ** 2;
      products += (u - 0.5) * (uniformAt(key, i + 1) - 0.5);
    }
    // Chi-squared with 63 degrees of freedom has mean 63 and standard deviation 11; the others stay within five of theirs.
    expect(buckets.reduce((total, count) => total + (count - n / 64) ** 2 / (n / 64), 0)).toBeLessThan(63 + 5 * 11.2);
    expect(Math.abs(sum / n - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / n));
    expect(Math.abs(squares / n - 1 / 12)).toBeLessThan(5 * Math.sqrt(1 / 180 / n));
    expect(Math.abs(products / n)).toBeLessThan((5 / 12) * Math.sqrt(1 / n));
  });

  it("are normal: mean, variance, skewness, kurtosis, tails", () => {
    const moments = [0, 0, 0, 0, 0];
    let beyond = 0;
    for (let i = 0; i < n; i++) {
      const z = normalAt(key, i);
      for (let k = 1; k <= 4; k++) moments[k] += z ** k / n;
      if (Math.abs(z) > 1.959963984540054) beyond++;
    }
    const truth = [0, 0, 1, 0, 3];
    const spread = [0, 1, 2, 15, 96];
    for (let k = 1; k <= 4; k++) expect(Math.abs(moments[k] - truth[k])).toBeLessThan(5 * Math.sqrt(spread[k] / n));
    expect(Math.abs(beyond / n - 0.05)).toBeLessThan(5 * Math.sqrt(0.05 / n));
  });

  it("differ from stream to stream and from seed to seed", () => {
    const firsts = [randomKey(1), randomKey(2), randomKey(1, 1), randomKey(2 ** 32 + 1)].map((key) => randomWord(key, 0));
    expect(new Set(firsts).size).toBe(4);
  });
});

describe("Random", () => {
  it("is all in its position", () => {
    const random = new Random(5, 2);
    for (let i = 0; i < 7; i++) random.uniform();
    const resumed = new Random(5, 2, random.position);
    expect([random.word(), random.normal(), random.integer(1000)]).toEqual([resumed.word(), resumed.normal(), resumed.integer(1000)]);
  });

  it("gives every whole number below n its share", () => {
    const random = new Random(6);
    const counts = new Array<number>(5).fill(0);
    for (let i = 0; i < 10_000; i++) counts[random.integer(5)]++;
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });

  it("takes only whole seeds", () => {
    for (const seed of [-1, 0.5, NaN, 2 ** 53]) expect(() => randomKey(seed)).toThrow(RangeError);
  });
});
