/**
 * @file Every op of `index.ts` against finite differences on the reference device, bf16 against f32, and the native device against the
 * reference. An op has cases here or a reason for having none; a new one
 * with neither does not compile, and fails.
 */

import { beforeEach, describe, expect, it } from "vitest";
import { CpuDevice } from "../cpu/device.js";
import type { Device } from "../device.js";
import { setDefaultDevice } from "../devices.js";
import { fromBfloat16, toBfloat16, type FloatDType } from "../dtype.js";
import { gradcheck, type GradcheckOptions } from "../gradcheck.js";
import "../methods.js";
import { Random, randomKey } from "../random.js";
import { ReferenceDevice } from "../reference/device.js";
import { elementsOf, type Shape } from "../shape.js";
import { scope } from "../scope.js";
import { backward } from "../tape.js";
import { Tensor, type TensorData } from "../tensor.js";
import * as ops from "./index.js";

/** A shape, perhaps with a range of values, or as a parameter, which stays f32 where activations are bf16. */
type Input = Shape | { shape: Shape; low?: number; high?: number; parameter?: boolean };

interface Case extends GradcheckOptions {
  /** What is special about it. */
  readonly of?: string;
  readonly inputs: readonly Input[];
  readonly run: (...inputs: Tensor[]) => Tensor;
}

const key = randomKey(7, 3);
const parameter = (...shape: number[]): Input => ({ shape, parameter: true });
const i32 = (values: readonly number[], shape: Shape = [values.length]): Tensor => Tensor.from(Int32Array.from(values), { shape });
const u8 = (values: readonly number[], shape: Shape = [values.length]): Tensor => Tensor.from(Uint8Array.from(values), { shape });

/** The same function over shapes that stretch, views, and sizes of 1. */
function binaryCases(op: (a: Tensor, b: Tensor) => Tensor, range?: { low: number; high: number }): Case[] {
  const of = (shape: Shape) => (range === undefined ? shape : { shape, ...range });
  return [
    { inputs: [of([2, 3]), of([2, 3])], run: op },
    { of: "a row", inputs: [of([2, 3]), of([3])], run: op },
    { of: "a column and a row", inputs: [of([3, 1]), of([1, 2])], run: op },
    { of: "a number", inputs: [of([]), of([2, 2])], run: op },
    { of: "views", inputs: [of([3, 2]), of([4, 3])], run: (a, b) => op(ops.transpose(a), ops.slice(b, 0, 1, 4, 2)) },
    { of: "one tensor twice", inputs: [of([3])], run: (a) => op(a, ops.add(ops.mul(a, 0.5), 0.7)) },
  ];
}

function unaryCases(op: (x: Tensor) => Tensor, low = -2, high = 2): Case[] {
  return [
    { inputs: [{ shape: [2, 5], low, high }], run: op },
    { of: "a view", inputs: [{ shape: [3, 2, 1], low, high }], run: (x) => op(ops.permute(x, [2, 1, 0])) },
  ];
}

function reduceCases(op: (x: Tensor, axes?: ops.Axes, options?: ops.ReduceOptions) => Tensor): Case[] {
  return [
    { inputs: [[2, 3]], run: (x) => op(x) },
    { of: "axis 0", inputs: [[3, 2]], run: (x) => op(x, 0) },
    { of: "the outer axes, kept", inputs: [[2, 3, 2]], run: (x) => op(x, [0, -1], { keepDims: true }) },
    { of: "a size of 1", inputs: [[2, 3, 1]], run: (x) => op(x, [1, 2]) },
    { of: "a view", inputs: [[3, 4]], run: (x) => op(ops.transpose(x), 0) },
  ];
}

const attentionInputs: Case["inputs"] = [[2, 3, 2, 4], [2, 3, 2, 4], [2, 3, 2, 4]];
const tokenWeights = (): Tensor => Tensor.from([[0.5, 3], [-1.25, 2]]);
const angle = (shift: number): Tensor => Tensor.from(Float32Array.from({ length: 8 }, (_, i) => Math.cos(i * 0.7 + shift)), { shape: [4, 2] });

const cases = {
  add: binaryCases(ops.add), sub: binaryCases(ops.sub), mul: binaryCases(ops.mul),
  div: binaryCases(ops.div, { low: 0.7, high: 2 }),
  pow: [
    ...binaryCases(ops.pow, { low: 0.6, high: 2 }),
    { of: "a negative base and a whole exponent", inputs: [[2, 3]], run: (x) => ops.pow(x, 3) },
    { of: "the exponent 0", inputs: [[3]], run: (x) => ops.add(ops.pow(x, 0), x) },
    { of: "a number as base", inputs: [[2, 3]], run: (x) => ops.pow(1.7, x) },
  ],
  maximum: binaryCases(ops.maximum), minimum: binaryCases(ops.minimum),
  neg: unaryCases(ops.neg), abs: unaryCases(ops.abs), exp: unaryCases(ops.exp), log: unaryCases(ops.log, 0.5, 2),
  sqrt: unaryCases(ops.sqrt, 0.5, 2), rsqrt: unaryCases(ops.rsqrt, 0.6, 2), reciprocal: unaryCases(ops.reciprocal, 0.7, 2),
  square: unaryCases(ops.square), sin: unaryCases(ops.sin), cos: unaryCases(ops.cos), tanh: unaryCases(ops.tanh),
  sigmoid: unaryCases(ops.sigmoid), erf: unaryCases(ops.erf), relu: unaryCases(ops.relu), gelu: unaryCases(ops.gelu),
  geluTanh: unaryCases(ops.geluTanh), silu: unaryCases(ops.silu), softplus: unaryCases(ops.softplus),
  sum: reduceCases(ops.sum), mean: reduceCases(ops.mean), max: reduceCases(ops.max), min: reduceCases(ops.min), prod: reduceCases(ops.prod),
  norm: reduceCases(ops.norm),
  variance: [...reduceCases(ops.variance), { of: "unbiased", inputs: [[2, 4]], run: (x) => ops.variance(x, -1, { correction: 1 }) }],
  where: [
    { inputs: [[2, 3], [2, 3]], run: (a, b) => ops.where(u8([1, 0, 1, 0, 0, 1], [2, 3]), a, b) },
    { of: "everything stretched", inputs: [[3], [2, 1]], run: (a, b) => ops.where(u8([1, 0, 1], [1, 3]), a, b) },
    { of: "a number", inputs: [[3]], run: (a) => ops.where(u8([1, 0, 1]), 2, a) },
    { of: "one tensor twice", inputs: [[3]], run: (a) => ops.where(u8([1, 0, 1]), a, a) },
  ],
  maskedFill: [{ inputs: [[2, 3]], run: (x) => ops.maskedFill(x, Tensor.from([0, 1, 0]), -4) }],
  cast: [{ inputs: [[3]], run: (x) => ops.mul(ops.cast(x, "f32"), 2) }],
  reshape: [
    { inputs: [[2, 3, 2]], run: (x) => ops.reshape(x, [3, -1]) },
    { of: "a layout that must be copied", inputs: [[2, 3]], run: (x) => ops.reshape(ops.transpose(x), [6]) },
  ],
  permute: [{ inputs: [[2, 3, 1]], run: (x) => ops.permute(x, [2, 0, 1]) }],
  transpose: [{ inputs: [[2, 3, 2]], run: (x) => ops.transpose(x, 0, 2) }],
  expand: [{ inputs: [[2, 1]], run: (x) => ops.expand(x, [3, 2, 4]) }],
  squeeze: [{ inputs: [[2, 1, 3, 1]], run: (x) => ops.squeeze(ops.squeeze(x, 1)) }],
  unsqueeze: [{ inputs: [[2, 3]], run: (x) => ops.unsqueeze(ops.unsqueeze(x, -1), 0) }],
  slice: [
    { inputs: [[2, 5]], run: (x) => ops.slice(x, -1, 1, -1, 2) },
    { of: "overlapping slices", inputs: [[5, 2]], run: (x) => ops.mul(ops.slice(x, 0, 0, 4), ops.slice(x, 0, 1)) },
  ],
  contiguous: [{ inputs: [[2, 3]], run: (x) => ops.contiguous(ops.transpose(x)) }],
  concat: [
    { inputs: [[2, 1], [2, 3]], run: (a, b) => ops.concat([a, b], -1) },
    { of: "a tensor twice", inputs: [[2, 2]], run: (a) => ops.concat([a, ops.transpose(a), a]) },
  ],
  stack: [{ inputs: [[2, 3], [2, 3]], run: (a, b) => ops.stack([a, b], 1) }],
  split: [
    { inputs: [[2, 6]], run: (x) => ops.split(x, 3).reduce(ops.mul) },
    { of: "a part that nobody uses", inputs: [[5, 2]], run: (x) => ops.mul(...(ops.split(x, [2, 1, 2], 0).filter((_, i) => i !== 1) as [Tensor, Tensor])) },
    { of: "places for the gradients", inputs: [[2, 3, 24]], run: (x) => fusedAttention(x) },
    { of: "a place that is wanted twice", inputs: [[1, 2, 8]], run: (x) => twice(ops.split(x, 2)) },
    { of: "a split of a split", inputs: [[2, 8]], run: (x) => ops.swiglu(...(ops.split(ops.split(x, 2)[1], 2) as [Tensor, Tensor])) },
  ],
  pad: [{ inputs: [[2, 3]], run: (x) => ops.pad(x, [[1, 0], [2, 1]], 0.5) }],
  gather: [
    { inputs: [[2, 3]], run: (x) => ops.gather(x, i32([2, 0, 2, 1, 1, 1], [2, 3])) },
    { of: "the first axis", inputs: [[3, 2]], run: (x) => ops.gather(x, i32([2, 0], [1, 2]), 0) },
  ],
  scatterAdd: [
    { inputs: [[2, 3], [2, 2]], run: (y, x) => ops.scatterAdd(y, i32([1, 1, 2, 0], [2, 2]), x) },
    { of: "the first axis", inputs: [[3, 2], [1, 2]], run: (y, x) => ops.scatterAdd(y, i32([2, 0], [1, 2]), x, 0) },
  ],
  indexSelect: [
    { inputs: [[3, 2, 2]], run: (x) => ops.indexSelect(x, i32([2, 0, 2])) },
    { of: "the last axis", inputs: [[2, 4]], run: (x) => ops.indexSelect(x, i32([3, 3]), -1) },
  ],
  cumsum: [{ inputs: [[2, 4]], run: (x) => ops.cumsum(x) }, { of: "the first axis", inputs: [[3, 2]], run: (x) => ops.cumsum(x, 0) }],
  topK: [{ inputs: [[2, 5]], run: (x) => ops.topK(x, 2).values }, { of: "the first axis", inputs: [[4, 2]], run: (x) => ops.topK(x, 2, 0, { descending: false }).values }],
  sort: [{ inputs: [[2, 4]], run: (x) => ops.sort(x).values }],
  softmax: [{ inputs: [[2, 4]], run: (x) => ops.softmax(x) }, { of: "the first axis", inputs: [[3, 2]], run: (x) => ops.softmax(x, 0) }],
  logSoftmax: [{ inputs: [[2, 4]], run: (x) => ops.logSoftmax(x) }, { of: "a view", inputs: [[4, 2]], run: (x) => ops.logSoftmax(ops.transpose(x)) }],
  matmul: [
    { inputs: [[2, 3], [3, 4]], run: ops.matmul },
    { of: "transposed views", inputs: [[3, 2], [4, 3]], run: (a, b) => ops.matmul(ops.transpose(a), ops.transpose(b)) },
    { of: "a batch", inputs: [[2, 2, 3], [2, 3, 2]], run: ops.matmul },
    { of: "batches that stretch", inputs: [[2, 1, 2, 3], [3, 3, 2]], run: ops.matmul },
    { of: "a batch by a matrix", inputs: [[2, 2, 3], [3, 2]], run: ops.matmul },
    { of: "a transposed batch by a matrix", inputs: [[2, 3, 2], [3, 2]], run: (a, b) => ops.matmul(ops.transpose(a), b) },
    { of: "vectors", inputs: [[3], [3, 2], [2]], run: (a, b, c) => ops.matmul(ops.matmul(a, b), c) },
    { of: "a product used twice", inputs: [[2, 2]], run: (a) => ops.matmul(ops.matmul(a, a), a) },
  ],
  linear: [
    { inputs: [[2, 2, 3], parameter(4, 3), parameter(4)], run: (x, w, b) => ops.linear(x, w, b) },
    { of: "no bias, a view", inputs: [[3, 2], parameter(4, 3)], run: (x, w) => ops.linear(ops.transpose(x), w) },
    ...(["relu", "gelu", "geluTanh", "silu"] as const).map(
      (activation): Case => ({ of: activation, inputs: [[2, 3], parameter(4, 3), parameter(4)], run: (x, w, b) => ops.linear(x, w, b, { activation }) }),
    ),
    { of: "one input, one weight, twice", inputs: [[2, 3], parameter(3, 3)], run: (x, w) => ops.add(ops.linear(x, w), ops.linear(ops.linear(x, w), w)) },
  ],
  embedding: [
    { inputs: [[4, 3]], run: (table) => ops.embedding(table, i32([1, 3, 1, 0], [2, 2])) },
    { of: "twice", inputs: [[3, 2]], run: (table) => ops.mul(ops.embedding(table, i32([1, 2])), ops.embedding(table, i32([2, 2]))) },
  ],
  layerNorm: [
    { inputs: [[3, 4], parameter(4), parameter(4)], run: (x, w, b) => ops.layerNorm(x, w, b) },
    { of: "no parameters", inputs: [[2, 5]], run: (x) => ops.layerNorm(x) },
    { of: "a bias alone, a view", inputs: [[4, 2], parameter(4)], run: (x, b) => ops.layerNorm(ops.transpose(x), undefined, b) },
    { of: "parameters used twice", inputs: [[2, 4], parameter(4), parameter(4)], run: (x, w, b) => ops.layerNorm(ops.layerNorm(x, w, b), w, b) },
  ],
  rmsNorm: [
    { inputs: [[3, 4], parameter(4)], run: (x, w) => ops.rmsNorm(x, w) },
    { of: "no weight", inputs: [[2, 5]], run: (x) => ops.rmsNorm(x) },
    { of: "an offset, heads in a wider row", inputs: [[2, 12], parameter(4)], run: (x, w) => ops.rmsNorm(ops.reshape(ops.split(x, [8, 4])[0], [2, 2, 4]), w, { offset: 1 }) },
  ],
  rope: [
    { inputs: [[2, 3, 2, 4]], run: (x) => ops.rope(x, angle(0), angle(1.5), i32([0, 2, 3])) },
    { of: "interleaved, a part, positions a row", inputs: [[2, 2, 1, 6]], run: (x) => ops.rope(x, angle(0), angle(1.5), i32([0, 2, 3, 1], [2, 2]), { interleaved: true }) },
  ],
  attention: [
    { inputs: attentionInputs, run: (q, k, v) => ops.attention(q, k, v) },
    { of: "grouped heads, another value size", inputs: [[1, 3, 4, 2], [1, 3, 2, 2], [1, 3, 2, 3]], run: (q, k, v) => ops.attention(q, k, v) },
    { of: "one key head, fewer queries than keys", inputs: [[1, 2, 2, 2], [1, 4, 1, 2], [1, 4, 1, 2]], run: (q, k, v) => ops.attention(q, k, v) },
    { of: "a window, a soft cap", inputs: attentionInputs, run: (q, k, v) => ops.attention(q, k, v, { window: 2, softcap: 1.5, scale: 0.7 }) },
    { of: "slopes and starts", inputs: attentionInputs, run: (q, k, v) => ops.attention(q, k, v, { slopes: Tensor.from([0.5, 0.25]), starts: i32([0, 1]) }) },
    { of: "a mask, not causal", inputs: attentionInputs, run: (q, k, v) => ops.attention(q, k, v, { causal: false, mask: u8([1, 1, 0, 0, 1, 1, 1, 1, 1], [3, 3]) }) },
    { of: "dropout", inputs: attentionInputs, run: (q, k, v) => ops.attention(q, k, v, { dropout: { p: 0.4, key } }) },
    { of: "one tensor thrice", inputs: [[1, 3, 1, 4]], run: (x) => ops.attention(x, x, x) },
  ],
  attentionWithPattern: [
    { inputs: attentionInputs, run: (q, k, v) => ops.attentionWithPattern(q, k, v) },
    { of: "a window, a soft cap, slopes, starts", inputs: attentionInputs, run: (q, k, v) => ops.attentionWithPattern(q, k, v, { window: 2, softcap: 1.5, scale: 0.7, slopes: Tensor.from([0.5, 0.25]), starts: i32([0, 1]) }) },
    { of: "a listener that changes the pattern", inputs: attentionInputs, run: (q, k, v) => ops.attentionWithPattern(q, k, v, { onPattern: (pattern) => pattern.mul(2) }) },
  ],
  tapGradient: [{ inputs: [[2, 3]], run: (x) => ops.tapGradient(x, () => undefined) }],
  swiglu: [
    { inputs: [[2, 3], [2, 3]], run: ops.swiglu },
    { of: "the halves of one", inputs: [[2, 6]], run: (x) => ops.swiglu(...(ops.split(x, 2) as [Tensor, Tensor])) },
  ],
  dropout: [{ inputs: [[4, 4]], run: (x) => ops.dropout(x, 0.5, key) }, { of: "a view", inputs: [[4, 3]], run: (x) => ops.dropout(ops.transpose(x), 0.3, key) }],
  conv1d: [
    { inputs: [[2, 2, 5], [3, 2, 3], parameter(3)], run: (x, w, b) => ops.conv1d(x, w, b) },
    { of: "causal, depthwise", inputs: [[1, 3, 4], [3, 1, 3]], run: (x, w) => ops.conv1d(x, w, undefined, { groups: 3, causal: true }) },
    { of: "stride, padding, dilation, groups", inputs: [[1, 4, 7], [2, 2, 2], parameter(2)], run: (x, w, b) => ops.conv1d(x, w, b, { stride: 2, padding: 1, dilation: 2, groups: 2 }) },
  ],
  crossEntropy: [
    { inputs: [[3, 4]], run: (x) => ops.crossEntropy(x, i32([0, -1, 3])) },
    { of: "the sum, all options", inputs: [[2, 2, 4]], run: (x) => ops.crossEntropy(x, i32([0, 9, 3, 1], [2, 2]), { ignoreIndex: 9, labelSmoothing: 0.1, zLoss: 0.1, reduction: "sum" }) },
    { of: "each row", inputs: [[3, 4]], run: (x) => ops.crossEntropy(x, i32([2, -1, 3]), { reduction: "none" }) },
  ],
  linearCrossEntropy: [
    { inputs: [[4, 3], parameter(5, 3)], run: (x, w) => ops.linearCrossEntropy(x, w, i32([0, -1, 3, 4])).sum },
    { of: "chunks that do not divide the rows, all options", inputs: [[5, 3], parameter(4, 3), parameter(4)], run: (x, w, bias) => ops.linearCrossEntropy(x, w, i32([0, 1, 3, 2, 2]), { bias, chunkRows: 2, labelSmoothing: 0.1, zLoss: 0.05, softcap: 2 }).sum },
    { of: "the gradient by all logits, all options", inputs: [[5, 3], parameter(4, 3), parameter(4)], run: (x, w, bias) => ops.linearCrossEntropy(x, w, i32([0, 1, 3, 2, 2]), { bias, labelSmoothing: 0.1, zLoss: 0.05, softcap: 2 }).sum },
    { of: "a weight a token", inputs: [[2, 2, 3], parameter(4, 3), parameter(4)], run: (x, w, bias) => ops.linearCrossEntropy(x, w, i32([0, -1, 3, 2], [2, 2]), { bias, weights: tokenWeights() }).sum },
    { of: "a weight a token, by chunks, soft cap", inputs: [[2, 2, 3], parameter(4, 3), parameter(4)], run: (x, w, bias) => ops.linearCrossEntropy(x, w, i32([0, -1, 3, 2], [2, 2]), { bias, weights: tokenWeights(), chunkRows: 3, softcap: 2 }).sum },
    { of: "a tied table", inputs: [parameter(4, 3), [3]], run: (w, x) => ops.linearCrossEntropy(ops.embedding(w, i32([0, 2, 3]), { dtype: x.dtype as "f32" }).mul(x), w, i32([1, 0, 2]), { chunkRows: 1 }).sum },
  ],
  meanLoss: [{ inputs: [[4, 3], parameter(5, 3)], run: (x, w) => ops.meanLoss(ops.linearCrossEntropy(x, w, i32([0, -1, 3, 4]))) }],
  tokenLogProbs: [
    { inputs: [[4, 3], parameter(5, 3)], run: (x, w) => ops.tokenLogProbs(x, w, i32([0, -1, 3, 4])) },
    { of: "all options", inputs: [[2, 2, 3], parameter(4, 3), parameter(4)], run: (x, w, bias) => ops.tokenLogProbs(x, w, i32([0, 9, 3, 2], [2, 2]), { bias, softcap: 2, temperature: 0.7, ignoreIndex: 9 }) },
    { of: "computed again, chunks that do not divide the rows", inputs: [[5, 3], parameter(4, 3)], run: (x, w) => ops.tokenLogProbs(x, w, i32([0, 1, -1, 2, 2]), { chunkRows: 2, temperature: 1.5 }) },
    { of: "computed again, all options", inputs: [[2, 2, 3], parameter(4, 3), parameter(4)], run: (x, w, bias) => ops.tokenLogProbs(x, w, i32([0, 9, 3, 2], [2, 2]), { bias, softcap: 2, temperature: 0.7, ignoreIndex: 9, chunkRows: 3 }) },
    { of: "by the bias alone", inputs: [parameter(4)], run: (bias) => ops.tokenLogProbs(Tensor.from([[0.5, -1], [0.25, 2]]), Tensor.from([[1, 0], [0.5, -1], [2, 1], [0, 1]]), i32([0, 3]), { bias, chunkRows: 1 }) },
    { of: "a tied table", inputs: [parameter(4, 3), [3]], run: (w, x) => ops.tokenLogProbs(ops.embedding(w, i32([0, 2, 3]), { dtype: x.dtype as "f32" }).mul(x), w, i32([1, 0, 2])) },
    { of: "a view of x", inputs: [[3, 4], parameter(5, 3)], run: (x, w) => ops.tokenLogProbs(ops.transpose(x), w, i32([0, 4, 3, 1])) },
  ],
  tokenLogProbsAndEntropy: [{ inputs: [[4, 3], parameter(5, 3)], run: (x, w) => ops.tokenLogProbsAndEntropy(x, w, i32([0, -1, 3, 4]), { temperature: 0.5 }).logProbs }],
} satisfies Partial<Record<keyof typeof ops, Case[]>>;

const withoutGradient = {
  full: "a constant", zeros: "a constant", ones: "a constant", arange: "a constant", rand: "a constant", randn: "a constant", fill: "writes in place", fillNormal: "writes in place", fillUniform: "writes in place",
  equal: "a comparison", notEqual: "a comparison", less: "a comparison", lessEqual: "a comparison", greater: "a comparison", greaterEqual: "a comparison",
  sign: "flat wherever smooth", floor: "flat wherever smooth", isFinite: "flat wherever smooth", argmax: "an index", argmin: "an index",
  append: "for inference only",
  quantizeInt8: "for inference only", dequantizeInt8: "for inference only", computeCopy: "not recorded: linear has its gradient", linearTopK: "for generation only",
} satisfies Partial<Record<keyof typeof ops, string>>;

// Does not compile when an op is in neither list.
({ ...cases, ...withoutGradient }) satisfies Record<keyof typeof ops, unknown>;

/** A fused projection, as a model has it: q and k turned, all through views. */
function fusedAttention(qkv: Tensor): Tensor {
  const [q, k, v] = ops.split(qkv, 3).map((part) => ops.reshape(part, [2, 3, 2, 4]));
  const at = i32([0, 1, 2]);
  return ops.attention(ops.rope(q, angle(0), angle(1), at), ops.rope(k, angle(0), angle(1), at), v);
}

/** The same part through two reshapes, both of which would take its place. */
function twice([a, b]: Tensor[]): Tensor {
  const heads = (x: Tensor): Tensor => ops.reshape(x, [1, 2, 1, 4]);
  return ops.add(ops.attention(heads(a), heads(a), heads(b)), ops.attention(heads(b), heads(b), heads(a)));
}

/** Values that keep their distance from each other and from 0, so that a small step crosses no kink; in random order; exact in bf16. */
function spread(input: Input, random: Random): Float32Array<ArrayBuffer> {
  const { shape, low = -1.6, high = 1.6 } = "shape" in input ? input : { shape: input };
  const n = elementsOf(shape);
  const values = Float32Array.from({ length: n }, (_, i) => low + ((high - low) * (i + 0.37 + 0.2 * random.uniform())) / n);
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [values[i], values[j]] = [values[j], values[i]];
  }
  return values.map((value) => fromBfloat16(toBfloat16(Math.abs(value) < 0.03 ? value + 0.06 : value)));
}

/** The inputs of a case; activations in `dtype`. */
function inputsOf({ inputs }: Case, dtype: FloatDType): Tensor[] {
  const random = new Random(11);
  return inputs.map((input) => {
    const { shape, parameter = false } = "shape" in input ? input : { shape: input };
    return Tensor.from(spread(input, random), { shape, dtype: parameter ? "f32" : dtype });
  });
}

/** The output and the gradients of a case, for a random gradient of the output. */
async function evaluate(one: Case, device: Device, dtype: FloatDType, passes = 1): Promise<TensorData[]> {
  setDefaultDevice(device);
  const inputs = inputsOf(one, dtype);
  for (const input of inputs) input.requiresGrad = true;
  const pass = (): Tensor => {
    const output = one.run(...inputs);
    const random = new Random(5);
    const seed = Float32Array.from({ length: output.size }, () => fromBfloat16(toBfloat16(random.normal())));
    backward(output, Tensor.from(seed, { shape: output.shape, dtype: output.dtype }));
    return output;
  };
  for (let i = 1; i < passes; i++) scope(() => { pass(); });
  const y = scope(pass);
  const results = [y, ...inputs.map((input) => input.grad)];
  results.forEach((tensor, i) => expect(tensor?.dtype).toBe(i === 0 ? y.dtype : inputs[i - 1].dtype));
  const values = await Promise.all(results.map((tensor) => tensor!.data()));
  for (const tensor of [y, ...inputs]) tensor.dispose();
  return values;
}

/** The distance between two results, as a share of the second's length. */
function distance(a: TensorData, b: TensorData): number {
  let [square, length] = [0, 1e-12];
  for (let i = 0; i < b.length; i++) {
    square += (a[i] - b[i]) ** 2;
    length += b[i] ** 2;
  }
  return Math.sqrt(square / length);
}

const reference = new ReferenceDevice();
const all = (Object.entries(cases) as [string, Case[]][]).flatMap(([name, list]) =>
  list.map((one): [string, Case] => [one.of === undefined ? name : `${name}: ${one.of}`, one]),
);

describe("gradients against finite differences", () => {
  beforeEach(() => setDefaultDevice(reference));
  it.each(all)("%s", async (_, one) => {
    await gradcheck(one.run, inputsOf(one, "f32"), one);
  });
});

describe("a second pass adds the same to each gradient", () => {
  it.each(all)("%s", async (_, one) => {
    const [[, ...twice], [, ...once]] = [await evaluate(one, reference, "f32", 2), await evaluate(one, reference, "f32")];
    twice.forEach((values, i) => expect(distance(values, once[i].map((value) => 2 * value))).toBeLessThan(1e-5));
  });
});

describe("bf16: outputs and gradients are those of f32, but for rounding", () => {
  it.each(all)("%s", async (_, one) => {
    const [half, single] = [await evaluate(one, reference, "bf16"), await evaluate(one, reference, "f32")];
    half.forEach((values, i) => expect(distance(values, single[i])).toBeLessThan(0.03));
  });
});

describe.skipIf(!CpuDevice.isAvailable())("cpu: outputs and gradients are those of the reference", () => {
  const cpu = CpuDevice.isAvailable() ? CpuDevice.create() : reference;
  it.each(all)("%s", async (_, one) => {
    for (const dtype of ["f32", "bf16"] as const) {
      const [native, expected] = [await evaluate(one, cpu, dtype), await evaluate(one, reference, dtype)];
      native.forEach((values, i) => expect(distance(values, expected[i])).toBeLessThan(dtype === "f32" ? 1e-4 : 0.015));
    }
  });
});

describe("every op", () => {
  it.each(Object.keys(ops))("%s has a gradient case, or a reason for having none", (name) => {
    const list: readonly Case[] | undefined = (cases as Record<string, Case[]>)[name];
    expect(list === undefined ? (withoutGradient as Record<string, string>)[name] : list.length).toBeTruthy();
  });
});
