/**
 * @file A module is an object with parameters: its tensor fields that require a gradient, and those of the modules it holds. A parameter's
 * name is the path to it, as in `blocks.0.attention.output.weight`; names are stable, and what checkpoints map onto. The other tensors are
 * constants, such as RoPE's angles.
 */

import { ShapeError } from "../errors.js";
import { QuantizedTensor, Tensor, linear, type Activation, type Device, type Weight } from "../tensor/index.js";
import { randomKey } from "../tensor/random.js";
import { sameShape } from "../tensor/shape.js";

export abstract class Module {
  /** Every parameter by its path, in the order of the fields. A tensor that two modules share appears once, at its first path. */
  parameters(): Map<string, Tensor> {
    return new Map([...this.tensors()].filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor && entry[1].requiresGrad));
  }

  /** What a checkpoint holds, likewise: the parameters, and the quantised weights that stand in the place of some. */
  weights(): Map<string, Weight> {
    return new Map([...this.tensors()].filter(([, tensor]) => tensor instanceof QuantizedTensor || tensor.requiresGrad));
  }

  /** Parameters, quantised weights and constants, likewise. */
  tensors(): Map<string, Weight> {
    const named = new Map<string, Weight>();
    const seen = new Set<Weight>();
    this.#visit((path, value) => {
      if (!seen.has(value)) named.set(path, value);
      seen.add(value);
    });
    return named;
  }

  /**
   * Puts weights in the places of those at their paths, which are disposed of; wherever a module shares an old one, it shares the new one. Throws
   * RangeError when there is nothing at a path, ShapeError when shapes differ; then nothing has been replaced.
   */
  replace(weights: ReadonlyMap<string, Weight>): void {
    const named = this.tensors();
    const replacements = new Map<Weight, Weight>();
    for (const [path, weight] of weights) {
      const old = named.get(path);
      if (old === undefined) throw new RangeError(`There is no tensor at ${path}.`);
      if (!sameShape(old.shape, weight.shape)) throw new ShapeError("replace", [old.shape, weight.shape], `The weight does not fit ${path}.`);
      replacements.set(old, weight);
    }
    this.#visit((_, value, set) => {
      const weight = replacements.get(value);
      if (weight !== undefined) set(weight);
    });
    for (const old of replacements.keys()) old.dispose();
  }

  #visit(use: (path: string, value: Weight, set: (weight: Weight) => void) => void): void {
    const visit = (holder: object, path: string): void => {
      for (const field of Object.keys(holder)) {
        const value = (holder as Record<string, unknown>)[field];
        const at = path === "" ? field : `${path}.${field}`;
        if (value instanceof Tensor || value instanceof QuantizedTensor) use(at, value, (weight) => Object.assign(holder, { [field]: weight }));
        else if (Array.isArray(value) || value instanceof Module) visit(value, at);
      }
    };
    visit(this, "");
  }
}

/** Makes a model's parameters: seeded random ones, or, for a model about to be loaded, memory without contents that is taken when it is first used. */
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
    const tensor = random ? fill(device === undefined ? {} : { device }) : Tensor.deferred(shape, "f32", device);
    tensor.requiresGrad = true;
    return tensor;
  }
}

/** y = activation(x W^T + b), W [out, in], as floats or quantised. */
export class Linear extends Module {
  readonly weight: Weight;
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
