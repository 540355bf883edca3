/** @file Elementwise kernels: each element of the output depends on the elements of the inputs at the same index. */

import { isFloat } from "../dtype.js";
import { binaryFunctions, integerBinaryFunctions, integerUnaryFunctions, sigmoid, silu, siluDerivative, unaryFunctions } from "./functions.js";
import type { Kernel } from "./view.js";
import { floats, scalar, store, values, valuesArray } from "./view.js";

export const unary: Kernel<"unary"> = ({ x, y }, { op }) => {
  const f = isFloat(x.dtype) ? unaryFunctions[op] : integerUnaryFunctions[op];
  if (f === undefined) throw new Error(`${op} does not take ${x.dtype}.`);
  const source = values(x);
  const result = valuesArray(y.dtype, source.length);
  for (let i = 0; i < source.length; i++) result[i] = f(source[i]);
  store(y, result);
};

export const binary: Kernel<"binary"> = ({ a, b, y }, { op }) => {
  const f = isFloat(a.dtype) ? binaryFunctions[op] : integerBinaryFunctions[op];
  if (f === undefined) throw new Error(`${op} does not take ${a.dtype}.`);
  const left = values(a);
  const right = values(b);
  const result = valuesArray(y.dtype, left.length);
  for (let i = 0; i < left.length; i++) result[i] = f(left[i], right[i]);
  store(y, result);
};

export const accumulate: Kernel<"accumulate"> = ({ x, factor, y }, { scale }) => {
  const addend = floats(x);
  const result = floats(y).slice();
  const weight = scale * scalar(factor, 1);
  for (let i = 0; i < result.length; i++) result[i] += weight * addend[i];
  store(y, result);
};

export const where: Kernel<"where"> = ({ condition, a, b, y }) => {
  const choose = values(condition);
  const yes = values(a);
  const no = values(b);
  const result = valuesArray(y.dtype, choose.length);
  for (let i = 0; i < choose.length; i++) result[i] = choose[i] !== 0 ? yes[i] : no[i];
  store(y, result);
};

export const swiglu: Kernel<"swiglu"> = ({ gate, up, y }) => {
  const g = floats(gate);
  const u = floats(up);
  const result = new Float32Array(g.length);
  for (let i = 0; i < g.length; i++) result[i] = silu(g[i]) * u[i];
  store(y, result);
};

export const swigluBackward: Kernel<"swigluBackward"> = ({ gate, up, dy, dgate, dup }) => {
  const g = floats(gate);
  const u = floats(up);
  const d = floats(dy);
  const dg = new Float32Array(g.length);
  const du = new Float32Array(g.length);
  for (let i = 0; i < g.length; i++) {
    dg[i] = d[i] * u[i] * siluDerivative(g[i]);
    du[i] = d[i] * g[i] * sigmoid(g[i]);
  }
  store(dgate, dg);
  store(dup, du);
};
