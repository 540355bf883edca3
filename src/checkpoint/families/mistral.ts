/**
 * @file Mistral (Jiang et al. 2023): Llama without biases, in which every layer may see a sliding window only. Where some see everything, transformers
 * calls it Ministral, also a Mistral whose file lists its layers (`AutoConfig.from_pretrained`).
 */

import type { TransformerConfig } from "../../model/index.js";
import { canSay, type TransformerFamily } from "./family.js";
import { layerTypeNames, listedLayerTypes, readWindow } from "./layer-types.js";
import { ignored, llamaDefaults, llamaTensors, readLlamaGguf, readLlamaLike, writeLlamaLike } from "./llama-like.js";

const defaults = {
  ...llamaDefaults, intermediate_size: 14_336, num_key_value_heads: 8, max_position_embeddings: 131_072, sliding_window: 4096, attention_bias: undefined,
};

const write = (config: TransformerConfig) => ({ ...writeLlamaLike(config), sliding_window: config.slidingWindow > 0 ? config.slidingWindow : null });

export const mistral: TransformerFamily = {
  modelType: "mistral",
  architecture: "MistralForCausalLM",
  prefix: "model.",
  ignored,
  defaults,

  describes: (config) => canSay(mistral, config),
  // Null is no window; later Mistrals say so.
  read: (json) => ({ ...readLlamaLike(json), slidingWindow: readWindow(json) }),
  write,
  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: { architecture: "llama", neighbouringPairs: true, read: readLlamaGguf },
};

export const ministral: TransformerFamily = {
  ...mistral,
  modelType: "ministral",
  architecture: "MinistralForCausalLM",

  describes: (config) => canSay(ministral, config),
  read(json) {
    const given = readLlamaLike(json);
    const slidingWindow = readWindow(json);
    return { ...given, slidingWindow, layerTypes: listedLayerTypes(json, given.numLayers) ?? [slidingWindow > 0 ? "sliding" : "full"] };
  },
  write: (config) => ({ ...write(config), layer_types: layerTypeNames(config) }),
};
