/**
 * @file The tokenizer inside a GGUF file: `tokenizer.ggml.*` (ggml/docs/gguf.md; their meaning is llama.cpp's src/llama-vocab.cpp). `gguf-write.ts` is the
 * way back.
 *
 * `gpt2` is byte-level BPE cut as its `pre` kind says, `gemma4` BPE on letters, `llama` SentencePiece's BPE by scores, `t5` its unigram model, `bert`
 * WordPiece, `rwkv` the longest token that fits, `plamo2` a unigram model of its own, `whitespace` BPE on words. Reading gives the ids that llama.cpp
 * gives, with one exception: text never becomes a control token unless the caller allows it, even where llama.cpp's merging would make one.
 */

import { TokenizerError } from "../errors.js";
import { warn } from "../warn.js";
import { maxTokenId } from "./bpe.js";
import { BpeTokenizer, defaultEngine, type EngineOption } from "./bpe-tokenizer.js";
import type { TokenizerEngine } from "./engine.js";
import { preTokenizers } from "./gguf-pre.js";
import { specialTokens, type SpecialTokens } from "./gguf-special.js";
import type { PackedTexts } from "./packed-texts.js";
import { PipelineTokenizer } from "./pipeline-tokenizer.js";
import type { PipelineSpec } from "./pipeline-spec.js";
import { templateOf } from "./post-processor.js";
import { asSteps, pieceTypes, sentencePieceDecoder } from "./sentencepiece.js";
import type { SentencePieceNormalization } from "./sp-normalizer.js";
import type { NormalizerStep, PostProcessorStep } from "./steps.js";
import { TokenNames } from "./token-names.js";
import type { BoundaryTokens } from "./tokenizer.js";
import { asByteLevelBpe, byteLevelDecoder } from "./tokenizer-json.js";

export { tokenizerToGguf, type TokenizerField } from "./gguf-write.js";

/** The metadata of a GGUF file; a value of another type than asked for is the reader's to refuse. Without a fallback a missing key is an error. */
export interface TokenizerMetadata {
  /** Named in errors. */
  readonly file: string;
  /** By key. */
  readonly values: ReadonlyMap<string, unknown>;
  has(key: string): boolean;
  text(key: string, fallback?: string): string;
  number(key: string, fallback?: number): number;
  flag(key: string, fallback?: boolean): boolean;
  strings(key: string): PackedTexts;
  numbers(key: string): ArrayLike<number>;
}

const prefix = "tokenizer.ggml.";

/** The ids that llama.cpp takes where a file says nothing, or nothing possible. */
interface DefaultIds {
  readonly bos?: number;
  readonly eos?: number;
  readonly unknown?: number;
  readonly seperator?: number;
}
const bpeIds: DefaultIds = { bos: 11, eos: 11 };
const defaults: Readonly<Record<string, DefaultIds>> = {
  gpt2: bpeIds,
  whitespace: bpeIds,
  gemma4: {},
  llama: { bos: 1, eos: 2, unknown: 0 },
  t5: { eos: 1, unknown: 2 },
  bert: { bos: 101, unknown: 100, seperator: 102 },
  rwkv: {},
  plamo2: { bos: 1, eos: 2, unknown: 0 },
};

/** What is read here, or says nothing about the ids of a text: other special tokens, and whether a pair has a separator. */
const knownKeys = new Set(
  ("model pre tokens token_type token_type_count scores merges add_bos_token add_eos_token add_sep_token add_space_prefix remove_extra_whitespaces " +
    "precompiled_charsmap normalizer.lowercase normalizer.strip_accents bos_token_id eos_token_id eot_token_id eom_token_id unknown_token_id " +
    "seperator_token_id padding_token_id cls_token_id mask_token_id fim_pre_token_id fim_suf_token_id fim_mid_token_id fim_pad_token_id " +
    "fim_rep_token_id fim_sep_token_id prefix_token_id suffix_token_id middle_token_id").split(" "),
);

/** What every kind of tokenizer is read from. */
interface Source {
  readonly metadata: TokenizerMetadata;
  readonly fail: Fail;
  readonly tokens: PackedTexts;
  readonly names: TokenNames;
  readonly special: SpecialTokens;
  readonly boundaries: BoundaryTokens;
  readonly unkId: number | undefined;
  /** A list of one number a token. */
  readonly list: (key: string) => ArrayLike<number> | undefined;
  readonly flag: (key: string, usual: boolean) => boolean;
  /** The tokens around a text, where the file or the kind wants them. */
  readonly surroundings: (addsBos: boolean, addsEos: boolean) => PostProcessorStep[];
}

type Fail = (key: string, message: string, hint?: string) => never;

/** Throws TokenizerError that names the key. Ids that are out of range are a warning, as in llama.cpp, and so are keys that are not known. */
export function tokenizerFromGguf(metadata: TokenizerMetadata, options: EngineOption = {}): BpeTokenizer | PipelineTokenizer {
  const fail: Fail = (key, message, hint) => {
    throw new TokenizerError({ file: metadata.file, field: prefix + key }, message, { code: "bad-tokenizer", ...(hint !== undefined && { hint }) });
  };
  const kind = metadata.text(`${prefix}model`);
  if (!Object.hasOwn(defaults, kind)) {
    if (kind === "none" || kind === "no_vocab") fail("model", "the file has no tokenizer.");
    fail("model", `the tokenizer ${quote(kind)} is not supported; ${Object.keys(defaults).join(", ")} are.`);
  }
  const unknownKeys = [...metadata.values.keys()].filter((key) => key.startsWith(prefix) && !knownKeys.has(key.slice(prefix.length)));
  if (unknownKeys.length > 0) warn(`${metadata.file}: nothing is known of ${unknownKeys.slice(0, 10).map(quote).join(", ")}, so it is not acted on.`);

  const tokens = metadata.strings(`${prefix}tokens`);
  const count = tokens.length;
  if (count === 0 || count > maxTokenId) fail("tokens", `${count} tokens are none or too many.`);
  const names = TokenNames.packed(tokens);
  const list = (key: string): ArrayLike<number> | undefined => {
    if (!metadata.has(prefix + key)) return undefined;
    const values = metadata.numbers(prefix + key);
    return values.length < count ? fail(key, `there are ${values.length} for ${count} tokens.`) : values;
  };
  const idOf = (name: string, usual: number | undefined): number | undefined => {
    const fallback = usual !== undefined && usual < count ? usual : undefined;
    const key = `${prefix}${name}_token_id`;
    if (!metadata.has(key)) return fallback;
    const id = metadata.number(key);
    if (Number.isInteger(id) && id >= 0 && id < count) return id;
    warn(`${metadata.file}: ${key} is ${id}, outside the vocabulary of ${count}: ${fallback === undefined ? "there is none then" : `${fallback} is taken, the usual one of the kind ${kind}`}.`);
    return fallback;
  };

  const pre = metadata.text(`${prefix}pre`, "");
  const usual = { ...defaults[kind], ...((preTokenizers[pre]?.hasNoBos ?? false) && { bos: undefined }) };
  const wanted = { bos: idOf("bos", usual.bos), eos: idOf(kind === "bert" ? "seperator" : "eos", kind === "bert" ? usual.seperator : usual.eos) };
  const unkId = idOf("unknown", usual.unknown);
  // For a BPE the usual ids are a last resort; where a file names none there is none, unless it asks for one around a text.
  const isNamed = (name: string): boolean => defaults[kind] !== bpeIds || metadata.has(`${prefix}${name}_token_id`);
  const boundaries: BoundaryTokens = { bosId: isNamed("bos") ? wanted.bos : undefined, eosId: isNamed("eos") ? wanted.eos : undefined };

  const special = specialTokens({
    tokens,
    types: list("token_type"),
    boundaries: [boundaries.bosId, boundaries.eosId],
    has: (key) => metadata.has(prefix + key),
    pre,
    architecture: metadata.text("general.architecture", ""),
    modelName: metadata.text("general.name", ""),
  });
  const flag = (key: string, fallback: boolean): boolean => metadata.flag(prefix + key, fallback);
  const surroundings = (addsBos: boolean, addsEos: boolean): PostProcessorStep[] => {
    const ids = (isWanted: boolean, id: number | undefined): number[] => (isWanted && id !== undefined ? [id] : []);
    return templateOf({ before: ids(addsBos, wanted.bos), after: ids(addsEos, wanted.eos) }, (id) => names.at(id) ?? "");
  };
  const source: Source = { metadata, fail, tokens, names, special, boundaries, unkId, list, flag, surroundings };

  switch (kind) {
    case "llama": return readScoreBpe(source);
    case "t5": return readUnigram(source);
    case "bert": return readWordPiece(source);
    case "rwkv": return readRwkv(source);
    case "plamo2": return readPlamo2(source);
    default: return readBpe(kind, pre, source, options);
  }
}

function readBpe(kind: string, pre: string, source: Source, options: EngineOption): BpeTokenizer | PipelineTokenizer {
  const { metadata, fail, tokens, names, special, boundaries, flag, surroundings } = source;
  if (pre === "" && kind !== "gemma4") warn(`${metadata.file}: ${prefix}pre, how text is cut, is not there: "default" is taken, as llama.cpp does, and the model may do worse for it.`);
  const name = kind === "gemma4" ? "gemma4" : pre || "default";
  const found = Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : fail("pre", `the kind ${quote(name)} is not known.`, `Known are ${Object.keys(preTokenizers).join(", ")}.`);
  const lacksMerges = found.mayLackMerges === true && !metadata.has(`${prefix}merges`);
  const merges = lacksMerges ? new Uint32Array() : readMerges(metadata.strings(`${prefix}merges`), tokens, options.engine ?? defaultEngine(), fail);
  const escape: NormalizerStep[] = found.escapesSpaces === true ? [{ type: "Replace", pattern: { String: " " }, content: "▁" }] : [];
  const bos = found.alwaysAddsBos === true || flag("add_bos_token", found.addBos ?? false);
  const byWords = kind === "whitespace";
  const isRaw = found.rawText === true;
  const spec: PipelineSpec = {
    normalizer: [...(byWords && flag("normalizer.lowercase", name !== "whitespace") ? [{ type: "Lowercase" } as const] : []), ...escape],
    preTokenizer: [...(byWords ? [{ type: "WhitespaceSplit" } as const] : []), ...found.steps],
    postProcessor: surroundings(bos, flag("add_eos_token", false)),
    decoder: isRaw ? [...(found.escapesSpaces === true ? [{ type: "Replace", pattern: { String: "▁" }, content: " " } as const] : []), { type: "ByteFallback" }, { type: "Fuse" }] : byteLevelDecoder,
    model: {
      kind: "bpe",
      names,
      merges,
      unkToken: undefined,
      fuseUnk: false,
      byteFallback: isRaw,
      ignoreMerges: found.ignoreMerges ?? false,
      continuingSubwordPrefix: "",
      endOfWordSuffix: "",
      unknownKeepsApart: true,
      wholeLineBreaks: found.wholeLineBreaks,
    },
    rules: "llama.cpp",
  };
  const fast = asByteLevelBpe(spec);
  return fast === undefined ? new PipelineTokenizer(spec, special.added, boundaries) : new BpeTokenizer(fast, special.added, { ...boundaries, ...options });
}

/** Merges as texts, `left right`; a space may only begin the left one. */
function readMerges(merges: PackedTexts, tokens: PackedTexts, engine: TokenizerEngine, fail: Fail): Uint32Array {
  const ids = engine.resolveMerges(merges, tokens);
  const bad = ids.length / 3;
  if (bad < merges.length) fail("merges", `merge ${bad}, ${quote(merges.at(bad))}, is not two tokens that make a third.`);
  return ids;
}

function readScores({ tokens, list, fail }: Source): ArrayLike<number> {
  const scores = list("scores") ?? fail("scores", "there are none.");
  for (let id = 0; id < tokens.length; id++) if (!Number.isFinite(scores[id])) fail("scores", `the score of token ${id} is not a number.`);
  return scores;
}

function readScoreBpe(source: Source): PipelineTokenizer {
  const { names, special, boundaries, unkId, flag, surroundings } = source;
  // The space stands before the text after every special token too, which is what Prepend does.
  const addDummyPrefix = flag("add_space_prefix", true);
  const plain: SentencePieceNormalization = { charsMap: new Uint8Array(), addDummyPrefix, removeExtraWhitespaces: false, escapeWhitespaces: true, whitespaceAsSuffix: false };
  const spec: PipelineSpec = {
    ...asSteps(plain, false),
    postProcessor: surroundings(flag("add_bos_token", true), flag("add_eos_token", false)),
    decoder: sentencePieceDecoder(Number(addDummyPrefix), undefined),
    model: { kind: "score-bpe", names, scores: readScores(source), unkId, byteFallback: true, fuseUnk: false },
    unreachable: special.idsOf(pieceTypes.byte),
    rules: "llama.cpp",
  };
  return new PipelineTokenizer(spec, special.added, boundaries);
}

function readUnigram(source: Source): PipelineTokenizer {
  const { metadata, names, special, boundaries, unkId, flag, surroundings } = source;
  const charsMap = `${prefix}precompiled_charsmap`;
  const normalization: SentencePieceNormalization = {
    charsMap: metadata.has(charsMap) ? Uint8Array.from(metadata.numbers(charsMap)) : new Uint8Array(),
    addDummyPrefix: flag("add_space_prefix", false),
    removeExtraWhitespaces: flag("remove_extra_whitespaces", false),
    escapeWhitespaces: true,
    whitespaceAsSuffix: false,
  };
  const userDefined = special.idsOf(pieceTypes.userDefined);
  const scores = Float64Array.from({ length: names.length }, ((given) => (_, id) => given[id])(readScores(source)));
  // A user-defined token costs nothing, whatever its score.
  for (const id of userDefined) scores[id] = 0;
  const spec: PipelineSpec = {
    ...asSteps(normalization, userDefined.length > 0),
    postProcessor: surroundings(flag("add_bos_token", false), flag("add_eos_token", true)),
    decoder: sentencePieceDecoder(Number(normalization.addDummyPrefix || normalization.removeExtraWhitespaces), undefined),
    model: { kind: "unigram", names, scores, unkId, byteFallback: false },
    unreachable: special.idsOf(pieceTypes.byte),
    sentencePiece: { normalization, userDefined: [], unused: [...special.idsOf(pieceTypes.unused), ...userDefined] },
    rules: "llama.cpp",
  };
  return new PipelineTokenizer(spec, special.added, boundaries);
}

function readWordPiece({ names, special, boundaries, unkId, flag, surroundings }: Source): PipelineTokenizer {
  const lower = flag("normalizer.lowercase", true);
  const stripAccents = flag("normalizer.strip_accents", lower);
  const spec: PipelineSpec = {
    normalizer: [{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: stripAccents, lowercase: lower }],
    preTokenizer: [{ type: "BertPreTokenizer" }],
    postProcessor: surroundings(true, true),
    decoder: sentencePieceDecoder(1, undefined),
    model: { kind: "wordpiece", names, unkId, continuingPrefix: "", startPrefix: "▁", maxCharacters: Infinity },
    rules: "llama.cpp",
    wpm: { lowercase: lower, stripAccents },
  };
  return new PipelineTokenizer(spec, special.added, boundaries);
}

function readRwkv({ names, special, boundaries, unkId }: Source): PipelineTokenizer {
  const spec: PipelineSpec = { normalizer: [], preTokenizer: [], postProcessor: [], decoder: [{ type: "Fuse" }], model: { kind: "rwkv", names, unkId }, rules: "llama.cpp" };
  return new PipelineTokenizer(spec, special.added, boundaries);
}

function readPlamo2(source: Source): PipelineTokenizer {
  const { names, special, boundaries } = source;
  const spec: PipelineSpec = {
    normalizer: [],
    preTokenizer: [],
    postProcessor: [],
    decoder: [{ type: "ByteFallback" }, { type: "Fuse" }],
    model: { kind: "plamo2", names, scores: readScores(source) },
    unreachable: special.idsOf(pieceTypes.byte),
    rules: "llama.cpp",
  };
  return new PipelineTokenizer(spec, special.added, boundaries);
}

const quote = (text: string): string => JSON.stringify(text.slice(0, 60));
