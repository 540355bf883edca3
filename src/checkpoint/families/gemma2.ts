/**
 * @file Gemma 2 (Gemma Team 2024): RMSNorms that multiply by weight + 1 before and after each half of a block, a gated unit with gelu, embeddings
 * scaled by sqrt(hiddenSize), soft caps on scores and logits, and layers that see a window and everything by turns.
 */

import type { TransformerConfig, TransformerOptions } from "../../model/index.js";
import type { UsualOptions } from "../gguf/dialect.js";
import { gguf } from "../gguf/metadata.js";
import { canSay, type ConfigFile, type TransformerFamily, type TensorPlan } from "./family.js";
import { layerTypeNames, periodicLayers, readLayerTypes } from "./layer-types.js";
import { ignored, llamaTensors } from "./llama-like.js";
import type { Parameters } from "./plans.js";
import { readRope, writeRope } from "./rope.js";

export const gemma2: TransformerFamily = {
  modelType: "gemma2",
  architecture: "Gemma2ForCausalLM",
  prefix: "model.",
  ignored,

  describes: (config) => canSay(gemma2, config),
  read: (json) => ({ ...readGemma(json, { attentionSoftcap: 50, logitSoftcap: 30, pattern: 2 }), ...readRope(json, { contextLength: 8192 }) }),
  write: (config) => ({ ...writeGemma(config), ...writeRope(config) }),
  tensors: gemmaTensors,

  gguf: {
    architecture: "gemma2",
    read: (facts, usual) => ({
      ...readGemmaGguf(usual, 46),
      attentionSoftcap: facts.number("attn_logit_softcapping") ?? 50,
      logitSoftcap: facts.number("final_logit_softcapping") ?? 30,
      layerTypes: periodicLayers(usual.numLayers, 2),
    }),
    write: ({ attentionSoftcap, logitSoftcap }) => ({
      attn_logit_softcapping: attentionSoftcap > 0 ? gguf.float32(attentionSoftcap) : undefined,
      final_logit_softcapping: logitSoftcap > 0 ? gguf.float32(logitSoftcap) : undefined,
    }),
  },
};

/** `largest`: the layers of the one size whose scores are scaled by the width of the model over the heads, which GGUF has no key for. */
export function readGemmaGguf(usual: UsualOptions, largest: number): TransformerOptions {
  const { hiddenSize, numHeads, numLayers, headSize } = usual;
  return {
    ...usual,
    norm: "rmsnorm",
    normOffset: 1,
    normPlacement: "sandwich",
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: (numLayers === largest ? hiddenSize / numHeads : headSize) ** -0.5,
    position: "rope",
    feedForward: "gegluTanh",
    tieEmbeddings: true,
  };
}

/** What Gemma 2 and 3 share, all but RoPE. The defaults are of what a file leaves out; `null` in it is no soft cap. */
export function readGemma(json: ConfigFile, defaults: { readonly attentionSoftcap: number; readonly logitSoftcap: number; readonly pattern: number }): Omit<TransformerOptions, "contextLength"> {
  const activation = json.text("hidden_activation", "gelu_pytorch_tanh");
  if (activation !== "gelu_pytorch_tanh" && activation !== "gelu") json.unsupported("hidden_activation", "it knows gelu_pytorch_tanh and gelu");
  json.only("use_bidirectional_attention", false);
  const softcap = (field: string, fallback: number) => (json.json[field] === null ? 0 : json.number(field, fallback));
  const hiddenSize = json.count("hidden_size");
  const numLayers = json.count("num_hidden_layers");
  const attentionBias = json.flag("attention_bias", false);
  return {
    vocabSize: json.count("vocab_size"),
    hiddenSize,
    numLayers,
    numHeads: json.count("num_attention_heads", 8),
    numKeyValueHeads: json.count("num_key_value_heads", 4),
    headSize: json.count("head_dim", 256),
    intermediateSize: json.count("intermediate_size"),
    norm: "rmsnorm",
    normEps: json.number("rms_norm_eps", 1e-6),
    normOffset: 1,
    normPlacement: "sandwich",
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: json.number("query_pre_attn_scalar", 256) ** -0.5,
    attentionSoftcap: softcap("attn_logit_softcapping", defaults.attentionSoftcap),
    logitSoftcap: softcap("final_logit_softcapping", defaults.logitSoftcap),
    slidingWindow: json.count("sliding_window", 4096),
    layerTypes: readLayerTypes(json, numLayers, defaults.pattern),
    position: "rope",
    feedForward: activation === "gelu" ? "geglu" : "gegluTanh",
    tieEmbeddings: json.flag("tie_word_embeddings", true),
    queryKeyValueBias: attentionBias,
    attentionOutputBias: attentionBias,
    mlpBias: false,
    dropout: json.number("attention_dropout", 0),
  };
}

export function writeGemma(config: TransformerConfig): Record<string, unknown> {
  const { attentionSoftcap, logitSoftcap } = config;
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
    // transformers takes whole numbers alone.
    query_pre_attn_scalar: Math.round(config.attentionScale ** -2),
    attn_logit_softcapping: attentionSoftcap > 0 ? attentionSoftcap : null,
    final_logit_softcapping: logitSoftcap > 0 ? logitSoftcap : null,
    sliding_window: config.slidingWindow > 0 ? config.slidingWindow : 4096,
    layer_types: layerTypeNames(config),
    hidden_activation: config.feedForward === "geglu" ? "gelu" : "gelu_pytorch_tanh",
    tie_word_embeddings: config.tieEmbeddings,
    attention_bias: config.queryKeyValueBias,
    attention_dropout: config.dropout,
    initializer_range: 0.02,
  };
}

export function gemmaTensors(config: TransformerConfig, parameters: Parameters): TensorPlan[] {
  return llamaTensors(config, parameters, {
    norm1: "input_layernorm", outputNorm1: "post_attention_layernorm", norm2: "pre_feedforward_layernorm", outputNorm2: "post_feedforward_layernorm",
  });
}
