/**
 * @file A module is an object with parameters: its tensor fields that require a gradient, and those of the modules it holds. A parameter's
 * name is the path to it, as in `blocks.0.attention.output.weight`; names are stable, and what checkpoints map onto. The other tensors are
 * constants, such as RoPE's angles.
 */

import { Tensor, linear, type Activation, type Device } from "../tensor/index.js";
import { randomKey } from "../tensor/random.js";

export abstract class Module {
  /** Every parameter by its path, in the order of the fields. A tensor that two modules share appears once, at its first path. */
  parameters(): Map<string, Tensor> {
    return new Map([...this.tensors()].filter(([, tensor]) => tensor.requiresGrad));
  }

  /** Parameters and constants, likewise. */
  tensors(): Map<string, Tensor> {
    const named = new Map<string, Tensor>();
    const seen = new Set<Tensor>();
    const visit = (value: unknown, path: string): void => {
      if (value instanceof Tensor) {
        if (seen.has(value)) return;
        seen.add(value);
        named.set(path, value);
      } else if (Array.isArray(value)) {
        value.forEach((item, i) => visit(item, `${path}.${i}`));
      } else if (value instanceof Module) {
        for (const [field, item] of Object.entries(value)) visit(item, path === "" ? field : `${path}.${field}`);
      }
    };
    visit(this, "");
    return named;
  }
}

/** Makes a model's parameters: seeded random ones, or, for a model about to be loaded, memory without contents. */
export class Initializer {
  #stream = 0;

  constructor(
    private readonly options: { readonly seed: number; readonly random: boolean; readonly device?: Device },
  ) {}

  normal(shape: readonly number[], std: number): Tensor {
    const key = { ...randomKey(this.options.seed), stream: this.#stream++ };
    return this.#make(shape, (place) => Tensor.randn(shape, key, { std, ...place }));
  }
  zeros(shape: readonly number[]): Tensor {
    return this.#make(shape, (place) => Tensor.zeros(shape, place));
  }
  ones(shape: readonly number[]): Tensor {
    return this.constant(shape, 1);
  }
  constant(shape: readonly number[], value: number): Tensor {
    return this.#make(shape, (place) => Tensor.full(shape, value, place));
  }

  #make(shape: readonly number[], fill: (place: { device?: Device }) => Tensor): Tensor {
    const { random, device } = this.options;
    const tensor = random ? fill(device === undefined ? {} : { device }) : Tensor.empty(shape, "f32", device);
    tensor.requiresGrad = true;
    return tensor;
  }
}

/** y = activation(x W^T + b), W [out, in]. */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;

  constructor(init: Initializer, inSize: number, outSize: number, options: { bias: boolean; std: number }) {
    super();
    this.weight = init.normal([outSize, inSize], options.std);
    this.bias = options.bias ? init.zeros([outSize]) : undefined;
  }

  forward(x: Tensor, activation: Activation = "none"): Tensor {
    return linear(x, this.weight, this.bias, { activation });
  }
}
