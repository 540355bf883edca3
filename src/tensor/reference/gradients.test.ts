/** @file Attention and convolution against compositions of plainer steps, and every backward kernel against finite differences of its forward. */

import { describe, expect, it } from "vitest";
import { tensor } from "../conformance/special-cases.js";
import { Random, uniformAt } from "../random.js";
import { kernels } from "./kernels.js";
import type { HostView } from "./view.js";
import { elements, floats, store, values } from "./view.js";

const random = new Random(99);

function normal(...shape: number[]): HostView {
  return tensor("f32", shape, Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()));
}

function empty(...shape: number[]): HostView {
  return tensor("f32", shape);
}

/**
 * Holds `gradient` against finite differences of `loss` in each element of the dense float32 tensor x: the five-point rule
 * (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, whose error falls with h^4, so that h may be large against float32's rounding.
 */
function checkGradient(x: HostView, gradient: HostView, loss: () => number): void {
  const h = 2 ** -5;
  const analytic = values(gradient);
  for (let i = 0; i < elements(x); i++) {
    const middle = x.data[i];
    const [f2, f1, b1, b2] = [2, 1, -1, -2].map((step) => {
      x.data[i] = middle + step * h;
      return loss();
    });
    x.data[i] = middle;
    const numeric = (8 * (f1 - b1) - (f2 - b2)) / (12 * h);
    expect(Math.abs(analytic[i] - numeric), `element ${i}: ${analytic[i]} against ${numeric}`).toBeLessThan(3e-4 * (1 + Math.abs(numeric)));
  }
}

/** sum of y dy. */
function dot(y: HostView, dy: HostView): number {
  const [a, b] = [floats(y), floats(dy)];
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

it("swiglu", () => {
  const [gate, up, dy, y, dgate, dup] = [normal(3, 4), normal(3, 4), normal(3, 4), empty(3, 4), empty(3, 4), empty(3, 4)];
  kernels.swigluBackward({ gate, up, dy, dgate, dup }, {});
  const loss = (): number => (kernels.swiglu({ gate, up, y }, {}), dot(y, dy));
  checkGradient(gate, dgate, loss);
  checkGradient(up, dup, loss);
});

it.each([0, 1])("softmax, log = %i", (log) => {
  const [x, dy, y, dx] = [normal(3, 5), normal(3, 5), empty(3, 5), empty(3, 5)];
  const loss = (): number => (kernels.softmax({ x, y }, { log }), dot(y, dy));
  loss();
  kernels.softmaxBackward({ y, dy, dx }, { log });
  checkGradient(x, dx, loss);
});

it("layerNorm", () => {
  const [x, weight, bias, dy, y, mean, rstd] = [normal(4, 6), normal(6), normal(6), normal(4, 6), empty(4, 6), empty(4), empty(4)];
  const [dx, dweight, dbias] = [empty(4, 6), empty(6), empty(6)];
  const loss = (): number => (kernels.layerNorm({ x, weight, bias, y, mean, rstd }, { eps: 0.1 }), dot(y, dy));
  loss();
  kernels.layerNormBackward({ x, weight, mean, rstd, dy, dx, dweight, dbias }, { accumulateWeight: 0, accumulateBias: 0 });
  checkGradient(x, dx, loss);
  checkGradient(weight, dweight, loss);
  checkGradient(bias, dbias, loss);
  const once = floats(dweight).slice();
  kernels.layerNormBackward({ x, weight, mean, rstd, dy, dweight }, { accumulateWeight: 1, accumulateBias: 0 });
  floats(dweight).forEach((value, i) => expect(value).toBeCloseTo(2 * once[i], 5));
});

it.each([0, 1])("rmsNorm, offset = %i", (offset) => {
  const [x, weight, dy, y, rstd, dx, dweight] = [normal(4, 6), normal(6), normal(4, 6), empty(4, 6), empty(4), empty(4, 6), empty(6)];
  const loss = (): number => (kernels.rmsNorm({ x, weight, y, rstd }, { eps: 0.1, offset }), dot(y, dy));
  loss();
  kernels.rmsNormBackward({ x, weight, rstd, dy, dx, dweight }, { offset, accumulateWeight: 0 });
  checkGradient(x, dx, loss);
  checkGradient(weight, dweight, loss);
});

it("rope: turning back is the gradient", () => {
  const [x, dy, y, dx] = [normal(1, 3, 2, 5), normal(1, 3, 2, 5), empty(1, 3, 2, 5), empty(1, 3, 2, 5)];
  const angles = Array.from({ length: 6 }, () => random.normal());
  const [cos, sin] = [tensor("f32", [3, 2], angles.map(Math.cos)), tensor("f32", [3, 2], angles.map(Math.sin))];
  const positions = tensor("i32", [1, 3], [2, 0, 1]);
  for (const interleaved of [0, 1]) {
    kernels.rope({ x: dy, cos, sin, positions, y: dx }, { interleaved, inverse: 1 });
    checkGradient(x, dx, () => (kernels.rope({ x, cos, sin, positions, y }, { interleaved, inverse: 0 }), dot(y, dy)));
  }
});

it.each([[1, 2, 1, 1], [2, 1, 2, 2], [1, 0, 1, 3]])("conv1d: stride %i, padding %i, dilation %i, groups %i", (stride, padding, dilation, groups) => {
  const attributes = { stride, padding, dilation, groups };
  const [channels, outChannels, time, kernel] = [2 * groups, 3 * groups, 9, 3];
  const outTime = Math.floor((time + 2 * padding - (kernel - 1) * dilation - 1) / stride) + 1;
  const [x, weight, bias, y] = [normal(2, channels, time), normal(outChannels, 2, kernel), normal(outChannels), empty(2, outChannels, outTime)];
  const dy = normal(2, outChannels, outTime);
  const [dx, dweight] = [empty(2, channels, time), empty(outChannels, 2, kernel)];
  kernels.conv1d({ x, weight, bias, y }, attributes);
  // One output by the formula of the contract.
  const [b, o, t] = [1, outChannels - 1, 2];
  let sum = floats(bias)[o];
  for (let i = 0; i < 2; i++) {
    for (let j = 0; j < kernel; j++) {
      const at = t * stride + j * dilation - padding;
      if (at >= 0 && at < time) sum += floats(weight)[(o * 2 + i) * kernel + j] * floats(x)[(b * channels + (groups - 1) * 2 + i) * time + at];
    }
  }
  expect(floats(y)[(b * outChannels + o) * outTime + t]).toBeCloseTo(sum, 5);
  kernels.conv1dBackward({ x, weight, dy, dx, dweight }, attributes);
  const loss = (): number => (kernels.conv1d({ x, weight, bias, y }, attributes), dot(y, dy));
  checkGradient(x, dx, loss);
  checkGradient(weight, dweight, loss);
});

it.each([[0, 0], [0.2, 0], [0.1, 0.05]])("crossEntropy: smoothing %d, zLoss %d", (labelSmoothing, zLoss) => {
  const [logits, loss, dlogits] = [normal(4, 7), empty(4), empty(4, 7)];
  const targets = tensor("i32", [4], [0, 6, -1, 3]);
  const attributes = { ignoreIndex: -1, labelSmoothing, zLoss };
  kernels.crossEntropy({ logits, targets, loss, dlogits }, attributes);
  checkGradient(logits, dlogits, () => (kernels.crossEntropy({ logits, targets, loss }, attributes), dot(loss, tensor("f32", [4], [1, 1, 1, 1]))));
});

describe("attention", () => {
  const [batch, queries, keys, heads, keyHeads, d, dv] = [2, 3, 5, 4, 2, 3, 2];
  const seed = { seedLow: 5, seedHigh: 0, stream: 2 };
  const plain = { scale: 0.7, causal: 0, window: 0, softcap: 0, p: 0, ...seed };
  const make = () => ({
    q: normal(batch, queries, heads, d), k: normal(batch, keys, keyHeads, d), v: normal(batch, keys, keyHeads, dv),
    out: empty(batch, queries, heads, dv), logSumExp: empty(batch, heads, queries),
  });
  const slopes = tensor("f32", [heads], [0.1, 0.2, 0.3, 0.4]);
  const starts = tensor("i32", [batch], [0, 2]);
  const mask = tensor("u8", [batch, heads, queries, keys], Array.from({ length: batch * heads * queries * keys }, (_, i) => (uniformAt(seed, i) < 0.7 ? 1 : 0)));

  const variants = [
    ["nothing hidden", {}, {}],
    ["causal", { causal: 1 }, {}],
    ["causal with a window", { causal: 1, window: 2 }, {}],
    ["a window alone", { window: 2 }, {}],
    ["soft-capped", { softcap: 1.5 }, {}],
    ["ALiBi", { causal: 1 }, { slopes }],
    ["left padding", { causal: 1 }, { starts }],
    ["an explicit mask", {}, { mask }],
    ["dropout", { p: 0.25 }, {}],
    ["everything", { causal: 1, window: 4, softcap: 2, p: 0.25 }, { slopes, starts, mask }],
  ] as const;

  it.each(variants)("is a composition of products, softmax and dropout: %s", (_, attributes, extras) => {
    const { q, k, v, out, logSumExp } = make();
    const all = { ...plain, ...attributes };
    kernels.attention({ q, k, v, out, logSumExp, ...extras }, all);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        const group = Math.floor(h / (heads / keyHeads));
        const head = (view: HostView, index: number): HostView => ({
          ...view, shape: [view.shape[1], view.shape[3]], strides: [view.strides[1], 1], offset: b * view.strides[0] + index * view.strides[2],
        });
        const keyHead = head(k, group);
        const [scores, weights, dropped, result] = [empty(queries, keys), empty(queries, keys), empty(queries, keys), empty(queries, dv)];
        kernels.matmul({ a: head(q, h), b: { ...keyHead, shape: [d, keys], strides: keyHead.strides.toReversed() }, c: scores }, { activation: "none", accumulate: 0 });
        const biased = Array.from(floats(scores), (score, at) => {
          const [i, j] = [Math.floor(at / keys), at % keys];
          const distance = i + keys - queries - j;
          const scaled = all.softcap === 0 ? 0.7 * score : all.softcap * Math.tanh((0.7 * score) / all.softcap);
          const hidden =
            (all.causal === 1 && distance < 0) || (all.window > 0 && distance >= all.window) || ("starts" in extras && j < [0, 2][b]) ||
            ("mask" in extras && values(mask)[((b * heads + h) * queries + i) * keys + j] === 0);
          return hidden ? -Infinity : scaled - ("slopes" in extras ? [0.1, 0.2, 0.3, 0.4][h] * Math.abs(distance) : 0);
        });
        store(scores, biased);
        kernels.softmax({ x: scores, y: weights }, { log: 0 });
        const first = (b * heads + h) * queries * keys;
        store(dropped, Array.from(floats(weights), (weight, at) => (all.p === 0 || uniformAt(seed, first + at) >= all.p ? weight / (1 - all.p) : 0)));
        kernels.matmul({ a: dropped, b: head(v, group), c: result }, { activation: "none", accumulate: 0 });
        floats(result).forEach((value, i) => expect(values(head(out, h))[i]).toBeCloseTo(value, 5));
        for (let i = 0; i < queries; i++) {
          const sum = biased.slice(i * keys, (i + 1) * keys).reduce((total, score) => total + Math.exp(score), 0);
          const got = floats(logSumExp)[(b * heads + h) * queries + i];
          if (sum === 0) expect(got).toBe(-Infinity);
          else expect(got).toBeCloseTo(Math.log(sum), 5);
        }
      }
    }
  });

  it.each(variants)("has the gradients of its finite differences: %s", (_, attributes, extras) => {
    const inputs = make();
    const all = { ...plain, ...attributes };
    const dout = normal(batch, queries, heads, dv);
    const loss = (): number => (kernels.attention({ ...inputs, ...extras }, all), dot(inputs.out, dout));
    loss();
    const gradients = { dq: empty(...inputs.q.shape), dk: empty(...inputs.k.shape), dv: empty(...inputs.v.shape) };
    kernels.attentionBackward({ ...inputs, ...extras, dout, ...gradients }, all);
    checkGradient(inputs.q, gradients.dq, loss);
    checkGradient(inputs.k, gradients.dk, loss);
    checkGradient(inputs.v, gradients.dv, loss);
  });
});
