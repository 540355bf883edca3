/**
 * @file A tokenizer as the metadata of a GGUF file; see `gguf.ts` for the way back. What llama.cpp could not give the same ids with is refused.
 */

import { TokenizerError } from "../errors.js";
import type { BpeTokenizer } from "./bpe-tokenizer.js";
import { preTokenizers } from "./gguf-pre.js";
import type { PipelineTokenizer } from "./pipeline-tokenizer.js";
import { pieceTypes } from "./sentencepiece.js";

const prefix = "tokenizer.ggml.";

/** A value for a GGUF file: whole numbers are uint32, lists of them int32 or float32 by their array, bytes int8. */
export type TokenizerField = string | number | boolean | readonly string[] | Float32Array | Int32Array | Uint8Array;

/** The metadata that a GGUF file has of a tokenizer. Throws TokenizerError `no-gguf-form` where llama.cpp could not give the same ids. */
export function tokenizerToGguf(tokenizer: BpeTokenizer | PipelineTokenizer): ReadonlyMap<string, TokenizerField> {
  const { spec, addedTokens } = tokenizer.composition();
  const { model } = spec;
  const refuse = (field: string, message: string): never => {
    throw new TokenizerError({ field }, message, { code: "no-gguf-form", hint: "Export as a Hugging Face folder instead." });
  };
  const fields = new Map<string, TokenizerField>();
  const put = (key: string, value: TokenizerField | undefined): void => {
    if (value !== undefined) fields.set(prefix + key, value);
  };

  const tokens = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.nameOf(id) ?? `[PAD${id}]`);
  const types = Int32Array.from(tokens, (_, id) => (tokenizer.nameOf(id) === undefined ? pieceTypes.unused : pieceTypes.normal));
  for (const id of spec.unreachable ?? []) types[id] = pieceTypes.byte;
  for (const id of spec.sentencePiece?.unused ?? []) types[id] = pieceTypes.unused;
  for (const id of spec.sentencePiece?.userDefined ?? []) types[id] = pieceTypes.userDefined;
  for (const { id, special } of addedTokens) types[id] = special ? pieceTypes.control : pieceTypes.userDefined;

  if (spec.decoder[0]?.type === "ByteLevel" && model.kind === "bpe") {
    const steps = JSON.stringify(spec.preTokenizer);
    const kinds = Object.entries(preTokenizers).filter(([, kind]) => JSON.stringify(kind.steps) === steps);
    const found = kinds.find(([, kind]) => (kind.ignoreMerges ?? false) === model.ignoreMerges) ?? refuse("pre_tokenizer", "llama.cpp has no name for the way this tokenizer cuts text.");
    put("model", "gpt2");
    put("pre", found[0]);
    put("tokens", tokens);
    put("token_type", types);
    put("merges", Array.from({ length: model.merges.length / 3 }, (_, i) => `${model.names.at(model.merges[3 * i])} ${model.names.at(model.merges[3 * i + 1])}`));
  } else {
    const isUnigram = model.kind === "unigram";
    if (model.kind === "wordpiece" || model.kind === "wordlevel" || model.kind === "rwkv" || model.kind === "plamo2") return refuse("model.type", "this kind of model has no form in GGUF.");
    if (model.kind === "bpe" && !model.byteFallback) refuse("model.byte_fallback", "a BPE on characters without byte fallback has no form in GGUF.");
    const scores = model.kind === "bpe" ? scoresOf(model.merges, tokens.length) : Float32Array.from(tokens, (_, id) => model.scores[id] ?? 0);
    for (let id = 0; id < tokens.length; id++) if (/^<0x[0-9A-F]{2}>$/.test(tokens[id])) types[id] = pieceTypes.byte;
    const unkId = model.kind === "bpe" ? (model.unkToken === undefined ? undefined : model.names.idOf(model.unkToken)) : model.unkId;
    if (unkId !== undefined) types[unkId] = pieceTypes.unknown;
    const normalization = spec.sentencePiece?.normalization;
    const prefixed = spec.normalizer.some(({ type }) => type === "Prepend") || spec.preTokenizer.some((step) => step.type === "Metaspace" && step.prepend_scheme !== "never");
    put("model", isUnigram ? "t5" : "llama");
    put("pre", "default");
    put("tokens", tokens);
    put("scores", scores);
    put("token_type", types);
    put("add_space_prefix", normalization?.addDummyPrefix ?? prefixed);
    if (isUnigram && normalization !== undefined) {
      put("remove_extra_whitespaces", normalization.removeExtraWhitespaces);
      if (normalization.charsMap.length > 0) put("precompiled_charsmap", normalization.charsMap);
    }
    put("unknown_token_id", unkId);
  }
  put("bos_token_id", tokenizer.bosId);
  put("eos_token_id", tokenizer.eosId);
  put("add_bos_token", tokenizer.addsBos);
  put("add_eos_token", tokenizer.addsEos);
  return fields;
}

/** Scores that order tokens as merges do: the earlier one is made, the higher. */
function scoresOf(merges: Uint32Array, count: number): Float32Array {
  const scores = new Float32Array(count);
  for (let i = merges.length - 3; i >= 0; i -= 3) scores[merges[i + 2]] = -i / 3 - 1;
  return scores;
}
