/**
 * @file Scaled dot-product attention (Vaswani et al. 2017), out = softmax(scale q k^T + what is masked and biased) v, in tiles (Dao et al. 2022):
 * neither pass ever holds all scores. The forward pass keeps the log-sum-exp of each query's scores, from which the backward pass makes the
 * weights w anew: with D = dout . out, dv = w^T dout, ds = w (dout v^T - D), dq = scale ds k, dk = scale ds^T q.
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import type { RandomKey } from "../random.js";
import { broadcastShapes, sameShape } from "../shape.js";
import { record, willRecord } from "../tape.js";
import { Tensor } from "../tensor.js";
import { arange } from "./create.js";
import { checkProbability, dropout } from "./dropout.js";
import type { Int8Rows } from "./int8.js";
import { checkDType, checkFloat, checkShapeIs, dtypeError, emptyLike, expanded, rowNumbers } from "./support.js";
import { where } from "./where.js";

export interface AttentionOptions {
  /** A query sees the keys up to its own position; query i stands at key position i + keys - queries. By default true. */
  readonly causal?: boolean;
  /** Where above 0: a query sees at most this many keys, the last ones. */
  readonly window?: number;
  /** Where above 0: scores become softcap * tanh(score / softcap) (Gemma 2). */
  readonly softcap?: number;
  /** By default 1 / sqrt(d). */
  readonly scale?: number;
  /** ALiBi (Press et al. 2022): f32 [heads]; a score falls by this much with each step of distance. */
  readonly slopes?: Tensor | undefined;
  /** The first key that counts, i32 [batch]: for prompts of unequal length, padded on the left. */
  readonly starts?: Tensor | undefined;
  /**
   * How many keys of each row count, i32 [batch] or [] for all: the keys behind them are room for more, and query i of row b stands at key position
   * i + lengths[b] - queries. For inference alone.
   */
  readonly lengths?: Tensor | undefined;
  /** Which slot of k and v [slots, keys, ...] each row reads, i32 [batch]; by default row b reads slot b. For inference alone. */
  readonly slots?: Tensor | undefined;
  /** u8, broadcast to [batch, heads, queries, keys]; where 0 the query does not see the key. */
  readonly mask?: Tensor | undefined;
  /** Drops weights with probability p (see `dropout`). */
  readonly dropout?: { readonly p: number; readonly key: RandomKey } | undefined;
}

/**
 * q [batch, queries, heads, d], k [batch, keys, keyHeads, d], v [batch, keys, keyHeads, dv]; k and v of one float dtype, or rows of 8-bit integers;
 * gives [batch, queries, heads, dv] in q's dtype. keyHeads divides heads; a group of heads / keyHeads queries shares a key head (Ainslie et al.
 * 2023). A query that sees no key gives 0. With `slots`, k and v are [slots, keys, ...]. Throws ShapeError when these do not fit; a length or a slot that
 * k does not have is a DeviceError at the next wait.
 *
 * Without dropout, the bits of a row's result depend on that row alone: its queries, its keys, how many they are.
 */
export function attention(q: Tensor, k: Tensor | Int8Rows, v: Tensor | Int8Rows, options: AttentionOptions = {}): Tensor {
  const { slopes, starts } = options;
  const [kShape, vShape] = [k, v].map((rows) => (rows instanceof Tensor ? rows : rows.bytes).shape);
  checkFloat("attention", q);
  const fits = q.rank === 4 && kShape.length === 4 && vShape.length === 4 && (options.slots !== undefined || kShape[0] === q.shape[0]) && kShape[3] === q.shape[3];
  if (!fits || !sameShape(kShape.slice(0, 3), vShape.slice(0, 3)) || q.shape[2] % kShape[2] !== 0) {
    const need = "They must be [batch, queries, heads, d], [batch, keys, keyHeads, d], [batch, keys, keyHeads, dv], and keyHeads divide heads.";
    throw new ShapeError("attention", [q.shape, kShape, vShape], need);
  }
  checkDType("attention", "slopes", slopes, "f32");
  checkShapeIs("attention", "slopes", slopes, [q.shape[2]]);
  checkDType("attention", "starts", starts, "i32");
  checkShapeIs("attention", "starts", starts, [q.shape[0]]);
  const lengths = rowNumbers("attention", "lengths", options.lengths, q.shape[0]);
  const slots = rowNumbers("attention", "slots", options.slots, q.shape[0]);
  try {
    if (k instanceof Tensor && v instanceof Tensor) return floatAttention(q, k, v, options, lengths, slots);
    if (!(k instanceof Tensor) && !(v instanceof Tensor)) return int8Attention(q, k, v, options, lengths, slots);
  } finally {
    if (lengths !== options.lengths) lengths?.dispose();
    if (slots !== options.slots) slots?.dispose();
  }
  throw dtypeError("attention", "keys and values must both be floats, or both 8-bit integers.");
}

/** Sees the scores or the pattern, f32 [batch, heads, queries, keys], and gives what to go on with. */
type Listener = (weights: Tensor) => Tensor;

/**
 * The same numbers step by step, for those who want to see the scores and the pattern (the attention weights); it holds all of them. Takes
 * float keys and values, and no mask.
 */
export function attentionWithPattern(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: Omit<AttentionOptions, "slots" | "mask"> & { readonly onScores?: Listener; readonly onPattern?: Listener } = {},
): Tensor {
  const { causal = true, window = 0, softcap = 0, scale = q.shape[3] ** -0.5, slopes, starts, lengths, dropout: drop, onScores, onPattern } = options;
  const { device, shape: [, queries, heads] } = q;
  const [keys, keyHeads] = k.shape.slice(1);
  const perHead = (x: Tensor): Tensor => {
    const [batch, time, n, width] = x.shape;
    const groups = heads / n;
    const repeated = x.permute([0, 2, 1, 3]).reshape([batch, n, 1, time, width]).expand([batch, n, groups, time, width]);
    return repeated.reshape([batch, heads, time, width]).cast("f32");
  };
  if (heads % keyHeads !== 0) throw new ShapeError("attentionWithPattern", [q.shape, k.shape], "The key heads must divide the heads.");
  let scores = perHead(q).matmul(perHead(k).transpose(-1, -2)).mul(scale);
  if (softcap > 0) scores = scores.div(softcap).tanh().mul(softcap);

  const key = arange(keys, { device });
  const query = arange(queries, { device }).reshape([queries, 1]);
  // How far a key lies before a query, [..., queries, keys].
  const distance = query.add(lengths === undefined ? keys - queries : lengths.reshape([-1, 1, 1, 1]).sub(queries)).sub(key);
  if (slopes !== undefined) scores = scores.sub(distance.cast("f32").mul(slopes.reshape([heads, 1, 1])));
  if (causal) scores = where(distance.less(0), -Infinity, scores);
  if (window > 0) scores = where(distance.greaterEqual(window), -Infinity, scores);
  if (starts !== undefined) scores = where(key.less(starts.reshape([-1, 1, 1, 1])), -Infinity, scores);
  scores = onScores?.(scores) ?? scores;
  let pattern = scores.softmax(-1);
  pattern = onPattern?.(pattern) ?? pattern;
  if (drop !== undefined && drop.p > 0) pattern = dropout(pattern, drop.p, drop.key);
  return pattern.matmul(perHead(v)).permute([0, 2, 1, 3]).cast(q.dtype);
}

function int8Attention(q: Tensor, k: Int8Rows, v: Int8Rows, options: AttentionOptions, lengths: Tensor | undefined, slots: Tensor | undefined): Tensor {
  const { causal = true, window = 0, softcap = 0, slopes, starts, mask, dropout } = options;
  if (mask !== undefined || dropout !== undefined) throw dtypeError("attention", "takes no mask and no dropout with keys of 8-bit integers.");
  const out = emptyLike(q, [...q.shape.slice(0, 3), v.bytes.shape[3]]);
  const attributes = { scale: options.scale ?? 1 / Math.sqrt(q.shape[3]), causal: causal ? 1 : 0, window, softcap };
  launch("attentionInt8", { q, k: k.bytes, kScale: k.scale, v: v.bytes, vScale: v.scale, slopes, starts, lengths, slots, out }, attributes);
  return out;
}

function floatAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions, lengths: Tensor | undefined, slots: Tensor | undefined): Tensor {
  const { causal = true, window = 0, softcap = 0, slopes, starts, dropout } = options;
  checkFloat("attention", k);
  checkDType("attention", "v", v, k.dtype);
  const [batch, queries, heads, d] = q.shape;
  const [keys, dv] = [k.shape[1], v.shape[3]];
  checkDType("attention", "mask", options.mask, "u8");
  const p = dropout?.p ?? 0;
  checkProbability("attention", p);
  if (lengths !== undefined || slots !== undefined) {
    if (p > 0) throw dtypeError("attention", "takes no dropout with lengths or slots.");
    if (willRecord([q, k, v])) throw dtypeError("attention", "has no gradient with lengths or slots.");
  }

  const mask = options.mask && stretchMask(options.mask, [batch, heads, queries, keys]);
  const { seedLow, seedHigh, stream } = dropout?.key ?? { seedLow: 0, seedHigh: 0, stream: 0 };
  const attributes = { scale: options.scale ?? 1 / Math.sqrt(d), causal: causal ? 1 : 0, window, softcap, p, seedLow, seedHigh, stream };
  const out = emptyLike(q, [batch, queries, heads, dv]);
  const logSumExp = emptyLike(q, [batch, heads, queries], "f32");
  // Written out twice: each spread would make an object of a new shape, kilobytes that outlive the young generation.
  launch("attention", { q, k, v, slopes, starts, mask, lengths, slots, out, logSumExp }, attributes);
  const saved = [q, k, v, slopes, starts, mask, out, logSumExp].filter((tensor) => tensor !== undefined);
  record("attention", out, [q, k, v], saved, (dout, _needs, _into, place) => {
    const gradients = [q, k, v].map((input, i) => place(i) ?? emptyLike(input));
    launch("attentionBackward", { q, k, v, slopes, starts, mask, out, logSumExp, dout, dq: gradients[0], dk: gradients[1], dv: gradients[2] }, attributes);
    return gradients;
  });
  logSumExp.dispose();
  mask?.dispose();
  return out;
}

function stretchMask(mask: Tensor, shape: readonly number[]): Tensor {
  if (!sameShape(broadcastShapes("attention", mask.shape, shape), shape)) {
    throw new ShapeError("attention", [mask.shape, shape], "The mask must stretch to [batch, heads, queries, keys].");
  }
  return expanded(mask, shape);
}
