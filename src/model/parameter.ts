/**
 * @file What a parameter is: its role says what training may do to it, and whoever makes it says its role. A tensor with a role is stored in
 * checkpoints; whether it is trained is its `requiresGrad`.
 */

import { ConfigError } from "../errors.js";
import { Tensor, type Device, type Weight } from "../tensor/index.js";
import { randomKey } from "../tensor/random.js";

export interface ParameterRole {
  /** Weight decay shrinks it (Loshchilov & Hutter 2019): matrices and embeddings, but not biases and gains. */
  readonly decays: boolean;
  /** It maps hidden vectors to hidden vectors, so Muon may make its updates orthogonal (Jordan et al. 2024). */
  readonly isHiddenMatrix: boolean;
}

/** A matrix that multiplies hidden vectors. */
export const hiddenMatrix: ParameterRole = { decays: true, isHiddenMatrix: true };
/** A table with a row for each token or position, or the matrix that makes logits. */
export const table: ParameterRole = { decays: true, isHiddenMatrix: false };
/** A bias or a gain. */
export const vector: ParameterRole = { decays: false, isHiddenMatrix: false };

const roles = new WeakMap<Weight, ParameterRole>();

/** The role of a parameter; undefined for a constant. */
export function roleOf(weight: Weight): ParameterRole | undefined {
  return roles.get(weight);
}

/** Makes a tensor a parameter (or gives it another role). */
export function setRole<T extends Weight>(weight: T, role: ParameterRole): T {
  roles.set(weight, role);
  return weight;
}

/** Makes a model's parameters: seeded random ones, or, for a model about to be loaded, memory without contents that is taken with its first use. */
export class Initializer {
  #stream = 0;

  constructor(
    private readonly options: { readonly seed: number; readonly random: boolean; readonly device?: Device },
  ) {}

  /** Where constants are to be made. */
  get place(): { device?: Device } {
    const { device } = this.options;
    return device === undefined ? {} : { device };
  }

  /** Normally distributed around 0. Each call draws from a stream of its own. */
  normal(shape: readonly number[], std: number, role: ParameterRole): Tensor {
    const key = { ...randomKey(this.options.seed), stream: this.#stream++ };
    return this.#make(shape, role, (place) => Tensor.randn(shape, key, { std, ...place }));
  }
  zeros(shape: readonly number[], role: ParameterRole = vector): Tensor {
    return this.constant(shape, 0, role);
  }
  ones(shape: readonly number[], role: ParameterRole = vector): Tensor {
    return this.constant(shape, 1, role);
  }
  constant(shape: readonly number[], value: number, role: ParameterRole = vector): Tensor {
    return this.#make(shape, role, (place) => (value === 0 ? Tensor.zeros(shape, place) : Tensor.full(shape, value, place)));
  }

  #make(shape: readonly number[], role: ParameterRole, fill: (place: { device?: Device }) => Tensor): Tensor {
    try {
      const tensor = this.options.random ? fill(this.place) : Tensor.deferred(shape, "f32", this.options.device);
      tensor.requiresGrad = true;
      return setRole(tensor, role);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new ConfigError("model", `it has a parameter that cannot be: ${cause.message}`, { hint: "Make it smaller.", cause });
    }
  }
}
