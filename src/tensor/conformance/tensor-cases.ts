/** @file Random cases for the kernels that know tensors only: moving, elementwise, reducing, ordering, indexing, products. */

import type { BinaryOp, KernelName, UnaryOp } from "../contract.js";
import { activations, binaryOps, reduceOps, unaryOps } from "../contract.js";
import type { DType } from "../dtype.js";
import { dtypes } from "../dtype.js";
import { integerBinaryFunctions, integerUnaryFunctions } from "../reference/functions.js";
import type { HostView } from "../reference/view.js";
import { elementsOf } from "../shape.js";
import type { Case, Fill, Generator, Tolerance } from "./generator.js";
import { sumError } from "./generator.js";

export type CaseMaker<K extends KernelName> = (g: Generator) => Case<K>;

export const floatTypes = ["f32", "bf16"] as const;
const integerRange = { i32: { low: -1000, high: 1000 }, u8: { low: 0, high: 255 } };

/** Numbers that fit a dtype: normal for floats, small whole ones for integers. */
function content(g: Generator, dtype: DType, scale = 1): Fill {
  return dtype === "f32" || dtype === "bf16" ? g.normal(scale) : g.integers(integerRange[dtype].low, integerRange[dtype].high);
}

/** Few different numbers, so that there are ties, and NaN among them. */
function tied(g: Generator, dtype: DType): Fill {
  if (dtype === "u8") return g.integers(0, 6);
  const ties = g.chance(0.5) ? g.integers(-4, 4) : content(g, dtype);
  return dtype === "i32" || g.chance(0.5) ? ties : g.sprinkled(ties, [NaN, Infinity, -Infinity], 0.02);
}

export function seeds(g: Generator): { seedLow: number; seedHigh: number; stream: number } {
  return { seedLow: g.integer(-(2 ** 31), 2 ** 31 - 1), seedHigh: g.integer(0, 2 ** 21), stream: g.integer(0, 1000) };
}

/** Slots for the rows of a batch in a larger buffer: as many as rows and in their order, or more and in any order, none twice. */
export function slotsFor(g: Generator, batch: number): { slots: HostView | undefined; count: number } {
  if (g.chance(0.4)) return { slots: undefined, count: batch };
  const order = Array.from({ length: batch + g.integer(0, 3) }, (_, slot) => slot);
  for (let i = order.length - 1; i > 0; i--) {
    const j = g.integer(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  let row = 0;
  return { slots: g.tensor("i32", [batch], () => order[row++], { layout: "strided" }), count: order.length };
}

/** A buffer that rows of this shape [batch, time, ...] are appended to, and where: each row in a slot and from a place of its own on. */
export function somewhere(g: Generator, shape: readonly number[]): { places: { at: HostView; slots: HostView | undefined }; buffer: readonly number[] } {
  const [batch, time, ...rest] = shape;
  const room = g.integer(0, 7);
  const { slots, count } = slotsFor(g, batch);
  return { places: { at: g.tensor("i32", [batch], g.integers(0, room), { layout: "strided" }), slots }, buffer: [count, time + room, ...rest] };
}

/** Numbers to be converted. */
function convertible(g: Generator, from: DType, to: DType): () => number {
  // Floats on their way to integers saturate; integers on their way to floats lose digits.
  const fill = from === "i32" ? g.integers(-(2 ** 31), 2 ** 31 - 1) : from !== "u8" ? g.sprinkled(g.normal(100), [NaN, Infinity, -Infinity, 3e9, -3e9, 255.7, -0.5, 1e-40, 3.4e38], 0.1) : content(g, from);
  return from === "i32" && to === "u8" ? content(g, "u8") : fill;
}

const copy: CaseMaker<"copy"> = (g) => {
  const [from, to] = [g.cycle(dtypes), g.cycle(dtypes)];
  const shape = g.shape(0, 5);
  return {
    kernel: "copy",
    operands: { x: g.tensor(from, shape, convertible(g, from, to), { layout: "strided" }), y: g.output(to, shape, "strided") },
    attributes: {},
    tolerance: { y: "exact" },
  };
};

const append: CaseMaker<"append"> = (g) => {
  const [from, to] = [g.cycle(dtypes), g.cycle(dtypes)];
  const shape = g.shape(2, 4);
  const { places, buffer } = somewhere(g, shape);
  return {
    kernel: "append",
    operands: { x: g.tensor(from, shape, convertible(g, from, to), { layout: "strided" }), y: g.output(to, buffer, "strided"), ...places },
    attributes: {},
    tolerance: { y: "exact" },
  };
};

const fill: CaseMaker<"fill"> = (g) => ({
  kernel: "fill",
  operands: { y: g.output(g.cycle(dtypes), g.shape(0, 4), "strided") },
  attributes: { value: g.pick([0, 1, 0.1, 7, -0.5, 200]) },
  tolerance: { y: "exact" },
});

/** Eighths, so that every element is exact in float32. */
const arange: CaseMaker<"arange"> = (g) => {
  const dtype = g.cycle(dtypes);
  const n = dtype === "u8" ? g.size(20) : g.size(100_000);
  return {
    kernel: "arange",
    operands: { y: g.output(dtype, [n]) },
    attributes: dtype === "u8" ? { start: g.integer(0, 9), step: g.integer(0, 9) } : { start: g.integer(-80, 80) / 8, step: g.integer(-20, 20) / 8 },
    tolerance: { y: "exact" },
  };
};

const randomUniform: CaseMaker<"randomUniform"> = (g) => ({
  kernel: "randomUniform",
  operands: { y: g.output("f32", g.shape(0, 3)) },
  attributes: { ...g.pick([{ low: 0, high: 1 }, { low: -0.1, high: 0.1 }, { low: -3, high: 11.7 }]), ...seeds(g) },
  tolerance: { y: "exact" },
});

const randomNormal: CaseMaker<"randomNormal"> = (g) => ({
  kernel: "randomNormal",
  operands: { y: g.output("f32", g.shape(0, 3)) },
  attributes: { ...g.pick([{ mean: 0, std: 1 }, { mean: 0, std: 0.02 }, { mean: -0.3, std: 7.1 }]), ...seeds(g) },
  tolerance: { y: "exact" },
});

const dropout: CaseMaker<"dropout"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = g.shape(0, 4);
  return {
    kernel: "dropout",
    operands: { x: g.tensor(dtype, shape, g.normal()), y: g.output(dtype, shape) },
    attributes: { p: g.pick([0, 0.1, 0.5, 0.9]), ...seeds(g) },
    tolerance: {},
  };
};

/**
 * Where an elementwise function comes from a subtraction it loses digits relative to its value, though not to its operands': the
 * derivatives of gelu and silu cross zero near -1, tanh' and sigmoid' go to zero at their ends, sin and cos have zeros of their own.
 */
const unaryTolerance: Partial<Record<UnaryOp, Tolerance>> = {
  neg: "exact", abs: "exact", sign: "exact", floor: "exact", isFinite: "exact", relu: "exact",
  sin: { absolute: 2 ** -20 }, cos: { absolute: 2 ** -20 }, gelu: { absolute: 2 ** -22 }, geluTanh: { absolute: 2 ** -22 },
};
const binaryTolerance: Partial<Record<BinaryOp, Tolerance>> = {
  add: "exact", sub: "exact", mul: "exact", maximum: "exact", minimum: "exact", reluGrad: "exact",
  // The exponent's rounding, |b log a| * 2^-24, comes out as a relative error.
  pow: { relative: 2 ** -17 },
  geluGrad: { absolute: 2 ** -18 },
  tanhGrad: { absolute: 2 ** -18 }, sigmoidGrad: { absolute: 2 ** -18 },
};

/** What is rounded to bf16 may be made of a sigmoid good to 2^-12: where these derivatives cross zero, the rounding of a result so small does not cover that. */
const crossing = (dtype: DType): number => (dtype === "bf16" ? 2 ** -11 : 2 ** -18);
const crossesZero: readonly BinaryOp[] = ["geluTanhGrad", "siluGrad"];

const comparisons = ["equal", "notEqual", "less", "lessEqual", "greater", "greaterEqual"] as const;

export function isComparison(op: BinaryOp): boolean {
  return (comparisons as readonly BinaryOp[]).includes(op);
}

const unary: CaseMaker<"unary"> = (g) => {
  const op = g.cycle(unaryOps);
  const dtype = g.pick<DType>(op in integerUnaryFunctions ? ["f32", "bf16", "i32"] : floatTypes);
  const shape = g.shape(0, 5);
  const scale = g.pick([0.1, 1, 4]);
  const positive: readonly UnaryOp[] = ["log", "sqrt", "rsqrt"];
  const contents = dtype === "i32"
    ? g.sprinkled(content(g, dtype), [-(2 ** 31), 2 ** 31 - 1, 65537], 0.1)
    : positive.includes(op) ? g.within(0.01, 10 * scale) : g.normal(scale);
  return {
    kernel: "unary",
    operands: { x: g.tensor(dtype, shape, contents, { layout: "strided" }), y: g.output(dtype, shape) },
    attributes: { op },
    tolerance: { y: unaryTolerance[op] ?? {} },
  };
};

const binary: CaseMaker<"binary"> = (g) => {
  const op = g.cycle(binaryOps);
  const dtype = g.pick<DType>(isComparison(op) ? dtypes : op in integerBinaryFunctions ? ["f32", "bf16", "i32"] : floatTypes);
  const shape = g.shape(0, 5);
  const [a, b] = dtype === "i32" ? [g.sprinkled(content(g, dtype), [2 ** 31 - 1, -(2 ** 31)], 0.05), g.sprinkled(g.integers(-9, 9), [65537, -1], 0.1)]
    : dtype === "u8" || isComparison(op) ? [g.integers(0, 3), g.integers(0, 3)]
    : op === "pow" ? [g.within(0.1, 5), g.normal(2)]
    : [content(g, dtype), content(g, dtype)];
  return {
    kernel: "binary",
    operands: {
      a: g.tensor(dtype, shape, a, { layout: "strided" }), b: g.tensor(dtype, shape, b, { layout: "strided" }),
      y: g.output(isComparison(op) ? "u8" : dtype, shape),
    },
    attributes: { op },
    tolerance: { y: crossesZero.includes(op) ? { absolute: crossing(dtype) } : (binaryTolerance[op] ?? {}) },
  };
};

const accumulate: CaseMaker<"accumulate"> = (g) => {
  const shape = g.shape(0, 4);
  return {
    kernel: "accumulate",
    operands: {
      x: g.tensor(g.cycle(floatTypes), shape, g.normal(), { layout: "strided" }),
      factor: g.chance(0.5) ? g.tensor("f32", [], g.normal()) : undefined,
      y: g.tensor(g.cycle(floatTypes), shape, g.normal(), { layout: "strided", output: true }),
    },
    attributes: { scale: g.pick([1, -1, 0.3]) },
    tolerance: { y: { absolute: sumError(4) } },
  };
};

const where: CaseMaker<"where"> = (g) => {
  const dtype = g.cycle(dtypes);
  const shape = g.shape(0, 4);
  return {
    kernel: "where",
    operands: {
      condition: g.tensor("u8", shape, g.pick([g.integers(0, 1), g.integers(0, 255)]), { layout: "strided" }),
      a: g.tensor(dtype, shape, content(g, dtype), { layout: "strided" }), b: g.tensor(dtype, shape, content(g, dtype), { layout: "strided" }),
      y: g.output(dtype, shape),
    },
    attributes: {},
    tolerance: { y: "exact" },
  };
};

const swiglu: CaseMaker<"swiglu"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = g.shape(1, 4);
  const rows = (): Case<"swiglu">["operands"]["y"] => g.tensor(dtype, shape, g.normal(2), { layout: "rows" });
  return { kernel: "swiglu", operands: { gate: rows(), up: rows(), y: g.output(dtype, shape) }, attributes: {}, tolerance: {} };
};

const swigluBackward: CaseMaker<"swigluBackward"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = g.shape(1, 4);
  const rows = (): Case<"swiglu">["operands"]["y"] => g.tensor(dtype, shape, g.normal(2), { layout: "rows" });
  return {
    kernel: "swigluBackward",
    operands: {
      gate: rows(), up: rows(), dy: g.tensor(dtype, shape, g.normal()), dgate: g.output(dtype, shape, "rows"), dup: g.output(dtype, shape, "rows"),
    },
    attributes: {},
    // The derivative times up and dy.
    tolerance: { dgate: { absolute: 2 * crossing(dtype) } },
  };
};

const reduce: CaseMaker<"reduce"> = (g) => {
  const op = g.cycle(reduceOps);
  const dtype = g.pick<DType>(["sum", "max", "min", "prod"].includes(op) ? ["f32", "bf16", "i32"] : floatTypes);
  const shape = g.shape(1, 5);
  const reducedAxes = g.integer(1, shape.length);
  const n = elementsOf(shape.slice(shape.length - reducedAxes));
  const correction = n > 1 ? g.cycle([1, 0]) : 0;
  const shift = op === "variance" ? g.pick([0, 1, 10]) : 0;
  const fill = dtype === "i32" ? g.integers(-100_000, 100_000) : op === "prod" ? g.within(0.8, 1.25) : g.normal(1, shift);
  const tolerances: Partial<Record<typeof op, Tolerance>> = {
    sum: { absolute: sumError(n) },
    mean: { absolute: sumError(1) },
    max: "exact",
    min: "exact",
    // One rounding a factor.
    prod: { relative: n * 2 ** -24 },
    // Of the squares, which the mean's rounding shifts by 2 shift 2^-24.
    variance: { absolute: sumError(1 + shift) },
  };
  const out = dtype === "i32" ? dtype : g.pick([dtype, "f32"] as const);
  return {
    kernel: "reduce",
    operands: { x: g.tensor(dtype, shape, fill, { layout: "strided" }), y: g.output(out, shape.slice(0, shape.length - reducedAxes)) },
    attributes: { op, reducedAxes, correction },
    tolerance: { y: tolerances[op] ?? {} },
  };
};

/** A shape whose last axis is not empty. */
function rowsShape(g: Generator, limit?: number): number[] {
  const shape = g.shape(1, 4, limit);
  if (shape.at(-1) === 0) shape[shape.length - 1] = 1;
  return shape;
}

const argReduce: CaseMaker<"argReduce"> = (g) => {
  const dtype = g.cycle(dtypes);
  const shape = rowsShape(g);
  return {
    kernel: "argReduce",
    operands: { x: g.tensor(dtype, shape, tied(g, dtype)), y: g.output("i32", shape.slice(0, -1)) },
    attributes: { min: g.integer(0, 1) },
    tolerance: {},
  };
};

const cumsum: CaseMaker<"cumsum"> = (g) => {
  const dtype = g.cycle(dtypes);
  const shape = rowsShape(g);
  return {
    kernel: "cumsum",
    operands: { x: g.tensor(dtype, shape, content(g, dtype)), y: g.output(dtype, shape) },
    attributes: { reverse: g.integer(0, 1) },
    tolerance: { y: { absolute: sumError(shape[shape.length - 1]) } },
  };
};

const topK: CaseMaker<"topK"> = (g) => {
  const dtype = g.cycle(dtypes);
  const shape = rowsShape(g);
  const n = shape[shape.length - 1];
  const outShape = [...shape.slice(0, -1), g.chance(0.3) ? n : g.integer(1, Math.min(n, 50))];
  return {
    kernel: "topK",
    operands: { x: g.tensor(dtype, shape, tied(g, dtype)), values: g.output(dtype, outShape), indices: g.output("i32", outShape) },
    attributes: { descending: g.integer(0, 1) },
    tolerance: { values: "exact" },
  };
};

const gather: CaseMaker<"gather"> = (g) => {
  const dtype = g.cycle(dtypes);
  const shape = rowsShape(g);
  const indexShape = [...shape.slice(0, -1), g.size(100)];
  return {
    kernel: "gather",
    operands: {
      x: g.tensor(dtype, shape, content(g, dtype), { layout: "strided" }),
      index: g.tensor("i32", indexShape, g.integers(0, shape[shape.length - 1] - 1)), y: g.output(dtype, indexShape),
    },
    attributes: {},
    tolerance: { y: "exact" },
  };
};

const scatterAdd: CaseMaker<"scatterAdd"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const outShape = [...shape.slice(0, -1), g.size(100)];
  const m = shape[shape.length - 1];
  return {
    kernel: "scatterAdd",
    operands: {
      x: g.tensor(dtype, shape, g.normal()), index: g.tensor("i32", shape, g.integers(0, outShape[outShape.length - 1] - 1)),
      y: g.tensor(dtype, outShape, g.normal(), { output: true }),
    },
    attributes: {},
    // In bf16 each sum may be rounded to the output as it comes.
    tolerance: { y: { absolute: dtype === "f32" ? sumError(m) : (m / outShape[outShape.length - 1] + 4) * 2 ** -8 } },
  };
};

const embedding: CaseMaker<"embedding"> = (g) => {
  const [from, to] = g.cycle([["f32", "f32"], ["bf16", "bf16"], ["f32", "bf16"], ["bf16", "f32"], ["i32", "i32"], ["u8", "u8"]] as const);
  const [rows, n, m] = [g.size(300), g.size(200), g.size(100)];
  return {
    kernel: "embedding",
    operands: {
      table: g.tensor(from, [rows, n], content(g, from), { layout: "rows" }), ids: g.tensor("i32", [m], g.integers(0, rows - 1)), y: g.output(to, [m, n]),
    },
    attributes: {},
    tolerance: { y: "exact" },
  };
};

const embeddingBackward: CaseMaker<"embeddingBackward"> = (g) => {
  const [rows, n, m] = [g.size(100), g.size(200), g.size(300)];
  const [from, to] = [g.cycle(floatTypes), g.cycle(floatTypes)];
  return {
    kernel: "embeddingBackward",
    operands: {
      dy: g.tensor(from, [m, n], g.normal()), ids: g.tensor("i32", [m], g.integers(0, rows - 1)), dtable: g.tensor(to, [rows, n], g.normal(), { output: true }),
    },
    attributes: {},
    tolerance: { dtable: { absolute: sumError(m) } },
  };
};

const matmul: CaseMaker<"matmul"> = (g) => {
  const activation = g.cycle(activations);
  const [dtype, out] = [g.cycle(floatTypes), g.cycle(floatTypes)];
  const accumulate = activation === "none" ? g.pick([0, 1, 1]) : 0;
  const batch = g.chance(0.5) ? [] : g.chance(0.7) ? [g.integer(1, 5)] : [g.integer(1, 3), g.integer(1, 3)];
  const limit = batch.length === 0 ? 300 : 90;
  const long = batch.length > 0 ? "none" : g.pick(["none", "none", "none", "none", "none", "m", "n", "k"] as const);
  // Beyond any block that a kernel keeps in a cache, along one axis at a time.
  const length = (axis: "m" | "n" | "k"): number => (long === axis ? g.integer(1000, 3000) : long === "none" ? g.size(limit) : g.size(70));
  const [m, n, k] = [g.chance(0.2) ? 1 : length("m"), length("n"), length("k")];
  const shape = [...batch, m, n];
  return {
    kernel: "matmul",
    operands: {
      a: g.tensor(dtype, [...batch, m, k], g.normal(), { layout: "strided" }), b: g.tensor(dtype, [...batch, k, n], g.normal(), { layout: "strided" }),
      bias: accumulate === 0 && g.chance(0.5) ? g.tensor("f32", [n], g.normal()) : undefined,
      c: accumulate === 1 ? g.tensor(out, shape, g.normal(), { layout: "rows", output: true }) : g.output(out, shape, "rows"),
      preActivation: accumulate === 0 && g.chance(0.3) ? g.output(g.pick(floatTypes), shape) : undefined,
    },
    attributes: { activation, accumulate },
    tolerance: { c: { absolute: sumError(k + 1) }, preActivation: { absolute: sumError(k + 1) } },
  };
};

const columnSum: CaseMaker<"columnSum"> = (g) => {
  const [m, n] = [g.size(1000), g.size(300)];
  const accumulate = g.integer(0, 1);
  return {
    kernel: "columnSum",
    operands: {
      x: g.tensor(g.cycle(floatTypes), [m, n], g.normal(), { layout: "rows" }),
      y: accumulate === 1 ? g.tensor("f32", [n], g.normal(), { output: true }) : g.output("f32", [n]),
    },
    attributes: { accumulate },
    tolerance: { y: { absolute: sumError(m) } },
  };
};

export const tensorCases = {
  copy, append, fill, arange, randomUniform, randomNormal, dropout, unary, binary, accumulate, where, swiglu, swigluBackward, reduce, argReduce, cumsum,
  topK, gather, scatterAdd, embedding, embeddingBackward, matmul, columnSum,
};
