/**
 * @file BLOOM (BigScience 2022): ALiBi, a LayerNorm on the embedding and before each half of a block, an MLP four times as wide, biases
 * everywhere. Queries, keys and values are one matrix, head by head.
 */

import { canSay, type TransformerFamily } from "./family.js";
import { blocks, layer, megatronBlock, same } from "./plans.js";

export const bloom: TransformerFamily = {
  modelType: "bloom",
  architecture: "BloomForCausalLM",
  prefix: "transformer.",
  aliases: { n_embed: "hidden_size", num_hidden_layers: "n_layer", num_attention_heads: "n_head" },
  defaults: {
    vocab_size: 250_880, hidden_size: 64, n_layer: 2, n_head: 8, layer_norm_epsilon: 1e-5, apply_residual_connection_post_layernorm: false, tie_word_embeddings: true,
    // What Megatron wrote into its first files; all of BLOOM has it.
    seq_length: 2048, offset_alibi: 100, skip_bias_add: true,
  },

  describes: (config) => canSay(bloom, config),

  read(json) {
    json.only("apply_residual_connection_post_layernorm", false);
    return {
      vocabSize: json.count("vocab_size"),
      hiddenSize: json.count("hidden_size"),
      numLayers: json.count("n_layer"),
      numHeads: json.count("n_head"),
      contextLength: json.count("seq_length"),
      norm: "layernorm",
      normEps: json.number("layer_norm_epsilon"),
      embeddingNorm: true,
      position: "alibi",
      feedForward: "geluTanh",
      tieEmbeddings: json.flag("tie_word_embeddings"),
      bias: true,
      dropout: json.number("hidden_dropout", 0),
    };
  },

  write: (config) => ({
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    n_layer: config.numLayers,
    n_head: config.numHeads,
    seq_length: config.contextLength,
    layer_norm_epsilon: config.normEps,
    apply_residual_connection_post_layernorm: false,
    tie_word_embeddings: config.tieEmbeddings,
    attention_dropout: config.dropout,
    hidden_dropout: config.dropout,
    initializer_range: 0.02,
  }),

  gguf: {
    architecture: "bloom",
    fusedQueryKeyValue: true,
    everythingHasBias: true,
    read: (_, usual) => ({ ...usual, norm: "layernorm", embeddingNorm: true, position: "alibi", feedForward: "geluTanh" }),
  },

  tensors: (config, parameters) => [
    ...same(parameters, "embed", "transformer.word_embeddings.weight"),
    ...layer(parameters, "embeddingNorm", "transformer.word_embeddings_layernorm"),
    ...blocks(config, (ours, i) => megatronBlock(config, parameters, ours, `transformer.h.${i}`)),
    ...layer(parameters, "finalNorm", "transformer.ln_f"),
    ...same(parameters, "unembed", "lm_head.weight"),
  ],
};
