/**
 * @file Scaled dot-product attention as the formula reads: one query at a time, its scores over all keys in an array, softmax, weighted
 * sum. The backward pass recomputes the weights from `logSumExp`, as Dao et al. (2022) do.
 */

import type { Attributes, Operands } from "../contract.js";
import { uniformAt } from "../random.js";
import { sumOfExponentials } from "./normalization.js";
import type { HostView, Kernel } from "./view.js";
import { floats, lengthsOf, optionalFloats, slotsOf, store, values } from "./view.js";

type Inputs = Pick<Operands<"attention", HostView>, "q" | "k" | "v" | "slopes" | "starts" | "mask" | "lengths" | "slots">;

/** Where everything about one query stands. `score` and `capSlope` have an element a key. */
interface Query {
  readonly batch: number;
  readonly head: number;
  /** The place of the query among all: ((batch * heads) + head) * queries + query. */
  readonly index: number;
  /** Where its vector starts in q, and its result in out. */
  readonly qStart: number;
  readonly outStart: number;
  /** Where the vector of a key starts in k, and in v. */
  readonly kStart: (key: number) => number;
  readonly vStart: (key: number) => number;
  /** -Infinity for a key that it does not see. */
  readonly score: Float64Array;
  /** d score / d (scale q k): 1 without a softcap. */
  readonly capSlope: Float64Array;
}

/** The scores of every query, one after the other; the arrays are reused from one to the next. */
function* scores(inputs: Inputs, attributes: Attributes<"attention">): Generator<Query> {
  const [batches, queries, heads, d] = inputs.q.shape;
  const [, keys, keyHeads, dv] = inputs.v.shape;
  const q = floats(inputs.q);
  const k = floats(inputs.k);
  const slopes = optionalFloats(inputs.slopes);
  const starts = inputs.starts === undefined ? undefined : values(inputs.starts);
  const mask = inputs.mask === undefined ? undefined : values(inputs.mask);
  const lengths = lengthsOf(inputs.lengths, batches, inputs.k);
  const slots = slotsOf(inputs.slots, batches, inputs.k);
  const { scale, causal, window, softcap } = attributes;
  const score = new Float64Array(keys);
  const capSlope = new Float64Array(keys).fill(1);
  for (let batch = 0; batch < batches; batch++) {
    const [length, slot] = [lengths[batch], slots[batch]];
    for (let head = 0; head < heads; head++) {
      const keyHead = Math.floor(head / (heads / keyHeads));
      const kStart = (key: number): number => ((slot * keys + key) * keyHeads + keyHead) * d;
      const vStart = (key: number): number => ((slot * keys + key) * keyHeads + keyHead) * dv;
      for (let query = 0; query < queries; query++) {
        const index = (batch * heads + head) * queries + query;
        const position = query + length - queries;
        const qStart = ((batch * queries + query) * heads + head) * d;
        const first = Math.max(starts?.[batch] ?? 0, window > 0 ? position - window + 1 : 0);
        const last = causal !== 0 ? Math.min(position, length - 1) : length - 1;
        for (let key = 0; key < keys; key++) {
          if (key < first || key > last || mask?.[index * keys + key] === 0) {
            score[key] = -Infinity;
            continue;
          }
          let dot = 0;
          for (let i = 0, at = kStart(key); i < d; i++) dot += q[qStart + i] * k[at + i];
          let value = scale * dot;
          if (softcap > 0) {
            const bent = Math.tanh(value / softcap);
            value = softcap * bent;
            capSlope[key] = 1 - bent * bent;
          }
          score[key] = value - (slopes === undefined ? 0 : slopes[head] * Math.abs(position - key));
        }
        yield { batch, head, index, qStart, outStart: ((batch * queries + query) * heads + head) * dv, kStart, vStart, score, capSlope };
      }
    }
  }
}

/** The factor that dropout puts on weight i: 0, or 1 / (1 - p). */
function dropoutFactor({ p, ...key }: Pick<Attributes<"attention">, "p" | "seedLow" | "seedHigh" | "stream">, i: number): number {
  return p === 0 ? 1 : uniformAt(key, i) >= p ? 1 / (1 - p) : 0;
}

export const attention: Kernel<"attention"> = ({ out, logSumExp: lse, ...inputs }, attributes) => {
  const [, keys, , dv] = inputs.v.shape;
  const v = floats(inputs.v);
  const result = new Float32Array(floats(out).length);
  const totals = new Float32Array(floats(lse).length);
  const sum = new Float64Array(dv);
  for (const { index, outStart, vStart, score } of scores(inputs, attributes)) {
    const { max, sum: total } = sumOfExponentials(score);
    totals[index] = max + Math.log(total);
    sum.fill(0);
    for (let key = 0; key < keys; key++) {
      if (score[key] === -Infinity) continue;
      const weight = (Math.exp(score[key] - max) / total) * dropoutFactor(attributes, index * keys + key);
      for (let i = 0, at = vStart(key); i < dv; i++) sum[i] += weight * v[at + i];
    }
    result.set(sum, outStart);
  }
  store(out, result);
  store(lse, totals);
};

/**
 * With weights w = softmax(score), their dropout factors f and out = sum (f w) v: dv_j = f_j w_j dout; d w_j = f_j (dout . v_j);
 * d score_j = w_j (d w_j - sum_k w_k d w_k), where the sum is dout . out.
 */
export const attentionBackward: Kernel<"attentionBackward"> = (
  { out, logSumExp: lse, dout, dq, dk, dv: dvOut, ...inputs },
  attributes,
) => {
  const d = inputs.q.shape[3];
  const [, keys, , dv] = inputs.v.shape;
  const [q, k, v, o, gradient, totals] = [inputs.q, inputs.k, inputs.v, out, dout, lse].map(floats);
  const [gq, gk, gv] = [q, k, v].map((values) => new Float64Array(values.length));
  for (const { index, qStart, outStart, kStart, vStart, score, capSlope } of scores(inputs, attributes)) {
    let mean = 0;
    for (let i = 0; i < dv; i++) mean += gradient[outStart + i] * o[outStart + i];
    for (let key = 0; key < keys; key++) {
      if (score[key] === -Infinity) continue;
      const weight = Math.exp(score[key] - totals[index]);
      const factor = dropoutFactor(attributes, index * keys + key);
      const vAt = vStart(key);
      let dWeight = 0;
      for (let i = 0; i < dv; i++) {
        dWeight += factor * gradient[outStart + i] * v[vAt + i];
        gv[vAt + i] += factor * weight * gradient[outStart + i];
      }
      const dDot = weight * (dWeight - mean) * capSlope[key] * attributes.scale;
      const kAt = kStart(key);
      for (let i = 0; i < d; i++) {
        gq[qStart + i] += dDot * k[kAt + i];
        gk[kAt + i] += dDot * q[qStart + i];
      }
    }
  }
  store(dq, gq);
  store(dk, gk);
  store(dvOut, gv);
};
