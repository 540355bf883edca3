/** @file Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases of queries, keys and values alone; its later layers may see a sliding window. */

import type { TransformerConfig, TransformerOptions } from "../../model/index.js";
import { canSay, type ConfigFile, type TransformerFamily } from "./family.js";
import { layerTypeNames, listedLayerTypes, readWindow } from "./layer-types.js";
import { ignored, llamaDefaults, llamaTensors, readLlamaGguf, readLlamaLike, writeLlamaLike } from "./llama-like.js";

export const qwenDefaults = {
  ...llamaDefaults, vocab_size: 151_936, intermediate_size: 22_016, num_key_value_heads: 32, max_position_embeddings: 32_768, use_sliding_window: false,
  sliding_window: 4096, max_window_layers: 28,
};

export const qwen2: TransformerFamily = {
  modelType: "qwen2",
  architecture: "Qwen2ForCausalLM",
  prefix: "model.",
  ignored,

  defaults: qwenDefaults,

  describes: (config) => canSay(qwen2, config),
  read(json) {
    const given = readLlamaLike(json);
    return { ...given, ...readQwenWindows(json, given.numLayers), queryKeyValueBias: true };
  },
  write: (config) => ({ ...writeLlamaLike(config), ...writeQwenWindows(config) }),
  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: { architecture: "qwen2", read: readLlamaGguf },
};

/** Older files say from which layer on they slide, newer ones list them; without a window in use none does, and a list that says otherwise cannot be. */
export function readQwenWindows(json: ConfigFile, numLayers: number): Pick<TransformerOptions, "slidingWindow" | "layerTypes"> {
  const window = readWindow(json);
  const slidingWindow = json.flag("use_sliding_window") ? window : 0;
  const first = json.whole("max_window_layers");
  const layerTypes = listedLayerTypes(json, numLayers) ?? Array.from({ length: numLayers }, (_, i) => (slidingWindow > 0 && i >= first ? "sliding" : "full"));
  return { slidingWindow, layerTypes };
}

export function writeQwenWindows(config: TransformerConfig): Record<string, unknown> {
  const first = config.layerTypes.indexOf("sliding");
  if (first === -1) return { use_sliding_window: false, sliding_window: null, layer_types: layerTypeNames(config) };
  return { use_sliding_window: true, sliding_window: config.slidingWindow, max_window_layers: first, layer_types: layerTypeNames(config) };
}
