/**
 * @file How far a model's predictions are from those of another that is taken as exact (the base), as when the one is the other's
 * quantisation. Measured token by token over a text that both read:
 *
 *     KL(base || model) = sum_v p(v) (log p(v) - log q(v)),   p the base's distribution, q the model's
 *
 * the direction of llama.cpp's `--kl-divergence`: what it costs, in nats, to believe the model where the base is right. It is more telling
 * than perplexities, which mix losses with lucky gains. Beside it stand the share of tokens where both name the same next token as
 * the likeliest, both perplexities, and how much the probability of the true next token moved.
 *
 * Logits never exist as a whole: a window's hidden states are unembedded some rows at a time, and each token leaves six numbers.
 */

import { ConfigError } from "../errors.js";
import type { Decoder } from "../model/index.js";
import { Tensor, noGrad, scope, type FloatDType } from "../tensor/index.js";
import { evaluationWindows, type WindowOptions } from "./windows.js";

/** A mean over tokens, with the standard error of that mean (tokens taken as independent). */
export interface Estimate {
  readonly mean: number;
  readonly standardError: number;
}

export interface Divergence {
  /** Compared tokens. */
  readonly tokens: number;
  /** KL(base || model) in nats, by token: its mean, and how it is spread. */
  readonly kl: Estimate & { readonly median: number; readonly p90: number; readonly p99: number; readonly max: number };
  /** The share of tokens at which both have the same likeliest next token. */
  readonly sameTop1: Estimate;
  readonly perplexity: number;
  readonly basePerplexity: number;
  /** perplexity / basePerplexity: exp of the mean difference of the two losses, token by token. */
  readonly perplexityRatio: Estimate;
  /** Of the true next token, q - p: its mean and root of the mean square, as shares of 1. */
  readonly deltaP: { readonly mean: number; readonly rms: number };
}

export interface DivergenceOptions extends WindowOptions {
  readonly dtype?: FloatDType | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with the number of tokens compared so far, and in all. */
  readonly onProgress?: ((done: number, tokens: number) => void) | undefined;
}

/** What a chunk of float32 logits of one model may take; about eight such are there at once. */
const chunkBytes = 16 * 2 ** 20;

/**
 * Compares a model with a base over the same tokens, in windows that both can hold.
 *
 * @throws ConfigError `other-vocabulary` where the vocabularies have different sizes; what `evaluationWindows` throws; the signal's reason.
 */
export async function compareModels(model: Decoder, base: Decoder, ids: ArrayLike<number>, options: DivergenceOptions = {}): Promise<Divergence> {
  const { dtype = "f32", signal, onProgress } = options;
  const { vocabSize } = base.config;
  if (model.config.vocabSize !== vocabSize) {
    throw new ConfigError("vocabSize", `the models have ${model.config.vocabSize} and ${vocabSize} tokens, so their predictions are not about the same things.`, {
      code: "other-vocabulary",
      hint: "Compare models with one tokenizer.",
    });
  }
  const contextLength = options.contextLength ?? Math.min(model.config.contextLength, base.config.contextLength, 2048);
  const { windows, tokens } = evaluationWindows(model.config.contextLength < base.config.contextLength ? model.config : base.config, ids, { ...options, contextLength });
  const seen = new Measured(tokens);
  for (const { inputs, targets, batchSize, contextLength: time } of windows) {
    signal?.throwIfAborted();
    const hiddens = [model, base].map((one) => noGrad(() => scope(() => one.hidden(Tensor.from(inputs, { shape: [batchSize, time], device: one.device }), { dtype }).reshape([-1, one.config.hiddenSize]))));
    try {
      // Only the last window may be filled up, at its end.
      const counted = targets.findLastIndex((target) => target >= 0) + 1;
      const rows = Math.max(16, Math.floor(chunkBytes / 4 / vocabSize));
      for (let start = 0; start < counted; start += rows) {
        signal?.throwIfAborted();
        const end = Math.min(counted, start + rows);
        const measures = noGrad(() => scope(() => compareRows(model.head.logits(hiddens[0].slice(0, start, end)), base.head.logits(hiddens[1].slice(0, start, end)), targets.subarray(start, end))));
        await seen.add(measures);
        onProgress?.(seen.tokens, tokens);
      }
    } finally {
      for (const hidden of hiddens) hidden.dispose();
    }
  }
  return seen.summary();
}

type Measures = Record<"kl" | "logQ" | "logP" | "topQ" | "topP", Tensor>;

/** logits [rows, vocab] of the model and the base, and the ids that came: [rows] each. */
function compareRows(modelLogits: Tensor, baseLogits: Tensor, targets: Int32Array): Measures {
  const q = modelLogits.logSoftmax();
  const p = baseLogits.logSoftmax();
  const target = Tensor.from(Int32Array.from(targets), { shape: [targets.length, 1], device: p.device });
  // Each term as p (log p - log q) - p + q. The two that are added sum to nothing, and make every term at least 0 and the sum blind, to
  // first order, to the rounding of the two normalisers, which otherwise is as large as the divergence of a good quantisation.
  const kl = p.exp().mul(p.sub(q)).sub(p.exp()).add(q.exp()).sum(-1);
  return {
    kl,
    logQ: q.gather(target).reshape([-1]),
    logP: p.gather(target).reshape([-1]),
    topQ: q.argmax(),
    topP: p.argmax(),
  };
}

/** Sums over tokens, in float64, and every token's divergence, for the percentiles. */
class Measured {
  tokens = 0;
  readonly #kl: Float64Array;
  #klSquares = 0;
  #sameTop = 0;
  readonly #nll = { model: 0, base: 0 };
  readonly #difference = { sum: 0, squares: 0 };
  readonly #deltaP = { sum: 0, squares: 0 };

  constructor(tokens: number) {
    this.#kl = new Float64Array(tokens);
  }

  /** Waits for the values, and frees their tensors. */
  async add(measures: Measures): Promise<void> {
    const tensors = Object.values(measures);
    try {
      const [kl, logQ, logP, topQ, topP] = await Promise.all([measures.kl, measures.logQ, measures.logP, measures.topQ, measures.topP].map((tensor) => tensor.data()));
      for (let i = 0; i < kl.length; i++) {
        this.#kl[this.tokens++] = kl[i];
        this.#klSquares += kl[i] * kl[i];
        if (topQ[i] === topP[i]) this.#sameTop++;
        this.#nll.model -= logQ[i];
        this.#nll.base -= logP[i];
        this.#difference.sum += logP[i] - logQ[i];
        this.#difference.squares += (logP[i] - logQ[i]) ** 2;
        const moved = Math.exp(logQ[i]) - Math.exp(logP[i]);
        this.#deltaP.sum += moved;
        this.#deltaP.squares += moved * moved;
      }
    } finally {
      for (const tensor of tensors) tensor.dispose();
    }
  }

  summary(): Divergence {
    const n = this.tokens;
    const sorted = this.#kl.subarray(0, n).toSorted();
    const kl = estimate(sorted.reduce((sum, value) => sum + value, 0), this.#klSquares, n);
    const difference = estimate(this.#difference.sum, this.#difference.squares, n);
    const ratio = Math.exp(difference.mean);
    return {
      tokens: n,
      kl: { ...kl, median: percentile(sorted, 0.5), p90: percentile(sorted, 0.9), p99: percentile(sorted, 0.99), max: sorted[n - 1] },
      sameTop1: estimate(this.#sameTop, this.#sameTop, n),
      perplexity: Math.exp(this.#nll.model / n),
      basePerplexity: Math.exp(this.#nll.base / n),
      // d exp(x) = exp(x) dx.
      perplexityRatio: { mean: ratio, standardError: ratio * difference.standardError },
      deltaP: { mean: this.#deltaP.sum / n, rms: Math.sqrt(this.#deltaP.squares / n) },
    };
  }
}

function estimate(sum: number, squares: number, n: number): Estimate {
  const mean = sum / n;
  return { mean, standardError: n < 2 ? 0 : Math.sqrt(Math.max(0, squares / n - mean * mean) / (n - 1)) };
}

/** Linear between the two nearest, as numpy's default. */
function percentile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  return sorted[below] + (at - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}
