/** How config.json is read: what published models say in transformers 4's words, and what is refused. Their numbers are checked in test/families.test.ts. */

import { describe, expect, it } from "vitest";
import { CheckpointError } from "../../errors.js";
import { modelConfig, transformerOf, type TransformerConfig } from "../../model/index.js";
import { ConfigFile, familyOf, unreadSettings } from "./index.js";

const read = (modelType: string, json: Record<string, unknown>): TransformerConfig => {
  const family = familyOf(modelType, json)!;
  return transformerOf(modelConfig(family.read(new ConfigFile("config.json", json, family))))!;
};

const sizes = { vocab_size: 97, hidden_size: 24, num_hidden_layers: 7, num_attention_heads: 6 };
const llamaSizes = { ...sizes, num_key_value_heads: 2, intermediate_size: 40, max_position_embeddings: 64 };
const everySixthFull = ["sliding", "sliding", "sliding", "sliding", "sliding", "full", "sliding"];

describe("config.json of transformers 4", () => {
  it.each<[what: string, modelType: string, json: Record<string, unknown>, expected: Partial<TransformerConfig>]>([
    [
      "Gemma 2, with a layer in two that sees everything, caps, and heads of 256 where nothing is said", "gemma2",
      { ...llamaSizes, hidden_act: "gelu_pytorch_tanh", hidden_activation: "gelu_pytorch_tanh", query_pre_attn_scalar: 144 },
      {
        layerTypes: ["sliding", "full", "sliding", "full", "sliding", "full", "sliding"], slidingWindow: 4096, headSize: 256, attentionScale: 1 / 12, attentionSoftcap: 50, logitSoftcap: 30,
        embeddingScale: Math.sqrt(24), normOffset: 1, normPlacement: "sandwich", tieEmbeddings: true, feedForward: "gegluTanh", ropeTheta: 10_000,
      },
    ],
    ["Gemma 2 with caps switched off", "gemma2", { ...llamaSizes, attn_logit_softcapping: null, final_logit_softcapping: null }, { attentionSoftcap: 0, logitSoftcap: 0 }],
    [
      "Gemma 3, scaled where layers see everything", "gemma3_text",
      { ...llamaSizes, rope_theta: 1e6, rope_local_base_freq: 1e4, rope_scaling: { rope_type: "linear", factor: 8 }, sliding_window: 512, sliding_window_pattern: 6 },
      { layerTypes: everySixthFull as TransformerConfig["layerTypes"], slidingWindow: 512, ropeTheta: 1e6, localRopeTheta: 1e4, ropeScaling: { kind: "linear", factor: 8 }, qkNorm: "head", logitSoftcap: 0 },
    ],
    ["Gemma 3 that says nothing of RoPE", "gemma3_text", llamaSizes, { layerTypes: everySixthFull as TransformerConfig["layerTypes"], ropeTheta: 1e6, localRopeTheta: 1e4, ropeScaling: { kind: "none" } }],
    [
      "Command R, whose context is not its positions", "cohere",
      { ...llamaSizes, logit_scale: 0.0625, rope_theta: 8e6, model_max_length: 131072, use_qk_norm: true },
      { contextLength: 131072, logitScale: 0.0625, ropeTheta: 8e6, ropeInterleaved: true, qkNorm: "heads", parallelBlock: "sharedNorm", normBias: false, bias: false, tieEmbeddings: true },
    ],
    [
      "Command R7B, with RoPE where there is a window", "cohere2",
      { ...llamaSizes, sliding_window: 4096, sliding_window_pattern: 4, rope_theta: 5e4 },
      {
        layerTypes: ["sliding", "sliding", "sliding", "full", "sliding", "sliding", "sliding"],
        ropeLayers: [true, true, true, false, true, true, true], ropeTheta: 5e4, qkNorm: "none",
      },
    ],
    [
      "Pythia, which turns a quarter of a head", "gpt_neox",
      { ...llamaSizes, hidden_size: 96, hidden_act: "gelu", rotary_pct: 0.25, rotary_emb_base: 5000, use_parallel_residual: true },
      { rotaryFraction: 0.25, ropeTheta: 5000, parallelBlock: "twoNorms", bias: true, feedForward: "gelu", tieEmbeddings: false },
    ],
    ["GPT-NeoX-20B, whose gelu is the approximation", "gpt_neox", { ...llamaSizes, hidden_size: 96, hidden_act: "gelu_fast" }, { feedForward: "geluTanh", rotaryFraction: 0.25 }],
    ["Falcon 7B", "falcon", { ...sizes, multi_query: true, parallel_attn: true, alibi: false, bias: false }, { numKeyValueHeads: 1, parallelBlock: "sharedNorm", contextLength: 2048, intermediateSize: 96, normBias: true, mlpBias: false }],
    ["Falcon 40B, which ignores multi_query", "falcon", { ...sizes, new_decoder_architecture: true, num_kv_heads: 2, multi_query: true }, { numKeyValueHeads: 2, parallelBlock: "twoNorms" }],
    ["Falcon 2, with one norm", "falcon", { ...sizes, new_decoder_architecture: true, num_kv_heads: 2, num_ln_in_parallel_attn: 1 }, { numKeyValueHeads: 2, parallelBlock: "sharedNorm" }],
    [
      "Falcon RW", "falcon", { ...sizes, alibi: true, multi_query: false, parallel_attn: false, bias: true },
      { position: "alibi", alibiScale: 0.5, numKeyValueHeads: 6, parallelBlock: "none", bias: true },
    ],
    ["BLOOM, in GPT-2's words", "bloom", { vocab_size: 97, n_embed: 24, n_layer: 7, num_attention_heads: 6 }, { hiddenSize: 24, numLayers: 7, numHeads: 6, contextLength: 2048, intermediateSize: 96, embeddingNorm: true }],
  ])("%s", (_, modelType, json, expected) => {
    expect(read(modelType, json)).toMatchObject(expected);
  });
});

describe("no warning for what published models say", () => {
  it.each<[modelType: string, json: Record<string, unknown>]>([
    ["gpt2", { activation_function: "gelu_new", attn_pdrop: 0.1, n_ctx: 1024, n_positions: 1024, scale_attn_weights: true, summary_type: "cls_index", summary_proj_to_labels: true, task_specific_params: { a: 1 }, vocab_size: 97 }],
    ["llama", { ...llamaSizes, is_llama_config: true, rope_interleaved: false, pretraining_tp: 1, rope_scaling: null, rope_theta: 100_000, "transformers.js_config": { a: 1 }, torch_dtype: "bfloat16", mlp_bias: false }],
    ["qwen2", { ...llamaSizes, max_window_layers: 21, sliding_window: 131_072, use_sliding_window: false, use_mrope: false, attention_dropout: 0 }],
    ["qwen3", { ...llamaSizes, max_window_layers: 36, sliding_window: null, use_sliding_window: false, attention_bias: false, rope_scaling: null }],
    ["gemma2", { ...llamaSizes, hidden_act: "gelu_pytorch_tanh", hidden_activation: "gelu_pytorch_tanh", cache_implementation: "hybrid", query_pre_attn_scalar: 256, sliding_window: 4096 }],
    ["gemma3_text", { ...llamaSizes, sliding_window_pattern: 6, cache_implementation: "hybrid", rope_local_base_freq: 10_000, rope_scaling: null, attn_logit_softcapping: null }],
    ["gemma3_text", { ...llamaSizes, num_hidden_layers: 2, _sliding_window_pattern: 6, layer_types: ["sliding_attention", "full_attention"], use_bidirectional_attention: false, rope_parameters: { full_attention: { rope_type: "default", rope_theta: 1e6 }, sliding_attention: { rope_type: "default", rope_theta: 1e4 } } }],
    ["phi3", { ...llamaSizes, auto_map: { AutoConfig: "x" }, embd_pdrop: 0, resid_pdrop: 0, attention_bias: false, original_max_position_embeddings: 64, sliding_window: 2047, full_attn_mod: 1, interpolate_factor: 1, lm_head_bias: false, partial_rotary_factor: 1 }],
    ["cohere2", { ...llamaSizes, rotary_pct: 1, position_embedding_type: "rope_gptj", use_embedding_sharing: true, use_gated_activation: true, use_parallel_block: true, layer_switch: 4, order_of_interleaved_layers: "local_attn_first" }],
    ["falcon", { ...sizes, apply_residual_connection_post_layernorm: false, multi_query: true, new_decoder_architecture: false, num_kv_heads: 71, parallel_attn: true }],
    ["bloom", { vocab_size: 97, n_embed: 24, n_layer: 7, num_attention_heads: 6, attention_softmax_in_fp32: true, bias_dropout_fusion: true, masked_softmax_fusion: true, offset_alibi: 100, skip_bias_add: true, skip_bias_add_qkv: false, seq_length: 2048, unk_token_id: 3 }],
  ])("%s", (modelType, json) => {
    const family = familyOf(modelType, json)!;
    const file = new ConfigFile("config.json", { model_type: modelType, ...json }, family);
    family.read(file);
    expect(unreadSettings(file).filter((warning) => !warning.includes("does not say"))).toEqual([]);
  });
});

describe("what computes something else is refused, by its field", () => {
  it.each<[modelType: string, json: Record<string, unknown>, field: string]>([
    ["gemma2", { ...llamaSizes, hidden_activation: "relu" }, "hidden_activation"],
    ["gemma3_text", { ...llamaSizes, use_bidirectional_attention: true }, "use_bidirectional_attention"],
    ["gemma3_text", { ...llamaSizes, layer_types: ["full_attention", "chunked_attention"] }, "layer_types"],
    ["gemma3_text", { ...llamaSizes, rope_parameters: { sliding_attention: { rope_type: "yarn" } } }, "rope_type"],
    ["cohere", { ...llamaSizes, hidden_act: "gelu" }, "hidden_act"],
    ["gpt_neox", { ...llamaSizes, hidden_act: "mish" }, "hidden_act"],
    ["falcon", { ...sizes, new_decoder_architecture: true, parallel_attn: false }, "parallel_attn"],
    ["falcon", { ...sizes, num_ln_in_parallel_attn: 2 }, "num_ln_in_parallel_attn"],
    ["bloom", { ...sizes, apply_residual_connection_post_layernorm: true }, "apply_residual_connection_post_layernorm"],
  ])("%s %o", (modelType, json, field) => {
    expect(() => read(modelType, json)).toThrow(CheckpointError);
    expect(() => read(modelType, json)).toThrow(expect.objectContaining({ field }));
  });
});
