/** @file Linear layers: a single one, several that read the same input in one product, and what may be added to one (an adapter). */

import type { Tensor} from "../tensor/index.js";
import { concat, linear, type Activation, type Weight } from "../tensor/index.js";
import { Module } from "./module.js";
import { hiddenMatrix, type Initializer } from "./parameter.js";

/** What is added to a linear layer that stays as it is, such as LoRA's low-rank product. */
export abstract class Adapter extends Module {
  /** x [..., in], and y [..., out] that the layer made of it; gives [..., out]. */
  abstract forward(x: Tensor, y: Tensor): Tensor;
}

/** Where an adapter can be attached. */
export interface Adaptable {
  readonly inSize: number;
  readonly outSize: number;
  adapter: Adapter | undefined;
}

/** y = activation(x W^T + b), W [out, in], as floats or quantised. */
export class Linear extends Module implements Adaptable {
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
  adapter: Adapter | undefined = undefined;

  constructor(init: Initializer, readonly inSize: number, readonly outSize: number, options: { bias: boolean; std: number }) {
    super();
    this.weight = init.normal([outSize, inSize], options.std, hiddenMatrix);
    this.bias = options.bias ? init.zeros([outSize]) : undefined;
  }

  forward(x: Tensor, activation: Activation = "none"): Tensor {
    if (this.adapter === undefined) return linear(x, this.weight, this.bias, { activation });
    const y = this.adapter.forward(x, linear(x, this.weight, this.bias));
    return activation === "none" ? y : y[activation]();
  }
}

/** One of the layers in a `FusedLinear`: so many of its rows. */
export class LinearPart extends Module implements Adaptable {
  adapter: Adapter | undefined = undefined;

  constructor(readonly inSize: number, readonly outSize: number) {
    super();
  }
}

/**
 * Several linear layers that read the same input (queries, keys and values; gate and up), computed in one product: the rows of their
 * weights follow each other in one matrix. Each part has its name, and may have an adapter of its own.
 */
export class FusedLinear extends Module {
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
  readonly #parts: ReadonlyMap<string, LinearPart>;

  /** `sizes`: outputs of each part, by name. Each part becomes a field of that name, so that paths reach it (`...queryKeyValue.query`). */
  constructor(init: Initializer, inSize: number, sizes: Readonly<Record<string, number>>, options: { bias: boolean; std: number }) {
    super();
    const outSize = Object.values(sizes).reduce((a, b) => a + b, 0);
    this.weight = init.normal([outSize, inSize], options.std, hiddenMatrix);
    this.bias = options.bias ? init.zeros([outSize]) : undefined;
    this.#parts = new Map(Object.entries(sizes).map(([name, size]) => [name, new LinearPart(inSize, size)]));
    Object.assign(this, Object.fromEntries(this.#parts));
  }

  /** x [..., in] to [..., all outputs], part after part. */
  forward(x: Tensor): Tensor {
    const y = linear(x, this.weight, this.bias);
    const parts = [...this.#parts.values()];
    if (parts.every(({ adapter }) => adapter === undefined)) return y;
    const outputs = y.split(parts.map(({ outSize }) => outSize), -1);
    return concat(parts.map(({ adapter }, i) => adapter?.forward(x, outputs[i]) ?? outputs[i]), -1);
  }
}
