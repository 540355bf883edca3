/** @file OLMo 2 (OLMo Team 2025): Llama with norms of what the halves of a block add in place of what they read, and of queries and keys as a whole. */

import type { TransformerOptions } from "../../model/index.js";
import { ggufLayerTypes, type GgufFacts, type UsualOptions } from "../gguf/dialect.js";
import { canSay, type TransformerFamily } from "./family.js";
import { ignored, llamaDefaults, llamaTensors, readBiases, readLlamaGguf, readLlamaLike, writeBiases, writeLlamaLike } from "./llama-like.js";

export const olmo2: TransformerFamily = {
  modelType: "olmo2",
  architecture: "Olmo2ForCausalLM",
  prefix: "model.",
  ignored,

  defaults: { ...llamaDefaults, vocab_size: 50_304, rms_norm_eps: 1e-5 },

  describes: (config) => canSay(olmo2, config),
  read: (json) => ({ ...readLlamaLike(json), ...readBiases(json, { ofMlp: false }), normPlacement: "output", qkNorm: "whole" }),
  write: (config) => ({ ...writeLlamaLike(config), ...writeBiases(config, { ofMlp: false }) }),
  tensors: (config, parameters) => llamaTensors(config, parameters, { outputNorm1: "post_attention_layernorm", outputNorm2: "post_feedforward_layernorm" }),

  gguf: { architecture: "olmo2", read: (facts, usual) => ({ ...readLlamaGguf(facts, usual), ...readWindows(facts, usual), normPlacement: "output", qkNorm: "whole" }) },
};

/** OLMo 3 goes by the same name in GGUF: some of its layers slide, and these turn without a scaling. */
function readWindows(facts: GgufFacts, { slidingWindow, numLayers, ropeTheta }: UsualOptions): Partial<TransformerOptions> {
  if (slidingWindow === 0) return {};
  return { layerTypes: ggufLayerTypes(facts, numLayers, 4), localRopeTheta: facts.number("rope.freq_base_swa") ?? ropeTheta };
}
