/** @file Mistral (Jiang et al. 2023): Llama without biases, in which every layer may see a sliding window only. */

import { canSay, type TransformerFamily } from "./family.js";
import { ignored, llamaTensors, readLlamaGguf, readLlamaLike, writeLlamaLike } from "./llama-like.js";

export const mistral: TransformerFamily = {
  modelType: "mistral",
  architecture: "MistralForCausalLM",
  prefix: "model.",
  ignored,

  describes: (config) => canSay(mistral, config),
  // Null is no window; later Mistrals say so.
  read: (json) => ({ ...readLlamaLike(json), slidingWindow: json.json["sliding_window"] === null ? 0 : json.count("sliding_window", 4096) }),
  write: (config) => ({ ...writeLlamaLike(config), sliding_window: config.slidingWindow > 0 ? config.slidingWindow : null }),
  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: { architecture: "llama", neighbouringPairs: true, read: readLlamaGguf },
};
