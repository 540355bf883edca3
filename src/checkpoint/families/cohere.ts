/**
 * @file Command R (Cohere 2024): attention and feed-forward side by side from one LayerNorm without bias, RoPE on pairs (2i, 2i + 1), scaled
 * logits, in larger ones a LayerNorm of each head of queries and keys. Cohere 2 (Command R7B) has layers that see a window, and RoPE in these alone.
 */

import type { TransformerConfig, TransformerOptions } from "../../model/index.js";
import type { GgufFacts, UsualOptions } from "../gguf/dialect.js";
import { gguf, type GgufValue } from "../gguf/metadata.js";
import { canSay, type ConfigFile, type TransformerFamily } from "./family.js";
import { layerTypeNames, periodicLayers, readLayerTypes } from "./layer-types.js";
import { ignored, llamaTensors } from "./llama-like.js";
import { readRope, writeRope } from "./rope.js";

export const cohere: TransformerFamily = {
  modelType: "cohere",
  architecture: "CohereForCausalLM",
  prefix: "model.",
  ignored,

  describes: (config) => canSay(cohere, config),
  read: (json) => ({ ...readCohere(json, 500_000), qkNorm: json.flag("use_qk_norm", false) ? "heads" : "none" }),
  write: (config) => ({ ...writeCohere(config), use_qk_norm: config.qkNorm === "heads" }),
  tensors: (config, parameters) => llamaTensors(config, parameters, { norm1: "input_layernorm" }),

  gguf: {
    architecture: "command-r",
    // llama.cpp looks for norms of queries and keys from 64 layers on.
    read: (facts, usual) => ({ ...readCohereGguf(facts, usual), qkNorm: usual.numLayers >= 64 ? "heads" : "none" }),
    write: writeCohereGguf,
  },
};

export const cohere2: TransformerFamily = {
  modelType: "cohere2",
  architecture: "Cohere2ForCausalLM",
  prefix: "model.",
  ignored,

  describes: (config) => canSay(cohere2, config),

  read(json) {
    const given = readCohere(json, 10_000);
    const layerTypes = readLayerTypes(json, given.numLayers, 4);
    return { ...given, slidingWindow: json.count("sliding_window", 4096), layerTypes, ropeLayers: layerTypes.map((type) => type === "sliding") };
  },

  write: (config) => ({ ...writeCohere(config), sliding_window: config.slidingWindow > 0 ? config.slidingWindow : 4096, layer_types: layerTypeNames(config) }),
  tensors: (config, parameters) => llamaTensors(config, parameters, { norm1: "input_layernorm" }),

  gguf: {
    architecture: "cohere2",
    read(facts, usual) {
      const layerTypes = periodicLayers(usual.numLayers, 4);
      return { ...readCohereGguf(facts, usual), layerTypes, ropeLayers: layerTypes.map((type) => type === "sliding") };
    },
    write: writeCohereGguf,
  },
};

function readCohereGguf({ number }: GgufFacts, usual: UsualOptions): TransformerOptions {
  return {
    ...usual,
    norm: "layernorm",
    parallelBlock: "sharedNorm",
    position: "rope",
    ropeInterleaved: true,
    logitScale: number("logit_scale") ?? 0.0625,
    feedForward: "swiglu",
    tieEmbeddings: true,
  };
}

function writeCohereGguf({ logitScale }: TransformerConfig): Record<string, GgufValue> {
  return { logit_scale: gguf.float32(logitScale), "rope.scaling.type": gguf.string("none") };
}

function readCohere(json: ConfigFile, theta: number): TransformerOptions {
  json.only("hidden_act", "silu");
  const numHeads = json.count("num_attention_heads");
  const attentionBias = json.flag("attention_bias", false);
  const rope = readRope(json, { theta, contextLength: 8192 });
  return {
    vocabSize: json.count("vocab_size"),
    hiddenSize: json.count("hidden_size"),
    numLayers: json.count("num_hidden_layers"),
    numHeads,
    numKeyValueHeads: json.count("num_key_value_heads", numHeads),
    intermediateSize: json.count("intermediate_size"),
    norm: "layernorm",
    normEps: json.number("layer_norm_eps", 1e-5),
    parallelBlock: "sharedNorm",
    position: "rope",
    ...rope,
    ropeInterleaved: true,
    // Command R says here how long its texts may be, and less in `max_position_embeddings`.
    contextLength: Math.max(rope.contextLength, json.count("model_max_length", 1)),
    logitScale: json.number("logit_scale", 0.0625),
    feedForward: "swiglu",
    tieEmbeddings: json.flag("tie_word_embeddings", true),
    queryKeyValueBias: attentionBias,
    attentionOutputBias: attentionBias,
    mlpBias: false,
    normBias: false,
    dropout: json.number("attention_dropout", 0),
  };
}

const writeCohere = (config: TransformerConfig): Record<string, unknown> => ({
  vocab_size: config.vocabSize,
  hidden_size: config.hiddenSize,
  num_hidden_layers: config.numLayers,
  num_attention_heads: config.numHeads,
  num_key_value_heads: config.numKeyValueHeads,
  intermediate_size: config.intermediateSize,
  max_position_embeddings: config.contextLength,
  layer_norm_eps: config.normEps,
  ...writeRope(config),
  logit_scale: config.logitScale,
  hidden_act: "silu",
  tie_word_embeddings: config.tieEmbeddings,
  attention_bias: config.queryKeyValueBias,
  attention_dropout: config.dropout,
  initializer_range: 0.02,
});
