/**
 * @file A long text as windows that a model reads one by one: they follow each other without overlap, and each token is predicted once, from what
 * stands before it in its window. So a token at the start of a window has little to go by, and the numbers of two models compare only
 * for the same windows.
 */

import type { TokenBatch } from "../data/index.js";
import { ConfigError, DataError, TokenizerError } from "../errors.js";
import { ignoreIndex, type ModelConfig } from "../model/index.js";

export interface WindowOptions {
  /** Tokens that a window holds. Default: the model's context, and of a long one 2048, beyond which little is won for what it costs. */
  readonly contextLength?: number | undefined;
  /**
   * A token that begins every window, and is not predicted: for models that never saw a text without it (Gemma is lost without its `<bos>`).
   * With it the first token of the text is predicted as well.
   */
  readonly bos?: number | undefined;
  /** Windows that are read side by side. Default: 4, and of long ones as many as hold 4096 tokens. */
  readonly batchSize?: number | undefined;
}

/**
 * The windows of token ids, and how many tokens they predict.
 *
 * Throws DataError for too few tokens, TokenizerError for an id outside the vocabulary, ConfigError for a window that is longer than the context.
 */
export function evaluationWindows(config: ModelConfig, ids: ArrayLike<number>, options: WindowOptions = {}): { windows: Generator<TokenBatch>; tokens: number } {
  const { bos } = options;
  const contextLength = options.contextLength ?? Math.min(config.contextLength, 2048);
  const least = bos === undefined ? 2 : 1;
  if (!(Number.isInteger(contextLength) && contextLength >= 1 && contextLength <= config.contextLength)) {
    throw new ConfigError("contextLength", `a window of ${contextLength} tokens is not in the model's context of ${config.contextLength}.`);
  }
  if (ids.length < least) {
    throw new DataError({}, `${ids.length === 1 ? "1 token holds" : `${ids.length} tokens hold`} nothing to predict.`, { code: "text-too-short", hint: `Give at least ${least === 1 ? "one" : "two"}.` });
  }
  const checked = bos === undefined ? [ids] : [ids, [bos]];
  for (const list of checked) {
    for (let i = 0; i < list.length; i++) {
      if (Number.isInteger(list[i]) && list[i] >= 0 && list[i] < config.vocabSize) continue;
      throw new TokenizerError({}, `token id ${list[i]}${list === ids ? ` at position ${i}` : ", to begin each window,"} is outside the model's vocabulary of ${config.vocabSize}.`, {
        code: "token-out-of-range",
        hint: `Ids go from 0 to ${config.vocabSize - 1}.`,
      });
    }
  }
  const tokens = bos === undefined ? ids.length - 1 : ids.length;
  const time = Math.min(contextLength, tokens);
  const batchSize = options.batchSize ?? Math.min(4, Math.max(1, Math.floor(4096 / time)));
  return { windows: batches(ids, { bos, time, batchSize, tokens }), tokens };
}

function* batches(ids: ArrayLike<number>, { bos, time, batchSize, tokens }: { bos: number | undefined; time: number; batchSize: number; tokens: number }): Generator<TokenBatch> {
  const count = Math.ceil(tokens / time);
  // The target at `at` stands at ids[at + shift], and is read after what stands before it.
  const shift = bos === undefined ? 1 : 0;
  for (let first = 0; first < count; first += batchSize) {
    const rows = Math.min(batchSize, count - first);
    const inputs = new Int32Array(rows * time);
    const targets = new Int32Array(rows * time).fill(ignoreIndex);
    for (let i = 0, at = first * time; i < inputs.length && at < tokens; i++, at++) {
      inputs[i] = bos !== undefined && i % time === 0 ? bos : ids[at + shift - 1];
      targets[i] = ids[at + shift];
    }
    yield { inputs, targets, batchSize: rows, contextLength: time };
  }
}
