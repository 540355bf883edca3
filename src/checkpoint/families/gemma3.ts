/**
 * @file Gemma 3, the models of text alone (Gemma Team 2025): Gemma 2 with norms of queries and keys in place of soft caps, five layers that see
 * a window to one that sees everything, and another base of RoPE in the former, where its angles are not scaled either.
 */

import { gguf } from "../gguf/metadata.js";
import { ConfigFile, canSay, type TransformerFamily } from "./family.js";
import { gemmaTensors, readGemma, readGemmaGguf, writeGemma } from "./gemma2.js";
import { periodicLayers } from "./layer-types.js";
import { readRope, writeRope } from "./rope.js";

export const gemma3: TransformerFamily = {
  modelType: "gemma3_text",
  architecture: "Gemma3ForCausalLM",
  prefix: "model.",
  ignored: /\.rotary_emb(_local)?\.inv_freq$|^lm_head\.weight$/,

  describes: (config) => canSay(gemma3, config),

  read(json) {
    // transformers 5 says RoPE's settings for each kind of layer, 4 those of the layers that see everything, and the other base.
    const nested = json.object("rope_parameters");
    const local = nested.object("sliding_attention");
    const full = nested.has("full_attention") ? new ConfigFile(json.path, { ...json.json, rope_parameters: nested.json["full_attention"] }) : json;
    local.only("rope_type", "default");
    return {
      ...readGemma(json, { attentionSoftcap: 0, logitSoftcap: 0, pattern: 6 }),
      qkNorm: "head",
      ...readRope(full, { theta: 1_000_000, contextLength: 131_072 }),
      localRopeTheta: local.number("rope_theta", json.number("rope_local_base_freq", 10_000)),
    };
  },

  write(config) {
    const { rope_parameters: full, ...fields } = writeRope(config);
    return {
      ...writeGemma(config),
      ...fields,
      rope_local_base_freq: config.localRopeTheta,
      rope_parameters: { full_attention: full, sliding_attention: { rope_type: "default", rope_theta: config.localRopeTheta } },
    };
  },

  tensors: gemmaTensors,

  gguf: {
    architecture: "gemma3",
    read: (facts, usual) => ({
      ...readGemmaGguf(usual, 62),
      qkNorm: "head",
      logitSoftcap: facts.number("final_logit_softcapping") ?? 0,
      layerTypes: usual.slidingWindow === 0 ? undefined : periodicLayers(usual.numLayers, facts.number("attention.sliding_window_pattern") ?? 6),
      localRopeTheta: facts.number("rope.freq_base_swa") ?? 10_000,
    }),
    write: ({ logitSoftcap, localRopeTheta, layerTypes }) => ({
      final_logit_softcapping: logitSoftcap > 0 ? gguf.float32(logitSoftcap) : undefined,
      "rope.freq_base_swa": gguf.float32(localRopeTheta),
      "attention.sliding_window_pattern": layerTypes.includes("full") ? gguf.uint32(layerTypes.indexOf("full") + 1) : undefined,
    }),
  },
};
