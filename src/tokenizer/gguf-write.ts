/**
 * @file A tokenizer as the metadata of a GGUF file; see `gguf.ts` for the way back. What llama.cpp could not give the same ids with is refused.
 */

import { TokenizerError } from "../errors.js";
import type { BpeTokenizer } from "./bpe-tokenizer.js";
import { warn } from "../warn.js";
import { preTokenizers } from "./gguf-pre.js";
import type { PipelineSpec, WordPieceSpec } from "./pipeline-spec.js";
import type { PipelineTokenizer } from "./pipeline-tokenizer.js";
import { pieceTypes } from "./sentencepiece.js";
import type { Fail } from "./steps.js";

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

  put("tokens", tokens);
  put("token_type", types);
  const putMerges = (merges: Uint32Array): void => put("merges", Array.from({ length: merges.length / 3 }, (_, i) => `${model.names.at(merges[3 * i])} ${model.names.at(merges[3 * i + 1])}`));
  const isByteLevel = spec.decoder[0]?.type === "ByteLevel";
  const rawKind = model.kind === "bpe" && !isByteLevel ? kindOf(spec, true) : undefined;
  if (model.kind === "bpe" && isByteLevel) {
    put("model", "gpt2");
    put("pre", kindOf(spec, false) ?? refuse("pre_tokenizer", "llama.cpp has no name for the way this tokenizer cuts text."));
    putMerges(model.merges);
  } else if (model.kind === "bpe" && rawKind !== undefined) {
    put("model", rawKind === "gemma4" || rawKind === "whitespace" ? rawKind : "gpt2");
    put("pre", rawKind);
    if (rawKind === "whitespace") put("normalizer.lowercase", spec.normalizer.some(({ type }) => type === "Lowercase"));
    for (let id = 0; id < tokens.length; id++) if (isByteToken(tokens[id])) types[id] = pieceTypes.byte;
    putMerges(model.merges);
  } else if (model.kind === "rwkv" || model.kind === "plamo2") {
    put("model", model.kind);
    if (model.kind === "plamo2") put("scores", Float32Array.from(tokens, (_, id) => model.scores[id] ?? 0));
    else put("unknown_token_id", model.unkId);
  } else if (model.kind === "wordpiece") {
    for (const [key, value] of wordPieceFields(spec, model, tokens, types, refuse)) put(key, value);
    put("seperator_token_id", tokenizer.eosId);
  } else if (model.kind === "wordlevel") refuse("model.type", "a model of whole words has no form in GGUF.");
  else {
    const isUnigram = model.kind === "unigram";
    if (model.kind === "bpe" && !model.byteFallback) refuse("model.byte_fallback", "a BPE on characters without byte fallback has no form in GGUF.");
    const scores = model.kind === "bpe" ? scoresOf(model.merges, tokens.length) : Float32Array.from(tokens, (_, id) => model.scores[id] ?? 0);
    for (let id = 0; id < tokens.length; id++) if (isByteToken(tokens[id])) types[id] = pieceTypes.byte;
    const unkId = model.kind === "bpe" ? (model.unkToken === undefined ? undefined : model.names.idOf(model.unkToken)) : model.unkId;
    if (unkId !== undefined) types[unkId] = pieceTypes.unknown;
    const normalization = spec.sentencePiece?.normalization;
    const prefixed = spec.normalizer.some(({ type }) => type === "Prepend") || spec.preTokenizer.some((step) => step.type === "Metaspace" && step.prepend_scheme !== "never");
    put("model", isUnigram ? "t5" : "llama");
    put("pre", "default");
    put("scores", scores);
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

const isByteToken = (name: string): boolean => /^<0x[0-9A-F]{2}>$/.test(name);

/**
 * The name of how a text is cut, of tokens in the byte alphabet or in letters. Where llama.cpp cuts almost as the tokenizer does, a warning says so: it
 * is the only name that there is for the family.
 */
function kindOf({ preTokenizer, normalizer, model }: PipelineSpec, isRaw: boolean): string | undefined {
  if (model.kind !== "bpe") return undefined;
  const steps = JSON.stringify(preTokenizer.filter(({ type }) => !isRaw || type !== "WhitespaceSplit"));
  const escapes = normalizer.some((step) => step.type === "Replace" && step.content === "▁");
  const kinds = Object.entries(preTokenizers).filter(([, kind]) => {
    return (kind.rawText ?? false) === isRaw && (kind.ignoreMerges ?? false) === model.ignoreMerges && (!isRaw || (kind.wholeLineBreaks === model.wholeLineBreaks && (kind.escapesSpaces ?? false) === escapes));
  });
  const exact = kinds.find(([, kind]) => JSON.stringify(kind.steps) === steps)?.[0];
  if (exact !== undefined) return exact;
  const near = kinds.find(([, kind]) => kind.published?.some((published) => JSON.stringify(published) === steps))?.[0];
  if (near !== undefined) warn(`pre_tokenizer: llama.cpp calls this way to cut text ${near}, and does it a little otherwise: it knows no letters beyond A to Z that have a case.`);
  return near;
}

/** WordPiece as llama.cpp has it: tokens that begin a word are marked, not those that go on. */
function wordPieceFields(spec: PipelineSpec, model: WordPieceSpec, tokens: string[], types: Int32Array, refuse: Fail): [string, TokenizerField | undefined][] {
  const [step, ...more] = spec.normalizer;
  if (step?.type !== "BertNormalizer" || more.length > 0 || !step.clean_text || !step.handle_chinese_chars) return refuse("normalizer", "llama.cpp has WordPiece with BERT's normalizer only.");
  if (spec.preTokenizer.length !== 1 || spec.preTokenizer[0].type !== "BertPreTokenizer") refuse("pre_tokenizer", "llama.cpp has WordPiece with BERT's words only.");
  if (model.startPrefix === "") {
    for (const [id, name] of tokens.entries()) {
      if (types[id] === pieceTypes.normal) tokens[id] = name.startsWith(model.continuingPrefix) ? name.slice(model.continuingPrefix.length) : `▁${name}`;
    }
  }
  const lower = step.lowercase;
  return [["model", "bert"], ["normalizer.lowercase", lower], ["normalizer.strip_accents", step.strip_accents ?? lower], ["unknown_token_id", model.unkId]];
}

/** Scores that order tokens as merges do: the earlier one is made, the higher. */
function scoresOf(merges: Uint32Array, count: number): Float32Array {
  const scores = new Float32Array(count);
  for (let i = merges.length - 3; i >= 0; i -= 3) scores[merges[i + 2]] = -i / 3 - 1;
  return scores;
}
