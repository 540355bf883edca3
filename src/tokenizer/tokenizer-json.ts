/**
 * @file `tokenizer.json`, the format of Hugging Face `tokenizers`: what we write, and reading it from strangers.
 *
 * A file is hostile until parsed: every part has its type, ids are unique and in bounds, merges name tokens that exist, and what this reader
 * does not support is refused by name rather than skipped, since a skipped step means other ids.
 */

import { z } from "zod";
import { TokenizerError } from "../errors.js";
import type { AddedToken } from "./added-tokens.js";
import { maxTokenId } from "./bpe.js";
import { byteAlphabet, fromBase64 } from "./bytes.js";
import { CharsMap } from "./charsmap.js";
import { lookupOf, type BpeSpec, type ModelSpec, type PipelineSpec, type Rules, type WordPieceSpec } from "./pipeline-spec.js";
import { surroundingsOf } from "./post-processor.js";
import { patternNames, patterns, type PatternName } from "./pretokenize.js";
import { mergesOf } from "./score-bpe.js";
import { readSteps, writeSteps, type DecoderStep, type Fail, type NormalizerStep, type PostProcessorStep, type PreTokenizerStep, type Reader } from "./steps.js";
import { TokenNames } from "./token-names.js";
import { warn } from "../warn.js";

/** Ids may leave gaps, but not so that a short file asks for much memory. */
const maxIdFor = (entries: number): number => Math.min(maxTokenId, 4 * entries + 1024);

const added = z.object({
  id: z.int().min(0),
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(true),
  special: z.boolean().default(false),
});

// Zod would copy the vocabulary key by key into an object of its own, which loses a token named `__proto__`; so it is taken as it stands and
// checked below. The same goes for merges, of which there may be hundreds of thousands.
const isRecord = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);
const anyRecord = z.custom<Record<string, unknown>>(isRecord, "must be an object");

const bpeModel = z.object({
  dropout: z.union([z.null(), z.literal(0)]).optional(),
  unk_token: z.string().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
  fuse_unk: z.boolean().default(false),
  byte_fallback: z.boolean().default(false),
  ignore_merges: z.boolean().default(false),
  vocab: anyRecord,
  merges: z.array(z.unknown()),
});

const unigramModel = z.object({
  unk_id: z.int().min(0).nullish(),
  byte_fallback: z.boolean().default(false),
  vocab: z.array(z.unknown()),
});

const wordPieceModel = z.object({
  unk_token: z.string(),
  continuing_subword_prefix: z.string(),
  max_input_chars_per_word: z.int().min(0),
  vocab: anyRecord,
});

const wordLevelModel = z.object({ vocab: anyRecord, unk_token: z.string() });

/** An absent part is none, as if it were null. */
const pipelineFile = z.object({
  version: z.string().optional(),
  truncation: anyRecord.nullish(),
  padding: anyRecord.nullish(),
  added_tokens: z.array(added).default([]),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z.unknown().optional(),
  post_processor: z.unknown().optional(),
  decoder: z.unknown().optional(),
  model: anyRecord,
});

/** A value that `JSON.stringify` writes as a `tokenizer.json`. */
export type TokenizerJson = z.input<typeof pipelineFile>;

/** The part of `tokenizer_config.json` that we write; of a stranger's we read the two tokens. */
export interface TokenizerConfigJson {
  readonly tokenizer_class: "PreTrainedTokenizerFast";
  readonly bos_token: string | null;
  readonly eos_token: string | null;
  readonly clean_up_tokenization_spaces: boolean;
}

export type ParsedTokenizer =
  | { readonly kind: "bpe"; readonly model: BpeSpelled; readonly added: readonly AddedToken[] }
  | { readonly kind: "pipeline"; readonly spec: PipelineSpec; readonly added: readonly AddedToken[] }
  | { readonly kind: "char"; readonly names: TokenNames; readonly added: readonly AddedToken[] };

/** A byte-level BPE with a well-known pattern as the file has it. */
export interface BpeSpelled {
  /** The tokens by id, in the byte alphabet. */
  readonly names: TokenNames;
  /** Left, right and result of each merge. */
  readonly merges: Uint32Array;
  readonly wholePieces: boolean;
  readonly pattern: PatternName;
  readonly normalizer?: readonly NormalizerStep[];
  readonly postProcessor?: readonly PostProcessorStep[];
  readonly rules?: Rules | undefined;
}

/** Checks a parsed JSON value. Throws TokenizerError that names the file and the field. */
export function parseTokenizerJson(json: unknown, file?: string): ParsedTokenizer {
  const place = file === undefined ? {} : { file };
  const fail = (field: string, message: string): never => {
    throw new TokenizerError({ ...place, field }, message, { code: "bad-tokenizer" });
  };
  const check = <T>(schema: z.ZodType<T>, value: unknown, at = ""): T => {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const { path, message } = describe(result.error.issues[0]);
    return fail(at === "" || path === "" ? at + path : path.startsWith("[") ? at + path : `${at}.${path}`, message);
  };

  const expectKeys: Reader["expectKeys"] = (value, known, field) => {
    const unknown = Object.keys(value as object).filter((key) => !known.includes(key));
    if (unknown.length > 0) warn(`${file ?? "tokenizer.json"}: ${field === "" ? "" : `${field}: `}nothing is known of ${unknown.slice(0, 10).map(quote).join(", ")}, so it is not acted on.`);
  };
  const reader: Reader = { fail, check, expectKeys };

  const parsed = check(pipelineFile, json);
  expectKeys(json, Object.keys(pipelineFile.shape), "");
  for (const [i, token] of (json as { added_tokens?: object[] }).added_tokens?.entries() ?? []) expectKeys(token, Object.keys(added.shape), `added_tokens[${i}]`);
  for (const key of ["truncation", "padding"] as const) {
    if (parsed[key] != null) warn(`${file ?? "tokenizer.json"}: ${key} is not acted on: a text is encoded as long as it is, as transformers does unless asked otherwise.`);
  }
  const tokens = parsed.added_tokens.map(toAddedToken);
  const spec: PipelineSpec = {
    normalizer: readSteps("normalizer", parsed.normalizer, reader),
    preTokenizer: readSteps("pre_tokenizer", parsed.pre_tokenizer, reader),
    postProcessor: readSteps("post_processor", parsed.post_processor, reader),
    decoder: readSteps("decoder", parsed.decoder, reader),
    model: readModel(parsed.model, parsed.added_tokens, reader),
  };
  checkSteps(spec, tokens, fail);
  if (isOfCharacters(spec, tokens)) return { kind: "char", names: spec.model.names, added: tokens };
  const fast = asByteLevelBpe(spec);
  return fast === undefined ? { kind: "pipeline", spec, added: tokens } : { kind: "bpe", model: fast, added: tokens };
}

/** Whether the pipeline is what `writeCharJson` writes: a token for each character, and an error for any other. */
function isOfCharacters({ normalizer, preTokenizer, postProcessor, decoder, model }: PipelineSpec, added: readonly AddedToken[]): boolean {
  if (model.kind !== "wordlevel" || model.unkId !== undefined || normalizer.length + postProcessor.length > 0) return false;
  const [step, ...more] = preTokenizer;
  if (more.length > 0 || step?.type !== "Split" || step.behavior !== "Isolated" || step.invert || !("Regex" in step.pattern)) return false;
  if (step.pattern.Regex !== everyCharacter || decoder.length !== 1 || decoder[0].type !== "Fuse") return false;
  const isAdded = new Set(added.map(({ id }) => id));
  return Array.from(model.names).every((name, id) => name === undefined || isAdded.has(id) || [...name].length === 1);
}

/** The keys of every type of model. */
const modelSchemas = { BPE: bpeModel, Unigram: unigramModel, WordPiece: wordPieceModel, WordLevel: wordLevelModel } as const;

/** Early files leave the type out. */
function typeOf(model: Record<string, unknown>): unknown {
  return model["type"] ?? ("merges" in model ? "BPE" : "continuing_subword_prefix" in model ? "WordPiece" : Array.isArray(model["vocab"]) ? "Unigram" : "WordLevel");
}

function readModel(model: Record<string, unknown>, added: readonly AddedJson[], { fail, check, expectKeys }: Reader): ModelSpec {
  const type = typeOf(model);
  if (typeof type !== "string" || !Object.hasOwn(modelSchemas, type)) return fail("model.type", `${quote(type)} is not supported; ${Object.keys(modelSchemas).join(", ")} are.`);
  expectKeys(model, ["type", ...Object.keys(modelSchemas[type as keyof typeof modelSchemas].shape)], "model");
  switch (type as keyof typeof modelSchemas) {
    case "Unigram": {
      const { vocab, unk_id, byte_fallback } = check(unigramModel, model, "model");
      const { names, scores } = readPieces(vocab, fail);
      if (unk_id != null && unk_id >= names.length) fail("model.unk_id", `${unk_id} is outside the vocabulary of ${names.length}.`);
      const spelled = TokenNames.of(names);
      checkAdded(spelled, names.length, added, fail);
      return { kind: "unigram", names: spelled, scores, unkId: unk_id ?? undefined, byteFallback: byte_fallback };
    }
    case "WordPiece": {
      const { vocab, unk_token, continuing_subword_prefix, max_input_chars_per_word } = check(wordPieceModel, model, "model");
      const names = readVocabulary(vocab, added, fail);
      return { kind: "wordpiece", names, unkId: names.idOf(unk_token), continuingPrefix: continuing_subword_prefix, startPrefix: "", maxCharacters: max_input_chars_per_word };
    }
    case "WordLevel": {
      const { vocab, unk_token } = check(wordLevelModel, model, "model");
      const names = readVocabulary(vocab, added, fail);
      return { kind: "wordlevel", names, unkId: names.idOf(unk_token), unkToken: unk_token };
    }
    case "BPE": {
      const bpe = check(bpeModel, model, "model");
      const names = readVocabulary(bpe.vocab, added, fail);
      const prefix = bpe.continuing_subword_prefix ?? "";
      const unkToken = bpe.unk_token ?? undefined;
      if (unkToken !== undefined && names.idOf(unkToken) === undefined && bpe.unk_token !== "") fail("model.unk_token", `${quote(unkToken)} is not in the vocabulary.`);
      return {
        kind: "bpe",
        names,
        merges: readMerges(bpe.merges, prefix, names, fail),
        unkToken: unkToken !== undefined && names.idOf(unkToken) !== undefined ? unkToken : undefined,
        fuseUnk: bpe.fuse_unk,
        byteFallback: bpe.byte_fallback,
        ignoreMerges: bpe.ignore_merges,
        continuingSubwordPrefix: prefix,
        endOfWordSuffix: bpe.end_of_word_suffix ?? "",
      };
    }
  }
}

/** The pieces of a unigram vocabulary and their scores. */
function readPieces(vocab: readonly unknown[], fail: Fail): { names: string[]; scores: Float64Array } {
  const scores = new Float64Array(vocab.length);
  if (vocab.length > maxTokenId) fail("model.vocab", `${vocab.length} tokens are more than there can be.`);
  const names = vocab.map((entry, i) => {
    const [name, score] = (Array.isArray(entry) ? entry : []) as unknown[];
    if (typeof name !== "string" || typeof score !== "number" || !Number.isFinite(score)) return fail(`model.vocab[${i}]`, `must be a token and its score, not ${quote(entry)}.`);
    scores[i] = score;
    return name;
  });
  return { names, scores };
}

/** What of the steps can only be checked against the vocabulary, or by making them. */
function checkSteps(spec: PipelineSpec, added: readonly AddedToken[], fail: Fail): void {
  const { before, after } = surroundingsOf(spec.postProcessor, fail);
  const ids = new Set(added.map(({ id }) => id));
  for (const id of [...before, ...after]) {
    if (spec.model.names.at(id) === undefined && !ids.has(id)) fail("post_processor", `the id ${id} is not in the vocabulary.`);
  }
  for (const step of spec.normalizer) {
    if (step.type !== "Precompiled" || step.precompiled_charsmap === null || step.precompiled_charsmap === "") continue;
    try {
      new CharsMap(fromBase64(step.precompiled_charsmap), {});
    } catch (error) {
      fail("normalizer.precompiled_charsmap", error instanceof TokenizerError ? error.message : "cannot be read.");
    }
  }
}

/** A byte-level BPE that the native engine can run: the pattern is one it knows, and nothing is unknown. */
export function asByteLevelBpe({ model, normalizer, preTokenizer, postProcessor, decoder, rules }: PipelineSpec): BpeSpelled | undefined {
  if (model.kind !== "bpe" || model.byteFallback || model.continuingSubwordPrefix !== "" || model.endOfWordSuffix !== "") return undefined;
  if (decoder.length !== 1 || decoder[0].type !== "ByteLevel" || normalizer.some(({ type }) => type === "ByteLevel")) return undefined;
  const pattern = patternOf(preTokenizer);
  if (pattern === undefined) return undefined;
  // A byte that has no token is left out; elsewhere it becomes the unknown token, or keeps its neighbours apart.
  if ((model.unkToken !== undefined || model.unknownKeepsApart === true) && !byteAlphabet.every((character) => model.names.idOf(character) !== undefined)) return undefined;
  const { names, merges, ignoreMerges } = model;
  return { names, merges, wholePieces: ignoreMerges, pattern, normalizer, postProcessor, rules };
}

function patternOf(steps: readonly PreTokenizerStep[]): PatternName | undefined {
  const last = steps.at(-1);
  if (last?.type !== "ByteLevel" || last.add_prefix_space || steps.length > 2) return undefined;
  if (steps.length === 1) return last.use_regex ? "gpt2" : undefined;
  const [step] = steps;
  if (last.use_regex) return step.type === "Digits" && step.individual_digits ? "smollm" : undefined;
  if (step.type !== "Split" || step.behavior !== "Isolated" || step.invert || !("Regex" in step.pattern)) return undefined;
  const { Regex } = step.pattern;
  return patternNames.find((name) => patterns[name] === Regex);
}

type AddedJson = z.output<typeof added>;

/** The tokens of the model by id, and the ids of all, checked; added tokens may repeat one, never contradict one. */
function readVocabulary(
  vocab: Record<string, unknown>,
  addedTokens: readonly AddedJson[],
  fail: Fail,
): TokenNames {
  const entries = Object.entries(vocab);
  const limit = maxIdFor(entries.length + addedTokens.length);
  const names: (string | undefined)[] = [];
  for (const [token, id] of entries) {
    const wrong = (message: string): never => fail(`model.vocab[${quote(token)}]`, message);
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0) return wrong(`the id must be a whole number, not ${quote(id)}.`);
    if (id > limit) return wrong(`the id ${id} is out of all proportion to ${entries.length} tokens.`);
    while (names.length <= id) names.push(undefined);
    if (names[id] !== undefined) return wrong(`the id ${id} belongs to ${quote(names[id])} already.`);
    names[id] = token;
  }
  const spelled = TokenNames.of(names);
  checkAdded(spelled, entries.length, addedTokens, fail);
  return spelled;
}

/** Added tokens may repeat a token of the model, never contradict one. */
function checkAdded(names: TokenNames, count: number, addedTokens: readonly AddedJson[], fail: Fail): void {
  const limit = maxIdFor(count + addedTokens.length);
  const seen = new Map<number | string, number>();
  for (const [i, { id, content }] of addedTokens.entries()) {
    const wrong = (message: string): never => fail(`added_tokens[${i}]`, message);
    const known = names.idOf(content);
    if (id > limit) wrong(`the id ${id} is out of all proportion to ${count} tokens.`);
    if (known !== undefined && known !== id) wrong(`${quote(content)} is ${id} here and ${known} in the vocabulary.`);
    if (known === undefined && names.at(id) !== undefined) wrong(`the id ${id} belongs to ${quote(names.at(id))} already.`);
    for (const key of [id, content]) {
      const other = seen.get(key);
      if (other !== undefined) wrong(`${quote(key)} stands in added_tokens[${other}] already.`);
      seen.set(key, i);
    }
  }
}

function readMerges(list: readonly unknown[], prefix: string, names: TokenNames, fail: Fail): Uint32Array {
  const merges = new Uint32Array(3 * list.length);
  for (const [i, merge] of list.entries()) {
    const wrong = (message: string): never => fail(`model.merges[${i}]`, message);
    // Two ways to write one: ["a", "b"], and before version 0.20 "a b".
    const pair: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    if (!Array.isArray(pair) || pair.length !== 2) return wrong(`must be two tokens, not ${quote(merge)}.`);
    const [left, right] = pair as unknown[];
    if (typeof left !== "string" || typeof right !== "string") return wrong(`must be two tokens, not ${quote(merge)}.`);
    let k = 3 * i;
    for (const token of [left, right, left + (right.startsWith(prefix) ? right.slice(prefix.length) : right)]) merges[k++] = names.idOf(token) ?? wrong(`the token ${quote(token)} is not in the vocabulary.`);
  }
  return merges;
}

const toAddedToken = ({ single_word, ...token }: AddedJson): AddedToken => ({ ...token, singleWord: single_word });

// The order of the keys is fixed, so that one tokenizer has one text, and one fingerprint.
function toAddedJson({ id, content, special, singleWord, lstrip, rstrip, normalized }: AddedToken): AddedJson {
  return { id, content, single_word: singleWord, lstrip, rstrip, normalized, special };
}

/** Tokens and their ids as an object that takes any key. */
function toVocab(names: TokenNames): Record<string, number> {
  const vocab = Object.create(null) as Record<string, number>;
  for (let id = 0; id < names.length; id++) {
    const name = names.at(id);
    if (name !== undefined) vocab[name] = id;
  }
  return vocab;
}

const header = (addedTokens: readonly AddedToken[]) => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: addedTokens.map(toAddedJson).sort((a, b) => a.id - b.id),
});

const splitStep = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }) as const;

const digitsStep = { type: "Digits", individual_digits: true } as const;

const byteLevelStep = (use_regex: boolean) => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex }) as const;

/** The steps that cut text by a well-known pattern for a byte-level model. */
export const byteLevelSteps = (pattern: PatternName): PreTokenizerStep[] =>
  pattern === "gpt2" ? [byteLevelStep(true)] : pattern === "smollm" ? [digitsStep, byteLevelStep(true)] : [splitStep(patterns[pattern]), byteLevelStep(false)];

export const byteLevelDecoder: readonly DecoderStep[] = [byteLevelStep(true)];

/** A byte-level BPE with a well-known pattern as the pipeline that it is. */
export function asPipeline({ names, merges, wholePieces, pattern, normalizer = [], postProcessor = [], rules }: BpeSpelled): PipelineSpec {
  const model: BpeSpec = {
    kind: "bpe",
    names,
    merges,
    unkToken: undefined,
    fuseUnk: false,
    byteFallback: false,
    ignoreMerges: wholePieces,
    continuingSubwordPrefix: "",
    endOfWordSuffix: "",
  };
  return { normalizer, preTokenizer: byteLevelSteps(pattern), postProcessor, decoder: byteLevelDecoder, model, rules };
}

export const writeBpeJson = (model: BpeSpelled, addedTokens: readonly AddedToken[]): TokenizerJson => writePipelineJson(asPipeline(model), addedTokens);

export function writePipelineJson(given: PipelineSpec, addedTokens: readonly AddedToken[]): TokenizerJson {
  const spec = given.model.kind === "wordpiece" && given.model.startPrefix !== "" ? withContinuingPrefix(given, given.model, addedTokens) : given;
  return {
    ...header(addedTokens),
    normalizer: writeSteps("normalizer", spec.normalizer),
    pre_tokenizer: writeSteps("pre_tokenizer", spec.preTokenizer),
    post_processor: writeSteps("post_processor", spec.postProcessor),
    decoder: writeSteps("decoder", spec.decoder),
    model: writeModel(spec, addedTokens),
  };
}

/** WordPiece of a GGUF, whose tokens are marked where they begin a word, with BERT's mark on those that go on. */
function withContinuingPrefix(spec: PipelineSpec, model: WordPieceSpec, addedTokens: readonly AddedToken[]): PipelineSpec {
  const { startPrefix, names, maxCharacters } = model;
  const isAdded = new Set(addedTokens.map(({ id }) => id));
  const spelled = Array.from(names, (name, id) => (name === undefined || isAdded.has(id) ? name : name.startsWith(startPrefix) ? name.slice(startPrefix.length) : `##${name}`));
  return {
    ...spec,
    decoder: [{ type: "WordPiece", prefix: "##", cleanup: false }],
    model: { ...model, names: TokenNames.of(spelled), continuingPrefix: "##", startPrefix: "", maxCharacters: Math.min(maxCharacters, 2 ** 31 - 1) },
  };
}

function writeModel(spec: PipelineSpec, addedTokens: readonly AddedToken[]): Record<string, unknown> {
  const { model } = spec;
  if (model.kind === "unigram") {
    return { type: "Unigram", unk_id: model.unkId ?? null, vocab: Array.from(model.names, (name, id) => [name ?? "", model.scores[id]]), byte_fallback: model.byteFallback };
  }
  if (model.kind === "rwkv" || model.kind === "plamo2") {
    throw new TokenizerError({ field: "model.type" }, `a tokenizer of the kind ${model.kind} has no form in tokenizer.json.`, { code: "no-json-form", hint: "Export to GGUF instead." });
  }
  if (model.kind === "wordlevel") return { type: "WordLevel", vocab: toVocab(model.names), unk_token: model.unkToken };
  if (model.kind === "wordpiece") {
    const { names, unkId, continuingPrefix, maxCharacters } = model;
    return { type: "WordPiece", unk_token: names.at(unkId ?? -1) ?? "[UNK]", continuing_subword_prefix: continuingPrefix, max_input_chars_per_word: maxCharacters, vocab: toVocab(names) };
  }
  const isBpe = model.kind === "bpe";
  const merges = isBpe ? model.merges : mergesOf(lookupOf(spec, addedTokens), model.scores);
  const text = (id: number): string => model.names.at(id) ?? "";
  return {
    type: "BPE",
    dropout: null,
    unk_token: (isBpe ? model.unkToken : model.unkId === undefined ? undefined : model.names.at(model.unkId)) ?? null,
    continuing_subword_prefix: (isBpe && model.continuingSubwordPrefix) || null,
    end_of_word_suffix: (isBpe && model.endOfWordSuffix) || null,
    fuse_unk: model.fuseUnk,
    byte_fallback: model.byteFallback,
    ignore_merges: isBpe && model.ignoreMerges,
    vocab: toVocab(model.names),
    merges: Array.from({ length: merges.length / 3 }, (_, i) => [text(merges[3 * i]), text(merges[3 * i + 1])]),
  };
}

/** Any one character, the newline too. */
const everyCharacter = String.raw`[\s\S]`;

export function writeCharJson(names: TokenNames, addedTokens: readonly AddedToken[]): TokenizerJson {
  return {
    ...header(addedTokens),
    normalizer: null,
    pre_tokenizer: splitStep(everyCharacter),
    post_processor: null,
    decoder: { type: "Fuse" },
    // WordLevel wants a name for what it does not know; not being in the vocabulary, it makes that an error there as it is here.
    model: { type: "WordLevel", vocab: toVocab(names), unk_token: "<unk>" },
  };
}

/** A token string or an object that holds one; anything else, none. */
const tokenName = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]);

/** What of a stranger's `tokenizer_config.json` concerns ids. */
export interface TokenizerConfig {
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /** Whether the model wants them around a text; undefined where the file does not say. */
  readonly addBos: boolean | undefined;
  readonly addEos: boolean | undefined;
}

export function parseTokenizerConfig(json: unknown, file: string): TokenizerConfig {
  const flag = z.boolean().nullish();
  const schema = z.object({ bos_token: tokenName.nullish(), eos_token: tokenName.nullish(), add_bos_token: flag, add_eos_token: flag, tokenizer_class: z.string().nullish() });
  const result = schema.safeParse(json);
  if (!result.success) {
    const { path, message } = describe(result.error.issues[0]);
    throw new TokenizerError({ file, field: path }, message, { code: "bad-tokenizer" });
  }
  const { bos_token, eos_token, add_bos_token, add_eos_token, tokenizer_class } = result.data;
  // Llama's class puts <s> before a text unless told not to, whatever its files say.
  const usual = /^(Code)?Llama|^Gemma/.test(tokenizer_class ?? "") ? true : undefined;
  return { bosToken: bos_token ?? undefined, eosToken: eos_token ?? undefined, addBos: add_bos_token ?? usual, addEos: add_eos_token ?? undefined };
}

/** The deepest thing that is wrong: of a union, the branch that got furthest. */
function describe(issue: z.core.$ZodIssue): { path: string; message: string } {
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const furthest = issue.errors.map((branch) => branch[0]).reduce((a, b) => (b.path.length > a.path.length ? b : a));
    if (furthest.path.length > 0) return describe({ ...furthest, path: [...issue.path, ...furthest.path] });
  }
  const path = issue.path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
  return { path: path.replace(/^\./, ""), message: `not what this reader supports: ${issue.message}.` };
}

function quote(value: unknown): string {
  // Only as much as is shown: a value may be as deep or as long as its file.
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? `a list of ${value.length}` : "an object";
  const text = (typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : JSON.stringify(value)) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
