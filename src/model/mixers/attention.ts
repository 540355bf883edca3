/**
 * @file Causal self-attention (Vaswani et al. 2017, section 3.2): each token asks (query) all earlier ones (keys) and takes a mixture of what
 * they offer (values), in several heads. With fewer key heads than query heads it is grouped-query attention (Ainslie et al. 2023).
 */

import { z } from "zod";
import { ConfigError } from "../../errors.js";
import { Tensor, attention, attentionWithPattern, dequantizeInt8, type Int8Rows } from "../../tensor/index.js";
import { dropoutKey, type ForwardContext } from "../context.js";
import { FusedLinear, Linear } from "../linear.js";
import { buildQueryKeyNorm, queryKeyNormSchema, type QueryKeyNormSpec } from "../norms/query-key-norm.js";
import type { Norm } from "../norms/norm.js";
import { alibiSchema, alibiSlopes, type AlibiSpec } from "../positions/alibi.js";
import { ropeRegime } from "../positions/rope-scaling.js";
import { Rotary, completedRope, ropeSchema, type RopeSpec } from "../positions/rotary.js";
import type { BuildPlace, ModelShape, PartKind } from "../specs.js";
import type { StateOptions, Stateful } from "../state.js";
import { KeyValueState } from "./key-value-state.js";
import { Mixer, type ActivationSize } from "./mixer.js";

const count = z.number().int().positive();

const schema = z.strictObject({
  kind: z.literal("attention"),
  /** Query heads. */
  numHeads: count,
  /** Key and value heads: as many as query heads is multi-head attention, fewer is grouped-query, one is multi-query. Default: numHeads. */
  numKeyValueHeads: count.optional(),
  /** Width of a head. Default: hiddenSize / numHeads. */
  headSize: count.optional(),
  queryKeyValueBias: z.boolean().default(true),
  outputBias: z.boolean().default(true),
  /** Scores are q k^T times this. Default: 1 / sqrt(headSize). */
  scale: z.number().positive().optional(),
  /** Where above 0: scores become softcap * tanh(score / softcap) (Gemma 2). */
  softcap: z.number().min(0).default(0),
  /** How many positions back a query sees, itself included; 0 is all. */
  window: z.number().int().min(0).default(0),
  queryKeyNorm: queryKeyNormSchema.default({ kind: "none" }),
  positions: z.discriminatedUnion("kind", [z.strictObject({ kind: z.literal("none") }), ropeSchema, alibiSchema]).default({ kind: "none" }),
});

export interface AttentionSpec {
  readonly kind: "attention";
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headSize: number;
  readonly queryKeyValueBias: boolean;
  readonly outputBias: boolean;
  readonly scale: number;
  readonly softcap: number;
  readonly window: number;
  readonly queryKeyNorm: QueryKeyNormSpec;
  readonly positions: { readonly kind: "none" } | RopeSpec | AlibiSpec;
}

export class Attention extends Mixer implements Stateful<KeyValueState> {
  readonly hookName = "attn";
  /** Queries, keys and values in one product: [(numHeads + 2 numKeyValueHeads) headSize, hiddenSize]. */
  readonly queryKeyValue: FusedLinear;
  readonly output: Linear;
  readonly queryNorm: Norm | undefined;
  readonly keyNorm: Norm | undefined;
  readonly rotary: Rotary | undefined;
  /** ALiBi's, [numHeads]. */
  readonly slopes: Tensor | undefined;

  constructor(
    readonly spec: AttentionSpec,
    private readonly place: BuildPlace,
  ) {
    super();
    const { init, hiddenSize, std, residualStd } = place;
    const { numHeads, numKeyValueHeads, headSize, positions } = spec;
    const keys = numKeyValueHeads * headSize;
    this.queryKeyValue = new FusedLinear(init, hiddenSize, { query: numHeads * headSize, key: keys, value: keys }, { bias: spec.queryKeyValueBias, std });
    this.output = new Linear(init, numHeads * headSize, hiddenSize, { bias: spec.outputBias, std: residualStd });
    this.queryNorm = buildQueryKeyNorm(spec.queryKeyNorm, init, numHeads, headSize);
    this.keyNorm = buildQueryKeyNorm(spec.queryKeyNorm, init, numKeyValueHeads, headSize);
    this.rotary = positions.kind === "rope" ? new Rotary(positions, headSize, place.rotary) : undefined;
    this.slopes = positions.kind === "alibi" ? Tensor.from(alibiSlopes(numHeads).map((slope) => slope * positions.scale), init.place) : undefined;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { numHeads, numKeyValueHeads, headSize } = this.spec;
    const [batch, time] = x.shape;

    const heads = this.queryKeyValue.forward(x).reshape([batch, time, numHeads + 2 * numKeyValueHeads, headSize]);
    let [q, k, v] = heads.split([numHeads, numKeyValueHeads, numKeyValueHeads], 2);
    q = this.tap(context, "hook_q", this.queryNorm?.forward(q, context) ?? q);
    k = this.tap(context, "hook_k", this.keyNorm?.forward(k, context) ?? k);
    v = this.tap(context, "hook_v", v);
    if (this.rotary !== undefined) {
      q = this.tap(context, "hook_rot_q", this.rotary.rotate(q, context));
      k = this.tap(context, "hook_rot_k", this.rotary.rotate(k, context));
    }
    const z = this.tap(context, "hook_z", this.#attend(q, k, v, context));
    return this.output.forward(z.reshape([batch, time, numHeads * headSize]));
  }

  /** softmax(scale q k^T) v, [batch, time, numHeads, headSize]: in one kernel, or step by step where somebody listens to the scores. */
  #attend(q: Tensor, k: Tensor, v: Tensor, context: ForwardContext): Tensor {
    const { scale, softcap, window } = this.spec;
    const { state, dropout: source } = context;
    const p = this.place.dropout;
    const remembered = state?.of(this).append(k, v, state);
    const options = {
      scale, softcap, window,
      ...(this.slopes && { slopes: this.slopes }),
      ...(state && { lengths: state.lengths }),
      ...(source && p > 0 && { dropout: { p, key: dropoutKey(source, 1 + 3 * this.place.layer) } }),
    };
    if (!this.isTapped(context, "hook_attn_scores", "hook_pattern")) {
      return attention(q, remembered?.k ?? k, remembered?.v ?? v, state === undefined ? options : { ...options, slots: state.slots });
    }
    const longest = Math.max(...context.lengths);
    const [keys, values] = remembered === undefined ? [k, v] : [remembered.k, remembered.v].map((all) => floats(all).indexSelect(state!.slots).slice(1, 0, longest));
    return attentionWithPattern(q, keys, values, {
      ...options,
      onScores: (scores) => this.tap(context, "hook_attn_scores", scores),
      onPattern: (pattern) => this.tap(context, "hook_pattern", pattern),
    });
  }

  newState(options: StateOptions): KeyValueState {
    const { numKeyValueHeads: keyHeads, headSize, positions } = this.spec;
    const depends = positions.kind === "rope" && (positions.scaling.kind === "dynamic" || positions.scaling.kind === "longrope");
    return new KeyValueState({ keyHeads, headSize, ...(depends && { regimeOf: (length) => ropeRegime(positions.scaling, length) }) }, options);
  }

  override forwardFlops(time: number): number {
    return super.forwardFlops(time) + 4 * this.spec.numHeads * this.spec.headSize * time;
  }

  get activationSize(): ActivationSize {
    const { numHeads, numKeyValueHeads, headSize } = this.spec;
    const size = (3 * numHeads + 4 * numKeyValueHeads) * headSize;
    return { live: size, kept: size };
  }

  protected override tapName(field: string): string | undefined {
    return { queryNorm: "q_norm", keyNorm: "k_norm" }[field] ?? field;
  }
}

/** Keys or values as floats, however the state keeps them. */
function floats(rows: Tensor | Int8Rows): Tensor {
  return rows instanceof Tensor ? rows : dequantizeInt8(rows);
}

export const attentionKind: PartKind<AttentionSpec, Attention> = {
  kind: "attention",
  schema,
  complete(given: z.output<typeof schema>, { hiddenSize, contextLength }: ModelShape): AttentionSpec {
    const { numHeads, numKeyValueHeads = numHeads, positions } = given;
    if (given.headSize === undefined && hiddenSize % numHeads !== 0) {
      throw new ConfigError("numHeads", `${numHeads} heads do not divide the hidden size ${hiddenSize}.`, { hint: "Choose a divisor, or give headSize." });
    }
    if (numHeads % numKeyValueHeads !== 0) throw new ConfigError("numKeyValueHeads", `${numKeyValueHeads} key heads do not divide the ${numHeads} query heads.`);
    const headSize = given.headSize ?? hiddenSize / numHeads;
    const completed = positions.kind === "rope" ? completedRope(positions, headSize, contextLength) : positions;
    return { ...given, numKeyValueHeads, headSize, scale: given.scale ?? headSize ** -0.5, positions: completed };
  },
  build: (spec, place) => new Attention(spec, place),
};
