/** @file The norms: LayerNorm (Ba et al. 2016) and RMSNorm (Zhang & Sennrich 2019), over the last axis, in f32 whatever the input. */

import { layerNorm, rmsNorm, type Tensor } from "../../tensor/index.js";
import type { ModelConfig } from "../config.js";
import { tap, tapped, type ForwardContext } from "../context.js";
import { Module, type Initializer } from "../module.js";

export abstract class Norm extends Module {
  constructor(readonly name: string) {
    super();
  }

  /** The same shape and dtype as x. Taps: hook_scale (what x is divided by), hook_normalized. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    if (!tapped(context, this.name, "hook_scale")) return tap(context, this.name, "hook_normalized", this.normalize(x));
    const centered = this.center(x.cast("f32"));
    const scale = tap(context, this.name, "hook_scale", centered.square().mean(-1, { keepDims: true }).add(this.eps).sqrt());
    return tap(context, this.name, "hook_normalized", this.stretch(centered.div(scale)).cast(x.dtype));
  }

  protected abstract readonly eps: number;
  /** The whole norm in one kernel. */
  protected abstract normalize(x: Tensor): Tensor;
  /** Its parts, for whoever wants to see the scale. */
  protected abstract center(x: Tensor): Tensor;
  protected abstract stretch(x: Tensor): Tensor;
}

/** y = (x - mean) / sqrt(variance + eps) * weight + bias. */
export class LayerNorm extends Norm {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;

  constructor(init: Initializer, name: string, size: number, protected readonly eps: number, hasBias: boolean) {
    super(name);
    this.weight = init.ones([size]);
    this.bias = hasBias ? init.zeros([size]) : undefined;
  }

  protected normalize(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
  protected center(x: Tensor): Tensor {
    return x.sub(x.mean(-1, { keepDims: true }));
  }
  protected stretch(x: Tensor): Tensor {
    const y = x.mul(this.weight);
    return this.bias === undefined ? y : y.add(this.bias);
  }
}

/** y = x / sqrt(mean(x^2) + eps) * weight. */
export class RmsNorm extends Norm {
  readonly weight: Tensor;

  constructor(init: Initializer, name: string, size: number, protected readonly eps: number) {
    super(name);
    this.weight = init.ones([size]);
  }

  protected normalize(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps });
  }
  protected center(x: Tensor): Tensor {
    return x;
  }
  protected stretch(x: Tensor): Tensor {
    return x.mul(this.weight);
  }
}

/** The norm that the configuration names. */
export function makeNorm(init: Initializer, config: ModelConfig, name: string): Norm {
  return config.norm === "layernorm"
    ? new LayerNorm(init, name, config.hiddenSize, config.normEps, config.bias)
    : new RmsNorm(init, name, config.hiddenSize, config.normEps);
}
