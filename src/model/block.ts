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
  /** Of what the mixer reads; with post-norm, of its sum with the residual stream. None with normPlacement "output". */
  readonly norm1: Norm | undefined;
  readonly attention: Attention;
  /** Of what the mixer adds, with normPlacement "output" or "sandwich". */
  readonly outputNorm1: Norm | undefined;
  /** As norm1, for the feed-forward. None either where halves side by side share one norm. */
  readonly norm2: Norm | undefined;
  readonly feedForward: FeedForward;
  readonly outputNorm2: Norm | undefined;

  /** `rotary`: none in layers without RoPE. */
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
    const norm = (name: string, exists: boolean) => (exists ? makeNorm(init, config, `${this.name}.${name}`) : undefined);
    const [ofInput, ofOutput] = [config.normPlacement !== "output", config.normPlacement === "output" || config.normPlacement === "sandwich"];
    this.norm1 = norm("ln1", ofInput);
    this.attention = new Attention(init, config, layer, rotary, std, residualStd, device);
    this.outputNorm1 = norm("ln1_post", ofOutput);
    this.norm2 = norm("ln2", ofInput && config.parallelBlock !== "sharedNorm");
    this.feedForward = makeFeedForward(init, config, `${this.name}.mlp`, std, residualStd);
    this.outputNorm2 = norm("ln2_post", ofOutput);
  }

  get name(): string {
    return `blocks.${this.layer}`;
  }

  /** x [batch, time, hiddenSize] to the same shape. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    const normed = (norm: Norm | undefined, h: Tensor) => norm?.forward(h, context) ?? h;
    const mix = (h: Tensor) => tap(context, this.name, "hook_attn_out", this.#scaled(normed(this.outputNorm1, this.attention.forward(h, context)), context, 2));
    const think = (h: Tensor) => tap(context, this.name, "hook_mlp_out", this.#scaled(normed(this.outputNorm2, this.feedForward.forward(h, context)), context, 3));

    x = tap(context, this.name, "hook_resid_pre", x);
    if (this.config.parallelBlock !== "none") {
      const h = normed(this.norm1, x);
      x = x.add(mix(h)).add(think(this.config.parallelBlock === "sharedNorm" ? h : normed(this.norm2, x)));
    } else if (this.config.normPlacement === "post") {
      x = tap(context, this.name, "hook_resid_mid", normed(this.norm1, x.add(mix(x))));
      x = normed(this.norm2, x.add(think(x)));
    } else {
      x = tap(context, this.name, "hook_resid_mid", x.add(mix(normed(this.norm1, x))));
      x = x.add(think(normed(this.norm2, x)));
    }
    return tap(context, this.name, "hook_resid_post", x);
  }

  /** What a half adds to the residual stream. */
  #scaled(x: Tensor, context: ForwardContext, place: number): Tensor {
    const { dropout: p, residualScale } = this.config;
    const kept = context.dropout === undefined || p === 0 ? x : dropout(x, p, dropoutKey(context.dropout, 3 * this.layer + place));
    return residualScale === 1 ? kept : kept.mul(residualScale);
  }
}

/** GPT-2's standard deviation for all weight matrices and embeddings. */
export const initializerStd = 0.02;
