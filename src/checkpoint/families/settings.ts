/**
 * @file What config.json says and no reader asked for. The rule: a setting that is not acted on is an error or a warning that names it. Passed in
 * silence is what bears on no number (`idle`), what is switched off (false, null, empty), and what says what the family takes anyway.
 */

import { CheckpointError } from "../../errors.js";
import { brief, type ConfigFile } from "./family.js";

/** Settings that bear on nothing that is computed here, whatever they say. */
const idle = new Set([
  // What the file is and who wrote it.
  "architectures", "model_type", "transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "auto_map", "torch_dtype", "dtype", "model_name",
  "transformers.js_config", "is_llama_config", "unsloth_version", "unsloth_fixed", "base_model", "license", "tags",
  // How transformers runs it: memory and speed, or the last bits of rounding.
  "use_cache", "attn_implementation", "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_experts_implementation",
  "_flash_attn_2_enabled", "use_flash_attn", "use_flash_attention", "use_flash_attention_2", "cache_implementation", "gradient_checkpointing", "chunk_size_feed_forward",
  "return_dict", "output_attentions", "output_hidden_states", "tie_last_hidden_states", "torchscript", "use_bfloat16", "is_decoder", "pretraining_tp", "slow_but_exact",
  "reorder_and_upcast_attn", "attention_softmax_in_fp32", "masked_softmax_fusion", "bias_dropout_fusion",
  // How it is trained from here on: a recipe says that.
  "initializer_range", "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout", "attn_dropout", "classifier_dropout", "summary_first_dropout",
  // Special tokens: the tokenizer and generation_config.json say them again.
  "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "decoder_start_token_id", "tokenizer_class", "prefix",
  // Heads for other tasks than going on with a text.
  "id2label", "label2id", "num_labels", "_num_labels", "problem_type", "finetuning_task", "task_specific_params", "summary_type", "summary_use_proj", "summary_activation",
  "summary_proj_to_labels",
  // Settings of generation, which transformers drops from here: they stand in generation_config.json.
  "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
  "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
  "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
  "begin_suppress_tokens", "epsilon_cutoff", "eta_cutoff", "encoder_repetition_penalty", "num_assistant_tokens", "num_assistant_tokens_schedule",
  // Ours; read with the file.
  "hornbook",
]);

/** What every file says of its model, and what is taken from transformers only with a word. */
const size = /^(vocab_size|hidden_size|n_embd|intermediate_size|num_hidden_layers|n_layer|num_attention_heads|n_head)$/;

/** Settings that change what any architecture computes, and the value at which they do not; false, null and empty never do. */
const decisive = new Map<string, { readonly neutral?: unknown; readonly why: string }>(Object.entries({
  per_layer_config: { why: "its layers differ in size or kind" },
  is_encoder_decoder: { why: "it has an encoder" },
  add_cross_attention: { why: "it reads an encoder's states" },
  cross_attention_hidden_size: { why: "it reads an encoder's states" },
  pruned_heads: { why: "some of its heads were taken out" },
  is_causal: { neutral: true, why: "its positions see what follows them" },
  use_bidirectional_attention: { why: "its positions see what follows them" },
  quantization_config: { why: "its weights are quantised" },
}));

/**
 * What the file says beyond what was read of it: the warnings for people, one for the file.
 *
 * @throws CheckpointError `unsupported-config` for a setting that changes what the model computes.
 */
export function unreadSettings(json: ConfigFile): string[] {
  const named: string[] = [];
  for (const [field, value] of json.unasked()) {
    const said = decisive.get(field);
    if (said !== undefined && value !== (said.neutral ?? null) && !(isOff(value) && said.neutral === undefined)) {
      throw new CheckpointError({ file: json.path, field }, `${brief(value)}: ${said.why}, and Hornbook has no such model.`, { code: "unsupported-config" });
    }
    if (said === undefined && !idle.has(field) && !isOff(value)) named.push(`"${field}" (${brief(value)})`);
  }
  const sizes = json.assumed().filter(([field]) => size.test(field)).map(([field, value]) => `"${field}" (${brief(value)})`);
  const assumed = sizes.length === 0 ? [] : [`${json.path} does not say ${sizes.join(", ")}: transformers' default is taken.`];
  return [...json.warnings, ...assumed, ...(named.length === 0 ? [] : [notActedOn(json.path, named)])];
}

/** A warning that names settings as `"name" (value)`. */
export function notActedOn(path: string, settings: readonly string[]): string {
  const some = settings.slice(0, 12).join(", ");
  const more = settings.length > 12 ? ` and ${settings.length - 12} more` : "";
  return `${path}: Hornbook does not act on ${some}${more}. If ${settings.length === 1 ? "it changes" : "they change"} what the model computes, its numbers are wrong.`;
}

function isOff(value: unknown): boolean {
  if (value === null || value === false || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
