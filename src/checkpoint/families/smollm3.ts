/** @file SmolLM 3 (Bakouch et al. 2025): Llama in which every fourth layer has no RoPE (Yang et al. 2025, "Rope to Nope and back again"). */

import { z } from "zod";
import { canSay, type TransformerFamily } from "./family.js";
import { layerTypeNames, listedLayerTypes } from "./layer-types.js";
import { ignored, llamaTensors, readBiases, readLlamaGguf, readLlamaLike, writeBiases, writeLlamaLike } from "./llama-like.js";

export const smollm3: TransformerFamily = {
  modelType: "smollm3",
  architecture: "SmolLM3ForCausalLM",
  prefix: "model.",
  ignored,

  describes: (config) => canSay(smollm3, config),

  read(json) {
    const given = readLlamaLike(json, { theta: 2_000_000, tieEmbeddings: true });
    const every = json.count("no_rope_layer_interval", 4);
    // Despite its name, 1 in the list is a layer with RoPE. It may be longer than the model.
    const listed = json.list("no_rope_layers", z.union([z.number(), z.boolean()]))?.slice(0, given.numLayers).map(Boolean);
    const ropeLayers = listed ?? Array.from({ length: given.numLayers }, (_, i) => (i + 1) % every !== 0);
    const slidingWindow = json.flag("use_sliding_window", false) && json.has("sliding_window") ? json.count("sliding_window") : 0;
    const layerTypes = listedLayerTypes(json) ?? ropeLayers.map((rope) => (rope ? "full" : "sliding"));
    return { ...given, ...readBiases(json, { ofMlp: true }), ropeLayers, ...(slidingWindow > 0 && { slidingWindow, layerTypes }) };
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
