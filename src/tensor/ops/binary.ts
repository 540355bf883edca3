/**
 * @file Elementwise functions of two arguments, with NumPy's broadcasting. One argument may be a plain number, which takes the dtype of the
 * other without rounding: bf16 times 0.1 multiplies by 0.1, not by the bf16 next to it. Of two dtypes the wider wins, in the order u8, i32,
 * bf16, f32; arithmetic on u8 gives i32, and integers with a fraction give f32.
 *
 * The gradient of a stretched argument is the sum over what it was stretched to. With a tie, `maximum` and `minimum` give half to each.
 */

import type { BinaryOp } from "../contract.js";
import { fromBfloat16, isFloat, toBfloat16, type DType } from "../dtype.js";
import { launch } from "../launch.js";
import { broadcastShapes } from "../shape.js";
import { noGrad, record, willRecord } from "../tape.js";
import { Tensor } from "../tensor.js";
import { cast } from "./cast.js";
import { copied, dtypeError, emptyLike, expanded, filled, promoted, sumTo } from "./support.js";
import { log, neg } from "./unary.js";
import { where } from "./where.js";

export type Operand = Tensor | number;

/** What a gradient is made from: the arguments, the result and its gradient. */
type Derivative = (dy: Tensor, a: Operand, b: Operand, y: Tensor) => Tensor;

interface Rule {
  /** By the first and by the second argument. */
  readonly derivatives: readonly [Derivative, Derivative];
  readonly savesInputs: boolean;
  readonly savesOutput?: boolean;
}

const tie = (dy: Tensor, mine: Operand, other: Operand, wins: typeof greater): Tensor =>
  where(equal(mine, other), mul(dy, 0.5), where(wins(mine, other), dy, 0));

type ArithmeticOp = "add" | "sub" | "mul" | "div" | "pow" | "maximum" | "minimum";

const rules: Readonly<Record<ArithmeticOp, Rule>> = {
  add: { derivatives: [(dy) => dy, (dy) => dy], savesInputs: false },
  sub: { derivatives: [(dy) => dy, (dy) => neg(dy)], savesInputs: false },
  mul: { derivatives: [(dy, _a, b) => mul(dy, b), (dy, a) => mul(dy, a)], savesInputs: true },
  div: { derivatives: [(dy, _a, b) => div(dy, b), (dy, _a, b, y) => neg(div(mul(dy, y), b))], savesInputs: true, savesOutput: true },
  // d a^b / da = b a^(b-1), which is 0 where b is, whatever a; d a^b / db = a^b log a, taken as 0 where a <= 0.
  pow: {
    derivatives: [
      (dy, a, b) => (b === 0 ? mul(dy, 0) : typeof b === "number" ? mul(mul(dy, b), pow(a, b - 1)) : where(equal(b, 0), 0, mul(mul(dy, b), pow(a, sub(b, 1))))),
      (dy, a, _b, y) => (typeof a === "number" ? mul(mul(dy, y), a > 0 ? Math.log(a) : 0) : where(greater(a, 0), mul(mul(dy, y), log(a)), 0)),
    ],
    savesInputs: true,
    savesOutput: true,
  },
  maximum: { derivatives: [(dy, a, b) => tie(dy, a, b, greater), (dy, a, b) => tie(dy, b, a, greater)], savesInputs: true },
  minimum: { derivatives: [(dy, a, b) => tie(dy, a, b, less), (dy, a, b) => tie(dy, b, a, less)], savesInputs: true },
};

function arithmetic(op: ArithmeticOp, a: Operand, b: Operand): Tensor {
  const [left, right] = promote(op, a, b);
  const y = compute(op, left, right);
  const inputs = [left, right].filter((operand) => operand instanceof Tensor);
  if (willRecord(inputs)) {
    const { derivatives, savesInputs, savesOutput = false } = rules[op];
    record(op, y, inputs, [...(savesInputs ? inputs : []), ...(savesOutput ? [y] : [])], (dy, needs) => {
      const sides = left instanceof Tensor ? (right instanceof Tensor ? [0, 1] : [0]) : [1];
      return sides.map((side, i) => (needs[i] ? sumTo(derivatives[side](dy, left, right, y), inputs[i].shape) : undefined));
    });
  }
  release(left, a);
  release(right, b);
  return y;
}

function comparison(op: BinaryOp, a: Operand, b: Operand): Tensor {
  const [left, right] = noGrad(() => promote(op, a, b));
  const y = compute(op, left, right, "u8");
  release(left, a);
  release(right, b);
  return y;
}

/** Both operands in the dtype of the result. */
function promote(op: string, a: Operand, b: Operand): [Operand, Operand] {
  const tensor = a instanceof Tensor ? a : b;
  if (!(tensor instanceof Tensor)) throw dtypeError(op, "takes at least one tensor.");
  const other = tensor === a ? b : a;
  const dtype = other instanceof Tensor ? promoted(tensor.dtype, other.dtype) : Number.isInteger(other) || isFloat(tensor.dtype) ? tensor.dtype : "f32";
  const to = dtype === "u8" ? "i32" : dtype;
  return [a instanceof Tensor ? cast(a, to) : a, b instanceof Tensor ? cast(b, to) : b];
}

/** Frees what `promote` made. */
function release(operand: Operand, original: Operand): void {
  if (operand !== original && operand instanceof Tensor) operand.dispose();
}

/** y = kernel(a, b), dtypes being equal. */
function compute(op: BinaryOp, a: Operand, b: Operand, result?: DType): Tensor {
  if (a instanceof Tensor && b instanceof Tensor) {
    const shape = broadcastShapes(op, a.shape, b.shape);
    const y = emptyLike(a, shape, result ?? a.dtype);
    const [left, right] = [expanded(a, shape), expanded(b, shape)];
    launch("binary", { a: left, b: right, y }, { op });
    left.dispose();
    right.dispose();
    return y;
  }
  const [tensor, value] = a instanceof Tensor ? [a, b as number] : [b as Tensor, a];
  if (tensor.dtype === "bf16" && fromBfloat16(toBfloat16(value)) !== value && !Number.isNaN(value)) {
    const wide = copied(tensor, "f32");
    const exact = compute(op, a === tensor ? wide : a, b === tensor ? wide : b, result);
    wide.dispose();
    if (result !== undefined) return exact;
    const y = copied(exact, "bf16");
    exact.dispose();
    return y;
  }
  const scalar = filled(tensor, value, []);
  const y = compute(op, a === tensor ? a : scalar, b === tensor ? b : scalar, result);
  scalar.dispose();
  return y;
}

export const add = (a: Operand, b: Operand): Tensor => arithmetic("add", a, b);
export const sub = (a: Operand, b: Operand): Tensor => arithmetic("sub", a, b);
export const mul = (a: Operand, b: Operand): Tensor => arithmetic("mul", a, b);
/** i32 truncates toward zero; division by zero gives 0 there. */
export const div = (a: Operand, b: Operand): Tensor => arithmetic("div", a, b);
export const pow = (a: Operand, b: Operand): Tensor => arithmetic("pow", a, b);
export const maximum = (a: Operand, b: Operand): Tensor => arithmetic("maximum", a, b);
export const minimum = (a: Operand, b: Operand): Tensor => arithmetic("minimum", a, b);

/** Comparisons give u8: 1 where true, else 0. They have no gradient. */
export const equal = (a: Operand, b: Operand): Tensor => comparison("equal", a, b);
export const notEqual = (a: Operand, b: Operand): Tensor => comparison("notEqual", a, b);
export const less = (a: Operand, b: Operand): Tensor => comparison("less", a, b);
export const lessEqual = (a: Operand, b: Operand): Tensor => comparison("lessEqual", a, b);
export const greater = (a: Operand, b: Operand): Tensor => comparison("greater", a, b);
export const greaterEqual = (a: Operand, b: Operand): Tensor => comparison("greaterEqual", a, b);
