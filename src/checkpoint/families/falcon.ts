/**
 * @file Falcon (Almazrouei et al. 2023), in three shapes: 7B, with one key head and both halves of a block side by side from one norm; 40B
 * and later ("new_decoder_architecture"), with several key heads and a norm for each half; and RW, with ALiBi and one half after the other.
 * LayerNorm, an MLP, no biases but RW's. Queries, keys and values are one matrix, key head by key head.
 *
 * Falcon divides its scores by sqrt(headSize) after adding ALiBi, so its slopes are that much smaller. transformers rounds slopes and
 * biases to bfloat16; here they are exact.
 */

import type { TransformerConfig } from "../../model/index.js";
import { gguf } from "../gguf/metadata.js";
import { activationName, readActivation } from "./activations.js";
import { canSay, type TransformerFamily } from "./family.js";
import { blocks, layer, megatronBlock, same } from "./plans.js";
import { readRope, writeRope } from "./rope.js";

export const falcon: TransformerFamily = {
  modelType: "falcon",
  architecture: "FalconForCausalLM",
  prefix: "transformer.",
  aliases: { n_embed: "hidden_size", n_head: "num_attention_heads", n_layer: "num_hidden_layers", n_head_kv: "num_kv_heads" },
  defaults: {
    vocab_size: 65_024, hidden_size: 4544, num_hidden_layers: 32, num_attention_heads: 71, layer_norm_epsilon: 1e-5, alibi: false, new_decoder_architecture: false,
    multi_query: true, parallel_attn: true, bias: false, max_position_embeddings: 2048, rope_theta: 10_000, activation: "gelu", tie_word_embeddings: true,
  },

  describes: (config) => canSay(falcon, config),

  read(json) {
    const isNew = json.flag("new_decoder_architecture");
    const isParallel = json.flag("parallel_attn");
    const norms = json.count("num_ln_in_parallel_attn", isNew ? 2 : 1);
    if (isNew && !isParallel) json.unsupported("parallel_attn", "with new_decoder_architecture it is true");
    if (norms > (isNew ? 2 : 1)) json.unsupported("num_ln_in_parallel_attn", `at most ${isNew ? 2 : 1} here`);
    const hiddenSize = json.count("hidden_size");
    const numHeads = json.count("num_attention_heads");
    const [isMultiQuery, keyHeads] = [json.flag("multi_query"), json.count("num_kv_heads", numHeads)];
    const isAlibi = json.flag("alibi");
    // transformers writes it all the same.
    if (isAlibi) json.skip("rope_parameters", "rope_scaling", "rope_theta", "max_position_embeddings");
    return {
      vocabSize: json.count("vocab_size"),
      hiddenSize,
      numLayers: json.count("num_hidden_layers"),
      numHeads,
      numKeyValueHeads: !isNew && isMultiQuery ? 1 : keyHeads,
      intermediateSize: json.count("ffn_hidden_size", 4 * hiddenSize),
      contextLength: json.count("max_position_embeddings"),
      norm: "layernorm",
      normEps: json.number("layer_norm_epsilon"),
      parallelBlock: !isParallel ? "none" : norms === 2 ? "twoNorms" : "sharedNorm",
      ...(isAlibi ? { position: "alibi", alibiScale: (hiddenSize / numHeads) ** -0.5 } : { position: "rope", ...readRope(json) }),
      feedForward: readActivation(json, "activation"),
      tieEmbeddings: json.flag("tie_word_embeddings"),
      bias: json.flag("bias"),
      normBias: true,
      dropout: json.number("hidden_dropout", 0),
    };
  },

  write(config) {
    const { numHeads, numKeyValueHeads, parallelBlock, position } = config;
    const isMultiQuery = numKeyValueHeads === 1;
    const isNew = parallelBlock === "twoNorms" || (!isMultiQuery && numKeyValueHeads !== numHeads);
    return {
      vocab_size: config.vocabSize,
      hidden_size: config.hiddenSize,
      num_hidden_layers: config.numLayers,
      num_attention_heads: numHeads,
      num_kv_heads: isNew ? numKeyValueHeads : numHeads,
      new_decoder_architecture: isNew,
      ...(isNew ? { num_ln_in_parallel_attn: parallelBlock === "twoNorms" ? 2 : 1 } : { multi_query: isMultiQuery }),
      parallel_attn: parallelBlock !== "none",
      ffn_hidden_size: config.intermediateSize,
      max_position_embeddings: config.contextLength,
      layer_norm_epsilon: config.normEps,
      alibi: position === "alibi",
      ...(position === "rope" && writeRope(config)),
      activation: activationName(config),
      tie_word_embeddings: config.tieEmbeddings,
      bias: config.bias,
      attention_dropout: config.dropout,
      hidden_dropout: config.dropout,
      initializer_range: 0.02,
    };
  },

  gguf: {
    architecture: "falcon",
    fusedQueryKeyValue: true,
    norms: ({ parallelBlock }) => (parallelBlock === "twoNorms" ? { norm1: "attn_norm_2", norm2: "attn_norm" } : {}),
    read: ({ has }, usual) => ({
      ...usual,
      norm: "layernorm",
      parallelBlock: has("blk.0.attn_norm_2.weight") ? "twoNorms" : "sharedNorm",
      position: "rope",
      feedForward: "gelu",
      bias: false,
      queryKeyValueBias: false,
      attentionOutputBias: false,
      mlpBias: false,
    }),
    // The order of the rows of queries, keys and values, by the name of who thought of it.
    write: () => ({ tensor_data_layout: gguf.string("jploski") }),
  },

  tensors: (config, parameters) => [
    ...same(parameters, "embed", "transformer.word_embeddings.weight"),
    ...blocks(config, (ours, i) => megatronBlock(config, parameters, ours, `transformer.h.${i}`, normNames(config))),
    ...layer(parameters, "finalNorm", "transformer.ln_f"),
    ...same(parameters, "unembed", "lm_head.weight"),
  ],
};

const normNames = ({ parallelBlock }: TransformerConfig) => (parallelBlock === "twoNorms" ? { norm1: "ln_attn", norm2: "ln_mlp" } : {});
