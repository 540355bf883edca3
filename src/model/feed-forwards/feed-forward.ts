/** @file The half of a block in which each token thinks alone: the MLP (Vaswani et al. 2017, section 3.3) and SwiGLU (Shazeer 2020). */

import { swiglu, type Activation, type Tensor } from "../../tensor/index.js";
import type { ModelConfig } from "../config.js";
import { tap, tapped, type ForwardContext } from "../context.js";
import { Linear, Module, type Initializer } from "../module.js";

export abstract class FeedForward extends Module {
  constructor(readonly name: string) {
    super();
  }
  /** x [batch, time, hiddenSize] to the same shape. Taps: hook_pre, hook_post. */
  abstract forward(x: Tensor, context: ForwardContext): Tensor;
}

/** W2 activation(W1 x + b1) + b2. */
export class Mlp extends FeedForward {
  readonly up: Linear;
  readonly down: Linear;
  readonly activation: Exclude<Activation, "none">;

  constructor(init: Initializer, config: ModelConfig & { feedForward: Exclude<Activation, "none"> }, name: string, std: number, residualStd: number) {
    super(name);
    this.up = new Linear(init, config.hiddenSize, config.intermediateSize, { bias: config.bias, std });
    this.down = new Linear(init, config.intermediateSize, config.hiddenSize, { bias: config.bias, std: residualStd });
    this.activation = config.feedForward;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const inner = tapped(context, this.name, "hook_pre")
      ? tap(context, this.name, "hook_pre", this.up.forward(x))[this.activation]()
      : this.up.forward(x, this.activation);
    return this.down.forward(tap(context, this.name, "hook_post", inner));
  }
}

/** W2 (silu(Wg x) * W1 x); gate and up are one projection, the gate first. */
export class SwiGlu extends FeedForward {
  readonly gateUp: Linear;
  readonly down: Linear;

  constructor(init: Initializer, config: ModelConfig, name: string, std: number, residualStd: number) {
    super(name);
    this.gateUp = new Linear(init, config.hiddenSize, 2 * config.intermediateSize, { bias: config.bias, std });
    this.down = new Linear(init, config.intermediateSize, config.hiddenSize, { bias: config.bias, std: residualStd });
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const [gate, up] = this.gateUp.forward(x).split(2, -1);
    const inner = swiglu(tap(context, this.name, "hook_pre", gate), tap(context, this.name, "hook_pre_linear", up));
    return this.down.forward(tap(context, this.name, "hook_post", inner));
  }
}

export function makeFeedForward(init: Initializer, config: ModelConfig, name: string, std: number, residualStd: number): FeedForward {
  const { feedForward } = config;
  return feedForward === "swiglu" ? new SwiGlu(init, config, name, std, residualStd) : new Mlp(init, { ...config, feedForward }, name, std, residualStd);
}
