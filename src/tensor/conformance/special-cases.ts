/** @file Cases at the edges of floating point (NaN, infinities, zeros of both signs, denormals, huge numbers) and cases that must fail. */

import type { KernelName } from "../contract.js";
import { activations, binaryOps, reduceOps, unaryOps } from "../contract.js";
import type { DType, FloatDType } from "../dtype.js";
import { rawArray } from "../dtype.js";
import type { HostView } from "../reference/view.js";
import { store } from "../reference/view.js";
import { denseStrides, elementsOf } from "../shape.js";
import type { Case } from "./generator.js";
import { Generator } from "./generator.js";
import { floatTypes, isComparison } from "./tensor-cases.js";

/** A dense tensor with these contents. */
export function tensor(dtype: DType, shape: readonly number[], contents: readonly number[] = []): HostView {
  const n = elementsOf(shape);
  const bytes = Math.ceil((n * 4) / 8) * 8;
  const view: HostView = { data: rawArray(dtype, new ArrayBuffer(bytes), 0, n), dtype, shape, strides: denseStrides(shape), offset: 0 };
  store(view, Float64Array.from({ length: n }, (_, i) => contents[i] ?? 0));
  return view;
}

const specials = [
  NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, -0.5, 2, 3, -3, 1e-40, -1e-40, 1e-30, -1e-30, 10, -10, 20, -20, 87, -87, 104, -104, 1000, -1000,
  1e10, -1e10, 1e30, -1e30, 3e38, -3e38,
];

/** At an infinity these are 0 times infinity, about which no formula promises anything. */
const indeterminateAtInfinity: readonly string[] = ["gelu", "geluTanh", "silu", "geluGrad", "geluTanhGrad", "siluGrad", "softplusGrad", "tanhGrad", "sigmoidGrad"];

function unarySpecials(dtype: FloatDType): Case<"unary">[] {
  return unaryOps.map((op) => {
    const x = specials.filter((x) => Math.abs(x) !== Infinity || !indeterminateAtInfinity.includes(op));
    return {
      kernel: "unary", operands: { x: tensor(dtype, [x.length], x), y: tensor(dtype, [x.length]) }, attributes: { op },
      tolerance: { y: { relative: 2 ** -17, absolute: op === "sin" || op === "cos" ? 2 ** -20 : op.startsWith("gelu") ? 2 ** -22 : 0 } },
    };
  });
}

/** (x, dy) of a derivative: huge dy would blow up what float32 cannot tell from zero, and outputs of tanh and sigmoid lie within [-1, 1]. */
function binarySpecials(dtype: FloatDType): Case<"binary">[] {
  return binaryOps.map((op) => {
    const isGradient = op.endsWith("Grad");
    const limit = op === "tanhGrad" || op === "sigmoidGrad" ? 1 : Infinity;
    const rows = specials.filter((x) => !(Math.abs(x) > limit) && !(Math.abs(x) === Infinity && indeterminateAtInfinity.includes(op)));
    const columns = isGradient ? [NaN, 0, 1, -3, 1e-40] : specials;
    const [m, n] = [rows.length, columns.length];
    // Every pair: a down the rows, b along them.
    const a = { ...tensor(dtype, [m], rows), shape: [m, n], strides: [1, 0] };
    const b = { ...tensor(dtype, [n], columns), shape: [m, n], strides: [0, 1] };
    return {
      kernel: "binary", operands: { a, b, y: tensor(isComparison(op) ? "u8" : dtype, [m, n]) }, attributes: { op },
      tolerance: { y: { relative: op === "pow" ? 2 ** -14 : 2 ** -17, absolute: isGradient ? 2 ** -18 : 0 } },
    };
  });
}

/** Rows of 20, each beginning with one of these and else filled by its last number. */
function rowsOf20(dtype: FloatDType, rows: readonly (readonly number[])[]): HostView {
  return tensor(dtype, [rows.length, 20], rows.flatMap((row) => Array.from({ length: 20 }, (_, i) => row[Math.min(i, row.length - 1)])));
}

const { NEGATIVE_INFINITY: low, POSITIVE_INFINITY: high } = Number;
const softmaxRows = [[low], [low, low, 1, low], [NaN, 1], [1, 2, NaN, low], [low, NaN, low], [high, 1], [3e38, -3e38, 0], [3e38], [-3e38], [1e-40, 0], [1000, -1000], [88, 89, -104]];
const lossRows = [[1, low], [1, low, 2, low, 3], [0, NaN, 1], [3e38, 1], [1000, -1000, 0], [-1000, 1000], [1e-40, 0], [-3e38, 0]];
const reduceRows = [[NaN, 1], [1, NaN, 1], [high, 1], [low, 1], [high, low, 0], [0], [-0], [1e-40], [1e18, 1e-18, 1], [1, -1, 0.5]];

function rowSpecials(dtype: FloatDType): Case[] {
  const n = lossRows.length;
  return [
    ...[0, 1].map((log): Case<"softmax"> => ({
      kernel: "softmax", operands: { x: rowsOf20(dtype, softmaxRows), y: tensor(dtype, [softmaxRows.length, 20]) }, attributes: { log },
      tolerance: { y: { relative: 2 ** -17, absolute: 2 ** -20 } },
    })),
    ...[0, 1].map((inPlace): Case<"crossEntropy"> => {
      const logits = rowsOf20(dtype, lossRows);
      return {
        kernel: "crossEntropy",
        operands: {
          logits, targets: tensor("i32", [n], Array<number>(n).fill(0)), loss: tensor("f32", [n]), dlogits: inPlace === 1 ? logits : tensor(dtype, [n, 20]),
        },
        attributes: { ignoreIndex: -100, labelSmoothing: 0, zLoss: 0 },
        tolerance: { loss: { relative: 2 ** -17, absolute: 2 ** -18 }, dlogits: { relative: 2 ** -17, absolute: 2 ** -20 } },
      };
    }),
    ...reduceOps.map((op): Case<"reduce"> => ({
      kernel: "reduce", operands: { x: rowsOf20(dtype, reduceRows), y: tensor(dtype, [reduceRows.length]) },
      attributes: { op, reducedAxes: 1, correction: 1 },
      // The squares of denormal numbers are nothing in float32.
      tolerance: { y: { relative: 2 ** -17, absolute: op === "norm2" ? 2 ** -75 : 0 } },
    })),
    ...activations.map((activation): Case<"matmul"> => {
      const finite = specials.filter((x) => Math.abs(x) <= 1e10);
      return {
        kernel: "matmul",
        operands: { a: tensor(dtype, [finite.length, 1], finite), b: tensor(dtype, [1, 17], Array<number>(17).fill(1)), c: tensor(dtype, [finite.length, 17]) },
        attributes: { activation, accumulate: 0 }, tolerance: { c: { relative: 2 ** -17, absolute: 2 ** -22 } },
      };
    }),
  ];
}

export function specialCases(): Case[] {
  return floatTypes.flatMap((dtype) => [...unarySpecials(dtype), ...binarySpecials(dtype), ...rowSpecials(dtype)]);
}

/** A launch that must fail, and the number that its message must name. */
export interface FailingCase {
  readonly case: Case;
  readonly names: number;
}

/** An index one too far, or below zero, after many that are in order. */
export function failingCases(): FailingCase[] {
  const g = new Generator(404, 0);
  const n = 1000;
  const table = 50;
  return [table, -7].flatMap((bad): FailingCase[] => {
    const ids = tensor("i32", [n], Array.from({ length: n }, (_, i) => (i >= 777 ? bad : i % table)));
    const f32 = (...shape: number[]): HostView => g.tensor("f32", shape, g.normal());
    const cases: { [K in KernelName]?: Case<K> } = {
      embedding: { kernel: "embedding", operands: { table: f32(table, 8), ids, y: f32(n, 8) }, attributes: {}, tolerance: {} },
      quantizedEmbedding: {
        kernel: "quantizedEmbedding", operands: { table: g.tensor("u8", [table, 34], g.integers(0, 100)), ids, y: f32(n, 32) },
        attributes: { format: "q8_0", layout: "rows" }, tolerance: {},
      },
      embeddingBackward: { kernel: "embeddingBackward", operands: { dy: f32(n, 8), ids, dtable: f32(table, 8) }, attributes: {}, tolerance: {} },
      gather: { kernel: "gather", operands: { x: f32(table), index: ids, y: f32(n) }, attributes: {}, tolerance: {} },
      scatterAdd: { kernel: "scatterAdd", operands: { x: f32(n), index: ids, y: f32(table) }, attributes: {}, tolerance: {} },
      rope: {
        kernel: "rope",
        operands: { x: f32(1, n, 1, 8), cos: f32(table, 4), sin: f32(table, 4), positions: { ...ids, shape: [1, n], strides: [n, 1] }, y: f32(1, n, 1, 8) },
        attributes: { interleaved: 0, inverse: 0 }, tolerance: {},
      },
      crossEntropy: {
        kernel: "crossEntropy", operands: { logits: f32(n, table), targets: ids, loss: f32(n), dlogits: f32(n, table) },
        attributes: { ignoreIndex: -100, labelSmoothing: 0, zLoss: 0 }, tolerance: {},
      },
    };
    // Rows with slots, places and lengths of their own.
    const u8 = (...shape: number[]): HostView => g.tensor("u8", shape, g.integers(0, 255));
    const zeros = tensor("i32", [n], Array<number>(n).fill(0));
    const reach = { scale: 1, causal: 1, window: 0, softcap: 0 };
    const q = f32(n, 1, 1, 4);
    const results = { out: f32(n, 1, 1, 4), logSumExp: f32(n, 1, 1) };
    const rows: Case[] = [{ at: ids }, { at: zeros, slots: ids }].flatMap((places) => [
      { kernel: "append", operands: { x: f32(n, 1, 4), y: f32("slots" in places ? table : n, table, 4), ...places }, attributes: {}, tolerance: {} },
      { kernel: "quantizeInt8", operands: { x: f32(n, 1, 4), y: u8("slots" in places ? table : n, table, 4), scale: f32("slots" in places ? table : n, table), ...places }, attributes: {}, tolerance: {} },
    ]);
    for (const [numbers, slots, keys] of [[{ lengths: ids }, n, table - 1], [{ slots: ids }, table, 3]] as const) {
      const random = { p: 0, seedLow: 0, seedHigh: 0, stream: 0 };
      rows.push({ kernel: "attention", operands: { q, k: f32(slots, keys, 1, 4), v: f32(slots, keys, 1, 4), ...numbers, ...results }, attributes: { ...reach, ...random }, tolerance: {} });
      const int8 = { k: u8(slots, keys, 1, 4), kScale: f32(slots, keys, 1), v: u8(slots, keys, 1, 4), vScale: f32(slots, keys, 1) };
      rows.push({ kernel: "attentionInt8", operands: { q, ...int8, ...numbers, out: results.out }, attributes: reach, tolerance: {} });
    }
    return [...Object.values(cases), ...rows].map((test) => ({ case: test, names: bad }));
  });
}
