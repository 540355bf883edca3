/** @file Granite 3 (IBM 2024): Llama with multipliers of the embedding, of what a block adds, of the attention scores and of the logits. */

import { gguf } from "../gguf/metadata.js";
import { canSay, type TransformerFamily } from "./family.js";
import { ignored, llamaDefaults, llamaTensors, readBiases, readLlamaGguf, readLlamaLike, writeBiases, writeLlamaLike } from "./llama-like.js";

export const granite: TransformerFamily = {
  modelType: "granite",
  architecture: "GraniteForCausalLM",
  prefix: "model.",
  ignored,

  defaults: { ...llamaDefaults, mlp_bias: false, embedding_multiplier: 1, logits_scaling: 1, residual_multiplier: 1, attention_multiplier: 1 },

  describes: (config) => canSay(granite, config),

  read: (json) => ({
    ...readLlamaLike(json),
    ...readBiases(json, { ofMlp: true }),
    embeddingScale: json.number("embedding_multiplier"),
    residualScale: json.number("residual_multiplier"),
    attentionScale: json.number("attention_multiplier"),
    logitScale: 1 / json.number("logits_scaling"),
  }),

  write: (config) => ({
    ...writeLlamaLike(config),
    ...writeBiases(config, { ofMlp: true }),
    embedding_multiplier: config.embeddingScale,
    residual_multiplier: config.residualScale,
    attention_multiplier: config.attentionScale,
    // One place of rounding less than the reciprocal of a reciprocal has, so that 49 comes back as 49.
    logits_scaling: Number((1 / config.logitScale).toPrecision(15)),
  }),

  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: {
    architecture: "granite",
    neighbouringPairs: true,
    read: (facts, usual) => ({
      ...readLlamaGguf(facts, usual),
      embeddingScale: facts.number("embedding_scale") ?? 1,
      residualScale: facts.number("residual_scale") ?? 1,
      attentionScale: facts.number("attention.scale") ?? usual.headSize ** -0.5,
      logitScale: 1 / (facts.number("logit_scale") ?? 1),
      // By this key llama.cpp knows Granites without positions.
      ...(facts.flag("rope.scaling.finetuned") === false && { ropeLayers: [false] }),
    }),
    write: (config) => ({
      ...(!config.ropeLayers.includes(true) && { "rope.scaling.finetuned": gguf.bool(false) }),
      embedding_scale: gguf.float32(config.embeddingScale),
      residual_scale: gguf.float32(config.residualScale),
      "attention.scale": gguf.float32(config.attentionScale),
      logit_scale: gguf.float32(1 / config.logitScale),
    }),
  },
};
