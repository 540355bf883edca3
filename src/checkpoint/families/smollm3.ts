/** @file SmolLM 3 (Bakouch et al. 2025): Llama in which every fourth layer has no RoPE (Yang et al. 2025, "Rope to Nope and back again"). */

import { z } from "zod";
import { canSay, type TransformerFamily } from "./family.js";
import { layerTypeNames, listedLayerTypes, readWindow } from "./layer-types.js";
import { ignored, llamaDefaults, llamaTensors, readBiases, readLlamaGguf, readLlamaLike, writeBiases, writeLlamaLike } from "./llama-like.js";

export const smollm3: TransformerFamily = {
  modelType: "smollm3",
  architecture: "SmolLM3ForCausalLM",
  prefix: "model.",
  ignored,

  defaults: {
    ...llamaDefaults, vocab_size: 128_256, hidden_size: 2048, num_hidden_layers: 36, num_attention_heads: 16, num_key_value_heads: 4, max_position_embeddings: 32_768,
    rope_theta: 2_000_000, tie_word_embeddings: true, mlp_bias: false, use_sliding_window: false, no_rope_layer_interval: 4,
  },

  describes: (config) => canSay(smollm3, config),

  read(json) {
    const given = readLlamaLike(json);
    const every = json.count("no_rope_layer_interval");
    // Despite its name, 1 in the list is a layer with RoPE. It may be longer than the model.
    const listed = json.list("no_rope_layers", z.union([z.number(), z.boolean()]))?.slice(0, given.numLayers).map(Boolean);
    const ropeLayers = listed ?? Array.from({ length: given.numLayers }, (_, i) => (i + 1) % every !== 0);
    const [inUse, window] = [json.flag("use_sliding_window"), readWindow(json)];
    // A layer that is listed as sliding slides, whatever the flag says: transformers' mask knows the window alone.
    const layerTypes = listedLayerTypes(json, given.numLayers) ?? ropeLayers.map((rope) => (inUse && window > 0 && !rope ? "sliding" : "full"));
    return { ...given, ...readBiases(json, { ofMlp: true }), ropeLayers, slidingWindow: layerTypes.includes("sliding") ? window : 0, layerTypes };
  },

  write: (config) => ({
    ...writeLlamaLike(config),
    ...writeBiases(config, { ofMlp: true }),
    no_rope_layers: config.ropeLayers.map(Number),
    use_sliding_window: config.layerTypes.includes("sliding"),
    sliding_window: config.layerTypes.includes("sliding") ? config.slidingWindow : null,
    layer_types: layerTypeNames(config),
  }),

  tensors: (config, parameters) => llamaTensors(config, parameters),

  gguf: {
    architecture: "smollm3",
    neighbouringPairs: true,
    read: (facts, usual) => ({ ...readLlamaGguf(facts, usual), ropeLayers: Array.from({ length: usual.numLayers }, (_, i) => (i + 1) % 4 !== 0) }),
  },
};
