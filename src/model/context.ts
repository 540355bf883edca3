/**
 * @file What one forward pass knows besides its input: where the tokens stand, the dtype to compute in, who listens, what was computed
 * before. Modules read it; nothing in it belongs to a module.
 */

import { tapGradient, type FloatDType, type Int8Rows, type RandomKey, type Tensor } from "../tensor/index.js";

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

/** Keys and values [batch, room, keyHeads, headSize] as a cache keeps them. The first `keys` count; so that a step may be queued again as it is, `length` says it on the device. */
export interface CachedKeys {
  readonly k: Tensor | Int8Rows;
  readonly v: Tensor | Int8Rows;
  readonly keys: number;
  /** i32 []. */
  readonly length: Tensor;
}

/** Keys and values of earlier positions, layer by layer; `src/generate/` implements it. */
export interface KeyValueCache {
  /** Positions there is room for: no token stands beyond it before the cache has grown. */
  readonly capacity: number;
  /** Adds k and v [batch, time, keyHeads, headSize] of new positions; returns all there are. */
  append(layer: object, k: Tensor, v: Tensor): CachedKeys;
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
  /** [batch], i32: the first key that belongs to each sequence, where shorter ones are padded on the left. */
  readonly starts?: Tensor;
  readonly cache?: KeyValueCache;
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
