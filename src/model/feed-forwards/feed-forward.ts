/** @file The half of a block in which each token thinks alone: the MLP (Vaswani et al. 2017, section 3.3) and gated units (Shazeer 2020). */

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

type MlpActivation = Exclude<Activation, "none">;

/** W2 activation(W1 x + b1) + b2. */
export class Mlp extends FeedForward {
  readonly up: Linear;
  readonly down: Linear;

  constructor(init: Initializer, config: ModelConfig, name: string, std: number, residualStd: number, readonly activation: MlpActivation) {
    super(name);
    this.up = new Linear(init, config.hiddenSize, config.intermediateSize, { bias: config.mlpBias, std });
    this.down = new Linear(init, config.intermediateSize, config.hiddenSize, { bias: config.mlpBias, std: residualStd });
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const inner = tapped(context, this.name, "hook_pre")
      ? tap(context, this.name, "hook_pre", this.up.forward(x))[this.activation]()
      : this.up.forward(x, this.activation);
    return this.down.forward(tap(context, this.name, "hook_post", inner));
  }
}

/** W2 (activation(Wg x + bg) * (W1 x + b1)) + b2; gate and up are one projection, the gate first. */
export class GatedMlp extends FeedForward {
  readonly gateUp: Linear;
  readonly down: Linear;

  constructor(init: Initializer, config: ModelConfig, name: string, std: number, residualStd: number, readonly activation: "silu" | "gelu" | "geluTanh") {
    super(name);
    this.gateUp = new Linear(init, config.hiddenSize, 2 * config.intermediateSize, { bias: config.mlpBias, std });
    this.down = new Linear(init, config.intermediateSize, config.hiddenSize, { bias: config.mlpBias, std: residualStd });
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    let [gate, up] = this.gateUp.forward(x).split(2, -1);
    gate = tap(context, this.name, "hook_pre", gate);
    up = tap(context, this.name, "hook_pre_linear", up);
    const inner = this.activation === "silu" ? swiglu(gate, up) : gate[this.activation]().mul(up);
    return this.down.forward(tap(context, this.name, "hook_post", inner));
  }
}

const gates = { swiglu: "silu", geglu: "gelu", gegluTanh: "geluTanh" } as const;

/** The feed-forward that the configuration names. */
export function makeFeedForward(init: Initializer, config: ModelConfig, name: string, std: number, residualStd: number): FeedForward {
  const kind = config.feedForward;
  return kind in gates
    ? new GatedMlp(init, config, name, std, residualStd, gates[kind as keyof typeof gates])
    : new Mlp(init, config, name, std, residualStd, kind as MlpActivation);
}
