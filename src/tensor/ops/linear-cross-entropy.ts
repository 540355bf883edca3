/**
 * @file The head of a language model and its loss in one op: loss = mean of crossEntropy(x W^T + bias, targets), without ever holding all
 * logits. They are made for a chunk of rows at a time, and what is left of them is the gradient by them, in the dtype of x.
 *
 * Where that gradient is of bounded size it waits, and the backward pass is that of a linear layer. Where it is not, the chunk's share of dx and dW
 * is computed at once and the gradient forgotten too (as Wijmans et al. 2024, "Cut your losses", do in smaller tiles); the backward pass only scales.
 * Either way it is the gradient of a sum, and that of the mean is dy / count times as much.
 */

import { ShapeError } from "../../errors.js";
import { bytesPerElement, type FloatDType } from "../dtype.js";
import { launch } from "../launch.js";
import { sameShape } from "../shape.js";
import { QuantizedTensor, type Weight } from "../quantized.js";
import { gradEnabled, noGrad, record } from "../tape.js";
import { Tensor } from "../tensor.js";
import { div } from "./binary.js";
import { checkedCrossEntropy, countOf, scaled, type CrossEntropyOptions } from "./cross-entropy.js";
import { biasGradient, checkedWeight, inputGradient, weightGradient } from "./linear.js";
import { multiply } from "./matmul.js";
import { checkQuantized, multiplyQuantized } from "./quantized.js";
import { asRows, emptyLike, filled, narrowed, reduced, reshaped, transposed } from "./support.js";

export interface LinearCrossEntropyOptions extends CrossEntropyOptions {
  /** f32 [vocab]. */
  readonly bias?: Tensor | undefined;
  /** Where above 0: logits become softcap * tanh(logits / softcap) (Gemma 2). */
  readonly softcap?: number;
  /** Rows whose logits, and gradients by them, are held at a time; by default as many as fit `chunkBytes`, about evenly, and at least 64. */
  readonly chunkRows?: number;
}

/** What a chunk of float32 logits may take; a gradient that does not wait lies in the same memory. */
const chunkBytes = 64 * 2 ** 20;
/** What the gradient by all logits may take to wait for the backward pass. */
const waitingBytes = 128 * 2 ** 20;

/** As even as may be: each chunk reads the whole weight, and adds to the whole of its gradient. */
function rowsOfChunk(rows: number, vocab: number): number {
  const most = Math.max(Math.floor(chunkBytes / 4 / vocab), 64);
  return Math.ceil(rows / Math.max(Math.ceil(rows / most), 1));
}

/**
 * x [..., hidden] (f32 or bf16), weight [vocab, hidden] (f32, x's dtype, or quantised), targets i32 [...]; gives the mean loss over the targets that are
 * not ignored (0 where all are), f32 []. Throws ShapeError; a target outside the vocabulary is a DeviceError at the next wait.
 */
export function linearCrossEntropy(x: Tensor, weight: Weight, targets: Tensor, options: LinearCrossEntropyOptions = {}): Tensor {
  const { bias } = options;
  // There is no gradient by a quantised weight.
  const operands = [x, weight instanceof QuantizedTensor ? undefined : weight, bias];
  const inputs = operands.filter((operand) => operand !== undefined);
  const needs = operands.map((operand) => gradEnabled() && operand?.requiresGrad === true);
  const waits = weight instanceof Tensor && options.chunkRows === undefined && needs.some(Boolean) && targets.size * weight.shape[0] * bytesPerElement[x.dtype] <= waitingBytes;
  const dlogits = waits ? emptyLike(x, [targets.size, weight.shape[0]]) : undefined;
  const { losses, gradients } = lossesByChunk("linearCrossEntropy", x, weight, targets, options, needs, dlogits);
  const count = countOf(targets, options.ignoreIndex ?? -1);
  const total = reduced("sum", losses, losses.shape.map((_, axis) => axis));
  const loss = noGrad(() => div(total, count));
  if (waits && dlogits !== undefined) {
    const w = checkedWeight("linearCrossEntropy", x, weight, bias);
    record("linearCrossEntropy", loss, inputs, [x, w, dlogits, count], (dy, needs, into, place) => {
      const factor = div(dy, count);
      return [
        needs[0] ? scaled(inputGradient(dlogits, w, x, undefined), factor) : undefined,
        // x is scaled rather than what it makes, which is as large as the vocabulary.
        needs[1] ? weightGradient(dlogits, scaled(asRows(x), factor), into[1] ?? place(1) ?? emptyLike(weight), into[1] !== undefined) : undefined,
        needs[2] && bias !== undefined ? scaled(biasGradient(dlogits, bias, undefined), factor) : undefined,
      ];
    });
    if (w !== weight && w !== weight.shadow?.tensor) w.dispose();
  } else {
    const sums = gradients.filter((_, i) => operands[i] !== undefined);
    record("linearCrossEntropy", loss, inputs, [...sums, count].filter((tensor) => tensor !== undefined), (dy, _needs, into) => {
      const factor = div(dy, count);
      return sums.map((sum, i) => {
        if (sum === undefined) return undefined;
        const target = into[i];
        if (target === undefined) return scaleInPlace(sum, factor);
        launch("accumulate", { x: sum, factor, y: target }, { scale: 1 });
        return target;
      });
    });
  }
  for (const temporary of [losses, total, count, dlogits, ...gradients]) temporary?.dispose();
  return loss;
}

/** The loss of each row, in the shape of the targets, f32; for evaluation: no gradient is recorded. */
export function linearCrossEntropyRows(x: Tensor, weight: Weight, targets: Tensor, options: LinearCrossEntropyOptions = {}): Tensor {
  return lossesByChunk("linearCrossEntropyRows", x, weight, targets, options, []).losses;
}

/** The losses, and the gradients of their sum by x, weight and bias, as far as `needs` asks for them; or instead, into `kept`, that by all logits. */
function lossesByChunk(
  op: string,
  x: Tensor,
  weight: Weight,
  targets: Tensor,
  options: LinearCrossEntropyOptions,
  needs: readonly boolean[],
  kept?: Tensor,
): { losses: Tensor; gradients: (Tensor | undefined)[] } {
  const { bias, softcap = 0 } = options;
  const quantized = weight instanceof QuantizedTensor ? weight : undefined;
  if (quantized !== undefined) checkQuantized(op, x, quantized, bias);
  // The weight as floats: of a quantised one only for the gradient by x.
  const w = weight instanceof QuantizedTensor ? (needs[0] ? weight.dequantize(x.dtype as FloatDType) : undefined) : checkedWeight(op, x, weight, bias);
  const attributes = checkedCrossEntropy(op, x, targets, options);
  if (!sameShape(targets.shape, x.shape.slice(0, -1))) throw new ShapeError(op, [x.shape, targets.shape], "The targets must have the shape of x without the last axis.");
  const [vocab, rows] = [weight.shape[0], targets.size];
  const chunkRows = Math.max(Math.min(options.chunkRows ?? rowsOfChunk(rows, vocab), rows), 1);

  const wantsGradient = needs.some(Boolean);
  const losses = emptyLike(x, targets.shape, "f32");
  const [byX, byWeight, byBias] = kept === undefined ? needs : [];
  const dx = byX ? emptyLike(x) : undefined;
  const dw = byWeight && !(weight instanceof QuantizedTensor) ? emptyLike(weight) : undefined;
  const dbias = byBias && bias !== undefined ? emptyLike(bias) : undefined;
  const views = { x: asRows(x), targets: reshaped(targets, [rows]), losses: reshaped(losses, [rows]), dx: dx && asRows(dx), wColumns: w && transposed(w) };
  const logits = emptyLike(x, [chunkRows, vocab], "f32");
  // The gradient overwrites the logits; where it is narrower a row of it fills the first half of theirs. With a soft cap it is a copy in the end.
  const inPlace = softcap === 0 || x.dtype === "f32";
  const overlaid = () => new Tensor(logits.storage, x.dtype, logits.shape, [x.dtype === "f32" ? vocab : 2 * vocab, 1], 0);
  const dlogits = !wantsGradient || kept !== undefined ? undefined : inPlace ? overlaid() : emptyLike(x, logits.shape);

  for (let start = 0; start < rows; start += chunkRows) {
    const length = Math.min(chunkRows, rows - start);
    const part = <T extends Tensor | undefined>(of: T, from: number): T => (of === undefined ? of : (narrowed(of, 0, from, length) as T));
    const chunk = {
      x: part(views.x, start), targets: part(views.targets, start), losses: part(views.losses, start), dx: part(views.dx, start),
      logits: part(logits, 0), dlogits: part(kept, start) ?? part(dlogits, 0),
    };
    const again = start > 0;
    if (quantized !== undefined) multiplyQuantized(chunk.x, quantized, chunk.logits, bias);
    else if (views.wColumns !== undefined) multiply(chunk.x, views.wColumns, chunk.logits, false, { bias });
    const bent = softcap > 0 ? bend(chunk.logits, softcap) : undefined;
    // With a soft cap the gradient passes through tanh, for which it stays in float32.
    const gradient = bent !== undefined && wantsGradient ? chunk.logits : chunk.dlogits;
    launch("crossEntropy", { logits: chunk.logits, targets: chunk.targets, loss: chunk.losses, dlogits: gradient }, attributes);
    if (bent !== undefined && chunk.dlogits !== undefined) {
      launch("binary", { a: bent, b: chunk.logits, y: chunk.logits }, { op: "tanhGrad" });
      if (kept !== undefined || !inPlace) launch("copy", { x: chunk.logits, y: chunk.dlogits }, {});
    }
    if (chunk.dlogits !== undefined) {
      if (chunk.dx !== undefined && w !== undefined) multiply(chunk.dlogits, w, chunk.dx);
      const dlogitsColumns = transposed(chunk.dlogits);
      if (dw !== undefined) multiply(dlogitsColumns, chunk.x, dw, again);
      if (dbias !== undefined) launch("columnSum", { x: chunk.dlogits, y: dbias }, { accumulate: again ? 1 : 0 });
      dlogitsColumns.dispose();
    }
    for (const temporary of [...Object.values(chunk), bent]) temporary?.dispose();
  }
  if (rows === 0) for (const sum of [dw, dbias]) if (sum !== undefined) launch("fill", { y: sum }, { value: 0 });
  for (const temporary of [...Object.values(views), logits, dlogits]) temporary?.dispose();
  if (w !== weight && (weight instanceof QuantizedTensor || w !== weight.shadow?.tensor)) w?.dispose();
  return { losses, gradients: [dx, dw, dbias] };
}

/** logits = softcap tanh(logits / softcap) in place; gives the tanh, of which the derivative is made. */
function bend(logits: Tensor, softcap: number): Tensor {
  const [inverse, cap, y] = [filled(logits, 1 / softcap, []), filled(logits, softcap, []), emptyLike(logits)];
  const [inverses, caps] = [inverse, cap].map((scalar) => scalar.view(logits.shape, [0, 0]));
  launch("binary", { a: logits, b: inverses, y }, { op: "mul" });
  launch("unary", { x: y, y }, { op: "tanh" });
  launch("binary", { a: y, b: caps, y: logits }, { op: "mul" });
  for (const temporary of [inverse, cap, inverses, caps]) temporary.dispose();
  return y;
}

/** x times a number on the device, f32 [], in x's own memory. */
function scaleInPlace(x: Tensor, factor: Tensor): Tensor {
  if (x.dtype === "f32") {
    launch("binary", { a: x, b: factor.view(x.shape, x.shape.map(() => 0)), y: x }, { op: "mul" });
    return x;
  }
  const y = filled(x, 0);
  launch("accumulate", { x, factor, y }, { scale: 1 });
  return y;
}
