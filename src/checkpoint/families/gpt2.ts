/**
 * @file GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each half of a block, an MLP, biases everywhere. Its matrices are
 * `Conv1D`s, [in, out]. Biases are part of the architecture, so a model without them is saved with zeros.
 */

import { activationName, readActivation } from "./activations.js";
import { canSay, whole, type TransformerFamily, type TensorPlan } from "./family.js";

export const gpt2: TransformerFamily = {
  modelType: "gpt2",
  architecture: "GPT2LMHeadModel",
  prefix: "transformer.",
  // Old checkpoints keep their causal masks.
  ignored: /\.attn\.(masked_)?bias$/,
  aliases: { hidden_size: "n_embd", max_position_embeddings: "n_positions", num_attention_heads: "n_head", num_hidden_layers: "n_layer" },
  defaults: {
    vocab_size: 50_257, n_positions: 1024, n_embd: 768, n_layer: 12, n_head: 12, activation_function: "gelu_new", resid_pdrop: 0.1, layer_norm_epsilon: 1e-5,
    scale_attn_weights: true, scale_attn_by_inverse_layer_idx: false, add_cross_attention: false, tie_word_embeddings: true,
  },

  describes: (config) =>
    config.numHeads * config.headSize === config.hiddenSize &&
    canSay(gpt2, config, ["bias", "queryKeyValueBias", "attentionOutputBias", "mlpBias", "normBias"]),

  read(json) {
    json.only("scale_attn_weights", true);
    json.only("scale_attn_by_inverse_layer_idx", false);
    json.only("add_cross_attention", false);
    // An old name of n_positions, which transformers no longer reads.
    json.skip("n_ctx");
    const hiddenSize = json.count("n_embd");
    return {
      vocabSize: json.count("vocab_size"),
      hiddenSize,
      numLayers: json.count("n_layer"),
      numHeads: json.count("n_head"),
      intermediateSize: json.count("n_inner", 4 * hiddenSize),
      contextLength: json.count("n_positions"),
      norm: "layernorm",
      normEps: json.number("layer_norm_epsilon"),
      position: "learned",
      feedForward: readActivation(json, "activation_function"),
      tieEmbeddings: json.flag("tie_word_embeddings"),
      bias: true,
      // One rate for all three places; those of the outputs and the embedding are the same in every checkpoint that we know.
      dropout: json.number("resid_pdrop"),
    };
  },

  write: (config) => ({
    vocab_size: config.vocabSize,
    n_embd: config.hiddenSize,
    n_layer: config.numLayers,
    n_head: config.numHeads,
    n_inner: config.intermediateSize,
    n_positions: config.contextLength,
    layer_norm_epsilon: config.normEps,
    activation_function: activationName(config),
    tie_word_embeddings: config.tieEmbeddings,
    embd_pdrop: config.dropout,
    attn_pdrop: config.dropout,
    resid_pdrop: config.dropout,
    initializer_range: 0.02,
  }),

  gguf: {
    architecture: "gpt2",
    fusedQueryKeyValue: true,
    everythingHasBias: true,
    read: (_, usual) => ({ ...usual, norm: "layernorm", position: "learned", feedForward: "geluTanh" }),
  },

  tensors(config, parameters) {
    const { vocabSize, hiddenSize: n, intermediateSize, contextLength } = config;
    const withBias = (ours: string, theirs: string, weight: Pick<TensorPlan["parts"][number], "shape" | "transposed">, biasSize: number): TensorPlan[] => [
      { parameter: `${ours}.weight`, parts: [{ name: `${theirs}.weight`, ...weight }] },
      { parameter: parameters.has(`${ours}.bias`) ? `${ours}.bias` : undefined, parts: [{ name: `${theirs}.bias`, shape: [biasSize] }] },
    ];
    const conv1d = (ours: string, theirs: string, inSize: number, outSize: number) => withBias(ours, theirs, { shape: [inSize, outSize], transposed: true }, outSize);
    const norm = (ours: string, theirs: string) => withBias(ours, theirs, { shape: [n] }, n);
    return [
      whole("embed", "transformer.wte.weight", [vocabSize, n]),
      whole("positions.weight", "transformer.wpe.weight", [contextLength, n]),
      ...Array.from({ length: config.numLayers }, (_, i) => {
        const [ours, theirs] = [`blocks.${i}`, `transformer.h.${i}`];
        return [
          ...norm(`${ours}.norm1`, `${theirs}.ln_1`),
          ...conv1d(`${ours}.mixer.queryKeyValue`, `${theirs}.attn.c_attn`, n, 3 * n),
          ...conv1d(`${ours}.mixer.output`, `${theirs}.attn.c_proj`, n, n),
          ...norm(`${ours}.norm2`, `${theirs}.ln_2`),
          ...conv1d(`${ours}.feedForward.up`, `${theirs}.mlp.c_fc`, n, intermediateSize),
          ...conv1d(`${ours}.feedForward.down`, `${theirs}.mlp.c_proj`, intermediateSize, n),
        ];
      }).flat(),
      ...norm("finalNorm", "transformer.ln_f"),
      ...(config.tieEmbeddings ? [] : [whole("unembed", "lm_head.weight", [vocabSize, n])]),
    ];
  },
};

