/**
 * @file A linear layer, the workhorse: y = activation(x W^T + bias), W [out, in] as checkpoints have it.
 *
 * With z = x W^T + bias and dz = dy activation'(z): dx = dz W, dW = dz^T x, dbias = the column sums of dz. All is one kernel forward and
 * three backward. W is a float32 master; where x is bf16 the matmuls read its bf16 copy, and the gradient is accumulated in float32, in
 * place where there is one already. A quantised W is multiplied as it is, and has no gradient.
 */

import { ShapeError } from "../../errors.js";
import type { Activation, UnaryOp } from "../contract.js";
import type { FloatDType } from "../dtype.js";
import { launch } from "../launch.js";
import { QuantizedTensor, type Weight } from "../quantized.js";
import { record, willRecord } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { computeCopy } from "./master.js";
import { multiply } from "./matmul.js";
import { checkQuantized, multiplyQuantized } from "./quantized.js";
import { asRows, checkDType, checkFloat, checkShapeIs, copied, dtypeError, emptyLike, remakeable, transposed } from "./support.js";
import { activationGradient, unary } from "./unary.js";

export interface LinearOptions {
  /** Applied to the sum; by default "none". */
  readonly activation?: Activation;
  /** Of the result; by default that of x. The sums are float32 anyway, and logits are better not rounded. */
  readonly dtype?: FloatDType;
}

/**
 * x [..., in] (f32 or bf16), weight [out, in] (f32, x's dtype, or quantised), bias f32 [out]; gives [..., out], by default in x's dtype. Throws
 * ShapeError when these do not fit.
 */
export function linear(x: Tensor, weight: Weight, bias?: Tensor, options: LinearOptions = {}): Tensor {
  if (weight instanceof QuantizedTensor) return quantizedLinear(x, weight, bias, options);
  const { activation = "none", dtype = x.dtype as FloatDType } = options;
  const w = checkedWeight("linear", x, weight, bias);
  const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
  const y = emptyLike(x, [...x.shape.slice(0, -1), weight.shape[0]], dtype);
  const [xRows, yRows, wColumns] = [asRows(x), asRows(y), transposed(w)];
  const z = activation !== "none" && willRecord(inputs) ? emptyLike(yRows) : undefined;
  multiply(xRows, wColumns, yRows, false, { bias, activation, preActivation: z });
  // What the next layer saves is made again from z, one pass over it, rather than kept beside it.
  if (z !== undefined) remakeable(yRows, (y) => launch("unary", { x: z, y }, { op: activation as UnaryOp }));
  record("linear", y, inputs, z === undefined ? [xRows, w] : [xRows, w, z], (dy, needs, into, place) => {
    const dyRows = asRows(dy);
    const exact = activation === "none" || z === undefined ? dyRows : activationGradient(activation, z, dyRows);
    const dz = exact.dtype === x.dtype ? exact : copied(exact, x.dtype);
    return [
      needs[0] ? inputGradient(dz, w, x, into[0]) : undefined,
      needs[1] ? weightGradient(dz, xRows, into[1] ?? place(1) ?? emptyLike(weight), into[1] !== undefined) : undefined,
      needs[2] && bias !== undefined ? biasGradient(dz, bias, into[2]) : undefined,
    ];
  });
  for (const view of [xRows, yRows, wColumns, z]) view?.dispose();
  if (w !== weight && w !== weight.shadow?.tensor) w.dispose();
  return y;
}

function quantizedLinear(x: Tensor, weight: QuantizedTensor, bias: Tensor | undefined, options: LinearOptions): Tensor {
  const { activation = "none", dtype = x.dtype as FloatDType } = options;
  checkQuantized("linear", x, weight, bias);
  const inputs = bias === undefined ? [x] : [x, bias];
  if (activation !== "none" && willRecord(inputs)) return unary(activation, quantizedLinear(x, weight, bias, { dtype }));
  const y = emptyLike(x, [...x.shape.slice(0, -1), weight.shape[0]], dtype);
  const [xRows, yRows] = [asRows(x), asRows(y)];
  multiplyQuantized(xRows, weight, yRows, bias, activation);
  record("linear", y, inputs, [], (dy, needs, into) => {
    const dyRows = asRows(dy);
    const dz = dyRows.dtype === x.dtype ? dyRows : copied(dyRows, x.dtype);
    return [
      needs[0] ? inputGradient(dz, weight.dequantize(x.dtype as FloatDType), x, into[0]) : undefined,
      needs[1] && bias !== undefined ? biasGradient(dz, bias, into[1]) : undefined,
    ];
  });
  for (const view of [xRows, yRows]) view.dispose();
  return y;
}

/** dx = dz W in the shape of x. */
export function inputGradient(dz: Tensor, w: Tensor, x: Tensor, into: Tensor | undefined): Tensor {
  const dx = into ?? emptyLike(x);
  multiply(dz, w, asRows(dx), into !== undefined);
  return dx;
}

/** dW = dz^T x. */
export function weightGradient(dz: Tensor, xRows: Tensor, dw: Tensor, accumulate: boolean): Tensor {
  multiply(transposed(dz), xRows, dw, accumulate);
  return dw;
}

/** The column sums of dz. */
export function biasGradient(dz: Tensor, bias: Tensor, into: Tensor | undefined): Tensor {
  const dbias = into ?? emptyLike(bias);
  launch("columnSum", { x: dz, y: dbias }, { accumulate: into === undefined ? 0 : 1 });
  return dbias;
}

/**
 * Checks x [..., in] against weight [out, in] and bias [out], and gives the weight in x's dtype: a parameter's copy stays with it, that of
 * a computed weight is the caller's.
 */
export function checkedWeight(op: string, x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  checkFloat(op, x, weight);
  checkDType(op, "the bias", bias, "f32");
  if (weight.dtype !== x.dtype && weight.dtype !== "f32") throw dtypeError(op, `the weight is ${weight.dtype}, but x is ${x.dtype}; cast one of them.`);
  if (weight.rank !== 2 || x.rank === 0 || x.shape[x.rank - 1] !== weight.shape[1]) {
    throw new ShapeError(op, [x.shape, weight.shape], "x must be [..., in] and the weight [out, in].");
  }
  checkShapeIs(op, "the bias", bias, [weight.shape[0]]);
  if (weight.dtype === x.dtype) return weight;
  return weight.node === undefined ? computeCopy(weight, x.dtype as "bf16") : copied(weight, x.dtype);
}
