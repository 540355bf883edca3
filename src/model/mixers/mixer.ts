/** @file What every mixer offers: the half of a block in which tokens look at each other. */

import type { Tensor } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { Module } from "../module.js";

/** Numbers a token that a part holds for the backward pass: all that it makes on the way (`live`), and what of it waits for the backward pass (`kept`). */
export interface ActivationSize {
  readonly live: number;
  readonly kept: number;
}

export abstract class Mixer extends Module {
  /** What taps call it: `attn` for attention. */
  abstract readonly hookName: string;
  abstract readonly activationSize: ActivationSize;
  /** x [batch, time, hiddenSize] to the same shape; token t sees tokens up to t alone. */
  abstract forward(x: Tensor, context: ForwardContext): Tensor;
}
