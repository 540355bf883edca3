/** @file Every op. A differentiable one that is added here needs a case in `ops.test.ts`, which fails without. */

export { append, type RowPlaces } from "./append.js";
export { attention, attentionWithPattern, type AttentionOptions } from "./attention.js";
export {
  add, div, equal, greater, greaterEqual, less, lessEqual, maximum, minimum, mul, notEqual, pow, sub, type Operand,
} from "./binary.js";
export { cast } from "./cast.js";
export { computeCopy } from "./master.js";
export { concat, pad, split, stack } from "./concat.js";
export { conv1d, type Conv1dOptions } from "./conv1d.js";
export { arange, fill, fillNormal, fillUniform, full, ones, rand, randn, zeros, type TensorOptions } from "./create.js";
export { crossEntropy, type CrossEntropyOptions } from "./cross-entropy.js";
export { dropout } from "./dropout.js";
export { embedding } from "./embedding.js";
export { gather, indexSelect, scatterAdd } from "./gather.js";
export { dequantizeInt8, quantizeInt8, type Int8Rows } from "./int8.js";
export { layerNorm } from "./layernorm.js";
export { linear, type LinearOptions } from "./linear.js";
export { linearTopK, type LinearTopKOptions } from "./linear-top-k.js";
export { linearCrossEntropy, meanLoss, type LinearCrossEntropyOptions, type LossSum } from "./linear-cross-entropy.js";
export { matmul } from "./matmul.js";
export { argmax, argmin, cumsum, sort, topK, type Sorted } from "./order.js";
export { max, mean, min, norm, prod, sum, variance, type Axes, type ReduceOptions } from "./reduce.js";
export { rmsNorm } from "./rmsnorm.js";
export { rope } from "./rope.js";
export { logSoftmax, softmax } from "./softmax.js";
export { swiglu } from "./swiglu.js";
export { tapGradient } from "./tap-gradient.js";
export { tokenLogProbs, tokenLogProbsAndEntropy, type TokenLogProbsOptions } from "./token-log-probs.js";
export {
  abs, cos, erf, exp, floor, gelu, geluTanh, isFinite, log, neg, reciprocal, relu, rsqrt, sigmoid, sign, silu, sin, softplus, sqrt, square, tanh,
} from "./unary.js";
export { contiguous, expand, permute, reshape, slice, squeeze, transpose, unsqueeze } from "./views.js";
export { maskedFill, where } from "./where.js";
