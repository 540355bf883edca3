/** @file Random cases for the kernels that know neural networks: norms, softmax, rope, attention, convolution, loss, optimizers. */

import type { Attributes, Operands } from "../contract.js";
import type { FloatDType } from "../dtype.js";
import { attention as attentionKernel } from "../reference/attention.js";
import type { HostView } from "../reference/view.js";
import { store } from "../reference/view.js";
import { layerNorm as layerNormKernel, rmsNorm as rmsNormKernel } from "../reference/normalization.js";
import type { Generator } from "./generator.js";
import { sumError } from "./generator.js";
import type { CaseMaker } from "./tensor-cases.js";
import { floatTypes, seeds, slotsFor, somewhere } from "./tensor-cases.js";

/** [..., n] with n at least 1. */
function rowsShape(g: Generator): number[] {
  const shape = g.shape(1, 4);
  if (shape.at(-1) === 0) shape[shape.length - 1] = 1;
  return shape;
}

function maybe<T>(g: Generator, make: () => T): T | undefined {
  return g.chance(0.6) ? make() : undefined;
}

/** An output with a gradient in it to be added to, or with garbage where it is to be written. */
function gradientOutput(g: Generator, accumulate: number, shape: readonly number[]): HostView {
  return accumulate === 1 ? g.tensor("f32", shape, g.normal(), { output: true }) : g.output("f32", shape);
}

const softmax: CaseMaker<"softmax"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const scale = g.pick([1, 5, 20]);
  const log = g.integer(0, 1);
  const n = shape[shape.length - 1];
  return {
    kernel: "softmax",
    operands: { x: g.tensor(dtype, shape, g.sprinkled(g.normal(scale), [-Infinity], g.pick([0, 0.2, 0.95]))), y: g.output(dtype, shape) },
    attributes: { log },
    // exp passes on the rounding of its argument, up to 8 scale 2^-24, as a relative error; so does the sum, which in few lanes is a long one.
    tolerance: { y: { relative: (1 + scale / 4) * 2 ** -19 + n * 2 ** -31, absolute: sumError(scale) + (log === 1 ? n * 2 ** -31 : 0) } },
  };
};

const softmaxBackward: CaseMaker<"softmaxBackward"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const log = g.integer(0, 1);
  const n = shape[shape.length - 1];
  return {
    kernel: "softmaxBackward",
    operands: {
      y: g.tensor(dtype, shape, log === 1 ? g.within(-10, 0) : g.within(0, 2 / n)), dy: g.tensor(dtype, shape, g.normal()), dx: g.output(dtype, shape),
    },
    attributes: { log },
    tolerance: { dx: { absolute: sumError(log === 1 ? n : 8) } },
  };
};

const layerNorm: CaseMaker<"layerNorm"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const n = shape[shape.length - 1];
  const shift = g.pick([0, 1, 30]);
  const eps = g.pick([1e-5, 1e-3]);
  return {
    kernel: "layerNorm",
    operands: {
      x: g.tensor(dtype, shape, g.normal(1, shift)), weight: maybe(g, () => g.tensor("f32", [n], g.normal())), bias: maybe(g, () => g.tensor("f32", [n], g.normal())),
      y: g.output(dtype, shape), mean: g.output("f32", shape.slice(0, -1)), rstd: g.output("f32", shape.slice(0, -1)),
    },
    attributes: { eps },
    // The mean is rounded to float32, and a row of few elements may be so even that rstd, at most 1 / sqrt(eps), magnifies that. In few lanes
    // the error of a sum grows with its length, that of squares most, as no signs cancel.
    tolerance: {
      y: { absolute: sumError(n < 8 ? (4 + shift) / Math.sqrt(eps) : 16 + 8 * shift), relative: n * 2 ** -31 },
      mean: { absolute: sumError(1) + n * 2 ** -34 },
      rstd: { relative: n < 8 ? 2 ** -10 : 2 ** -18 + n * 2 ** -31 },
    },
  };
};

const layerNormBackward: CaseMaker<"layerNormBackward"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const { rows, n } = { rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), n: shape[shape.length - 1] };
  const [x, dy] = [g.tensor(dtype, shape, g.normal(1, 0.5)), g.tensor(dtype, shape, g.normal())];
  const [y, mean, rstd] = [g.output(dtype, shape), g.output("f32", shape.slice(0, -1)), g.output("f32", shape.slice(0, -1))];
  layerNormKernel({ x, y, mean, rstd }, { eps: 1e-2 });
  const [accumulateWeight, accumulateBias] = [g.integer(0, 1), g.integer(0, 1)];
  return {
    kernel: "layerNormBackward",
    operands: {
      x, weight: maybe(g, () => g.tensor("f32", [n], g.normal())), mean, rstd, dy, dx: maybe(g, () => g.output(dtype, shape)),
      dweight: maybe(g, () => gradientOutput(g, accumulateWeight, [n])), dbias: maybe(g, () => gradientOutput(g, accumulateBias, [n])),
    },
    attributes: { accumulateWeight, accumulateBias },
    // rstd is at most 10 here; |weight dy| and |z| are a few.
    tolerance: { dx: { absolute: sumError(n < 8 ? 1000 : 100) }, dweight: { absolute: sumError(2 * rows) }, dbias: { absolute: sumError(rows) } },
  };
};

const rmsNorm: CaseMaker<"rmsNorm"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const weight = maybe(g, () => g.tensor("f32", [shape[shape.length - 1]], g.normal()));
  return {
    kernel: "rmsNorm",
    operands: { x: g.tensor(dtype, shape, g.normal(g.pick([1, 0.01, 100])), { layout: "rows" }), weight, y: g.output(dtype, shape), rstd: g.output("f32", shape.slice(0, -1)) },
    attributes: { eps: g.pick([1e-6, 1e-5, 1e-2]), offset: weight === undefined ? 0 : g.integer(0, 1) },
    // weight + offset may cancel. A sum of squares has no cancelling signs: in few lanes its error grows with its length.
    tolerance: { y: { absolute: sumError(4) }, rstd: { relative: 2 ** -19 + shape[shape.length - 1] * 2 ** -31 } },
  };
};

const rmsNormBackward: CaseMaker<"rmsNormBackward"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const { rows, n } = { rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), n: shape[shape.length - 1] };
  const x = g.tensor(dtype, shape, g.normal(), { layout: "rows" });
  const [y, rstd] = [g.output(dtype, shape), g.output("f32", shape.slice(0, -1))];
  rmsNormKernel({ x, y, rstd }, { eps: 1e-2, offset: 0 });
  const accumulateWeight = g.integer(0, 1);
  const weight = maybe(g, () => g.tensor("f32", [n], g.normal()));
  return {
    kernel: "rmsNormBackward",
    operands: {
      x, weight, rstd, dy: g.tensor(dtype, shape, g.normal()), dx: maybe(g, () => g.output(dtype, shape)),
      dweight: maybe(g, () => gradientOutput(g, accumulateWeight, [n])),
    },
    attributes: { offset: weight === undefined ? 0 : g.integer(0, 1), accumulateWeight },
    tolerance: { dx: { absolute: sumError(n < 8 ? 1000 : 100) }, dweight: { absolute: sumError(2 * rows) } },
  };
};

const rope: CaseMaker<"rope"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const d = g.size(130);
  const shape = [g.integer(1, 3), g.size(40), g.integer(1, 5), d];
  const [limit, r] = [g.size(100), g.chance(0.6) ? Math.floor(d / 2) : g.integer(0, Math.floor(d / 2))];
  const [cos, sin] = [g.tensor("f32", [limit, r], g.normal()), g.tensor("f32", [limit, r], g.normal())];
  const angles = Float64Array.from({ length: limit * r }, g.within(-4, 4));
  store(cos, angles.map(Math.cos));
  store(sin, angles.map(Math.sin));
  return {
    kernel: "rope",
    operands: {
      x: g.tensor(dtype, shape, g.normal(), { layout: "rows" }), cos, sin,
      positions: g.tensor("i32", shape.slice(0, 2), g.integers(0, limit - 1), { layout: "strided" }), y: g.output(dtype, shape, "rows"),
    },
    attributes: { interleaved: g.integer(0, 1), inverse: g.integer(0, 1) },
    tolerance: { y: { absolute: sumError(4) } },
  };
};

interface AttentionCase {
  readonly dtype: FloatDType;
  /** Queries that read one key head. */
  readonly group: number;
  readonly queries: number;
  readonly inputs: Omit<Operands<"attention", HostView>, "out" | "logSumExp">;
  readonly attributes: Attributes<"attention">;
  readonly outputs: { readonly out: HostView; readonly logSumExp: HostView };
}

/** Prefill, decode, cross-attention; grouped heads; every way of hiding keys, now and then so many that a query sees none. */
function attentionCase(g: Generator, { mixed = false, slotted = false } = {}): AttentionCase {
  const dtype = g.cycle(floatTypes);
  // A cache may keep keys and values in another type than that of the queries.
  const kept = mixed && g.chance(0.25) ? g.pick(floatTypes) : dtype;
  const causal = g.cycle([1, 0]);
  const hidden = g.cycle(["nothing", "window", "starts", "mask", "all"] as const);
  const [batch, keyHeads, group] = [g.integer(1, 3), g.integer(1, 3), g.pick([1, 1, 2, 4])];
  const heads = keyHeads * group;
  const keys = g.chance(0.15) ? 200 : g.size(80);
  // Rows of a length of their own, in slots of a larger buffer.
  const { slots, count } = slotted && g.chance(0.5) ? slotsFor(g, batch) : { slots: undefined, count: batch };
  const lengths = slotted && g.chance(0.5) ? g.tensor("i32", [batch], g.integers(0, keys), { layout: "strided" }) : undefined;
  const queries = g.chance(0.5) ? keys : g.chance(0.4) ? 1 : g.chance(0.9) ? g.integer(1, keys) : g.size(80);
  const d = g.pick([1, 8, 13, 16, 32, 33, 64, 80, 128]);
  const dv = g.chance(0.7) ? d : g.pick([1, 5, 16, 40, 64]);
  const inputs = {
    q: g.tensor(dtype, [batch, queries, heads, d], g.normal(), { layout: "rows" }),
    k: g.tensor(kept, [count, keys, keyHeads, d], g.normal(), { layout: "rows" }),
    v: g.tensor(kept, [count, keys, keyHeads, dv], g.normal(), { layout: "rows" }),
    lengths,
    slots,
    slopes: g.chance(0.3) ? g.tensor("f32", [heads], g.within(0.001, 0.5)) : undefined,
    starts: hidden === "starts" || hidden === "all" ? g.tensor("i32", [batch], g.integers(0, keys)) : undefined,
    mask: hidden === "mask" || hidden === "all" ? g.tensor("u8", [batch, heads, queries, keys], g.pick([g.integers(0, 1), g.sprinkled(() => 0, [1], 0.02)]), { layout: "strided" }) : undefined,
  };
  const attributes = {
    scale: g.chance(0.8) ? Math.fround(1 / Math.sqrt(d)) : 0.5,
    causal,
    window: hidden === "window" || hidden === "all" ? g.integer(1, keys) : 0,
    softcap: g.chance(0.3) ? g.pick([2, 30]) : 0,
    p: g.chance(0.3) ? g.pick([0.125, 0.5]) : 0,
    ...seeds(g),
  };
  const outputs = { out: g.output(dtype, [batch, queries, heads, dv]), logSumExp: g.output("f32", [batch, heads, queries]) };
  return { dtype, group, queries, inputs, attributes, outputs };
}

/**
 * A score is a float32 sum of d products of size about scale; its error comes out of exp as a relative one of the weights. A device may hand
 * weights to a bf16 matrix unit, which rounds them by 2^-9 each; the weights of a query sum to 1 (2 with the dropout above).
 */
const attention: CaseMaker<"attention"> = (g) => {
  const { dtype, inputs, attributes, outputs } = attentionCase(g, { mixed: true, slotted: true });
  const scores = sumError(inputs.q.shape[3] * attributes.scale + 16);
  return {
    kernel: "attention",
    operands: { ...inputs, ...outputs },
    attributes,
    tolerance: { out: { absolute: dtype === "f32" ? 4 * scores : 2 ** -7 }, logSumExp: { absolute: scores } },
  };
};

const attentionBackward: CaseMaker<"attentionBackward"> = (g) => {
  const { dtype, group, queries, inputs: { lengths: _, slots: __, ...inputs }, attributes, outputs } = attentionCase(g);
  attentionKernel({ ...inputs, ...outputs }, attributes);
  const gradient = ({ shape }: HostView): HostView => g.output(dtype, shape, "rows");
  const [d, dv] = [inputs.q.shape[3], inputs.v.shape[3]];
  // d weight = dout . v is a sum of dv products; the gradients of a key sum over all queries of its group.
  const unit = dtype === "f32" ? sumError(d * attributes.scale + dv + 16) : 2 ** -7 * (2 + Math.sqrt(dv) * attributes.scale);
  const visits = dtype === "f32" ? group * queries : Math.sqrt(group * queries);
  return {
    kernel: "attentionBackward",
    operands: {
      ...inputs, ...outputs, dout: g.tensor(dtype, outputs.out.shape, g.normal()), dq: gradient(inputs.q), dk: gradient(inputs.k), dv: gradient(inputs.v),
    },
    attributes,
    tolerance: { dq: { absolute: 4 * unit }, dk: { absolute: 4 * unit * visits }, dv: { absolute: 4 * unit * visits } },
  };
};

/** A quotient in float32, as IEEE 754 has it, so the integers are the same everywhere. */
const quantizeInt8: CaseMaker<"quantizeInt8"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const shape = rowsShape(g);
  const fill = g.pick([g.normal(), g.normal(1e-3), g.normal(300), () => 0, g.integers(-127, 127)]);
  const { places, buffer } = shape.length > 2 && g.chance(0.5) ? somewhere(g, shape) : { places: {}, buffer: shape };
  return {
    kernel: "quantizeInt8",
    operands: { x: g.tensor(dtype, shape, fill, { layout: "rows" }), y: g.output("u8", buffer, "rows"), scale: g.output("f32", buffer.slice(0, -1), "strided"), ...places },
    attributes: {},
    tolerance: { y: "exact" },
  };
};

const attentionInt8: CaseMaker<"attentionInt8"> = (g) => {
  const { dtype, inputs, attributes, outputs } = attentionCase(g, { slotted: true });
  const { q, slopes, starts, lengths, slots } = inputs;
  const { scale, causal, window, softcap } = attributes;
  const bytes = (shape: readonly number[]) => g.tensor("u8", shape, g.integers(1, 255), { layout: "rows" });
  const scales = (shape: readonly number[]) => g.tensor("f32", shape.slice(0, -1), g.sprinkled(g.within(0.005, 0.02), [0], 0.05), { layout: "strided" });
  const [k, v] = [inputs.k.shape, inputs.v.shape];
  const scores = sumError(q.shape[3] * scale + 16);
  return {
    kernel: "attentionInt8",
    operands: { q, k: bytes(k), kScale: scales(k), v: bytes(v), vScale: scales(v), slopes, starts, lengths, slots, out: outputs.out },
    attributes: { scale, causal, window, softcap },
    // As attention, whose values are here up to 2.5.
    tolerance: { out: { absolute: dtype === "f32" ? 10 * scores : 2 ** -5 } },
  };
};

function convolution(g: Generator) {
  const [batch, groups, groupChannels, groupOut, kernel, dilation] = [g.integer(1, 3), g.pick([1, 1, 2, 3, 8]), g.pick([1, 1, 2, 5, 16]), g.pick([1, 1, 2, 5, 16]), g.integer(1, 5), g.pick([1, 1, 2, 3])];
  const causal = g.chance(0.5);
  const span = (kernel - 1) * dilation;
  const [stride, padding] = causal ? [1, span] : [g.pick([1, 1, 2, 3]), g.integer(0, span)];
  const time = Math.max(g.size(150), span + 1);
  const outTime = causal ? time : Math.floor((time + 2 * padding - span - 1) / stride) + 1;
  const dtype = g.cycle(floatTypes);
  return {
    terms: groupChannels * kernel,
    x: g.tensor(dtype, [batch, groups * groupChannels, time], g.normal()),
    weight: g.tensor(dtype, [groups * groupOut, groupChannels, kernel], g.normal()),
    outShape: [batch, groups * groupOut, outTime],
    dtype,
    attributes: { stride, padding, dilation, groups },
  };
}

const conv1d: CaseMaker<"conv1d"> = (g) => {
  const { terms, x, weight, outShape, dtype, attributes } = convolution(g);
  return {
    kernel: "conv1d",
    operands: { x, weight, bias: maybe(g, () => g.tensor("f32", [outShape[1]], g.normal())), y: g.output(dtype, outShape) },
    attributes,
    tolerance: { y: { absolute: sumError(terms + 1) } },
  };
};

const conv1dBackward: CaseMaker<"conv1dBackward"> = (g) => {
  const { x, weight, outShape, dtype, attributes } = convolution(g);
  return {
    kernel: "conv1dBackward",
    operands: {
      x, weight, dy: g.tensor(dtype, outShape, g.normal()), dx: maybe(g, () => g.output(dtype, x.shape)), dweight: maybe(g, () => g.output("f32", weight.shape)),
    },
    attributes,
    tolerance: { dx: { absolute: sumError((outShape[1] / attributes.groups) * weight.shape[2]) }, dweight: { absolute: sumError(outShape[0] * outShape[2]) } },
  };
};

const crossEntropy: CaseMaker<"crossEntropy"> = (g) => {
  const dtype = g.cycle(floatTypes);
  const rows = g.size(60);
  const n = g.chance(0.1) ? 5000 : g.size(600);
  const inPlace = g.chance(0.4);
  const logits = g.tensor(dtype, [rows, n], g.normal(g.pick([1, 6])), { layout: "rows", output: inPlace });
  const ignoreIndex = g.pick([-100, -1, 0]);
  const labelSmoothing = g.pick([0, 0, 0.1]);
  return {
    kernel: "crossEntropy",
    operands: {
      logits, targets: g.tensor("i32", [rows], g.sprinkled(g.integers(0, n - 1), [ignoreIndex], 0.2)), loss: g.output("f32", [rows]),
      dlogits: inPlace ? logits : maybe(g, () => g.output(dtype, [rows, n], "rows")),
    },
    attributes: { ignoreIndex, labelSmoothing, zLoss: g.pick([0, 0, 1e-2]) },
    // Logits up to 25; the errors of exp and of the sum's logarithm are relative to that.
    tolerance: { loss: { absolute: sumError(32) }, dlogits: { relative: 2 ** -17, absolute: sumError(1) } },
  };
};

/** A master weight in halves: any that rounding can leave, exact ties among them. */
function halves(g: Generator, shape: readonly number[]): { shadow: HostView; remainder: HostView } {
  const shadow = g.tensor("bf16", shape, g.normal(), { output: true });
  const remainder = g.tensor("u8", [...shape, 2], g.sprinkled(g.integers(0, 255), [0, 0x7f, 0x80, 0xff], 0.2), { output: true });
  return { shadow, remainder };
}

const splitMaster: CaseMaker<"splitMaster"> = (g) => {
  const shape = g.shape(0, 3);
  // Numbers of few bits beyond those of bf16 lie exactly between two of them half of the time.
  const fill = g.normal();
  const w = g.tensor("f32", shape, g.chance(0.5) ? fill : () => Math.fround(toNearest(fill(), 2 ** -8)));
  return { kernel: "splitMaster", operands: { w, shadow: g.output("bf16", shape), remainder: g.output("u8", [...shape, 2]) }, attributes: {}, tolerance: { shadow: "exact" } };
};

/** x with its mantissa cut to so small a unit. */
function toNearest(x: number, unit: number): number {
  const scale = unit * 2 ** Math.floor(Math.log2(Math.abs(x)));
  return scale === 0 ? 0 : Math.round(x / scale) * scale;
}

const joinMaster: CaseMaker<"joinMaster"> = (g) => {
  const shape = g.shape(0, 3);
  return { kernel: "joinMaster", operands: { ...halves(g, shape), w: g.output("f32", shape) }, attributes: {}, tolerance: { w: "exact" } };
};

/** Seldom a scale that is not finite: then nothing must change. */
function gradScale(g: Generator): HostView | undefined {
  return maybe(g, () => g.tensor("f32", [], () => (g.chance(0.2) ? g.pick([NaN, Infinity]) : g.uniform(0.1, 2))));
}

const adamw: CaseMaker<"adamw"> = (g) => {
  const shape = g.shape(0, 3);
  // In halves the last bits of a moved weight, which are anyone's, would be bytes of their own: those are cases in which it does not move.
  const halved = g.chance(0.3);
  const step = g.integer(1, 1000);
  const [beta1, beta2] = [0.9, g.pick([0.95, 0.999])];
  return {
    kernel: "adamw",
    operands: {
      ...(halved ? halves(g, shape) : { w: g.tensor("f32", shape, g.normal(), { output: true }) }),
      gradient: g.tensor(g.cycle(floatTypes), shape, g.normal()), m: g.tensor("f32", shape, g.normal(), { output: true }),
      v: g.tensor("f32", shape, g.within(0, 2), { output: true }), gradScale: gradScale(g),
    },
    attributes: {
      rate: halved ? 0 : g.pick([1e-3, 0.1]), beta1, beta2, eps: g.pick([1e-8, 1e-2]), weightDecay: g.pick([0, 0.1]), correction1: 1 / (1 - beta1 ** step), correction2: 1 / (1 - beta2 ** step),
    },
    tolerance: { w: { absolute: sumError(4) }, m: { absolute: sumError(4) }, shadow: "exact" },
  };
};

const sgd: CaseMaker<"sgd"> = (g) => {
  const shape = g.shape(0, 3);
  const halved = g.chance(0.3);
  const m = maybe(g, () => g.tensor("f32", shape, g.normal(), { output: true }));
  return {
    kernel: "sgd",
    operands: {
      ...(halved ? halves(g, shape) : { w: g.tensor("f32", shape, g.normal(), { output: true }) }),
      gradient: g.tensor(g.cycle(floatTypes), shape, g.normal()), m, gradScale: gradScale(g),
    },
    attributes: { rate: halved ? 0 : g.pick([1e-3, 0.1]), momentum: m === undefined ? 0 : 0.9, nesterov: m === undefined ? 0 : g.integer(0, 1), weightDecay: g.pick([0, 0.1]) },
    tolerance: { w: { absolute: sumError(4) }, m: { absolute: sumError(4) }, shadow: "exact" },
  };
};

export const layerCases = {
  softmax, softmaxBackward, layerNorm, layerNormBackward, rmsNorm, rmsNormBackward, rope, attention, attentionBackward, attentionInt8, quantizeInt8, conv1d, conv1dBackward,
  crossEntropy, splitMaster, joinMaster, adamw, sgd,
};
