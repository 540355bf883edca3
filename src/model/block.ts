/** @file A block: tokens look at each other (the mixer), then each thinks alone (the feed-forward); both add to the residual stream. */

import { dropout, type Device, type Tensor } from "../tensor/index.js";
import type { ModelConfig } from "./config.js";
import { dropoutKey, tap, type ForwardContext } from "./context.js";
import { makeFeedForward, type FeedForward } from "./feed-forwards/feed-forward.js";
import { Attention } from "./mixers/attention.js";
import { Module, type Initializer } from "./module.js";
import { makeNorm, type Norm } from "./norms/norm.js";
import type { Rotary } from "./positions/rotary.js";

export class Block extends Module {
  readonly norm1: Norm;
  readonly attention: Attention;
  readonly norm2: Norm;
  readonly feedForward: FeedForward;

  constructor(
    init: Initializer,
    private readonly config: ModelConfig,
    private readonly layer: number,
    rotary: Rotary | undefined,
    device?: Device,
  ) {
    super();
    // GPT-2: what adds to the residual stream starts smaller, by the number of additions (Radford et al. 2019, section 2.3).
    const std = initializerStd;
    const residualStd = std / Math.sqrt(2 * config.numLayers);
    this.norm1 = makeNorm(init, config, `${this.name}.ln1`);
    this.attention = new Attention(init, config, layer, rotary, std, residualStd, device);
    this.norm2 = makeNorm(init, config, `${this.name}.ln2`);
    this.feedForward = makeFeedForward(init, config, `${this.name}.mlp`, std, residualStd);
  }

  get name(): string {
    return `blocks.${this.layer}`;
  }

  /** x [batch, time, hiddenSize] to the same shape. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    const mix = (h: Tensor) => tap(context, this.name, "hook_attn_out", this.#drop(this.attention.forward(h, context), context, 2));
    const think = (h: Tensor) => tap(context, this.name, "hook_mlp_out", this.#drop(this.feedForward.forward(h, context), context, 3));

    x = tap(context, this.name, "hook_resid_pre", x);
    if (this.config.normPlacement === "pre") {
      x = tap(context, this.name, "hook_resid_mid", x.add(mix(this.norm1.forward(x, context))));
      x = x.add(think(this.norm2.forward(x, context)));
    } else {
      x = tap(context, this.name, "hook_resid_mid", this.norm1.forward(x.add(mix(x)), context));
      x = this.norm2.forward(x.add(think(x)), context);
    }
    return tap(context, this.name, "hook_resid_post", x);
  }

  #drop(x: Tensor, context: ForwardContext, place: number): Tensor {
    const { dropout: p } = this.config;
    return context.dropout === undefined || p === 0 ? x : dropout(x, p, dropoutKey(context.dropout, 3 * this.layer + place));
  }
}

/** GPT-2's standard deviation for all weight matrices and embeddings. */
export const initializerStd = 0.02;
