/**
 * @file GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023): LayerNorm, an MLP, biases, RoPE on a part of each head; attention and
 * feed-forward side by side, each from a norm of its own. Queries, keys and values are one matrix, head by head.
 */

import type { TransformerConfig } from "../../model/index.js";
import { gguf } from "../gguf/metadata.js";
import { activationName, readActivation } from "./activations.js";
import { canSay, type TransformerFamily } from "./family.js";
import { blocks, layer, megatronBlock, same } from "./plans.js";
import { readRope, writeRope } from "./rope.js";

export const gptNeoX: TransformerFamily = {
  modelType: "gpt_neox",
  architecture: "GPTNeoXForCausalLM",
  prefix: "gpt_neox.",
  // Old checkpoints keep their causal masks and RoPE's frequencies.
  ignored: /\.attention\.(masked_)?bias$|\.rotary_emb\.inv_freq$/,
  defaults: {
    vocab_size: 50_432, hidden_size: 6144, num_hidden_layers: 44, num_attention_heads: 64, intermediate_size: 24_576, hidden_act: "gelu", max_position_embeddings: 2048,
    layer_norm_eps: 1e-5, rotary_emb_base: 10_000, rotary_pct: 0.25, tie_word_embeddings: false, use_parallel_residual: true, attention_bias: true,
  },

  describes: (config) => canSay(gptNeoX, config),

  read(json) {
    const attentionBias = json.flag("attention_bias");
    return {
      vocabSize: json.count("vocab_size"),
      hiddenSize: json.count("hidden_size"),
      numLayers: json.count("num_hidden_layers"),
      numHeads: json.count("num_attention_heads"),
      intermediateSize: json.count("intermediate_size"),
      norm: "layernorm",
      normEps: json.number("layer_norm_eps"),
      parallelBlock: json.flag("use_parallel_residual") ? "twoNorms" : "none",
      position: "rope",
      ...readRope(json, { theta: "rotary_emb_base", fraction: "rotary_pct", wholeHeads: false }),
      feedForward: readActivation(json, "hidden_act"),
      tieEmbeddings: json.flag("tie_word_embeddings"),
      queryKeyValueBias: attentionBias,
      attentionOutputBias: attentionBias,
      mlpBias: true,
      normBias: true,
      dropout: json.number("hidden_dropout", 0),
    };
  },

  write: (config) => ({
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.contextLength,
    layer_norm_eps: config.normEps,
    use_parallel_residual: config.parallelBlock === "twoNorms",
    rotary_emb_base: config.ropeTheta,
    rotary_pct: config.rotaryFraction,
    ...writeNamedRope(config),
    hidden_act: activationName(config),
    tie_word_embeddings: config.tieEmbeddings,
    attention_bias: config.queryKeyValueBias,
    attention_dropout: config.dropout,
    hidden_dropout: config.dropout,
    initializer_range: 0.02,
  }),

  gguf: {
    architecture: "gptneox",
    fusedQueryKeyValue: true,
    everythingHasBias: true,
    read: ({ flag }, usual) => ({
      ...usual,
      norm: "layernorm",
      parallelBlock: flag("use_parallel_residual") !== false ? "twoNorms" : "none",
      position: "rope",
      feedForward: "gelu",
      tieEmbeddings: false,
    }),
    write: (config) => ({ use_parallel_residual: gguf.bool(config.parallelBlock === "twoNorms") }),
  },

  tensors: (config, parameters) => [
    ...same(parameters, "embed", "gpt_neox.embed_in.weight"),
    ...blocks(config, (ours, i) => megatronBlock(config, parameters, ours, `gpt_neox.layers.${i}`, { attention: "attention" })),
    ...layer(parameters, "finalNorm", "gpt_neox.final_layer_norm"),
    ...same(parameters, "unembed", "embed_out.weight"),
  ],
};

/** With the base and the share of a head under its own names, and the share always said: without it transformers takes a quarter. */
function writeNamedRope(config: TransformerConfig): Record<string, unknown> {
  const { rope_theta: _theta, partial_rotary_factor: _fraction, rope_parameters, ...fields } = writeRope(config);
  return { ...fields, rope_parameters: { ...rope_parameters, partial_rotary_factor: config.rotaryFraction } };
}
