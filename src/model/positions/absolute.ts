/** @file Positions that are added to the embedding: learned (GPT-2), or the sinusoids of Vaswani et al. 2017, section 3.5. */

import { Tensor, embedding, type Device } from "../../tensor/index.js";
import type { ModelConfig } from "../config.js";
import type { ForwardContext } from "../context.js";
import { Module, type Initializer } from "../module.js";

export abstract class AbsolutePositions extends Module {
  /** [contextLength, hiddenSize]; a parameter when it is learned. */
  abstract readonly weight: Tensor;

  /** [batch, time, hiddenSize] in the compute dtype. */
  forward(context: ForwardContext): Tensor {
    return embedding(this.weight, context.positions, { dtype: context.dtype });
  }
}

export class LearnedPositions extends AbsolutePositions {
  readonly weight: Tensor;

  constructor(init: Initializer, config: ModelConfig, std: number) {
    super();
    this.weight = init.normal([config.contextLength, config.hiddenSize], std);
  }
}

/** sin(p / 10000^(2i / hiddenSize)) at even dimensions 2i, cos at the odd ones. */
export class SinusoidalPositions extends AbsolutePositions {
  readonly weight: Tensor;

  constructor(config: ModelConfig, device?: Device) {
    super();
    const { contextLength, hiddenSize } = config;
    const table = new Float32Array(contextLength * hiddenSize);
    for (let position = 0; position < contextLength; position++) {
      for (let i = 0; i < hiddenSize; i++) {
        const angle = position / 10_000 ** ((i - (i % 2)) / hiddenSize);
        table[position * hiddenSize + i] = i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
      }
    }
    this.weight = Tensor.from(table, { shape: [contextLength, hiddenSize], ...(device && { device }) });
  }
}
