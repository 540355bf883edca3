/** @file Positions that are added to the embedding: learned (GPT-2), or the sinusoids of Vaswani et al. 2017, section 3.5. */

import { Tensor, embedding, keep, type Device } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { Module } from "../module.js";
import { table, type Initializer } from "../parameter.js";
import type { ModelShape } from "../specs.js";

export abstract class AbsolutePositions extends Module {
  /** [batch, time, hiddenSize] in the compute dtype. */
  abstract forward(context: ForwardContext): Tensor;

  /** Looking up multiplies nothing. */
  override forwardFlops(): number {
    return 0;
  }
}

export class LearnedPositions extends AbsolutePositions {
  /** [contextLength, hiddenSize]. */
  readonly weight: Tensor;

  constructor(init: Initializer, { contextLength, hiddenSize }: ModelShape, std: number) {
    super();
    this.weight = init.normal([contextLength, hiddenSize], std, table);
  }

  forward({ positions, dtype }: ForwardContext): Tensor {
    return embedding(this.weight, positions, { dtype });
  }
}

/** sin(p / 10000^(2i / hiddenSize)) at even dimensions 2i, cos at the odd ones. */
export class SinusoidalPositions extends AbsolutePositions {
  /** [contextLength, hiddenSize]; made with the first use. */
  table: Tensor | undefined;

  constructor(
    private readonly shape: ModelShape,
    private readonly device: Device | undefined,
  ) {
    super();
  }

  forward({ positions, dtype }: ForwardContext): Tensor {
    this.table ??= this.#makeTable();
    return embedding(this.table, positions, { dtype });
  }

  #makeTable(): Tensor {
    const { contextLength, hiddenSize } = this.shape;
    const values = new Float32Array(contextLength * hiddenSize);
    for (let position = 0; position < contextLength; position++) {
      for (let i = 0; i < hiddenSize; i++) {
        const angle = position / 10_000 ** ((i - (i % 2)) / hiddenSize);
        values[position * hiddenSize + i] = i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
      }
    }
    return keep(Tensor.from(values, { shape: [contextLength, hiddenSize], ...(this.device && { device: this.device }) }));
  }
}
