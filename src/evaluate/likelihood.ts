/** @file How probable a model finds a text: its negative log-likelihood, and what is derived from it. */

import { DataError, TokenizerError } from "../errors.js";
import { ignoreIndex, type Decoder } from "../model/index.js";
import { validationLoss } from "../train/validation.js";
import type { FloatDType } from "../tensor/index.js";
import type { Tokenizer } from "../tokenizer/index.js";

export interface Likelihood {
  /** Predicted tokens: all but the first. */
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

/**
 * The likelihood of token ids, in windows of the model's context that follow each other: every token but the first is predicted once.
 * Throws DataError for fewer than two tokens, TokenizerError for an id outside the vocabulary.
 */
export async function likelihood(
  model: Decoder,
  ids: ArrayLike<number>,
  options: { readonly tokenizer?: Tokenizer | undefined; readonly dtype?: FloatDType; readonly batchSize?: number; readonly signal?: AbortSignal } = {},
): Promise<Likelihood> {
  const { tokenizer, dtype = "f32", batchSize = 4, signal } = options;
  const { contextLength, vocabSize } = model.config;
  if (ids.length < 2) throw new DataError({}, `${ids.length} tokens hold nothing to predict.`, { code: "text-too-short", hint: "Give at least two." });
  for (let i = 0; i < ids.length; i++) {
    if (!(Number.isInteger(ids[i]) && ids[i] >= 0 && ids[i] < vocabSize)) {
      throw new TokenizerError({}, `token id ${ids[i]} at position ${i} is outside the model's vocabulary of ${vocabSize}.`, { code: "token-out-of-range", hint: `Ids go from 0 to ${vocabSize - 1}.` });
    }
  }
  const time = Math.min(contextLength, ids.length - 1);
  const windows = async function* () {
    const count = Math.ceil((ids.length - 1) / time);
    for (let first = 0; first < count; first += batchSize) {
      const rows = Math.min(batchSize, count - first);
      const inputs = new Int32Array(rows * time);
      const targets = new Int32Array(rows * time).fill(ignoreIndex);
      for (let i = 0, at = first * time; i < inputs.length && at + 1 < ids.length; i++, at++) {
        inputs[i] = ids[at];
        targets[i] = ids[at + 1];
      }
      yield await Promise.resolve({ inputs, targets, batchSize: rows, contextLength: time });
    }
  };
  const { loss, tokens } = await validationLoss(model, windows(), { dtype, signal });
  signal?.throwIfAborted();
  const textBytes = tokenizer?.decodeBytes(Array.from(ids).slice(1)).length;
  return { tokens, nll: loss * tokens, loss, perplexity: Math.exp(loss), bitsPerByte: textBytes === undefined ? null : (loss * tokens) / Math.LN2 / textBytes };
}
