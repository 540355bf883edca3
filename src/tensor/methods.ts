/**
 * @file Ops as methods: `x.matmul(w).add(b)`, `x.backward()`, `Tensor.zeros([2, 3])`. Each is the op of that name with the tensor as its first
 * argument; the op's own page says what it does. Importing this file (as `index.ts` does) attaches them.
 */

import * as ops from "./ops/index.js";
import { backward } from "./tape.js";
import { Tensor } from "./tensor.js";

/** The ops whose first argument is the tensor. */
const methodNames = [
  "add", "sub", "mul", "div", "pow", "maximum", "minimum", "equal", "notEqual", "less", "lessEqual", "greater", "greaterEqual",
  "neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal", "square", "sin", "cos", "tanh", "sigmoid", "erf", "relu", "gelu", "geluTanh",
  "silu", "softplus", "sign", "floor", "isFinite", "sum", "mean", "max", "min", "prod", "variance", "norm",
  "argmax", "argmin", "topK", "sort", "cumsum", "softmax", "logSoftmax", "matmul", "gather", "scatterAdd", "indexSelect",
  "reshape", "permute", "transpose", "expand", "squeeze", "unsqueeze", "slice", "split", "pad", "contiguous", "cast", "dropout",
  "maskedFill", "fill", "fillNormal", "fillUniform",
] as const satisfies (keyof typeof ops)[];

const statics = { full: ops.full, zeros: ops.zeros, ones: ops.ones, arange: ops.arange, rand: ops.rand, randn: ops.randn } as const;

// Mapping `Pick<...>` rather than the names keeps each method tied to its op, so an editor shows the op's own documentation.
type Ops = Pick<typeof ops, (typeof methodNames)[number]> & { backward: typeof backward };
type Methods = { [K in keyof Ops]: OmitFirst<Ops[K]> };
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

const methods: Record<string, unknown> = { ...Object.fromEntries(methodNames.map((name) => [name, ops[name]])), backward };
for (const [name, op] of Object.entries(methods)) {
  const value = function (this: Tensor, ...rest: unknown[]): unknown {
    return (op as (x: Tensor, ...rest: unknown[]) => unknown)(this, ...rest);
  };
  Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
}
Object.assign(Tensor, statics);
