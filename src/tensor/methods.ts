/**
 * @file Ops as methods: `x.matmul(w).add(b)`, `x.backward()`, `Tensor.zeros([2, 3])`. Each is the op of that name with the tensor as its first
 * argument; the op's own page says what it does. Importing this file (as `index.ts` does) attaches them.
 */

import * as ops from "./ops/index.js";
import { backward } from "./tape.js";
import { Tensor } from "./tensor.js";

/** The ops whose first argument is the tensor. */
const methods = {
  add: ops.add, sub: ops.sub, mul: ops.mul, div: ops.div, pow: ops.pow, maximum: ops.maximum, minimum: ops.minimum,
  equal: ops.equal, notEqual: ops.notEqual, less: ops.less, lessEqual: ops.lessEqual, greater: ops.greater, greaterEqual: ops.greaterEqual,
  neg: ops.neg, abs: ops.abs, exp: ops.exp, log: ops.log, sqrt: ops.sqrt, rsqrt: ops.rsqrt, reciprocal: ops.reciprocal, square: ops.square,
  sin: ops.sin, cos: ops.cos, tanh: ops.tanh, sigmoid: ops.sigmoid, erf: ops.erf, relu: ops.relu, gelu: ops.gelu, geluTanh: ops.geluTanh,
  silu: ops.silu, softplus: ops.softplus, sign: ops.sign, floor: ops.floor, isFinite: ops.isFinite,
  sum: ops.sum, mean: ops.mean, max: ops.max, min: ops.min, prod: ops.prod, variance: ops.variance, norm: ops.norm,
  argmax: ops.argmax, argmin: ops.argmin, topK: ops.topK, sort: ops.sort, cumsum: ops.cumsum, softmax: ops.softmax, logSoftmax: ops.logSoftmax,
  matmul: ops.matmul, gather: ops.gather, scatterAdd: ops.scatterAdd, indexSelect: ops.indexSelect,
  reshape: ops.reshape, permute: ops.permute, transpose: ops.transpose, expand: ops.expand, squeeze: ops.squeeze, unsqueeze: ops.unsqueeze,
  slice: ops.slice, split: ops.split, pad: ops.pad, contiguous: ops.contiguous, cast: ops.cast, dropout: ops.dropout,
  maskedFill: ops.maskedFill, fill: ops.fill, fillNormal: ops.fillNormal, fillUniform: ops.fillUniform,
  /** Adds the derivative of this tensor to the `grad` of every leaf that requires one; see `tape.ts`. */
  backward,
} as const;

const statics = { full: ops.full, zeros: ops.zeros, ones: ops.ones, arange: ops.arange, rand: ops.rand, randn: ops.randn } as const;

type Methods = { [K in keyof typeof methods]: OmitFirst<(typeof methods)[K]> };
type OmitFirst<F> = F extends (x: never, ...rest: infer R) => infer Y ? (...rest: R) => Y : never;

declare module "./tensor.js" {
  // The class takes the methods from the table, so that each is declared once.
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type
  interface Tensor extends Methods {}
  // A class takes statics from a namespace of its name; there is no other way to add them.
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace Tensor {
    const full: typeof ops.full;
    const zeros: typeof ops.zeros;
    const ones: typeof ops.ones;
    const arange: typeof ops.arange;
    const rand: typeof ops.rand;
    const randn: typeof ops.randn;
  }
}

for (const [name, op] of Object.entries(methods)) {
  const value = function (this: Tensor, ...rest: unknown[]): unknown {
    return (op as (x: Tensor, ...rest: unknown[]) => unknown)(this, ...rest);
  };
  Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
}
Object.assign(Tensor, statics);
