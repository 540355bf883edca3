/** @file OLMo 2 (OLMo Team 2025): Llama with norms of what the halves of a block add in place of what they read, and of queries and keys as a whole. */

import { canSay, type TransformerFamily } from "./family.js";
import { ignored, llamaTensors, readBiases, readLlamaGguf, readLlamaLike, writeBiases, writeLlamaLike } from "./llama-like.js";

export const olmo2: TransformerFamily = {
  modelType: "olmo2",
  architecture: "Olmo2ForCausalLM",
  prefix: "model.",
  ignored,

  describes: (config) => canSay(olmo2, config),
  read: (json) => ({ ...readLlamaLike(json, { normEps: 1e-5 }), ...readBiases(json, { ofMlp: false }), normPlacement: "output", qkNorm: "whole" }),
  write: (config) => ({ ...writeLlamaLike(config), ...writeBiases(config, { ofMlp: false }) }),
  tensors: (config, parameters) => llamaTensors(config, parameters, { outputNorm1: "post_attention_layernorm", outputNorm2: "post_feedforward_layernorm" }),

  gguf: { architecture: "olmo2", read: (facts, usual) => ({ ...readLlamaGguf(facts, usual), normPlacement: "output", qkNorm: "whole" }) },
};
