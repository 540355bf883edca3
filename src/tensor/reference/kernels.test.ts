/** @file The reference kernels against results worked out by hand and against other ways to compute the same. */

import { describe, expect, it } from "vitest";
import { tensor } from "../conformance/special-cases.js";
import { fromBfloat16, toBfloat16, type DType } from "../dtype.js";
import { Random, uniformAt } from "../random.js";
import { kernels } from "./kernels.js";
import type { HostView } from "./view.js";
import { values } from "./view.js";

function f32(shape: number[], contents?: number[]): HostView {
  return tensor("f32", shape, contents);
}

function numbers(view: HostView): number[] {
  return [...values(view)];
}

function close(view: HostView, expected: readonly number[], digits = 6): void {
  expect(numbers(view).length).toBe(expected.length);
  for (const [i, value] of numbers(view).entries()) expect(value, `element ${i}`).toBeCloseTo(expected[i], digits);
}

function normal(random: Random, shape: number[]): HostView {
  return f32(shape, Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()));
}

describe("moving", () => {
  it.each([
    ["f32", "i32", [1.9, -1.9, NaN, 3e9, -3e9, Infinity], [1, -1, 0, 2147483647, -2147483648, 2147483647]],
    ["f32", "u8", [-0.5, 255.9, 256, -7, NaN], [0, 255, 255, 0, 0]],
    ["i32", "u8", [-3, 7, 1000], [0, 7, 255]],
    ["i32", "f32", [16777217, -2147483648], [16777216, -2147483648]],
    ["f32", "bf16", [1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20], [1, 1 + 2 ** -6, 1 + 2 ** -7]],
  ] as [DType, DType, number[], number[]][])("copies %s to %s", (from, to, source, expected) => {
    const y = tensor(to, [source.length]);
    kernels.copy({ x: tensor(from, [source.length], source), y }, {});
    expect(numbers(y)).toEqual(expected);
  });

  it("copies between views, and within one buffer", () => {
    const x = f32([2, 3], [1, 2, 3, 4, 5, 6]);
    const y = f32([3, 2]);
    kernels.copy({ x: { ...x, shape: [3, 2], strides: [1, 3] }, y }, {});
    expect(numbers(y)).toEqual([1, 4, 2, 5, 3, 6]);
    const line = { ...x, shape: [5], strides: [1] };
    kernels.copy({ x: line, y: { ...line, offset: 1 } }, {});
    expect(numbers(x)).toEqual([1, 1, 2, 3, 4, 5]);
  });

  it("fills and counts", () => {
    const y = tensor("i32", [4]);
    kernels.arange({ y }, { start: 5, step: -2 });
    expect(numbers(y)).toEqual([5, 3, 1, -1]);
    kernels.fill({ y: { ...y, shape: [2], strides: [2] } }, { value: 9 });
    expect(numbers(y)).toEqual([9, 3, 9, -1]);
  });

  it("drops where the uniform number is below p, and scales the rest", () => {
    const key = { seedLow: 3, seedHigh: 0, stream: 1 };
    const [x, y] = [f32([50], Array<number>(50).fill(2)), f32([50])];
    kernels.dropout({ x, y }, { p: 0.25, ...key });
    close(y, Array.from({ length: 50 }, (_, i) => (uniformAt(key, i) < 0.25 ? 0 : 2 / 0.75)));
  });
});

describe("elementwise", () => {
  it("computes integers modulo 2^32", () => {
    const x = tensor("i32", [3], [-(2 ** 31), 65537, -5]);
    const y = tensor("i32", [3]);
    kernels.unary({ x, y }, { op: "square" });
    expect(numbers(y)).toEqual([0, 131073, 25]);
    kernels.unary({ x, y }, { op: "abs" });
    expect(numbers(y)).toEqual([-(2 ** 31), 65537, 5]);
    kernels.binary({ a: x, b: tensor("i32", [3], [-1, 0, 2]), y }, { op: "div" });
    expect(numbers(y)).toEqual([-(2 ** 31), 0, -2]);
    kernels.binary({ a: x, b: tensor("i32", [3], [-1, 65537, 2]), y }, { op: "mul" });
    expect(numbers(y)).toEqual([-(2 ** 31), 131073, -10]);
  });

  it("broadcasts by strides of 0, and compares into bytes", () => {
    const y = tensor("u8", [2, 3]);
    const a = { ...f32([2], [1, 2]), shape: [2, 3], strides: [1, 0] };
    const b = { ...f32([3], [1, 2, NaN]), shape: [2, 3], strides: [0, 1] };
    kernels.binary({ a, b, y }, { op: "lessEqual" });
    expect(numbers(y)).toEqual([1, 1, 0, 0, 1, 0]);
    const z = f32([2, 3]);
    kernels.where({ condition: y, a, b, y: z }, {});
    expect(numbers(z)).toEqual([1, 1, NaN, 1, 2, NaN]);
  });

  it("accumulates in bf16 with one rounding", () => {
    const y = tensor("bf16", [1], [256]);
    kernels.accumulate({ x: f32([1], [0.75]), factor: f32([], [4]), y }, { scale: 0.5 });
    expect(numbers(y)).toEqual([fromBfloat16(toBfloat16(257.5))]);
  });
});

describe("reducing and ordering", () => {
  it.each([
    ["sum", [6, 0, NaN]], ["mean", [2, 0, NaN]], ["max", [3, 1, NaN]], ["min", [1, -1, NaN]], ["prod", [6, -0, NaN]], ["variance", [1, 1, NaN]],
    ["norm2", [Math.fround(Math.sqrt(14)), Math.fround(Math.sqrt(2)), NaN]],
  ] as const)("%s", (op, expected) => {
    const y = f32([3]);
    kernels.reduce({ x: f32([3, 3], [1, 2, 3, 1, 0, -1, 1, NaN, 2]), y }, { op, reducedAxes: 1, correction: 1 });
    expect(numbers(y)).toEqual(expected);
  });

  it("reduces nothing to the neutral element", () => {
    const results = (["sum", "prod", "max", "min", "mean", "norm2"] as const).map((op) => {
      const y = f32([1]);
      kernels.reduce({ x: f32([1, 0]), y }, { op, reducedAxes: 1, correction: 0 });
      return numbers(y)[0];
    });
    expect(results).toEqual([0, 1, -Infinity, Infinity, NaN, 0]);
  });

  it("finds the first of equals; NaN is extreme either way", () => {
    const x = f32([3, 4], [1, 3, 3, 0, 0, 0, 5, 0, 1, NaN, 9, NaN]);
    const y = tensor("i32", [3]);
    kernels.argReduce({ x, y }, { min: 0 });
    expect(numbers(y)).toEqual([1, 2, 1]);
    kernels.argReduce({ x, y }, { min: 1 });
    expect(numbers(y)).toEqual([3, 0, 1]);
  });

  it("sums up from either end", () => {
    const y = tensor("i32", [2, 3]);
    const x = tensor("i32", [2, 3], [1, 2, 3, 4, 5, 6]);
    kernels.cumsum({ x, y }, { reverse: 0 });
    expect(numbers(y)).toEqual([1, 3, 6, 4, 9, 15]);
    kernels.cumsum({ x, y }, { reverse: 1 });
    expect(numbers(y)).toEqual([6, 5, 3, 15, 11, 6]);
  });

  it("sorts stably, NaN as the largest", () => {
    const x = f32([1, 6], [2, NaN, 1, 2, -Infinity, 1]);
    const [top, indices] = [f32([1, 6]), tensor("i32", [1, 6])];
    kernels.topK({ x, values: top, indices }, { descending: 1 });
    expect([numbers(top), numbers(indices)]).toEqual([[NaN, 2, 2, 1, 1, -Infinity], [1, 0, 3, 2, 5, 4]]);
    kernels.topK({ x, values: top, indices }, { descending: 0 });
    expect([numbers(top), numbers(indices)]).toEqual([[-Infinity, 1, 1, 2, 2, NaN], [4, 2, 5, 0, 3, 1]]);
  });
});

describe("indexing", () => {
  it("gathers and scatters along the last axis", () => {
    const index = tensor("i32", [2, 3], [2, 0, 2, 1, 1, 0]);
    const y = f32([2, 3]);
    kernels.gather({ x: f32([2, 3], [1, 2, 3, 4, 5, 6]), index, y }, {});
    expect(numbers(y)).toEqual([3, 1, 3, 5, 5, 4]);
    const sums = f32([2, 3], [100, 0, 0, 0, 0, 0]);
    kernels.scatterAdd({ x: y, index, y: sums }, {});
    expect(numbers(sums)).toEqual([101, 0, 6, 4, 10, 0]);
  });

  it("looks rows up and adds to them", () => {
    const ids = tensor("i32", [3], [1, 0, 1]);
    const y = f32([3, 2]);
    kernels.embedding({ table: f32([2, 2], [1, 2, 3, 4]), ids, y }, {});
    expect(numbers(y)).toEqual([3, 4, 1, 2, 3, 4]);
    const dtable = f32([2, 2], [0, 0, 0, 10]);
    kernels.embeddingBackward({ dy: y, ids, dtable }, {});
    expect(numbers(dtable)).toEqual([1, 2, 6, 18]);
  });
});

describe("matmul", () => {
  it.each([[1, 1, 1], [2, 4, 3], [3, 5, 7], [8, 9, 16], [5, 3, 0]])("of [%i, k] and [k, %i], k = %i, is the sum over k", (m, n, k) => {
    const random = new Random(m * 100 + n);
    const [a, b, c, bias] = [normal(random, [m, k]), normal(random, [k, n]), normal(random, [m, n]), normal(random, [n])];
    const [av, bv, cv, biasv] = [a, b, c, bias].map(numbers);
    const sums = Array.from({ length: m * n }, (_, at) => {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += av[Math.floor(at / n) * k + p] * bv[p * n + (at % n)];
      return sum;
    });
    kernels.matmul({ a, b, c }, { activation: "none", accumulate: 1 });
    close(c, sums.map((sum, i) => sum + cv[i]), 5);
    const preActivation = f32([m, n]);
    kernels.matmul({ a, b, c, bias, preActivation }, { activation: "relu", accumulate: 0 });
    close(preActivation, sums.map((sum, i) => sum + biasv[i % n]), 5);
    close(c, numbers(preActivation).map((x) => Math.max(x, 0)));
  });

  it("takes transposed views and broadcasts over a batch", () => {
    const a = { ...f32([2, 2], [1, 2, 3, 4]), shape: [2, 2, 2], strides: [0, 1, 2] };
    const b = f32([2, 2, 1], [1, 0, 0, 1]);
    const c = f32([2, 2, 1]);
    kernels.matmul({ a, b, c }, { activation: "none", accumulate: 0 });
    expect(numbers(c)).toEqual([1, 2, 3, 4]);
  });

  it("sums columns", () => {
    const y = f32([2], [10, 20]);
    kernels.columnSum({ x: f32([3, 2], [1, 2, 3, 4, 5, 6]), y }, { accumulate: 1 });
    expect(numbers(y)).toEqual([19, 32]);
  });
});

describe("softmax and norms", () => {
  it("gives rows that sum to 1, or nothing where there is nothing", () => {
    const y = f32([3, 2]);
    const x = f32([3, 2], [0, Math.log(3), -Infinity, -Infinity, 1000, -Infinity]);
    kernels.softmax({ x, y }, { log: 0 });
    close(y, [0.25, 0.75, 0, 0, 1, 0]);
    kernels.softmax({ x, y }, { log: 1 });
    close({ ...y, shape: [2], strides: [1] }, [Math.log(0.25), Math.log(0.75)]);
    expect(numbers(y).slice(2)).toEqual([-Infinity, -Infinity, 0, -Infinity]);
  });

  it("centres and scales", () => {
    const [y, mean, rstd] = [f32([1, 4]), f32([1]), f32([1])];
    const x = f32([1, 4], [1, 3, 5, 7]);
    kernels.layerNorm({ x, y, mean, rstd, weight: f32([4], [1, 1, 1, 2]), bias: f32([4], [0, 0, 0, 1]) }, { eps: 4 });
    close(y, [-1, -1 / 3, 1 / 3, 3]);
    close(mean, [4]);
    close(rstd, [1 / 3]);
    kernels.rmsNorm({ x, y, rstd, weight: f32([4], [0, 0, 1, -1]) }, { eps: 4, offset: 1 });
    close(y, [0.2, 0.6, 2, 0]);
    close(rstd, [0.2]);
  });
});

describe("rope", () => {
  const [cos, sin] = [f32([2, 2], [1, 1, 0, -1]), f32([2, 2], [0, 0, 1, 0])];
  const positions = tensor("i32", [1, 2], [0, 1]);

  it("turns pairs by the angle of the position, in either order of pairs", () => {
    const x = f32([1, 2, 1, 5], [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    const y = f32([1, 2, 1, 5]);
    kernels.rope({ x, cos, sin, positions, y }, { interleaved: 0, inverse: 0 });
    close(y, [1, 2, 3, 4, 5, -3, -2, 1, -4, 5]);
    kernels.rope({ x, cos, sin, positions, y }, { interleaved: 1, inverse: 0 });
    close(y, [1, 2, 3, 4, 5, -2, 1, -3, -4, 5]);
    kernels.rope({ x: y, cos, sin, positions, y }, { interleaved: 1, inverse: 1 });
    close(y, numbers(x));
  });
});

describe("loss and optimizers", () => {
  it("is the negative log-probability of the target", () => {
    const [loss, dlogits] = [f32([2]), f32([2, 2])];
    const logits = f32([2, 2], [0, Math.log(3), 5, 5]);
    kernels.crossEntropy({ logits, targets: tensor("i32", [2], [1, -1]), loss, dlogits }, { ignoreIndex: -1, labelSmoothing: 0, zLoss: 0 });
    close(loss, [-Math.log(0.75), 0]);
    close(dlogits, [0.25, -0.25, 0, 0]);
    kernels.crossEntropy({ logits, targets: tensor("i32", [2], [1, 0]), loss }, { ignoreIndex: -1, labelSmoothing: 0.5, zLoss: 0.1 });
    close(loss, [-0.75 * Math.log(0.75) - 0.25 * Math.log(0.25) + 0.1 * Math.log(4) ** 2, Math.LN2 + 0.1 * (5 + Math.LN2) ** 2], 5);
  });

  it("steps as AdamW does", () => {
    const [w, m, v] = [f32([1], [2]), f32([1]), f32([1])];
    const gradScale = f32([], [0.5]);
    const hyper = { rate: 0.1, beta1: 0.9, beta2: 0.99, eps: 0, weightDecay: 0.5, correction1: 10, correction2: 100 };
    kernels.adamw({ w, gradient: f32([1], [-6]), m, v, gradScale }, hyper);
    // The first step has the size of the rate, against the sign of the gradient; the decay takes 0.1 * 0.5 * 2.
    close(w, [2 - 0.1 + 0.1]);
    close(m, [-0.3]);
    close(v, [0.09]);
    kernels.adamw({ w, gradient: f32([1], [1]), m, v, gradScale: f32([], [NaN]) }, hyper);
    close(m, [-0.3]);
  });

  it("takes a master weight apart and together again, all but the last bit of one between two shadows", () => {
    // 1 + 2^-8 lies between 1 and 1 + 2^-7, and is rounded to 1, whose last bit is 0; 1 + 3 * 2^-8 likewise, and is rounded up.
    const weights = [1, -1, Math.fround(Math.PI), -3.3e38, 1e-40, 0, -0, Infinity, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8];
    const n = weights.length;
    const [shadow, remainder, w] = [tensor("bf16", [n]), tensor("u8", [n, 2]), f32([n])];
    kernels.splitMaster({ w: f32([n], weights), shadow, remainder }, {});
    kernels.joinMaster({ shadow, remainder, w }, {});
    expect(numbers(shadow).slice(8)).toEqual([1, 1 + 2 ** -6, -1]);
    expect(numbers(w)).toEqual(weights.with(8, 1 + 2 ** -8 - 2 ** -23).with(10, -1 - 2 ** -8 + 2 ** -23).map(Math.fround));
  });

  it("steps as SGD does, with momentum and Nesterov's look ahead", () => {
    const [w, m] = [f32([1], [1]), f32([1], [1])];
    kernels.sgd({ w, gradient: f32([1], [2]), m }, { rate: 0.1, momentum: 0.5, nesterov: 0, weightDecay: 1 });
    close(w, [1 - 0.1 * (1 + 2.5)]);
    kernels.sgd({ w, gradient: f32([1], [2]), m }, { rate: 0.1, momentum: 0.5, nesterov: 1, weightDecay: 0 });
    close(m, [3.25]);
    close(w, [0.65 - 0.1 * (2 + 1.625)]);
    kernels.sgd({ w, gradient: f32([1], [2]) }, { rate: 0.1, momentum: 0, nesterov: 0, weightDecay: 0 });
    close(w, [0.2875 - 0.2]);
  });
});
