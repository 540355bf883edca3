/** @file Elementwise functions of one argument. Each line of the table is a function and its derivative, by the chain rule. */

import type { UnaryOp, BinaryOp } from "../contract.js";
import { isFloat } from "../dtype.js";
import { launch } from "../launch.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { div, mul } from "./binary.js";
import { checkFloat, dtypeError, emptyLike } from "./support.js";

/** dx from dy and either the input or the output. `undefined`: flat wherever it is smooth, so nothing is recorded. */
type Derivative = { readonly of: "x" | "y" | "none"; readonly dx: (dy: Tensor, saved: Tensor) => Tensor } | undefined;

const fused = (op: BinaryOp) => (dy: Tensor, saved: Tensor): Tensor => {
  const dx = emptyLike(dy);
  launch("binary", { a: saved, b: dy, y: dx }, { op });
  return dx;
};

const derivatives: Readonly<Record<UnaryOp, Derivative>> = {
  neg: { of: "none", dx: (dy) => neg(dy) },
  abs: { of: "x", dx: (dy, x) => mul(dy, sign(x)) },
  exp: { of: "y", dx: (dy, y) => mul(dy, y) },
  log: { of: "x", dx: (dy, x) => div(dy, x) },
  sqrt: { of: "y", dx: (dy, y) => div(mul(dy, 0.5), y) },
  rsqrt: { of: "y", dx: (dy, y) => mul(mul(dy, -0.5), mul(y, square(y))) },
  reciprocal: { of: "y", dx: (dy, y) => neg(mul(dy, square(y))) },
  square: { of: "x", dx: (dy, x) => mul(dy, mul(x, 2)) },
  sin: { of: "x", dx: (dy, x) => mul(dy, cos(x)) },
  cos: { of: "x", dx: (dy, x) => neg(mul(dy, sin(x))) },
  tanh: { of: "y", dx: fused("tanhGrad") },
  sigmoid: { of: "y", dx: fused("sigmoidGrad") },
  erf: { of: "x", dx: (dy, x) => mul(dy, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))) },
  relu: { of: "x", dx: fused("reluGrad") },
  gelu: { of: "x", dx: fused("geluGrad") },
  geluTanh: { of: "x", dx: fused("geluTanhGrad") },
  silu: { of: "x", dx: fused("siluGrad") },
  softplus: { of: "x", dx: fused("softplusGrad") },
  sign: undefined,
  floor: undefined,
  isFinite: undefined,
};

const integerOps: readonly UnaryOp[] = ["neg", "abs", "square", "sign", "relu"];

export function unary(op: UnaryOp, x: Tensor): Tensor {
  if (!isFloat(x.dtype)) {
    if (!integerOps.includes(op)) checkFloat(op, x);
    if (x.dtype !== "i32") throw dtypeError(op, `takes f32, bf16 or i32, not ${x.dtype}.`);
  }
  const y = emptyLike(x);
  launch("unary", { x, y }, { op });
  const derivative = derivatives[op];
  if (derivative === undefined) return y;
  const { of, dx } = derivative;
  const saved = of === "y" ? y : x;
  return record(op, y, [x], of === "none" ? [] : [saved], (dy) => [dx(dy, saved)]);
}

export const neg = (x: Tensor): Tensor => unary("neg", x);
export const abs = (x: Tensor): Tensor => unary("abs", x);
export const exp = (x: Tensor): Tensor => unary("exp", x);
/** The natural logarithm. */
export const log = (x: Tensor): Tensor => unary("log", x);
export const sqrt = (x: Tensor): Tensor => unary("sqrt", x);
/** 1 / sqrt(x). */
export const rsqrt = (x: Tensor): Tensor => unary("rsqrt", x);
export const reciprocal = (x: Tensor): Tensor => unary("reciprocal", x);
export const square = (x: Tensor): Tensor => unary("square", x);
export const sin = (x: Tensor): Tensor => unary("sin", x);
export const cos = (x: Tensor): Tensor => unary("cos", x);
export const tanh = (x: Tensor): Tensor => unary("tanh", x);
/** 1 / (1 + exp(-x)). */
export const sigmoid = (x: Tensor): Tensor => unary("sigmoid", x);
export const erf = (x: Tensor): Tensor => unary("erf", x);
/** max(x, 0). */
export const relu = (x: Tensor): Tensor => unary("relu", x);
/** x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016). */
export const gelu = (x: Tensor): Tensor => unary("gelu", x);
/** Its approximation 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which GPT-2 uses. */
export const geluTanh = (x: Tensor): Tensor => unary("geluTanh", x);
/** x sigmoid(x), also named swish (Elfwing et al. 2017). */
export const silu = (x: Tensor): Tensor => unary("silu", x);
/** log(1 + exp(x)). */
export const softplus = (x: Tensor): Tensor => unary("softplus", x);
/** -1, 0 or 1. No gradient is recorded: it is 0 almost everywhere. */
export const sign = (x: Tensor): Tensor => unary("sign", x);
/** The whole number at or below x. No gradient is recorded: it is 0 almost everywhere. */
export const floor = (x: Tensor): Tensor => unary("floor", x);
/** 1 where x is neither NaN nor infinite, else 0, in x's dtype. */
export const isFinite = (x: Tensor): Tensor => unary("isFinite", x);

/** Multiplies dy by the derivative of an activation at its input x: the backward half of what `linear` fuses. Not recorded. */
export function activationGradient(activation: "relu" | "gelu" | "geluTanh" | "silu", x: Tensor, dy: Tensor): Tensor {
  return fused(`${activation}Grad`)(dy, x);
}
