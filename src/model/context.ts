/**
 * @file What one forward pass knows besides its input: where the tokens stand, the dtype to compute in, who listens, what was computed
 * before. Modules read it; nothing in it belongs to a module.
 */

import { tapGradient, type FloatDType, type RandomKey, type Tensor } from "../tensor/index.js";
import type { StatePass } from "./state.js";

/**
 * Listens to activations, named as TransformerLens names them (`blocks.0.attn.hook_pattern`). With nobody listening a tap costs nothing and
 * fused kernels run.
 */
export interface Taps {
  wants(name: string): boolean;
  /** Sees an activation; the model goes on with the tensor that it returns, if any. */
  on?(name: string, activation: Tensor): Tensor | undefined;
  /** Sees the gradient of the loss by an activation, during the backward pass, which goes on with the tensor that it returns, if any. */
  onGradient?(name: string, gradient: Tensor): Tensor | undefined;
}

/** Passes an activation by a listener. */
export function passTap(taps: Taps, name: string, activation: Tensor): Tensor {
  if (!taps.wants(name)) return activation;
  const seen = taps.on?.(name, activation) ?? activation;
  return taps.onGradient === undefined ? seen : tapGradient(seen, (gradient) => taps.onGradient!(name, gradient));
}

/** Where dropout's randomness comes from: a seed for the run, and the step, so that a resumed run drops the same. */
export interface DropoutSource {
  readonly seed: RandomKey;
  readonly step: number;
}

export interface ForwardContext {
  /** The dtype of activations; parameters stay f32. */
  readonly dtype: FloatDType;
  /** [batch, time], i32: where each token stands in its sequence. */
  readonly positions: Tensor;
  /** [batch]: how long each sequence is by now, earlier tokens included; above each of its positions. RoPE's angles may depend on it. */
  readonly lengths: readonly number[];
  /** What is remembered of the sequences, and takes in their new tokens; absent where each sequence is read whole. */
  readonly state?: StatePass;
  readonly taps?: Taps;
  /** Present while training. */
  readonly dropout?: DropoutSource;
  /** Compute each block again in the backward pass instead of keeping its activations. With taps nothing is computed twice. */
  readonly recompute?: boolean;
}

/** Every place of dropout in a model has a number, its site; a key is unique to run, step and site. */
export function dropoutKey(source: DropoutSource, site: number): RandomKey {
  return { seedLow: source.seed.seedLow ^ source.step, seedHigh: source.seed.seedHigh, stream: site };
}
