/** @file The norms, over the last axis, in f32 whatever the input: LayerNorm (Ba et al. 2016) and RMSNorm (Zhang & Sennrich 2019). */

import { z } from "zod";
import { layerNorm, rmsNorm, type Tensor } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { Module } from "../module.js";
import type { Initializer } from "../parameter.js";

const eps = z.number().positive().default(1e-5);

export const normSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("layernorm"), eps, bias: z.boolean().default(true) }),
  /** Multiplies by weight + offset (Gemma: 1). */
  z.strictObject({ kind: z.literal("rmsnorm"), eps, offset: z.number().default(0) }),
]);

export type NormSpec = Readonly<z.output<typeof normSchema>>;

export abstract class Norm extends Module {
  protected abstract readonly eps: number;

  /** The same shape and dtype as x. Taps: hook_scale (what x is divided by), hook_normalized. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    if (!this.isTapped(context, "hook_scale")) return this.tap(context, "hook_normalized", this.fused(x));
    const centered = this.center(x.cast("f32"));
    const scale = this.tap(context, "hook_scale", centered.square().mean(-1, { keepDims: true }).add(this.eps).sqrt());
    return this.tap(context, "hook_normalized", this.stretch(centered.div(scale)).cast(x.dtype));
  }

  /** The whole norm in one kernel. */
  protected abstract fused(x: Tensor): Tensor;
  /** x in f32, moved to where the scale is measured from. */
  protected abstract center(x: Tensor): Tensor;
  /** Applies gain and bias. */
  protected abstract stretch(x: Tensor): Tensor;
}

/** y = (x - mean) / sqrt(variance + eps) * weight + bias. */
export class LayerNorm extends Norm {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;

  constructor(init: Initializer, shape: readonly number[], protected readonly eps: number, hasBias: boolean) {
    super();
    this.weight = init.ones(shape);
    this.bias = hasBias ? init.zeros(shape) : undefined;
  }

  protected fused(x: Tensor): Tensor {
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

  constructor(init: Initializer, size: number, protected readonly eps: number, private readonly offset = 0) {
    super();
    this.weight = init.constant([size], 1 - offset);
  }

  protected fused(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps, offset: this.offset });
  }
  protected center(x: Tensor): Tensor {
    return x;
  }
  protected stretch(x: Tensor): Tensor {
    return x.mul(this.offset === 0 ? this.weight : this.weight.add(this.offset));
  }
}

/** The norm of a hidden vector that a specification describes. */
export function buildNorm(spec: NormSpec, init: Initializer, size: number): Norm {
  return spec.kind === "layernorm" ? new LayerNorm(init, [size], spec.eps, spec.bias) : new RmsNorm(init, size, spec.eps, spec.offset);
}
