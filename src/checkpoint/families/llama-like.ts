/**
 * @file What the families after Llama share: RoPE, RMSNorm, SwiGLU, grouped queries, no biases, and Llama's names for all of it. A family says how it
 * differs from that.
 */

import type { TransformerConfig, TransformerOptions } from "../../model/index.js";
import type { GgufDialect } from "../gguf/dialect.js";
import type { ConfigFile, TensorPlan } from "./family.js";
import { blocks, layer, llamaBlock, same, type Parameters } from "./plans.js";
import { readRope, writeRope, type RopeDefaults } from "./rope.js";

/** Old checkpoints keep RoPE's frequencies, and some a copy of a tied head. */
export const ignored = /\.rotary_emb\.inv_freq$|^lm_head\.weight$/;

/** What a family takes where config.json is silent. */
export interface LlamaDefaults extends RopeDefaults {
  readonly normEps?: number;
  readonly tieEmbeddings?: boolean;
  readonly headSize?: number;
}

/** A Llama without biases. */
export function readLlamaLike(json: ConfigFile, { normEps = 1e-6, tieEmbeddings = false, headSize, ...rope }: LlamaDefaults = {}): TransformerOptions {
  json.only("hidden_act", "silu");
  const numHeads = json.count("num_attention_heads");
  const hiddenSize = json.count("hidden_size");
  return {
    vocabSize: json.count("vocab_size"),
    hiddenSize,
    numLayers: json.count("num_hidden_layers"),
    numHeads,
    numKeyValueHeads: json.count("num_key_value_heads", numHeads),
    headSize: json.count("head_dim", headSize ?? hiddenSize / numHeads),
    intermediateSize: json.count("intermediate_size"),
    norm: "rmsnorm",
    normEps: json.number("rms_norm_eps", normEps),
    position: "rope",
    ...readRope(json, rope),
    feedForward: "swiglu",
    tieEmbeddings: json.flag("tie_word_embeddings", tieEmbeddings),
    bias: false,
  };
}

export function writeLlamaLike(config: TransformerConfig): Record<string, unknown> {
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    num_key_value_heads: config.numKeyValueHeads,
    head_dim: config.headSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: config.normEps,
    ...writeRope(config),
    hidden_act: "silu",
    tie_word_embeddings: config.tieEmbeddings,
    attention_dropout: config.dropout,
    initializer_range: 0.02,
  };
}

/** Biases of all four attention projections under one flag, and of the feed-forward under another where the family knows it. */
export function readBiases(json: ConfigFile, { ofMlp }: { readonly ofMlp: boolean }): Pick<TransformerOptions, "queryKeyValueBias" | "attentionOutputBias" | "mlpBias"> {
  const attention = json.flag("attention_bias", false);
  return { queryKeyValueBias: attention, attentionOutputBias: attention, mlpBias: ofMlp && json.flag("mlp_bias", false) };
}

export function writeBiases(config: TransformerConfig, { ofMlp }: { readonly ofMlp: boolean }): Record<string, boolean> {
  return { attention_bias: config.queryKeyValueBias, ...(ofMlp && { mlp_bias: config.mlpBias }) };
}

/** Llama as GGUF says it: all but its usual keys is in its name. */
export const readLlamaGguf: GgufDialect["read"] = (_, usual) => ({ ...usual, norm: "rmsnorm", position: "rope", feedForward: "swiglu" });

/** `norms`: what the file calls the norms of a block, by our names. */
export function llamaTensors(
  config: TransformerConfig,
  parameters: Parameters,
  norms: Readonly<Record<string, string>> = { norm1: "input_layernorm", norm2: "post_attention_layernorm" },
): TensorPlan[] {
  return [
    ...same(parameters, "embed", "model.embed_tokens.weight"),
    ...blocks(config, (ours, i) => llamaBlock(config, parameters, ours, `model.layers.${i}`, norms)),
    ...layer(parameters, "finalNorm", "model.norm"),
    ...same(parameters, "unembed", "lm_head.weight"),
  ];
}
