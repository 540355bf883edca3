/** @file How probable a model finds a text: its negative log-likelihood, and what is derived from it. */

import type { Decoder } from "../model/index.js";
import type { FloatDType } from "../tensor/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { evaluateObjective, pretraining } from "../train/index.js";
import { evaluationWindows, type WindowOptions } from "./windows.js";

export interface Likelihood {
  /** Predicted tokens: all, or without `bos` all but the first. */
  readonly tokens: number;
  /** Negative log-likelihood of those tokens together, in nats. */
  readonly nll: number;
  /** Per token: nll / tokens. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** nll in bits for each byte of text that the predicted tokens stand for; null where no tokenizer tells. */
  readonly bitsPerByte: number | null;
}

export interface LikelihoodOptions extends WindowOptions {
  readonly tokenizer?: Tokenizer | undefined;
  readonly dtype?: FloatDType | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with the number of tokens predicted so far, and in all. */
  readonly onProgress?: ((done: number, tokens: number) => void) | undefined;
}

/** The likelihood of token ids, each predicted once. Throws what `evaluationWindows` throws; the signal's reason. */
export async function likelihood(model: Decoder, ids: ArrayLike<number>, options: LikelihoodOptions = {}): Promise<Likelihood> {
  const { tokenizer, dtype = "f32", bos, signal, onProgress } = options;
  const { windows, tokens } = evaluationWindows(model.config, ids, options);
  const watched = function* () {
    let done = 0;
    for (const window of windows) {
      onProgress?.(done, tokens);
      yield window;
      done = Math.min(tokens, done + window.targets.length);
    }
  };
  const { loss } = await evaluateObjective(model, pretraining, watched(), { dtype, signal });
  signal?.throwIfAborted();
  const textBytes = tokenizer?.decodeBytes(Array.from(ids).slice(bos === undefined ? 1 : 0)).length;
  const bits = (loss * tokens) / Math.LN2;
  return { tokens, nll: loss * tokens, loss, perplexity: Math.exp(loss), bitsPerByte: textBytes === undefined || textBytes === 0 ? null : bits / textBytes };
}
