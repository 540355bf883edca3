/** @file What the machine can do and hold: its matmul rate, which a run is measured against, and whether a run fits into its memory. */

import { readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { ConfigError } from "../errors.js";
import { withoutWeights, type ModelConfig } from "../model/index.js";
import { Tensor, type Device, type FloatDType } from "../tensor/index.js";
import type { TrainSettings } from "./settings.js";

/**
 * Floating-point operations a second in a large square matmul, the best of a quarter of a second: what the same kernels reach when nothing is
 * around them.
 */
export async function measureMatmulRate(device: Device, dtype: FloatDType): Promise<number> {
  const size = device.name === "reference" ? 96 : 1024;
  const [a, b, c] = [0.5, 0.25, 0].map((value) => Tensor.full([size, size], value, { dtype, device }));
  let best = 0;
  for (const end = performance.now() + 250; performance.now() < end; ) {
    await device.synchronize();
    const start = performance.now();
    device.launch("matmul", { a, b, c }, { activation: "none", accumulate: 0 });
    await device.synchronize();
    best = Math.max(best, (2 * size ** 3) / ((performance.now() - start) / 1000));
  }
  for (const x of [a, b, c]) x.dispose();
  return best;
}

export interface MemoryEstimate {
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  readonly activations: number;
  readonly total: number;
}

/**
 * Bytes that a run will hold at its peak, from the shapes: what each block saves for its backward pass, the largest piece of the logits,
 * and everything that goes with the weights. An estimate from above, within a third for the models in recipes/.
 */
export function estimateMemory({ config }: { readonly config: ModelConfig }, settings: TrainSettings): MemoryEstimate {
  const { hiddenSize, vocabSize } = config;
  const { numParameters, sizes } = withoutWeights(config, ({ numParameters, blocks }) => ({ numParameters, sizes: blocks.map((block) => block.activationSize) }));
  const numBytes = 4 * numParameters;
  const width = settings.dtype === "bf16" ? 2 : 4;
  const tokens = settings.batchSize * (settings.contextLength ?? config.contextLength);
  const largest = Math.max(...sizes.map(({ live }) => live));
  const saved = settings.recompute ? sizes.length * hiddenSize + largest : sizes.reduce((sum, { kept }) => sum + kept, 0);
  // Gradients on the way back are about one block more; the logits come in pieces of about 32 MB, with their gradient.
  const logits = Math.min(tokens * vocabSize * 4, 32 << 20) * 2;
  const activations = tokens * (saved + largest) * width + logits;
  // In bf16 the copies for matmuls are half of the weights themselves, and gradients that are not summed are as narrow as they.
  const weights = numBytes;
  const embedding = vocabSize * hiddenSize * 4;
  const gradients = (settings.dtype === "bf16" && settings.accumulation === 1 ? (numBytes - embedding) / 2 + embedding : numBytes) + embedding;
  const optimizer = settings.optimizer.kind === "sgd" ? (settings.optimizer.momentum > 0 ? numBytes : 0) : 2 * numBytes;
  return { weights, gradients, optimizer, activations, total: weights + gradients + optimizer + activations };
}

/** Bytes that this process may still take. */
export function availableMemory(): number {
  let available = freemem();
  try {
    // Linux counts what its caches would give back.
    available = 1024 * Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? available / 1024);
  } catch {
    // Not Linux: the free memory it is.
  }
  const limit = process.constrainedMemory() ?? 0;
  if (limit > 0 && limit < totalmem()) available = Math.min(available, limit - process.memoryUsage.rss());
  return available;
}

/**
 * Throws ConfigError `not-enough-memory` when a run will not fit, with both figures in bytes, before anything is allocated for it. `built` says
 * whether the weights are there already.
 */
export function checkMemory(model: { readonly config: ModelConfig }, settings: TrainSettings, { available = availableMemory(), built = true } = {}): MemoryEstimate {
  const estimate = estimateMemory(model, settings);
  const needed = estimate.total - (built ? estimate.weights : 0);
  if (needed > available) {
    const { activations } = estimate;
    const mostly = activations > needed / 2;
    throw new ConfigError(mostly ? "batchSize" : "model", `this run needs about ${Math.round(needed)} bytes of memory, and ${Math.round(available)} are available.`, {
      code: "not-enough-memory",
      hint: mostly
        ? `Of these, ${Math.round(activations)} are activations: a smaller batchSize or contextLength, or recompute, makes them fewer.`
        : "Most of it is the model with its optimizer: make hiddenSize, numLayers or the vocabulary smaller.",
    });
  }
  return estimate;
}
