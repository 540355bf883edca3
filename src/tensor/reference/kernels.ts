/** @file The table of the reference kernels. A kernel of the contract that is missing here does not compile. */

import { attention, attentionBackward } from "./attention.js";
import { attentionInt8, quantizeInt8 } from "./int8.js";
import { conv1d, conv1dBackward } from "./convolution.js";
import { accumulate, binary, swiglu, swigluBackward, unary, where } from "./elementwise.js";
import { embedding, embeddingBackward, gather, scatterAdd } from "./indexing.js";
import { crossEntropy } from "./loss.js";
import { columnSum, matmul } from "./matmul.js";
import { append, arange, copy, dropout, fill, randomNormal, randomUniform } from "./moving.js";
import { layerNorm, layerNormBackward, rmsNorm, rmsNormBackward, softmax, softmaxBackward } from "./normalization.js";
import { adamw, joinMaster, sgd, splitMaster } from "./optimizer.js";
import { dequantize, interleave, quantize, quantizedBest, quantizedEmbedding, quantizedMatmul } from "./quantized.js";
import { argReduce, cumsum, reduce, topK } from "./reduction.js";
import { rope } from "./rope.js";
import type { Kernels } from "./view.js";

export const kernels: Kernels = {
  copy, append, fill, arange, randomUniform, randomNormal, dropout,
  unary, binary, accumulate, where, swiglu, swigluBackward,
  reduce, argReduce, cumsum, topK,
  gather, scatterAdd, embedding, embeddingBackward,
  matmul, columnSum,
  dequantize, quantize, interleave, quantizedMatmul, quantizedBest, quantizedEmbedding,
  softmax, softmaxBackward, layerNorm, layerNormBackward, rmsNorm, rmsNormBackward,
  rope, attention, attentionBackward, attentionInt8, quantizeInt8, conv1d, conv1dBackward, crossEntropy,
  splitMaster, joinMaster, adamw, sgd,
};
