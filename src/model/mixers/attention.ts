/**
 * @file Causal self-attention (Vaswani et al. 2017, section 3.2): each token asks (query) all earlier ones (keys) and takes a mixture of what
 * they offer (values), in several heads. With fewer key heads than query heads it is grouped-query attention (Ainslie et al. 2023).
 */

import { Tensor, attention, dequantizeInt8, dropout, where, type Device, type Int8Rows } from "../../tensor/index.js";
import type { ModelConfig } from "../config.js";
import { dropoutKey, tap, tapped, type CachedKeys, type ForwardContext } from "../context.js";
import { Linear, Module, type Initializer } from "../module.js";
import { makeQkNorm, type Norm } from "../norms/norm.js";
import { alibiSlopes } from "../positions/alibi.js";
import type { Rotary } from "../positions/rotary.js";

export class Attention extends Module {
  /** Queries, keys and values in one projection: [(numHeads + 2 numKeyValueHeads) headSize, hiddenSize]. */
  readonly queryKeyValue: Linear;
  readonly output: Linear;
  readonly queryNorm: Norm | undefined;
  readonly keyNorm: Norm | undefined;
  /** Of ALiBi, [numHeads]. */
  readonly slopes: Tensor | undefined;
  /** How many keys a query sees; 0 is all. */
  readonly window: number;

  /** `rotary`: none in layers without RoPE. */
  constructor(
    init: Initializer,
    private readonly config: ModelConfig,
    private readonly layer: number,
    private readonly rotary: Rotary | undefined,
    std: number,
    residualStd: number,
    device?: Device,
  ) {
    super();
    const { hiddenSize, numHeads, numKeyValueHeads, headSize } = config;
    this.queryKeyValue = new Linear(init, hiddenSize, (numHeads + 2 * numKeyValueHeads) * headSize, { bias: config.queryKeyValueBias, std });
    this.output = new Linear(init, numHeads * headSize, hiddenSize, { bias: config.attentionOutputBias, std: residualStd });
    this.queryNorm = makeQkNorm(init, config, `${this.name}.q_norm`, numHeads);
    this.keyNorm = makeQkNorm(init, config, `${this.name}.k_norm`, numKeyValueHeads);
    this.slopes = config.position === "alibi" ? Tensor.from(alibiSlopes(numHeads).map((slope) => slope * config.alibiScale), { ...(device && { device }) }) : undefined;
    this.window = config.layerTypes[layer] === "sliding" ? config.slidingWindow : 0;
  }

  get name(): string {
    return `blocks.${this.layer}.attn`;
  }

  /** x [batch, time, hiddenSize] to the same shape. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    const { numHeads, numKeyValueHeads, headSize } = this.config;
    const [batch, time] = x.shape;

    const heads = this.queryKeyValue.forward(x).reshape([batch, time, numHeads + 2 * numKeyValueHeads, headSize]);
    let [q, k, v] = heads.split([numHeads, numKeyValueHeads, numKeyValueHeads], 2);
    q = tap(context, this.name, "hook_q", this.#normalized(q, this.queryNorm, context));
    k = tap(context, this.name, "hook_k", this.#normalized(k, this.keyNorm, context));
    v = tap(context, this.name, "hook_v", v);
    if (this.rotary !== undefined) {
      q = tap(context, this.name, "hook_rot_q", this.rotary.rotate(q, context));
      k = tap(context, this.name, "hook_rot_k", this.rotary.rotate(k, context));
    }
    const cached = context.cache?.append(this.layer, k, v);

    const openly = tapped(context, this.name, "hook_attn_scores", "hook_pattern");
    const z = openly ? this.#openly(q, cached ? floats(cached.k, cached.keys) : k, cached ? floats(cached.v, cached.keys) : v, context) : this.#fused(q, cached ?? { k, v }, context);
    return this.output.forward(tap(context, this.name, "hook_z", z).reshape([batch, time, numHeads * headSize]));
  }

  /** x [batch, time, heads, headSize]; its norm is over a head, or over all at once. */
  #normalized(x: Tensor, norm: Norm | undefined, context: ForwardContext): Tensor {
    if (norm === undefined) return x;
    return this.config.qkNorm === "whole" ? norm.forward(x.reshape([...x.shape.slice(0, 2), -1]), context).reshape(x.shape) : norm.forward(x, context);
  }

  /** softmax(scale q k^T) v in one kernel, which never holds the whole matrix of weights. */
  #fused(q: Tensor, { k, v, length }: Pick<CachedKeys, "k" | "v"> & Partial<CachedKeys>, context: ForwardContext): Tensor {
    const { attentionScale: scale, attentionSoftcap: softcap, dropout: p } = this.config;
    const { starts, dropout: source } = context;
    return attention(q, k, v, {
      causal: true,
      window: this.window,
      scale,
      softcap,
      ...(this.slopes && { slopes: this.slopes }),
      ...(starts && { starts }),
      ...(length && { lengths: length }),
      ...(source && p > 0 && { dropout: { p, key: dropoutKey(source, this.site) } }),
    });
  }

  /** The same numbers step by step, for those who want to see the weights: scores and pattern [batch, heads, queries, keys]. */
  #openly(q: Tensor, k: Tensor, v: Tensor, context: ForwardContext): Tensor {
    const { numHeads, numKeyValueHeads, attentionScale, attentionSoftcap, dropout: p } = this.config;
    const device = q.device;
    const [queries, keys] = [q.shape[1], k.shape[1]];
    const byHead = (x: Tensor, groups: number) => {
      const [batch, time, n, width] = x.shape;
      const repeated = x.permute([0, 2, 1, 3]).reshape([batch, n, 1, time, width]).expand([batch, n, groups, time, width]);
      return repeated.reshape([batch, n * groups, time, width]).cast("f32");
    };
    const groups = numHeads / numKeyValueHeads;
    let scores = byHead(q, 1).matmul(byHead(k, groups).transpose(-1, -2)).mul(attentionScale);
    if (attentionSoftcap > 0) scores = scores.div(attentionSoftcap).tanh().mul(attentionSoftcap);

    const key = Tensor.arange(keys, { device });
    const distance = Tensor.arange(queries, { start: keys - queries, device }).reshape([queries, 1]).sub(key);
    if (this.slopes !== undefined) scores = scores.sub(distance.cast("f32").mul(this.slopes.reshape([numHeads, 1, 1])));
    scores = where(distance.less(0), -Infinity, scores);
    if (this.window > 0) scores = where(distance.greaterEqual(this.window), -Infinity, scores);
    if (context.starts !== undefined) scores = where(key.less(context.starts.reshape([-1, 1, 1, 1])), -Infinity, scores);
    scores = tap(context, this.name, "hook_attn_scores", scores);
    let pattern = tap(context, this.name, "hook_pattern", scores.softmax(-1));
    if (context.dropout !== undefined && p > 0) pattern = dropout(pattern, p, dropoutKey(context.dropout, this.site));
    return pattern.matmul(byHead(v, groups)).permute([0, 2, 1, 3]).cast(q.dtype);
  }

  /** Where this layer's dropout draws from; see `Block` for the others. */
  private get site(): number {
    return 1 + 3 * this.layer;
  }
}

/** The keys or values that count as a tensor of floats, however a cache keeps them. */
function floats(rows: Tensor | Int8Rows, count: number): Tensor {
  return (rows instanceof Tensor ? rows : dequantizeInt8(rows)).slice(1, 0, count);
}
