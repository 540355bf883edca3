import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError, DataError } from "../errors.js";
import { permuted } from "./permutation.js";
import { batchOrders, type BatchOptions, type TokenBatch } from "./sampler.js";
import { TokenSplit } from "./tokens.js";

const split = (length: number, fingerprint = "f") =>
  new TokenSplit("train", Uint16Array.from({ length }, (_, i) => i), { textBytes: length, fingerprint });

async function take(batches: AsyncIterable<TokenBatch>, count: number): Promise<TokenBatch[]> {
  const all: TokenBatch[] = [];
  for await (const batch of batches) {
    all.push(batch);
    if (all.length === count) break;
  }
  return all;
}

describe("permuted", () => {
  it("is a permutation for any n, and another for another seed, stream or number", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.nat(), fc.nat(1_000_000), (n, seed, number) => {
        const order = Array.from({ length: n }, (_, i) => permuted(i, n, { seed, stream: 7, number }));
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
      }),
      { seed: 1, numRuns: 60 },
    );
    const orders = [
      { seed: 1, stream: 1, number: 0 },
      { seed: 2, stream: 1, number: 0 },
      { seed: 1, stream: 2, number: 0 },
      { seed: 1, stream: 1, number: 1 },
    ].map((key) => Array.from({ length: 100 }, (_, i) => permuted(i, 100, key)).join());
    expect(new Set(orders).size).toBe(4);
  });

  it("sends each index everywhere equally often", () => {
    const n = 12;
    const orders = 6000;
    for (const index of [0, 5, 11]) {
      const counts = new Array<number>(n).fill(0);
      for (let number = 0; number < orders; number++) counts[permuted(index, n, { seed: 3, stream: 1, number })]++;
      const expected = orders / n;
      const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
      expect(chiSquare).toBeLessThan(31.3); // 11 degrees of freedom, p = 0.001
    }
  });

  it("takes n beyond what an array could hold, and refuses what is outside", () => {
    const n = 2 ** 45 + 3;
    expect(permuted(2 ** 44, n, { seed: 1, stream: 1, number: 9 })).toBeLessThan(n);
    expect(() => permuted(5, 5, { seed: 1, stream: 1, number: 0 })).toThrow(RangeError);
  });
});

describe("batches", () => {
  it.each(batchOrders)("%s: targets follow inputs, within the split", async (order) => {
    for (const { inputs, targets, batchSize, contextLength } of await take(split(1000).batches({ batchSize: 5, contextLength: 16, seed: 3, order }), 40)) {
      expect([inputs.length, targets.length, batchSize, contextLength]).toEqual([80, 80, 5, 16]);
      for (let i = 0; i < 80; i++) {
        expect(targets[i]).toBe(inputs[i] + 1);
        if (i % 16 !== 0) expect(inputs[i]).toBe(inputs[i - 1] + 1);
        expect(targets[i]).toBeLessThan(1000);
      }
    }
  });

  it.each(batchOrders)("%s: resumes to the same batches, from plain JSON, and with another batch size to the same windows", async (order) => {
    const options: BatchOptions = { batchSize: 3, contextLength: 8, seed: 11, order };
    const whole = split(200).batches(options);
    const before = await take(whole, 9);
    const state: unknown = JSON.parse(JSON.stringify(whole.state));
    const after = await take(whole, 20);
    const resumed = split(200).batches(options);
    resumed.restore(state);
    expect(await take(resumed, 20)).toEqual(after);
    expect(before).not.toEqual(after.slice(0, 9));
    const single = split(200).batches({ ...options, batchSize: 1 });
    single.restore(state);
    expect((await take(single, 60)).flatMap(({ inputs }) => [...inputs])).toEqual(after.flatMap(({ inputs }) => [...inputs]));
  });

  it("random: every start is drawn, the last one too, and seeds differ", async () => {
    const starts = (await take(split(20).batches({ batchSize: 100, contextLength: 4, seed: 1 }), 20)).flatMap(({ inputs }) => [...inputs].filter((_, i) => i % 4 === 0));
    const counts = Array.from({ length: 16 }, (_, start) => starts.filter((drawn) => drawn === start).length);
    expect(Math.max(...starts)).toBe(15);
    const chiSquare = counts.reduce((sum, count) => sum + (count - 125) ** 2 / 125, 0);
    expect(chiSquare).toBeLessThan(37.7); // 15 degrees of freedom, p = 0.001
    const [one, two] = await Promise.all([1, 2].map((seed) => take(split(1000).batches({ batchSize: 4, contextLength: 4, seed }), 1)));
    expect(one).not.toEqual(two);
  });

  it("shuffled epochs: each window once an epoch, in an order of its own, the left-over tokens in turn", async () => {
    const sampler = split(107).batches({ batchSize: 1, contextLength: 10, order: "shuffled-epochs" });
    expect(sampler.windowsPerEpoch).toBe(10);
    const orders = new Set<string>();
    const seen = new Set<number>();
    for (let epoch = 0; epoch < 30; epoch++) {
      const starts = (await take(sampler, 10)).map(({ inputs }) => inputs[0]);
      const offset = Math.min(...starts);
      expect([...starts].sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, i) => offset + 10 * i));
      orders.add(starts.map((start) => start - offset).join());
      seen.add(offset);
      expect(sampler.epoch).toBe(epoch + 1);
    }
    expect(orders.size).toBe(30);
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it("sequential: in order, again and again", async () => {
    const batches = await take(split(31).batches({ batchSize: 2, contextLength: 10, order: "sequential" }), 2);
    expect(batches.flatMap(({ inputs }) => [inputs[0], inputs[10]])).toEqual([0, 10, 20, 0]);
  });

  it("takes the shortest split that holds a window, and says both lengths of a shorter one", async () => {
    for (const order of batchOrders) expect((await split(9).batches({ batchSize: 1, contextLength: 8, order }).next()).targets.at(-1)).toBe(8);
    expect(() => split(8).batches({ batchSize: 1, contextLength: 8 })).toThrow(DataError);
    expect(() => split(8).batches({ batchSize: 1, contextLength: 8 })).toThrow(/8 tokens and needs at least 9/);
  });

  it("refuses settings that cannot be, and the state of other data or settings", () => {
    for (const bad of [{ batchSize: 0 }, { contextLength: -1 }, { batchSize: 1.5 }, { seed: -1 }, { seed: NaN }]) {
      expect(() => split(100).batches({ batchSize: 1, contextLength: 8, ...bad })).toThrow(ConfigError);
    }
    const { state } = split(100).batches({ batchSize: 1, contextLength: 8 });
    for (const [other, field] of [
      [split(100, "g").batches({ batchSize: 1, contextLength: 8 }), "data"],
      [split(100).batches({ batchSize: 1, contextLength: 9 }), "contextLength"],
      [split(100).batches({ batchSize: 1, contextLength: 8, seed: 5 }), "seed"],
      [split(100).batches({ batchSize: 1, contextLength: 8, order: "sequential" }), "order"],
    ] as const) {
      expect(() => other.restore(state)).toThrow(expect.objectContaining({ code: "other-data", field }));
    }
    expect(() => split(100).batches({ batchSize: 1, contextLength: 8 }).restore({ ...state, position: -1 })).toThrow();
  });
});

describe("windows", () => {
  it("predict every token but the first exactly once", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 2, max: 90 }), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 5 }), async (length, contextLength, batchSize) => {
        const predicted: number[] = [];
        for await (const { inputs, targets, batchSize: rows } of split(length).windows({ contextLength, batchSize })) {
          expect([inputs.length, targets.length]).toEqual([rows * contextLength, rows * contextLength]);
          expect(rows).toBeLessThanOrEqual(batchSize);
          for (const [i, target] of targets.entries()) {
            if (target === -1) expect(inputs[i] === 0 || inputs[i] === length - 1).toBe(true);
            else {
              expect(inputs[i]).toBe(target - 1);
              predicted.push(target);
            }
          }
        }
        expect(predicted).toEqual(Array.from({ length: length - 1 }, (_, i) => i + 1));
      }),
      { seed: 1, numRuns: 100 },
    );
    expect(() => split(1).windows({ contextLength: 4, batchSize: 1 })).toThrow(/1 token and needs at least 2/);
  });
});

it("read refuses what is outside the split", async () => {
  await expect(split(10).read(5, 6)).rejects.toThrow(RangeError);
  await expect(split(10).read(-1, 2)).rejects.toThrow(RangeError);
  expect(await split(10).read(8, 2)).toEqual(new Uint16Array([8, 9]));
});
