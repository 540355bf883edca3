/**
 * @file Gemma 3, the models of text alone (Gemma Team 2025): Gemma 2 with norms of queries and keys in place of soft caps, five layers that see
 * a window to one that sees everything, and another base of RoPE in the former, where its angles are not scaled either.
 */

import { ggufLayerTypes } from "../gguf/dialect.js";
import { gguf } from "../gguf/metadata.js";
import { canSay, type TransformerFamily } from "./family.js";
import { gemmaDefaults, gemmaTensors, readGemma, readGemmaGguf, writeGemma } from "./gemma2.js";
import { readRope, writeRope } from "./rope.js";

export const gemma3: TransformerFamily = {
  modelType: "gemma3_text",
  architecture: "Gemma3ForCausalLM",
  prefix: "model.",
  ignored: /\.rotary_emb(_local)?\.inv_freq$/,

  defaults: {
    ...gemmaDefaults, vocab_size: 262_208, max_position_embeddings: 131_072, rope_theta: 1_000_000, rope_local_base_freq: 10_000, use_bidirectional_attention: false,
    final_logit_softcapping: null, attn_logit_softcapping: null,
  },

  describes: (config) => canSay(gemma3, config),

  read(json) {
    // transformers 5 says RoPE's settings for each kind of layer, 4 those of the layers that see everything, and the other base. Where both are there
    // the older ones count, field by field.
    const nested = json.object("rope_parameters");
    const local = nested.object("sliding_attention");
    local.only("rope_type", "default");
    local.only("type", "default");
    // Its scores have no cap, whatever `attn_logit_softcapping` says: transformers does not act on that either.
    return {
      ...readGemma(json, 6),
      qkNorm: "head",
      ...readRope(json, { parameters: nested.object("full_attention").under(json.object("rope_scaling")) }),
      localRopeTheta: local.number("rope_theta", json.number("rope_local_base_freq")),
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
      layerTypes: usual.slidingWindow === 0 ? undefined : ggufLayerTypes(facts, usual.numLayers, 6),
      localRopeTheta: facts.number("rope.freq_base_swa") ?? 10_000,
    }),
    write: ({ logitSoftcap, localRopeTheta, layerTypes }) => ({
      final_logit_softcapping: logitSoftcap > 0 ? gguf.float32(logitSoftcap) : undefined,
      "rope.freq_base_swa": gguf.float32(localRopeTheta),
      "attention.sliding_window_pattern": layerTypes.includes("full") ? gguf.uint32(layerTypes.indexOf("full") + 1) : undefined,
    }),
  },
};
