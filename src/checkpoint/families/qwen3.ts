/** @file Qwen 3 (Yang et al. 2025): Qwen 2 with an RMSNorm of each head of queries and keys in place of biases. */

import { canSay, type TransformerFamily } from "./family.js";
import { ignored, llamaTensors, readBiases, readLlamaGguf, readLlamaLike, writeBiases, writeLlamaLike } from "./llama-like.js";
import { qwenDefaults, readQwenWindows, writeQwenWindows } from "./qwen2.js";

export const qwen3: TransformerFamily = {
  modelType: "qwen3",
  architecture: "Qwen3ForCausalLM",
  prefix: "model.",
  ignored,

  defaults: { ...qwenDefaults, head_dim: 128 },

  describes: (config) => canSay(qwen3, config),
  read(json) {
    const given = readLlamaLike(json);
    return { ...given, ...readBiases(json, { ofMlp: false }), ...readQwenWindows(json, given.numLayers), qkNorm: "head" };
  },
  write: (config) => ({ ...writeLlamaLike(config), ...writeBiases(config, { ofMlp: false }), ...writeQwenWindows(config) }),
  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: { architecture: "qwen3", read: (facts, usual) => ({ ...readLlamaGguf(facts, usual), qkNorm: "head" }) },
};
