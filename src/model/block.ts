/**
 * @file A block: tokens look at each other (the mixer), then each is processed alone (the feed-forward), and both add to the residual stream.
 * There is one small class for each place where norms may stand.
 */

import { z } from "zod";
import { dropout, type Tensor } from "../tensor/index.js";
import { dropoutKey, type ForwardContext } from "./context.js";
import { feedForwards, type FeedForwardSpec } from "./feed-forwards/index.js";
import type { FeedForward } from "./feed-forwards/feed-forward.js";
import { mixers, type MixerSpec } from "./mixers/index.js";
import type { ActivationSize, Mixer } from "./mixers/mixer.js";
import { Module } from "./module.js";
import { buildNorm, type Norm, type NormSpec } from "./norms/norm.js";
import type { BuildPlace } from "./specs.js";

/**
 * Where a block normalises:
 *
 *   pre         what its mixer and its feed-forward read (GPT-2 and later)
 *   post        their sum with the residual stream (Vaswani et al. 2017)
 *   output      what they add to the residual stream (OLMo 2)
 *   sandwich    what they read and what they add (Gemma 2)
 *   parallel    what both read: they run side by side on one norm (GPT-J, Cohere)
 *   parallel2   the same with a norm for each (GPT-NeoX)
 */
export const placementSchema = z.enum(["pre", "post", "output", "sandwich", "parallel", "parallel2"]);
export type NormPlacement = z.output<typeof placementSchema>;

export interface LayerSpec {
  readonly mixer: MixerSpec;
  readonly feedForward: FeedForwardSpec;
  readonly norm: NormSpec;
  readonly normPlacement: NormPlacement;
  /** What each half adds is multiplied by it (Granite). */
  readonly residualScale: number;
}

export abstract class Block extends Module {
  /** Before the mixer; with placement `post` after its residual addition. */
  readonly norm1: Norm | undefined;
  readonly mixer: Mixer;
  /** After the mixer, before the residual addition. */
  readonly outputNorm1: Norm | undefined;
  /** As norm1, for the feed-forward. */
  readonly norm2: Norm | undefined;
  readonly feedForward: FeedForward | undefined;
  readonly outputNorm2: Norm | undefined;

  constructor(
    private readonly spec: LayerSpec,
    private readonly place: BuildPlace,
  ) {
    super();
    const { normPlacement: placement } = spec;
    const hasFeedForward = spec.feedForward.kind !== "none";
    const hasOutputNorms = placement === "output" || placement === "sandwich";
    const norm = (exists: boolean) => (exists ? buildNorm(spec.norm, place.init, place.hiddenSize) : undefined);
    this.norm1 = norm(placement !== "output");
    this.mixer = mixers.build(spec.mixer, place);
    this.outputNorm1 = norm(hasOutputNorms);
    this.norm2 = norm(hasFeedForward && placement !== "output" && placement !== "parallel");
    this.feedForward = feedForwards.build(spec.feedForward, place);
    this.outputNorm2 = norm(hasFeedForward && hasOutputNorms);
  }

  /** x [batch, time, hiddenSize] to the same shape. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    x = this.tap(context, "hook_resid_pre", x);
    x = this.residual(x, context);
    return this.tap(context, "hook_resid_post", x);
  }

  /** The residual stream before the block to that after it. */
  protected abstract residual(x: Tensor, context: ForwardContext): Tensor;

  /** What the mixer adds to the residual stream. */
  protected mixed(x: Tensor, context: ForwardContext): Tensor {
    const y = this.mixer.forward(x, context);
    return this.tap(context, "hook_attn_out", this.#scaled(this.outputNorm1?.forward(y, context) ?? y, context, 2));
  }

  /** What the feed-forward adds to it. */
  protected fed(x: Tensor, context: ForwardContext): Tensor {
    const y = this.feedForward!.forward(x, context);
    return this.tap(context, "hook_mlp_out", this.#scaled(this.outputNorm2?.forward(y, context) ?? y, context, 3));
  }

  protected mid(x: Tensor, context: ForwardContext): Tensor {
    return this.tap(context, "hook_resid_mid", x);
  }

  #scaled(x: Tensor, context: ForwardContext, site: number): Tensor {
    const { dropout: p, layer } = this.place;
    const kept = context.dropout === undefined || p === 0 ? x : dropout(x, p, dropoutKey(context.dropout, 3 * layer + site));
    return this.spec.residualScale === 1 ? kept : kept.mul(this.spec.residualScale);
  }

  get activationSize(): ActivationSize {
    const parts = [this.mixer.activationSize, ...(this.feedForward ? [this.feedForward.activationSize] : [])];
    const sum = (of: keyof ActivationSize) => parts.reduce((total, part) => total + part[of], 0);
    // The residual stream twice and what norms make; the latter is computed again in the backward pass.
    return { live: 5 * this.place.hiddenSize + sum("live"), kept: 3 * this.place.hiddenSize + sum("kept") };
  }

  override forwardFlops(time: number): number {
    const { norm1, mixer, outputNorm1, norm2, feedForward, outputNorm2 } = this;
    return [norm1, mixer, outputNorm1, norm2, feedForward, outputNorm2].reduce((sum, part) => sum + (part?.forwardFlops(time) ?? 0), 0);
  }

  protected override tapName(field: string): string | undefined {
    return { norm1: "ln1", mixer: this.mixer.hookName, outputNorm1: "ln1_post", norm2: "ln2", feedForward: "mlp", outputNorm2: "ln2_post" }[field] ?? field;
  }
}

/** `pre`, and `sandwich`, which has output norms besides. */
class PreNormBlock extends Block {
  declare readonly norm1: Norm;
  declare readonly norm2: Norm;

  protected residual(x: Tensor, context: ForwardContext): Tensor {
    x = this.mid(x.add(this.mixed(this.norm1.forward(x, context), context)), context);
    return x.add(this.fed(this.norm2.forward(x, context), context));
  }
}

class PostNormBlock extends Block {
  declare readonly norm1: Norm;
  declare readonly norm2: Norm;

  protected residual(x: Tensor, context: ForwardContext): Tensor {
    x = this.mid(this.norm1.forward(x.add(this.mixed(x, context)), context), context);
    return this.norm2.forward(x.add(this.fed(x, context)), context);
  }
}

class OutputNormBlock extends Block {
  protected residual(x: Tensor, context: ForwardContext): Tensor {
    x = this.mid(x.add(this.mixed(x, context)), context);
    return x.add(this.fed(x, context));
  }
}

/** `parallel`, where both read norm1, and `parallel2`. */
class ParallelBlock extends Block {
  declare readonly norm1: Norm;

  protected residual(x: Tensor, context: ForwardContext): Tensor {
    const h = this.norm1.forward(x, context);
    return x.add(this.mixed(h, context)).add(this.fed(this.norm2?.forward(x, context) ?? h, context));
  }
}

/** A mixer without a feed-forward. */
class MixerBlock extends Block {
  protected residual(x: Tensor, context: ForwardContext): Tensor {
    return x.add(this.mixed(this.norm1?.forward(x, context) ?? x, context));
  }
}

const classes = { pre: PreNormBlock, sandwich: PreNormBlock, post: PostNormBlock, output: OutputNormBlock, parallel: ParallelBlock, parallel2: ParallelBlock };

/** The block that a specification describes. */
export function buildBlock(spec: LayerSpec, place: BuildPlace): Block {
  const BlockClass = spec.feedForward.kind === "none" ? MixerBlock : classes[spec.normPlacement];
  return new BlockClass(spec, place);
}
