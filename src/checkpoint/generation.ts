/**
 * @file How a model is meant to be sampled from: `generation_config.json`. A model loads whatever stands there: what cannot be, and what is not
 * acted on, is told as a warning.
 */

import { z } from "zod";
import { brief } from "./families/index.js";

export interface GenerationDefaults {
  /** The tokens that end a text. */
  readonly stopIds?: number[];
  /** Strings that end it. */
  readonly stop?: string[];
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/** Fields that bear on nothing here: what the file is, how transformers runs it, and bounds that the caller and the context set. */
const idle = new Set([
  "transformers_version", "_from_model_config", "_commit_hash", "bos_token_id", "pad_token_id", "decoder_start_token_id", "use_cache", "cache_implementation",
  "cache_config", "max_cache_len", "return_legacy_cache", "output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate",
  "num_return_sequences", "max_length", "early_stopping", "length_penalty", "compile_config", "disable_compile", "prefill_chunk_size", "low_memory", "max_time",
  "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit", "assistant_lookbehind", "target_lookbehind",
  "prompt_lookup_num_tokens", "max_matching_ngram_size", "is_assistant", "use_mtp", "trust_remote_code", "chat_format", "max_window_size",
]);

/** At these values, as at null, false and empty, a field changes nothing. */
const neutral = new Map<string, unknown>(Object.entries({
  typical_p: 1, epsilon_cutoff: 0, eta_cutoff: 0, top_h: 1, num_beams: 1, num_beam_groups: 1, diversity_penalty: 0, penalty_alpha: 0, no_repeat_ngram_size: 0,
  encoder_no_repeat_ngram_size: 0, encoder_repetition_penalty: 1, min_length: 0, min_new_tokens: 0, guidance_scale: 1,
}));

const id = z.number().int().min(0);
const ids = z.union([id.transform((one) => [one]), z.array(id)]);

/**
 * What the file says, in our words, and what of it is not acted on. `config`: what config.json says of the tokens that end a text, which counts
 * where this file is silent.
 */
export function readGeneration(path: string, json: Readonly<Record<string, unknown>>, config: { readonly path: string; readonly stopIds: unknown }): { generation: GenerationDefaults; warnings: string[] } {
  const asked = new Set<string>();
  const warnings: string[] = [];
  const parse = <T>(file: string, field: string, value: unknown, schema: z.ZodType<T>): T | undefined => {
    if (value === undefined || value === null) return undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    warnings.push(`${file}: "${field}" (${brief(value)}) cannot be, and is left aside: ${parsed.error.issues[0].message}.`);
    return undefined;
  };
  const read = <T>(field: string, schema: z.ZodType<T>): T | undefined => {
    asked.add(field);
    return parse(path, field, json[field], schema);
  };
  const sampled = read("do_sample", z.boolean());
  const [temperature, topK, topP] = [read("temperature", z.number().min(0)), read("top_k", z.number().int()), read("top_p", z.number().min(0).max(1))];
  const minP = read("min_p", z.number().min(0).max(1));
  const stop = read("stop_strings", z.union([z.string().transform((one) => [one]), z.array(z.string())]))?.filter((text) => text !== "");
  // Without do_sample the filters are there but not meant; a share of 0 keeps the most probable token alone, and -1 of them is, as 0, all.
  const filters = { temperature, topK: topP === 0 ? 1 : topK !== undefined && topK < 0 ? 0 : topK, topP: topP === 0 ? undefined : topP, minP };
  const all = {
    stopIds: read("eos_token_id", ids) ?? parse(config.path, "eos_token_id", config.stopIds, ids),
    stop: stop?.length === 0 ? undefined : stop,
    maxTokens: read("max_new_tokens", z.number().int().positive()),
    repetitionPenalty: read("repetition_penalty", z.number().positive()),
    ...(sampled === true ? filters : sampled === false ? { temperature: 0 } : {}),
  };
  const named = Object.entries(json).filter(([field, value]) => !asked.has(field) && !idle.has(field) && !isNeutral(field, value));
  if (named.length > 0) {
    warnings.push(`${path}: Hornbook does not act on ${named.slice(0, 12).map(([field, value]) => `"${field}" (${brief(value)})`).join(", ")}${named.length > 12 ? ` and ${named.length - 12} more` : ""}.`);
  }
  return { generation: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)), warnings };
}

function isNeutral(field: string, value: unknown): boolean {
  if (value === null || value === false || value === "" || value === neutral.get(field)) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** The fields of generation_config.json, but for the tokens that end a text. */
export function writeGeneration({ temperature, topK, topP, minP, repetitionPenalty, maxTokens, stop }: GenerationDefaults): Record<string, unknown> {
  const sampled = [temperature, topK, topP, minP].some((value) => value !== undefined);
  const greedy = temperature === 0;
  return {
    ...(sampled && { do_sample: !greedy }),
    ...(!greedy && { temperature, top_k: topK, top_p: topP, min_p: minP }),
    repetition_penalty: repetitionPenalty, max_new_tokens: maxTokens, stop_strings: stop,
  };
}
