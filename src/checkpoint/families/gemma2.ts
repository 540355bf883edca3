/**
 * @file Gemma 2 (Gemma Team 2024): RMSNorms that multiply by weight + 1 before and after each half of a block, a gated unit with gelu, embeddings
 * scaled by sqrt(hiddenSize), soft caps on scores and logits, and layers that see a window and everything by turns.
 */

import { CheckpointError } from "../../errors.js";
import type { TransformerConfig, TransformerOptions } from "../../model/index.js";
import { ggufLayerTypes, type GgufFacts, type UsualOptions } from "../gguf/dialect.js";
import { gguf } from "../gguf/metadata.js";
import { canSay, type ConfigFile, type TransformerFamily, type TensorPlan } from "./family.js";
import { layerTypeNames, readLayerTypes, readWindow } from "./layer-types.js";
import { ignored, llamaTensors } from "./llama-like.js";
import type { Parameters } from "./plans.js";
import { readRope, writeRope } from "./rope.js";

export const gemmaDefaults = {
  vocab_size: 256_000, hidden_size: 2304, intermediate_size: 9216, num_hidden_layers: 26, num_attention_heads: 8, num_key_value_heads: 4, head_dim: 256,
  hidden_activation: "gelu_pytorch_tanh", rms_norm_eps: 1e-6, query_pre_attn_scalar: 256, sliding_window: 4096, tie_word_embeddings: true, attention_bias: false,
};

export const gemma2: TransformerFamily = {
  modelType: "gemma2",
  architecture: "Gemma2ForCausalLM",
  prefix: "model.",
  ignored,

  defaults: { ...gemmaDefaults, max_position_embeddings: 8192, final_logit_softcapping: 30, attn_logit_softcapping: 50, rope_theta: 10_000, cache_implementation: "hybrid" },

  describes: (config) => canSay(gemma2, config),
  read: (json) => ({ ...readGemma(json, 2), attentionSoftcap: softcap(json, "attn_logit_softcapping"), ...readRope(json) }),
  write: (config) => ({ ...writeGemma(config), ...writeRope(config) }),
  tensors: gemmaTensors,

  gguf: {
    architecture: "gemma2",
    read: (facts, usual) => ({
      ...readGemmaGguf(usual, 46),
      attentionSoftcap: facts.number("attn_logit_softcapping") ?? 50,
      logitSoftcap: facts.number("final_logit_softcapping") ?? 30,
      slidingWindow: facts.number("attention.sliding_window") ?? 4096,
      ...localRope(facts, usual),
      layerTypes: ggufLayerTypes(facts, usual.numLayers, 2),
    }),
    write: ({ attentionSoftcap, logitSoftcap }) => ({
      attn_logit_softcapping: attentionSoftcap > 0 ? gguf.float32(attentionSoftcap) : undefined,
      final_logit_softcapping: logitSoftcap > 0 ? gguf.float32(logitSoftcap) : undefined,
    }),
  },
};

/** Another base of RoPE in the layers that slide, where a file says one; their angles are scaled as the others' are, which Hornbook has only without scaling. */
export function localRope({ number, text, architecture, metadata }: GgufFacts, { ropeTheta }: UsualOptions): Pick<TransformerOptions, "localRopeTheta"> {
  const local = number("rope.freq_base_swa") ?? ropeTheta;
  if (local === ropeTheta) return {};
  if ((number("rope.scaling.factor") ?? number("rope.scale_linear") ?? 1) === 1 || text("rope.scaling.type") === "none") return { localRopeTheta: local };
  throw new CheckpointError({ file: metadata.file, field: `${architecture}.rope.freq_base_swa` }, "a base of its own beside a scaling is not supported.", { code: "unsupported-config" });
}

/** `largest`: the layers of the one size whose scores are scaled by the width of the model over the heads, which GGUF has no key for. */
export function readGemmaGguf(usual: UsualOptions, largest: number): TransformerOptions {
  const { hiddenSize, numHeads, numLayers, headSize } = usual;
  return {
    ...usual,
    norm: "rmsnorm",
    normOffset: 1,
    normPlacement: "sandwich",
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: (numLayers === largest ? hiddenSize / numHeads : headSize) ** -0.5,
    position: "rope",
    feedForward: "gegluTanh",
    tieEmbeddings: true,
  };
}

/** A soft cap of null is none. */
const softcap = (json: ConfigFile, field: string): number => (json.isNull(field) ? 0 : json.number(field));

/** What Gemma 2 and 3 share, all but RoPE and the scores' soft cap. `pattern`: every how many layers one is full where the file does not say. */
export function readGemma(json: ConfigFile, pattern: number): Omit<TransformerOptions, "contextLength"> {
  const activation = json.text("hidden_activation");
  // Its first files say it twice, and not always alike; this one counts.
  json.skip("hidden_act");
  if (activation !== "gelu_pytorch_tanh" && activation !== "gelu") json.unsupported("hidden_activation", "it knows gelu_pytorch_tanh and gelu");
  json.only("use_bidirectional_attention", false);
  const hiddenSize = json.count("hidden_size");
  const numLayers = json.count("num_hidden_layers");
  const attentionBias = json.flag("attention_bias", false);
  return {
    vocabSize: json.count("vocab_size"),
    hiddenSize,
    numLayers,
    numHeads: json.count("num_attention_heads"),
    numKeyValueHeads: json.count("num_key_value_heads"),
    headSize: json.count("head_dim"),
    intermediateSize: json.count("intermediate_size"),
    norm: "rmsnorm",
    normEps: json.number("rms_norm_eps"),
    normOffset: 1,
    normPlacement: "sandwich",
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: json.number("query_pre_attn_scalar") ** -0.5,
    logitSoftcap: softcap(json, "final_logit_softcapping"),
    slidingWindow: readWindow(json),
    layerTypes: readLayerTypes(json, numLayers, pattern),
    position: "rope",
    feedForward: activation === "gelu" ? "geglu" : "gegluTanh",
    tieEmbeddings: json.flag("tie_word_embeddings"),
    queryKeyValueBias: attentionBias,
    attentionOutputBias: attentionBias,
    mlpBias: false,
    dropout: json.number("attention_dropout", 0),
  };
}

export function writeGemma(config: TransformerConfig): Record<string, unknown> {
  const { attentionSoftcap, logitSoftcap } = config;
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    num_key_value_heads: config.numKeyValueHeads,
    head_dim: config.headSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: config.normEps,
    // transformers takes whole numbers alone.
    query_pre_attn_scalar: Math.round(config.attentionScale ** -2),
    attn_logit_softcapping: attentionSoftcap > 0 ? attentionSoftcap : null,
    final_logit_softcapping: logitSoftcap > 0 ? logitSoftcap : null,
    sliding_window: config.slidingWindow > 0 ? config.slidingWindow : 4096,
    layer_types: layerTypeNames(config),
    hidden_activation: config.feedForward === "geglu" ? "gelu" : "gelu_pytorch_tanh",
    tie_word_embeddings: config.tieEmbeddings,
    attention_bias: config.queryKeyValueBias,
    attention_dropout: config.dropout,
    initializer_range: 0.02,
  };
}

export function gemmaTensors(config: TransformerConfig, parameters: Parameters): TensorPlan[] {
  return llamaTensors(config, parameters, {
    norm1: "input_layernorm", outputNorm1: "post_attention_layernorm", norm2: "pre_feedforward_layernorm", outputNorm2: "post_feedforward_layernorm",
  });
}
