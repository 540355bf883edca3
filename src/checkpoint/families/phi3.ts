/**
 * @file Phi-3 and Phi-4-mini (Abdin et al. 2024): Llama whose queries, keys and values are one tensor in files too, as are gate and up; RoPE may turn a part
 * of each head and stretch by LongRoPE, and every layer may see a sliding window only.
 */

import { canSay, type TransformerFamily } from "./family.js";
import { readWindow } from "./layer-types.js";
import { ignored, llamaDefaults, readLlamaGguf, readLlamaLike, writeLlamaLike } from "./llama-like.js";
import { blocks, layer, same } from "./plans.js";
import { writeRope } from "./rope.js";

export const phi3: TransformerFamily = {
  modelType: "phi3",
  architecture: "Phi3ForCausalLM",
  prefix: "model.",
  ignored,

  defaults: {
    ...llamaDefaults, vocab_size: 32_064, hidden_size: 3072, intermediate_size: 8192, max_position_embeddings: 4096, original_max_position_embeddings: 4096,
    partial_rotary_factor: 1, rms_norm_eps: 1e-5, attention_bias: undefined,
    // What its own code, from before transformers had it, writes and does not read.
    interpolate_factor: 1, full_attn_mod: 1,
  },

  describes: (config) =>
    ["none", "longrope"].includes(config.ropeScaling.kind) && config.numHeads * config.headSize === config.hiddenSize && canSay(phi3, config),

  read: (json) => ({
    // Phi-3's first files call LongRoPE by other names.
    ...readLlamaLike(json, { wholeHeads: false, kinds: { su: "longrope", yarn: "longrope" } }),
    slidingWindow: readWindow(json),
    dropout: json.number("resid_pdrop", 0),
  }),

  write(config) {
    const { rope_parameters } = writeRope(config);
    const { short_factor, long_factor, attention_factor } = rope_parameters;
    const { ropeScaling, contextLength } = config;
    return {
      ...writeLlamaLike(config),
      // transformers 4 wants these names in it, and the original context outside.
      ...(ropeScaling.kind === "longrope" && { rope_scaling: { type: "longrope", short_factor, long_factor, attention_factor } }),
      rope_parameters: { ...rope_parameters, partial_rotary_factor: config.rotaryFraction },
      original_max_position_embeddings: ropeScaling.kind === "longrope" ? ropeScaling.originalContextLength : contextLength,
      sliding_window: config.slidingWindow > 0 ? config.slidingWindow : null,
      embd_pdrop: config.dropout,
      resid_pdrop: config.dropout,
    };
  },

  tensors: (config, parameters) => [
    ...same(parameters, "embed", "model.embed_tokens.weight"),
    ...blocks(config, (ours, i) => {
      const theirs = `model.layers.${i}`;
      return [
        ...layer(parameters, `${ours}.norm1`, `${theirs}.input_layernorm`),
        ...layer(parameters, `${ours}.mixer.queryKeyValue`, `${theirs}.self_attn.qkv_proj`),
        ...layer(parameters, `${ours}.mixer.output`, `${theirs}.self_attn.o_proj`),
        ...layer(parameters, `${ours}.norm2`, `${theirs}.post_attention_layernorm`),
        ...layer(parameters, `${ours}.feedForward.gateUp`, `${theirs}.mlp.gate_up_proj`),
        ...layer(parameters, `${ours}.feedForward.down`, `${theirs}.mlp.down_proj`),
      ];
    }),
    ...layer(parameters, "finalNorm", "model.norm"),
    ...same(parameters, "unembed", "lm_head.weight"),
  ],

  gguf: { architecture: "phi3", fusedQueryKeyValue: true, fusedGateUp: true, read: readLlamaGguf },
};
