/** @file What every feed-forward offers: the half of a block in which each token is processed alone. */

import type { Tensor } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import type { ActivationSize } from "../mixers/mixer.js";
import { Module } from "../module.js";

export abstract class FeedForward extends Module {
  abstract readonly activationSize: ActivationSize;
  /** x [batch, time, hiddenSize] to the same shape. Taps: hook_pre, hook_post. */
  abstract forward(x: Tensor, context: ForwardContext): Tensor;
}
