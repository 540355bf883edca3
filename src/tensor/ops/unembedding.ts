/**
 * @file The losses of a language model's tokens without all of its logits: logits = x W^T + bias exist for a chunk of rows at a time.
 * `linearCrossEntropy` (their sum) and `tokenLogProbs` (one number a token) stand on it.
 *
 * With dlogits the gradient of a token's loss by its logits, g the gradient of the result by that loss, and diag(g) a factor a row:
 *
 *     dx = diag(g) dlogits W      dW = dlogits^T diag(g) x      dbias = dlogits^T g
 *
 * There are two ways to them. Where dlogits of all rows is of bounded size, the forward pass keeps it, and the backward pass is that of a
 * linear layer. Where it is not, each chunk's share of the gradients is computed while its logits are there (as Wijmans et al. 2024,
 * "Cut your losses", do in smaller tiles). g is applied to x and dx, which are narrower than the logits.
 */

import { ShapeError } from "../../errors.js";
import { bytesPerElement, type FloatDType } from "../dtype.js";
import { launch } from "../launch.js";
import { QuantizedTensor, type Weight } from "../quantized.js";
import { sameShape } from "../shape.js";
import type { Place } from "../tape.js";
import { Tensor } from "../tensor.js";
import { checkedCrossEntropy, scaled, type CrossEntropyOptions } from "./cross-entropy.js";
import { biasGradient, checkedWeight, inputGradient, weightGradient } from "./linear.js";
import { multiply } from "./matmul.js";
import { checkQuantized, multiplyQuantized } from "./quantized.js";
import { asRows, copied, emptyLike, filled, narrowed, reduced, reshaped, transposed } from "./support.js";

export interface UnembeddingOptions {
  /** f32 [vocab]. */
  readonly bias?: Tensor | undefined;
  /** Where above 0: logits become softcap * tanh(logits / softcap) (Gemma 2). */
  readonly softcap?: number;
  /** The logits, soft cap included, are divided by it. Default 1. */
  readonly temperature?: number;
  /** Rows whose logits are held at a time; dlogits is not kept then. By default as many as fit `chunkBytes`, about evenly, at least 64. */
  readonly chunkRows?: number;
}

/** What a chunk of float32 logits may take; a gradient that is not kept lies in the same memory. */
const chunkBytes = 64 * 2 ** 20;
/** What the gradient by all logits may take to be kept for the backward pass. */
const keptBytes = 128 * 2 ** 20;

/** As even as may be: each chunk reads the whole weight, and adds to the whole of its gradient. */
function rowsOfChunk(rows: number, vocab: number): number {
  const most = Math.max(Math.floor(chunkBytes / 4 / vocab), 64);
  return Math.ceil(rows / Math.max(Math.ceil(rows / most), 1));
}

/** A checked call. */
export interface Unembedding {
  readonly op: string;
  readonly x: Tensor;
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
  readonly targets: Tensor;
  readonly softcap: number;
  readonly temperature: number;
  readonly chunkRows: number;
  /** Whether dlogits of all rows may be kept for the backward pass. */
  readonly keepsGradient: boolean;
  readonly attributes: Required<CrossEntropyOptions>;
}

/** x, weight and bias, as far as they can have a gradient: there is none by a quantised weight. */
export function operandsOf({ x, weight, bias }: Unembedding): [Tensor, Tensor | undefined, Tensor | undefined] {
  return [x, weight instanceof QuantizedTensor ? undefined : weight, bias];
}

/** Throws ShapeError, HornbookError or RangeError for what cannot be. */
export function checkedUnembedding(
  op: string,
  x: Tensor,
  weight: Weight,
  targets: Tensor,
  options: UnembeddingOptions & CrossEntropyOptions,
): Unembedding {
  const { bias, softcap = 0, temperature = 1 } = options;
  if (weight instanceof QuantizedTensor) checkQuantized(op, x, weight, bias);
  else releaseCopy(weight, checkedWeight(op, x, weight, bias));
  const attributes = checkedCrossEntropy(op, x, targets, options);
  if (!sameShape(targets.shape, x.shape.slice(0, -1)))
    throw new ShapeError(op, [x.shape, targets.shape], "The targets must have the shape of x without the last axis.");
  if (!(temperature > 0 && temperature < Infinity)) throw new RangeError(`${op}: temperature is above 0, not ${temperature}.`);
  const [rows, vocab] = [targets.size, weight.shape[0]];
  const chunkRows = Math.max(Math.min(options.chunkRows ?? rowsOfChunk(rows, vocab), rows), 1);
  const keepsGradient = weight instanceof Tensor && options.chunkRows === undefined && rows * vocab * bytesPerElement[x.dtype] <= keptBytes;
  return { op, x, weight, bias, targets, softcap, temperature, chunkRows, keepsGradient, attributes };
}

/** What a pass is to leave beside the losses. */
export interface PassOptions {
  /** Memory for dlogits of all rows, in the dtype of x. */
  readonly dlogits?: Tensor | undefined;
  /** Or else: by which of x, weight and bias the gradient of the weighted sum of the losses is wanted. */
  readonly needs?: readonly boolean[];
  /** The weights of that sum, f32 [rows]; all are 1 where absent. */
  readonly factors?: Tensor | undefined;
  /** Memory for the entropy of each row's distribution, f32 [rows]. */
  readonly entropies?: Tensor | undefined;
}

export type Gradients = (Tensor | undefined)[];

/** The loss of each token, f32 in the shape of the targets, and the gradients by x, weight and bias that `options` asks for. */
export function lossesByChunk(
  call: Unembedding,
  { dlogits: kept, needs = [], factors, entropies }: PassOptions,
): { losses: Tensor; gradients: Gradients } {
  const { x, weight, bias, targets, softcap, temperature, chunkRows, attributes } = call;
  const quantized = weight instanceof QuantizedTensor ? weight : undefined;
  const [byX, byWeight, byBias] = needs;
  // The weight as floats: of a quantised one only for the gradient by x.
  const w =
    weight instanceof QuantizedTensor
      ? byX
        ? weight.dequantize(x.dtype as FloatDType)
        : undefined
      : checkedWeight(call.op, x, weight, bias);
  const [vocab, rows] = [weight.shape[0], targets.size];

  const losses = emptyLike(x, targets.shape, "f32");
  const dx = byX ? emptyLike(x) : undefined;
  const dw = byWeight && weight instanceof Tensor ? emptyLike(weight) : undefined;
  const dbias = byBias && bias !== undefined ? emptyLike(bias) : undefined;
  const xRows = asRows(x);
  const views = {
    x: xRows,
    targets: reshaped(targets, [rows]),
    losses: reshaped(losses, [rows]),
    dx: dx && asRows(dx),
    wColumns: w && transposed(w),
    xScaled: dw === undefined || factors === undefined ? xRows.detach() : scaledRows(xRows, factors),
    factors: dbias && factors && copied(factors, x.dtype),
  };
  const logits = emptyLike(x, [chunkRows, vocab], "f32");
  // The gradient overwrites the logits; where it is narrower, a row of it fills the first half of theirs. With a soft cap it is copied.
  const inPlace = softcap === 0 || x.dtype === "f32";
  const overlaid = () => new Tensor(logits.storage, x.dtype, logits.shape, [x.dtype === "f32" ? vocab : 2 * vocab, 1], 0);
  const dlogits = kept !== undefined || !needs.some(Boolean) ? undefined : inPlace ? overlaid() : emptyLike(x, logits.shape);

  for (let start = 0; start < rows; start += chunkRows) {
    const length = Math.min(chunkRows, rows - start);
    const part = <T extends Tensor | undefined>(of: T, from: number): T => (of === undefined ? of : (narrowed(of, 0, from, length) as T));
    const chunk = {
      x: part(views.x, start),
      targets: part(views.targets, start),
      losses: part(views.losses, start),
      dx: part(views.dx, start),
      xScaled: part(views.xScaled, start),
      factors: part(views.factors, start),
      entropies: part(entropies, start),
      logits: part(logits, 0),
      dlogits: part(kept, start) ?? part(dlogits, 0),
    };
    const again = start > 0;
    if (quantized !== undefined) multiplyQuantized(chunk.x, quantized, chunk.logits, bias);
    else if (views.wColumns !== undefined) multiply(chunk.x, views.wColumns, chunk.logits, false, { bias });
    const tanh = softcap > 0 ? capLogits(chunk.logits, softcap, temperature) : undefined;
    if (softcap === 0 && temperature !== 1) multiplyInPlace(chunk.logits, 1 / temperature);
    if (chunk.entropies !== undefined) entropyOfRows(chunk.logits, chunk.entropies);
    // With a soft cap the gradient passes through tanh, for which it stays in float32.
    const gradient = tanh !== undefined && chunk.dlogits !== undefined ? chunk.logits : chunk.dlogits;
    launch("crossEntropy", { logits: chunk.logits, targets: chunk.targets, loss: chunk.losses, dlogits: gradient }, attributes);
    if (tanh !== undefined && chunk.dlogits !== undefined) {
      launch("binary", { a: tanh, b: chunk.logits, y: chunk.logits }, { op: "tanhGrad" });
      if (kept !== undefined || !inPlace) launch("copy", { x: chunk.logits, y: chunk.dlogits }, {});
    }
    if (chunk.dlogits !== undefined && kept === undefined) {
      if (chunk.dx !== undefined && w !== undefined) multiply(chunk.dlogits, w, chunk.dx);
      const dlogitsColumns = transposed(chunk.dlogits);
      if (dw !== undefined) multiply(dlogitsColumns, chunk.xScaled, dw, again);
      if (dbias !== undefined) addToBias(chunk.dlogits, chunk.factors, dbias, again);
      dlogitsColumns.dispose();
    }
    for (const temporary of [...Object.values(chunk), tanh]) temporary?.dispose();
  }
  if (rows === 0) for (const sum of [dw, dbias]) if (sum !== undefined) launch("fill", { y: sum }, { value: 0 });
  const dxScaled = dx === undefined || factors === undefined ? dx : reshaped(scaledRows(views.dx!, factors), dx.shape);
  if (dxScaled !== dx) dx?.dispose();
  for (const temporary of [...Object.values(views), logits, dlogits]) temporary?.dispose();
  if (w !== undefined) releaseCopy(weight, w);
  return { losses, gradients: [dxScaled, dw, dbias] };
}

/**
 * The gradients by x, weight and bias from dlogits of all rows: those of a linear layer, times a factor for all rows, f32 [], or for each,
 * f32 [rows]. The last three are what `Backward` is given.
 */
export function gradientsOfKept(
  { x, weight, bias }: Unembedding,
  { w, dlogits, factor }: { readonly w: Tensor; readonly dlogits: Tensor; readonly factor: Tensor },
  needs: readonly boolean[],
  into: readonly (Tensor | undefined)[],
  place: Place,
): Gradients {
  const xRows = asRows(x);
  return [
    needs[0] ? reshaped(scaledRows(asRows(inputGradient(dlogits, w, x, undefined)), factor), x.shape) : undefined,
    // x is scaled rather than what it makes, which is as large as the vocabulary.
    needs[1]
      ? weightGradient(dlogits, scaledRows(xRows, factor), into[1] ?? place(1) ?? emptyLike(weight as Tensor), into[1] !== undefined)
      : undefined,
    needs[2] && bias !== undefined ? biasOfKept(dlogits, bias, factor) : undefined,
  ];
}

function biasOfKept(dlogits: Tensor, bias: Tensor, factor: Tensor): Tensor {
  if (factor.rank === 0) return scaled(biasGradient(dlogits, bias, undefined), factor);
  const dbias = emptyLike(bias);
  addToBias(dlogits, copied(factor, dlogits.dtype), dbias, false);
  return dbias;
}

/** dbias = dlogits^T factors, or dbias += that; the factors are in the dtype of dlogits. */
function addToBias(dlogits: Tensor, factors: Tensor | undefined, dbias: Tensor, accumulate: boolean): void {
  if (factors === undefined) {
    launch("columnSum", { x: dlogits, y: dbias }, { accumulate: accumulate ? 1 : 0 });
    return;
  }
  const [columns, column, sum] = [transposed(dlogits), reshaped(factors, [factors.size, 1]), reshaped(dbias, [dbias.size, 1])];
  multiply(columns, column, sum, accumulate);
  for (const view of [columns, column, sum]) view.dispose();
}

/** Each row of x [rows, n] times its factor, f32 [rows], or all times one, f32 []; rounded once to x's dtype. */
export function scaledRows(x: Tensor, factor: Tensor): Tensor {
  if (factor.rank === 0) return scaled(x, factor);
  const wide = copied(x, "f32");
  const stretched = factor.view(x.shape, [factor.strides[0], 0]);
  launch("binary", { a: wide, b: stretched, y: wide }, { op: "mul" });
  stretched.dispose();
  if (x.dtype === "f32") return wide;
  const y = copied(wide, x.dtype);
  wide.dispose();
  return y;
}

/** Frees a copy of the weight that was made for one call. */
export function releaseCopy(weight: Weight, w: Tensor): void {
  if (w !== weight && (weight instanceof QuantizedTensor || w !== weight.shadow?.tensor)) w.dispose();
}

/** logits = softcap tanh(logits / softcap) / temperature in place; gives the tanh, of which the derivative is made. */
function capLogits(logits: Tensor, softcap: number, temperature: number): Tensor {
  const y = emptyLike(logits);
  withScalar(logits, 1 / softcap, (inverse) => launch("binary", { a: logits, b: inverse, y }, { op: "mul" }));
  launch("unary", { x: y, y }, { op: "tanh" });
  withScalar(logits, softcap / temperature, (cap) => launch("binary", { a: y, b: cap, y: logits }, { op: "mul" }));
  return y;
}

function multiplyInPlace(x: Tensor, factor: number): void {
  withScalar(x, factor, (b) => launch("binary", { a: x, b, y: x }, { op: "mul" }));
}

/** Calls `use` with a number in the shape of x. */
function withScalar(x: Tensor, value: number, use: (stretched: Tensor) => void): void {
  const scalar = filled(x, value, []);
  const stretched = scalar.view(
    x.shape,
    x.shape.map(() => 0),
  );
  use(stretched);
  for (const temporary of [scalar, stretched]) temporary.dispose();
}

/** entropy[i] = -sum over j of p log p, p = softmax(logits[i]). */
function entropyOfRows(logits: Tensor, entropies: Tensor): void {
  const [logP, p] = [emptyLike(logits), emptyLike(logits)];
  launch("softmax", { x: logits, y: logP }, { log: 1 });
  launch("unary", { x: logP, y: p }, { op: "exp" });
  launch("binary", { a: p, b: logP, y: p }, { op: "mul" });
  const sums = reduced("sum", p, [1]);
  launch("unary", { x: sums, y: entropies }, { op: "neg" });
  for (const temporary of [logP, p, sums]) temporary.dispose();
}
