/** @file Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases of queries, keys and values alone; its later layers may see a sliding window. */

import type { TransformerConfig, TransformerOptions } from "../../model/index.js";
import { canSay, type ConfigFile, type TransformerFamily } from "./family.js";
import { layerTypeNames, listedLayerTypes } from "./layer-types.js";
import { ignored, llamaTensors, readLlamaGguf, readLlamaLike, writeLlamaLike } from "./llama-like.js";

export const qwen2: TransformerFamily = {
  modelType: "qwen2",
  architecture: "Qwen2ForCausalLM",
  prefix: "model.",
  ignored,

  describes: (config) => canSay(qwen2, config),
  read: (json) => ({ ...readLlamaLike(json), ...readQwenWindows(json), queryKeyValueBias: true }),
  write: (config) => ({ ...writeLlamaLike(config), ...writeQwenWindows(config) }),
  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: { architecture: "qwen2", read: readLlamaGguf },
};

/** Older files say from which layer on they slide, newer ones list them; both mean nothing unless windows are in use at all. */
export function readQwenWindows(json: ConfigFile): Pick<TransformerOptions, "slidingWindow" | "layerTypes"> {
  if (!json.flag("use_sliding_window", false)) return {};
  const first = json.whole("max_window_layers", 28);
  const layerTypes = listedLayerTypes(json) ?? Array.from({ length: json.count("num_hidden_layers") }, (_, i) => (i >= first ? "sliding" : "full"));
  return { slidingWindow: json.count("sliding_window", 4096), layerTypes };
}

export function writeQwenWindows(config: TransformerConfig): Record<string, unknown> {
  const first = config.layerTypes.indexOf("sliding");
  if (first === -1) return { use_sliding_window: false, sliding_window: null, layer_types: layerTypeNames(config) };
  return { use_sliding_window: true, sliding_window: config.slidingWindow, max_window_layers: first, layer_types: layerTypeNames(config) };
}
