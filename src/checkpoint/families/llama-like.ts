/**
 * @file What the families after Llama share: RoPE, RMSNorm, SwiGLU, grouped queries, no biases, and Llama's names for all of it. A family says how it
 * differs from that.
 */

import type { TransformerConfig, TransformerOptions } from "../../model/index.js";
import type { GgufDialect } from "../gguf/dialect.js";
import type { ConfigFile, TensorPlan } from "./family.js";
import { blocks, layer, llamaBlock, same, type Parameters } from "./plans.js";
import { readRope, writeRope, type RopeNames } from "./rope.js";

/** Old checkpoints keep RoPE's frequencies. */
export const ignored = /\.rotary_emb\.inv_freq$/;

/** What Llama takes where config.json is silent; the families after it say what they take otherwise. */
export const llamaDefaults = {
  vocab_size: 32_000, hidden_size: 4096, intermediate_size: 11_008, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: null, head_dim: null,
  hidden_act: "silu", max_position_embeddings: 2048, rms_norm_eps: 1e-6, rope_theta: 10_000, tie_word_embeddings: false, attention_bias: false,
} as const;

/** A Llama without biases. */
export function readLlamaLike(json: ConfigFile, rope: RopeNames = {}): TransformerOptions {
  const activation = json.text("hidden_act");
  if (activation !== "silu" && activation !== "swish") json.unsupported("hidden_act", 'only "silu" is supported');
  const numHeads = json.count("num_attention_heads");
  const hiddenSize = json.count("hidden_size");
  return {
    vocabSize: json.count("vocab_size"),
    hiddenSize,
    numLayers: json.count("num_hidden_layers"),
    numHeads,
    numKeyValueHeads: keyValueHeads(json, numHeads),
    headSize: json.isNull("head_dim") ? hiddenSize / numHeads : json.count("head_dim"),
    intermediateSize: json.count("intermediate_size"),
    norm: "rmsnorm",
    normEps: json.number("rms_norm_eps"),
    position: "rope",
    ...readRope(json, rope),
    feedForward: "swiglu",
    tieEmbeddings: json.flag("tie_word_embeddings"),
    bias: false,
  };
}

/** Null is as many as there are heads, and absent what the family takes, which need not be the same. */
export function keyValueHeads(json: ConfigFile, numHeads: number): number {
  return json.isNull("num_key_value_heads") ? numHeads : json.count("num_key_value_heads");
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
