/**
 * @file Llama (Touvron et al. 2023): RoPE, RMSNorm before each half of a block, SwiGLU, grouped queries, no biases. RoPE turns pairs
 * (i, i + headSize / 2), as here. Queries, keys and values are three tensors in files and one parameter here, as are gate and up.
 */

import { canSay, whole, type ConfigFile, type Family, type TensorPlan } from "./family.js";

export const llama: Family = {
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  prefix: "model.",
  // Old checkpoints keep RoPE's frequencies, and some a copy of a tied head.
  ignored: /\.rotary_emb\.inv_freq$|^lm_head\.weight$/,

  describes: (config) => canSay(llama, config),

  read(json) {
    json.only("hidden_act", "silu");
    const attentionBias = json.flag("attention_bias", false);
    const numHeads = json.count("num_attention_heads");
    const hiddenSize = json.count("hidden_size");
    return {
      vocabSize: json.count("vocab_size"),
      hiddenSize,
      numLayers: json.count("num_hidden_layers"),
      numHeads,
      numKeyValueHeads: json.count("num_key_value_heads", numHeads),
      headSize: json.count("head_dim", hiddenSize / numHeads),
      intermediateSize: json.count("intermediate_size"),
      contextLength: json.count("max_position_embeddings"),
      norm: "rmsnorm",
      normEps: json.number("rms_norm_eps", 1e-6),
      position: "rope",
      ropeTheta: ropeTheta(json),
      feedForward: "swiglu",
      tieEmbeddings: json.flag("tie_word_embeddings", false),
      queryKeyValueBias: attentionBias,
      attentionOutputBias: attentionBias,
      mlpBias: json.flag("mlp_bias", false),
    };
  },

  write: (config) => ({
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    num_key_value_heads: config.numKeyValueHeads,
    head_dim: config.headSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: config.normEps,
    // transformers 4 reads the first, 5 the second.
    rope_theta: config.ropeTheta,
    rope_parameters: { rope_theta: config.ropeTheta, rope_type: "default" },
    hidden_act: "silu",
    tie_word_embeddings: config.tieEmbeddings,
    attention_bias: config.queryKeyValueBias,
    mlp_bias: config.mlpBias,
    attention_dropout: config.dropout,
    initializer_range: 0.02,
  }),

  tensors(config, parameters) {
    const { vocabSize, hiddenSize: n, intermediateSize, numHeads, numKeyValueHeads, headSize } = config;
    const [queries, keys] = [numHeads * headSize, numKeyValueHeads * headSize];
    /** One of our projections from several tensors, each with so many rows. */
    const stacked = (ours: string, inSize: number, parts: Record<string, number>): TensorPlan[] => [
      { parameter: `${ours}.weight`, parts: Object.entries(parts).map(([name, rows]) => ({ name: `${name}.weight`, shape: [rows, inSize] })) },
      ...(parameters.has(`${ours}.bias`) ? [{ parameter: `${ours}.bias`, parts: Object.entries(parts).map(([name, rows]) => ({ name: `${name}.bias`, shape: [rows] })) }] : []),
    ];
    return [
      whole("embed", "model.embed_tokens.weight", [vocabSize, n]),
      ...Array.from({ length: config.numLayers }, (_, i) => {
        const [ours, theirs] = [`blocks.${i}`, `model.layers.${i}`];
        const [attention, mlp] = [`${theirs}.self_attn`, `${theirs}.mlp`];
        return [
          whole(`${ours}.norm1.weight`, `${theirs}.input_layernorm.weight`, [n]),
          ...stacked(`${ours}.attention.queryKeyValue`, n, { [`${attention}.q_proj`]: queries, [`${attention}.k_proj`]: keys, [`${attention}.v_proj`]: keys }),
          ...stacked(`${ours}.attention.output`, queries, { [`${attention}.o_proj`]: n }),
          whole(`${ours}.norm2.weight`, `${theirs}.post_attention_layernorm.weight`, [n]),
          ...stacked(`${ours}.feedForward.gateUp`, n, { [`${mlp}.gate_proj`]: intermediateSize, [`${mlp}.up_proj`]: intermediateSize }),
          ...stacked(`${ours}.feedForward.down`, intermediateSize, { [`${mlp}.down_proj`]: n }),
        ];
      }).flat(),
      whole("finalNorm.weight", "model.norm.weight", [n]),
      ...(config.tieEmbeddings ? [] : [whole("unembed", "lm_head.weight", [vocabSize, n])]),
    ];
  },
};

/** The base of the angles, where transformers 4 or 5 keeps it. Throws CheckpointError for scaled angles, which have other values. */
export function ropeTheta(json: ConfigFile): number {
  const parameters = json.has("rope_parameters") ? json.object("rope_parameters") : json.object("rope_scaling");
  parameters.only("rope_type", "default");
  parameters.only("type", "default");
  parameters.only("partial_rotary_factor", 1);
  return parameters.number("rope_theta", json.number("rope_theta", 10_000));
}
