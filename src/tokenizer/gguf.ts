/**
 * @file The tokenizer inside a GGUF file, both ways: `tokenizer.ggml.*` (ggml/docs/gguf.md; their meaning is llama.cpp's src/llama-vocab.cpp).
 *
 * `gpt2` is byte-level BPE cut as its `pre` kind says, `llama` is SentencePiece's BPE by scores, `t5` its unigram model. Reading gives the ids that
 * llama.cpp gives (but for a byte that has no token: it is left out before merging, as Hugging Face does, and there after it).
 */

import { TokenizerError } from "../errors.js";
import type { AddedToken } from "./added-tokens.js";
import { maxTokenId } from "./bpe.js";
import { BpeTokenizer, defaultEngine, type EngineOption } from "./bpe-tokenizer.js";
import type { TokenizerEngine } from "./engine.js";
import { preTokenizers } from "./gguf-pre.js";
import type { PackedTexts } from "./packed-texts.js";
import { PipelineTokenizer } from "./pipeline-tokenizer.js";
import type { PipelineSpec } from "./pipeline-spec.js";
import { templateOf } from "./post-processor.js";
import { asSteps, pieceTypes, sentencePieceDecoder } from "./sentencepiece.js";
import type { SentencePieceNormalization } from "./sp-normalizer.js";
import { TokenNames } from "./token-names.js";
import { asByteLevelBpe, byteLevelDecoder } from "./tokenizer-json.js";

/** The metadata of a GGUF file; a value of another type than asked for is the reader's to refuse. Without a fallback a missing key is an error. */
export interface TokenizerMetadata {
  /** Named in errors. */
  readonly file: string;
  has(key: string): boolean;
  text(key: string, fallback?: string): string;
  number(key: string, fallback?: number): number;
  flag(key: string, fallback?: boolean): boolean;
  strings(key: string): PackedTexts;
  numbers(key: string): ArrayLike<number>;
}

const prefix = "tokenizer.ggml.";

/** Throws TokenizerError that names the key. */
export function tokenizerFromGguf(metadata: TokenizerMetadata, options: EngineOption = {}): BpeTokenizer | PipelineTokenizer {
  const fail = (key: string, message: string, hint?: string): never => {
    throw new TokenizerError({ file: metadata.file, field: prefix + key }, message, { code: "bad-tokenizer", ...(hint !== undefined && { hint }) });
  };
  const kind = metadata.text(`${prefix}model`);
  if (kind !== "gpt2" && kind !== "llama" && kind !== "t5") fail("model", `the tokenizer ${JSON.stringify(kind.slice(0, 60))} is not supported; gpt2, llama and t5 are.`);

  const tokens = metadata.strings(`${prefix}tokens`);
  const count = tokens.length;
  if (count === 0 || count > maxTokenId) fail("tokens", `${count} tokens are none or too many.`);
  const names = TokenNames.packed(tokens);
  const nameOf = (id: number): string => names.at(id) ?? "";
  const list = (key: string): ArrayLike<number> | undefined => {
    if (!metadata.has(prefix + key)) return undefined;
    const values = metadata.numbers(prefix + key);
    if (values.length < count) fail(key, `there are ${values.length} for ${count} tokens.`);
    return values;
  };
  const types = list("token_type");
  const boundary = (key: string, usual?: number): number | undefined => {
    if (!metadata.has(prefix + key) && (usual === undefined || usual >= count)) return undefined;
    const id = metadata.number(prefix + key, usual ?? 0);
    return Number.isInteger(id) && id >= 0 && id < count ? id : fail(key, `${id} is outside the vocabulary of ${count}.`);
  };
  const isLlama = kind === "llama";
  const bosId = boundary("bos_token_id", isLlama ? 1 : undefined);
  const eosId = boundary("eos_token_id", isLlama ? 2 : kind === "t5" ? 1 : undefined);

  const added: AddedToken[] = [];
  for (let id = 0; types !== undefined && id < count; id++) {
    const type = types[id];
    if (type !== pieceTypes.control && type !== pieceTypes.unknown && type !== pieceTypes.userDefined) continue;
    added.push({ id, content: nameOf(id), special: type !== pieceTypes.userDefined, singleWord: false, lstrip: false, rstrip: false, normalized: false });
  }
  if (types === undefined) for (const id of new Set([bosId, eosId])) if (id !== undefined) added.push({ id, content: nameOf(id), special: true, singleWord: false, lstrip: false, rstrip: false, normalized: false });

  const surroundings = (addsBos: boolean, addsEos: boolean) => {
    const wanted = (key: string, usual: boolean, id: number | undefined): number[] => (metadata.flag(prefix + key, usual) && id !== undefined ? [id] : []);
    return templateOf({ before: wanted("add_bos_token", addsBos, bosId), after: wanted("add_eos_token", addsEos, eosId) }, nameOf);
  };

  if (kind === "gpt2") {
    const pre = metadata.text(`${prefix}pre`, "default");
    const found = Object.hasOwn(preTokenizers, pre) ? preTokenizers[pre] : fail("pre", `the kind ${JSON.stringify(pre.slice(0, 60))} is not known.`, `Known are ${Object.keys(preTokenizers).join(", ")}.`);
    const { steps, ignoreMerges = false, addBos = false } = found;
    const merges = readMerges(metadata.strings(`${prefix}merges`), tokens, options.engine ?? defaultEngine(), fail);
    const spec: PipelineSpec = {
      normalizer: [],
      preTokenizer: steps,
      postProcessor: surroundings(addBos, false),
      decoder: byteLevelDecoder,
      model: { kind: "bpe", names, merges, unkToken: undefined, fuseUnk: false, byteFallback: false, ignoreMerges, continuingSubwordPrefix: "", endOfWordSuffix: "" },
    };
    const fast = asByteLevelBpe(spec);
    return fast === undefined ? new PipelineTokenizer(spec, added, { bosId, eosId }) : new BpeTokenizer(fast, added, { bosId, eosId, ...options });
  }

  const scores = list("scores") ?? fail("scores", "there are none.");
  for (let id = 0; id < count; id++) if (!Number.isFinite(scores[id])) fail("scores", `the score of token ${id} is not a number.`);
  const idsOfType = (type: number): number[] => (types === undefined ? [] : Array.from({ length: count }, (_, id) => id).filter((id) => types[id] === type));
  const unkId = boundary("unknown_token_id", isLlama ? 0 : 2);
  const byteIds = idsOfType(pieceTypes.byte);
  const addDummyPrefix = metadata.flag(`${prefix}add_space_prefix`, true);
  if (isLlama) {
    // llama.cpp puts the space before the text after every special token too, which is what Prepend does.
    const plain: SentencePieceNormalization = { charsMap: new Uint8Array(), addDummyPrefix, removeExtraWhitespaces: false, escapeWhitespaces: true, whitespaceAsSuffix: false };
    const spec: PipelineSpec = {
      ...asSteps(plain, false),
      postProcessor: surroundings(true, false),
      decoder: sentencePieceDecoder(Number(addDummyPrefix), undefined),
      model: { kind: "score-bpe", names, scores, unkId, byteFallback: true, fuseUnk: false },
      unreachable: byteIds,
    };
    return new PipelineTokenizer(spec, added, { bosId, eosId });
  }
  const normalization: SentencePieceNormalization = {
    charsMap: metadata.has(`${prefix}precompiled_charsmap`) ? Uint8Array.from(metadata.numbers(`${prefix}precompiled_charsmap`)) : new Uint8Array(),
    addDummyPrefix,
    removeExtraWhitespaces: metadata.flag(`${prefix}remove_extra_whitespaces`, false),
    escapeWhitespaces: true,
    whitespaceAsSuffix: false,
  };
  const userDefined = idsOfType(pieceTypes.userDefined);
  const spec: PipelineSpec = {
    ...asSteps(normalization, userDefined.length > 0),
    postProcessor: surroundings(false, true),
    decoder: sentencePieceDecoder(Number(addDummyPrefix), undefined),
    model: { kind: "unigram", names, scores: Float64Array.from({ length: count }, (_, id) => scores[id]), unkId, byteFallback: byteIds.length === 256 },
    unreachable: byteIds,
    sentencePiece: { normalization, userDefined, unused: [] },
  };
  return new PipelineTokenizer(spec, added.filter(({ special }) => special), { bosId, eosId });
}

type Fail = (key: string, message: string) => never;

/** Merges as texts, `left right`; a space may only begin the left one. */
function readMerges(merges: PackedTexts, tokens: PackedTexts, engine: TokenizerEngine, fail: Fail): Uint32Array {
  const ids = engine.resolveMerges(merges, tokens);
  const bad = ids.length / 3;
  if (bad < merges.length) fail("merges", `merge ${bad}, ${JSON.stringify(merges.at(bad).slice(0, 60))}, is not two tokens that make a third.`);
  return ids;
}

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
    if (model.kind === "wordpiece" || model.kind === "wordlevel") return refuse("model.type", "this kind of model has no form in GGUF.");
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
