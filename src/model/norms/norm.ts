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

  constructor(init: Initializer, name: string, shape: readonly number[], protected readonly eps: number, hasBias: boolean) {
    super(name);
    this.weight = init.ones(shape);
    this.bias = hasBias ? init.zeros(shape) : undefined;
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

/** y = x / sqrt(mean(x^2) + eps) * (weight + offset). */
export class RmsNorm extends Norm {
  readonly weight: Tensor;

  constructor(init: Initializer, name: string, size: number, protected readonly eps: number, private readonly offset = 0) {
    super(name);
    this.weight = init.constant([size], 1 - offset);
  }

  protected normalize(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps, offset: this.offset });
  }
  protected center(x: Tensor): Tensor {
    return x;
  }
  protected stretch(x: Tensor): Tensor {
    return x.mul(this.offset === 0 ? this.weight : this.weight.add(this.offset));
  }
}

/** LayerNorm over each head of x [..., heads, headSize], with a weight for each head and no bias. */
class HeadsLayerNorm extends LayerNorm {
  constructor(init: Initializer, name: string, heads: number, headSize: number, eps: number) {
    super(init, name, [heads, headSize], eps, false);
  }

  protected override normalize(x: Tensor): Tensor {
    return this.stretch(layerNorm(x, undefined, undefined, this.eps).cast("f32")).cast(x.dtype);
  }
}

/** The norm that the configuration names. */
export function makeNorm(init: Initializer, config: ModelConfig, name: string): Norm {
  const { norm, hiddenSize, normEps } = config;
  return norm === "layernorm" ? new LayerNorm(init, name, [hiddenSize], normEps, config.normBias) : new RmsNorm(init, name, hiddenSize, normEps, config.normOffset);
}

/** The norm of queries or keys; none where it has none. */
export function makeQkNorm(init: Initializer, config: ModelConfig, name: string, heads: number): Norm | undefined {
  const { qkNorm, headSize, normEps, normOffset } = config;
  if (qkNorm === "none") return undefined;
  if (qkNorm === "heads") return new HeadsLayerNorm(init, name, heads, headSize, normEps);
  return new RmsNorm(init, name, qkNorm === "whole" ? heads * headSize : headSize, normEps, normOffset);
}
