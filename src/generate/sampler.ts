/**
 * @file From the scores of the next token to a token: pure functions on logits. The filters apply in this order, which is that of Hugging Face
 * transformers, after the logit processors (`logit-processors.ts`):
 *
 *   1. temperature   scores are divided by it; 0 takes the best and ends here
 *   2. top-k         the k best (Fan et al. 2018)
 *   3. top-p         the fewest that together hold a share p of the probability (Holtzman et al. 2020)
 *   4. min-p         those at least minP times as probable as the best (Nguyen et al. 2024)
 *
 * One of those left is drawn in proportion to its probability. Equal scores rank by id, so the same logits and the same random number give the same token.
 */

import { HornbookError } from "../errors.js";
import type { Random } from "../tensor/random.js";

export interface Sampling {
  /** 0 takes the most probable token. */
  readonly temperature: number;
  /** 0 is off. */
  readonly topK: number;
  /** 1 is off. */
  readonly topP: number;
  /** 0 is off. */
  readonly minP: number;
}

/** Token ids with their probabilities, which sum to 1. */
export interface Candidates {
  readonly ids: Int32Array;
  readonly probabilities: Float64Array;
}

/**
 * Chooses the next token from its logits [vocabSize], which stay as they are. Takes one number from `random`, or none at temperature 0.
 * Throws HornbookError `not-finite` for logits that are NaN or +Infinity.
 */
export function sample(logits: Float32Array, sampling: Sampling, random: Random): number {
  return sampling.temperature === 0 ? argmax(logits) : draw(candidates(logits, sampling), random);
}

/** As `sample` with `topK`, from the best tokens and their scores alone, the best first. */
export function sampleBest(ids: Int32Array, scores: Float32Array, sampling: Sampling, random: Random): number {
  return sampling.temperature === 0 ? ids[0] : draw(filtered(ids, scores, scores[0], sampling), random);
}

function draw({ ids, probabilities }: Candidates, random: Random): number {
  let rest = random.uniform();
  for (let i = 0; i < ids.length; i++) {
    rest -= probabilities[i];
    if (rest < 0) return ids[i];
  }
  // Rounding left a little over: it belongs to the last that has any probability.
  return ids[probabilities.findLastIndex((p) => p > 0)];
}

/** The distribution that `sample` draws from, at a temperature above 0. */
export function candidates(scores: Float32Array, sampling: Sampling): Candidates {
  const { topK } = sampling;
  const best = scores[argmax(scores)];
  if (topK === 0 || topK >= scores.length) return filtered(counting(scores.length), scores, best, sampling);
  const ids = largest(scores, topK);
  return filtered(ids, Float32Array.from(ids, (id) => scores[id]), best, sampling);
}

/** What temperature, top-p and min-p leave of tokens with these scores. */
function filtered(ids: Int32Array, scores: Float32Array, best: number, { temperature, topP, minP }: Omit<Sampling, "topK">): Candidates {
  const weights = new Float64Array(ids.length);
  for (let i = 0; i < ids.length; i++) weights[i] = Math.exp((scores[i] - best) / temperature);
  let kept: Candidates = normalized(ids, weights);
  if (topP < 1) kept = nucleus(kept, topP);
  if (minP > 0) {
    const bound = minP * kept.probabilities.reduce((a, b) => Math.max(a, b), 0);
    kept = select(kept, (p) => p >= bound);
  }
  return kept;
}

/** The logarithm of a token's probability, in nats, and the most probable tokens with theirs, by the unfiltered distribution softmax(logits). */
export function logProbabilities(logits: Float32Array, id: number, top: number): { logprob: number; top: { id: number; logprob: number }[] } {
  const best = logits[argmax(logits)];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - best);
  const logSum = Math.log(sum);
  const logprob = (token: number): number => logits[token] - best - logSum;
  return { logprob: logprob(id), top: Array.from(largest(logits, Math.min(top, logits.length)), (token) => ({ id: token, logprob: logprob(token) })) };
}

/** The index of the largest; the first of equals. */
export function argmax(scores: Float32Array): number {
  let best = 0;
  for (let i = 0; i < scores.length; i++) {
    // A NaN is not greater than anything, so it is caught by being not at most the best either.
    if (!(scores[i] <= scores[best])) best = i;
    if (!(scores[best] < Infinity)) checkLogit(best, scores[best]);
  }
  return best;
}

/** Throws HornbookError `not-finite` for the logit of a token that is NaN or +Infinity. */
export function checkLogit(id: number, logit: number): void {
  if (logit < Infinity) return;
  throw new HornbookError(`The logit of token ${id} is ${logit}.`, {
    code: "not-finite",
    hint: "The model's weights are broken, or its activations overflow; another dtype may help.",
  });
}

/** The indices of the k largest, largest first, equals by index. */
export function largest(scores: Float32Array, k: number): Int32Array {
  const n = scores.length;
  const found = new Int32Array(k);
  let count = 0;
  if (k * 16 <= n) {
    // For few, one pass that inserts what beats the last: about k log(n / k) insertions.
    for (let i = 0; i < n; i++) {
      if (count === k && !(k > 0 && scores[i] > scores[found[k - 1]])) continue;
      let place = count < k ? count++ : k - 1;
      for (; place > 0 && scores[i] > scores[found[place - 1]]; place--) found[place] = found[place - 1];
      found[place] = i;
    }
    return found;
  }
  // For many, the k-th largest by sorting plain numbers, which is fast; then those above it, and of those equal to it the first.
  const bound = k === 0 ? Infinity : scores.toSorted()[n - k];
  for (let i = 0; i < n; i++) if (scores[i] > bound) found[count++] = i;
  for (let i = 0; count < k; i++) if (scores[i] === bound) found[count++] = i;
  return found.sort((a, b) => scores[b] - scores[a] || a - b);
}

/** The fewest most probable tokens that hold at least a share p. */
function nucleus(all: Candidates, p: number): Candidates {
  // Those less probable than (1 - p) / n hold less than 1 - p together, so none is in the nucleus: few are left to sort.
  const { ids, probabilities } = select(all, (probability) => probability >= (1 - p) / all.ids.length, false);
  const order = counting(ids.length).sort((a, b) => probabilities[b] - probabilities[a] || ids[a] - ids[b]);
  let count = 0;
  for (let held = 0; held < p && count < order.length; count++) held += probabilities[order[count]];
  const kept = order.subarray(0, count);
  return normalized(kept.map((i) => ids[i]), Float64Array.from(kept, (i) => probabilities[i]));
}

function select({ ids, probabilities }: Candidates, keep: (probability: number) => boolean, normalize = true): Candidates {
  const keptIds = new Int32Array(ids.length);
  const kept = new Float64Array(ids.length);
  let count = 0;
  for (let i = 0; i < ids.length; i++) {
    if (!keep(probabilities[i])) continue;
    keptIds[count] = ids[i];
    kept[count++] = probabilities[i];
  }
  const part = { ids: keptIds.subarray(0, count), probabilities: kept.subarray(0, count) };
  return normalize ? normalized(part.ids, part.probabilities) : part;
}

/** 0, 1, ..., n - 1. */
function counting(n: number): Int32Array {
  const numbers = new Int32Array(n);
  for (let i = 0; i < n; i++) numbers[i] = i;
  return numbers;
}

function normalized(ids: Int32Array, weights: Float64Array): Candidates {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i];
  for (let i = 0; i < weights.length; i++) weights[i] /= sum;
  return { ids, probabilities: weights };
}
