/** @file Llama 1 to 3 (Touvron et al. 2023; Grattafiori et al. 2024), and the many models that are saved as one, such as SmolLM 2. */

import { canSay, type TransformerFamily } from "./family.js";
import { ignored, llamaDefaults, llamaTensors, readBiases, readLlamaGguf, readLlamaLike, writeBiases, writeLlamaLike } from "./llama-like.js";

export const llama: TransformerFamily = {
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  prefix: "model.",
  ignored,

  defaults: { ...llamaDefaults, mlp_bias: false },

  // transformers refuses a hidden size that the heads do not divide, wide as they may be.
  describes: (config) => config.hiddenSize % config.numHeads === 0 && canSay(llama, config),
  read: (json) => ({ ...readLlamaLike(json), ...readBiases(json, { ofMlp: true }) }),
  write: (config) => ({ ...writeLlamaLike(config), ...writeBiases(config, { ofMlp: true }) }),
  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: { architecture: "llama", neighbouringPairs: true, read: readLlamaGguf },
};
