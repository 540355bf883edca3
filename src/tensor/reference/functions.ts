/**
 * @file The scalar functions behind the elementwise kernels, in float64. They are accurate to a few units in the sixteenth digit, so
 * that after rounding to float32 they can serve as the truth for every other device.
 */

import type { Activation, BinaryOp, UnaryOp } from "../contract.js";

/** Value of the polynomial with these coefficients, the highest power first (Horner). */
function polynomial(coefficients: readonly number[], x: number): number {
  let sum = 0;
  for (let i = 0; i < coefficients.length; i++) sum = sum * x + coefficients[i];
  return sum;
}

// Rational approximations of Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969); highest power first.
const nearNumerator = [1.85777706184603153e-1, 3.1611237438705656, 1.1386415415105016e2, 3.77485237685302021e2, 3.20937758913846947e3];
const nearDenominator = [1, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3];
const middleNumerator = [
  2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
  8.8195222124176909e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
];
const middleDenominator = [
  1, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
  3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
];
const farNumerator = [
  1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4,
];
const farDenominator = [1, 2.56852019228982242, 1.87295284992346047, 5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3];

/** The error function. */
export function erf(x: number): number {
  if (Math.abs(x) <= 0.46875) return (x * polynomial(nearNumerator, x * x)) / polynomial(nearDenominator, x * x);
  return x > 0 ? 1 - erfc(x) : erfc(-x) - 1;
}

/** 1 - erf(x), which keeps its digits where x is large. */
export function erfc(x: number): number {
  if (Math.abs(x) <= 0.46875) return 1 - erf(x);
  if (x < 0) return 2 - erfc(-x);
  if (x > 27) return 0;
  const tail = Math.exp(-x * x);
  if (x <= 4) return (tail * polynomial(middleNumerator, x)) / polynomial(middleDenominator, x);
  const z = 1 / (x * x);
  return (tail / x) * (1 / Math.sqrt(Math.PI) - (z * polynomial(farNumerator, z)) / polynomial(farDenominator, z));
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016). */
export function gelu(x: number): number {
  return 0.5 * x * erfc(-x * Math.SQRT1_2);
}

const tanhScale = Math.sqrt(2 / Math.PI);

/** Its approximation by tanh, as GPT-2 has it. 0.5 (1 + tanh u) is sigmoid(2u), which keeps its digits where x is very negative. */
export function geluTanh(x: number): number {
  return x * sigmoid(2 * tanhScale * (x + 0.044715 * x ** 3));
}

export function silu(x: number): number {
  return x * sigmoid(x);
}

export function geluDerivative(x: number): number {
  return 0.5 * erfc(-x * Math.SQRT1_2) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
}

export function geluTanhDerivative(x: number): number {
  const s = sigmoid(2 * tanhScale * (x + 0.044715 * x ** 3));
  // Where s (1 - s) is 0 the polynomial beside it may be infinite.
  const slope = s * (1 - s);
  return s + (slope === 0 ? 0 : x * slope * 2 * tanhScale * (1 + 3 * 0.044715 * x * x));
}

export function siluDerivative(x: number): number {
  const s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

/** IEEE 754 `pow`. JavaScript's differs where the base is 1 in size: it makes NaN of 1^NaN, 1^Infinity and (-1)^Infinity. */
export function pow(a: number, b: number): number {
  return a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b;
}

export const activationFunctions: Readonly<Record<Activation, (x: number) => number>> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu,
  geluTanh,
  silu,
};

export const unaryFunctions: Readonly<Record<UnaryOp, (x: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  square: (x) => x * x,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  erf,
  relu: activationFunctions.relu,
  gelu,
  geluTanh,
  silu,
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  sign: Math.sign,
  floor: Math.floor,
  isFinite: (x) => (Number.isFinite(x) ? 1 : 0),
};

/** For i32; results wrap around at 32 bits. */
export const integerUnaryFunctions: Readonly<Partial<Record<UnaryOp, (x: number) => number>>> = {
  neg: (x) => -x,
  abs: Math.abs,
  square: (x) => Math.imul(x, x),
  sign: Math.sign,
  relu: activationFunctions.relu,
};

/** Comparisons give 0 or 1. */
export const binaryFunctions: Readonly<Record<BinaryOp, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow,
  maximum: Math.max,
  minimum: Math.min,
  equal: (a, b) => (a === b ? 1 : 0),
  notEqual: (a, b) => (a !== b ? 1 : 0),
  less: (a, b) => (a < b ? 1 : 0),
  lessEqual: (a, b) => (a <= b ? 1 : 0),
  greater: (a, b) => (a > b ? 1 : 0),
  greaterEqual: (a, b) => (a >= b ? 1 : 0),
  geluGrad: (x, dy) => dy * geluDerivative(x),
  geluTanhGrad: (x, dy) => dy * geluTanhDerivative(x),
  siluGrad: (x, dy) => dy * siluDerivative(x),
  softplusGrad: (x, dy) => dy * sigmoid(x),
  reluGrad: (x, dy) => (x > 0 ? dy : 0),
  tanhGrad: (y, dy) => dy * (1 - y * y),
  sigmoidGrad: (y, dy) => dy * y * (1 - y),
};

const { add, sub, maximum, minimum, equal, notEqual, less, lessEqual, greater, greaterEqual } = binaryFunctions;

/** For i32 and u8; results wrap around at the width of the dtype. */
export const integerBinaryFunctions: Readonly<Partial<Record<BinaryOp, (a: number, b: number) => number>>> = {
  add, sub, maximum, minimum, equal, notEqual, less, lessEqual, greater, greaterEqual,
  mul: Math.imul,
  div: (a, b) => (b === 0 ? 0 : Math.trunc(a / b)),
};
