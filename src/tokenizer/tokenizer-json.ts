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
import { patternNames, patterns, type PatternName } from "./pretokenize.js";

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

const byteLevel = z.object({
  type: z.literal("ByteLevel"),
  add_prefix_space: z.literal(false),
  trim_offsets: z.boolean().default(true),
  use_regex: z.boolean().default(true),
});
const split = z.object({
  type: z.literal("Split"),
  pattern: z.object({ Regex: z.string() }),
  behavior: z.literal("Isolated"),
  invert: z.literal(false).default(false),
});
const byteLevelDecoder = z.object({ type: z.literal("ByteLevel") });
const noneOrEmpty = z.union([z.null(), z.literal("")]).optional();

// Zod would copy the vocabulary key by key into an object of its own, which loses a token named `__proto__`; so it is taken as it stands and
// checked below. The same goes for merges, of which there may be hundreds of thousands.
const isRecord = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);
const anyRecord = z.custom<Record<string, unknown>>(isRecord, "must be an object");

const bpeModel = z.object({
  type: z.literal("BPE").optional(),
  dropout: z.union([z.null(), z.literal(0)]).optional(),
  unk_token: z.union([z.null(), z.string()]).optional(),
  continuing_subword_prefix: noneOrEmpty,
  end_of_word_suffix: noneOrEmpty,
  fuse_unk: z.boolean().optional(),
  byte_fallback: z.literal(false).optional(),
  ignore_merges: z.boolean().default(false),
  vocab: anyRecord,
  merges: z.array(z.unknown()),
});

const wordLevelModel = z.object({ type: z.literal("WordLevel"), vocab: anyRecord, unk_token: z.string() });

const envelope = {
  version: z.string().optional(),
  truncation: z.null().optional(),
  padding: z.null().optional(),
  added_tokens: z.array(added).default([]),
  normalizer: z.null().optional(),
};

const bpeFile = z.object({
  ...envelope,
  pre_tokenizer: z.discriminatedUnion("type", [byteLevel, z.object({ type: z.literal("Sequence"), pretokenizers: z.tuple([split, byteLevel]) })]),
  post_processor: z.union([z.null(), byteLevelDecoder]).optional(),
  decoder: byteLevelDecoder,
  model: bpeModel,
});

const charFile = z.object({
  ...envelope,
  pre_tokenizer: split,
  post_processor: z.null().optional(),
  decoder: z.object({ type: z.literal("Fuse") }),
  model: wordLevelModel,
});

export type TokenizerJson = z.input<typeof bpeFile> | z.input<typeof charFile>;

/** The part of `tokenizer_config.json` that we write; of a stranger's we read the two tokens. */
export interface TokenizerConfigJson {
  readonly tokenizer_class: "PreTrainedTokenizerFast";
  readonly bos_token: string | null;
  readonly eos_token: string | null;
  readonly clean_up_tokenization_spaces: boolean;
}

export type ParsedTokenizer =
  | { readonly kind: "bpe"; readonly model: BpeSpelled; readonly added: readonly AddedToken[] }
  | { readonly kind: "char"; readonly names: readonly (string | undefined)[]; readonly added: readonly AddedToken[] };

/** A byte-level BPE as the file has it. */
export interface BpeSpelled {
  /** The tokens by id, in the byte alphabet. */
  readonly names: readonly (string | undefined)[];
  /** Left, right and result of each merge. */
  readonly merges: Uint32Array;
  readonly wholePieces: boolean;
  readonly pattern: PatternName;
}

/** Checks a parsed JSON value. Throws TokenizerError that names the file and the field. */
export function parseTokenizerJson(json: unknown, file?: string): ParsedTokenizer {
  const place = file === undefined ? {} : { file };
  const fail = (field: string, message: string): never => {
    throw new TokenizerError({ ...place, field }, message, { code: "bad-tokenizer" });
  };
  const check = <T>(schema: z.ZodType<T>, value: unknown): T => {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const { path, message } = describe(result.error.issues[0]);
    return fail(path, message);
  };

  const { model } = check(z.object({ model: anyRecord }), json);
  if (model["type"] === "WordLevel") {
    const parsed = check(charFile, json);
    const { Regex } = parsed.pre_tokenizer.pattern;
    if (Regex !== everyCharacter) fail("pre_tokenizer.pattern.Regex", `not supported: ${quote(Regex)}. A WordLevel model is read as characters.`);
    const { names } = readVocabulary(parsed.model.vocab, parsed.added_tokens, fail);
    const isAdded = new Set(parsed.added_tokens.map((token) => token.id));
    for (const [id, name] of names.entries()) {
      if (name !== undefined && !isAdded.has(id) && [...name].length !== 1) fail("model.vocab", `the token ${quote(name)} is not one character.`);
    }
    return { kind: "char", names, added: parsed.added_tokens.map(toAddedToken) };
  }

  if (model["type"] !== "BPE" && model["type"] !== undefined) fail("model.type", `${quote(model["type"])} is not supported; BPE and WordLevel are.`);
  const parsed = check(bpeFile, json);
  const { names, idOf } = readVocabulary(parsed.model.vocab, parsed.added_tokens, fail);
  const merges = readMerges(parsed.model.merges, idOf, fail);
  return {
    kind: "bpe",
    model: { names, merges, wholePieces: parsed.model.ignore_merges, pattern: readPattern(parsed.pre_tokenizer, fail) },
    added: parsed.added_tokens.map(toAddedToken),
  };
}

type Fail = (field: string, message: string) => never;
type AddedJson = z.output<typeof added>;

/** The tokens of the model by id, and the ids of all, checked; added tokens may repeat one, never contradict one. */
function readVocabulary(
  vocab: Record<string, unknown>,
  addedTokens: readonly AddedJson[],
  fail: Fail,
): { names: (string | undefined)[]; idOf: ReadonlyMap<string, number> } {
  const entries = Object.entries(vocab);
  const limit = maxIdFor(entries.length + addedTokens.length);
  const names: (string | undefined)[] = [];
  const idOf = new Map<string, number>();
  for (const [token, id] of entries) {
    const wrong = (message: string): never => fail(`model.vocab[${quote(token)}]`, message);
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0) return wrong(`the id must be a whole number, not ${quote(id)}.`);
    if (id > limit) return wrong(`the id ${id} is out of all proportion to ${entries.length} tokens.`);
    while (names.length <= id) names.push(undefined);
    if (names[id] !== undefined) return wrong(`the id ${id} belongs to ${quote(names[id])} already.`);
    names[id] = token;
    idOf.set(token, id);
  }
  const seen = new Map<number | string, number>();
  for (const [i, { id, content }] of addedTokens.entries()) {
    const wrong = (message: string): never => fail(`added_tokens[${i}]`, message);
    const known = idOf.get(content);
    if (id > limit) wrong(`the id ${id} is out of all proportion to ${entries.length} tokens.`);
    if (known !== undefined && known !== id) wrong(`${quote(content)} is ${id} here and ${known} in the vocabulary.`);
    if (known === undefined && names[id] !== undefined) wrong(`the id ${id} belongs to ${quote(names[id])} already.`);
    for (const key of [id, content]) {
      const other = seen.get(key);
      if (other !== undefined) wrong(`${quote(key)} stands in added_tokens[${other}] already.`);
      seen.set(key, i);
    }
  }
  return { names, idOf };
}

function readMerges(list: readonly unknown[], idOf: ReadonlyMap<string, number>, fail: Fail): Uint32Array {
  const merges = new Uint32Array(3 * list.length);
  for (const [i, merge] of list.entries()) {
    const wrong = (message: string): never => fail(`model.merges[${i}]`, message);
    // Two ways to write one: ["a", "b"], and before version 0.20 "a b".
    const pair: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    if (!Array.isArray(pair) || pair.length !== 2) return wrong(`must be two tokens, not ${quote(merge)}.`);
    const [left, right] = pair as unknown[];
    if (typeof left !== "string" || typeof right !== "string") return wrong(`must be two tokens, not ${quote(merge)}.`);
    let k = 3 * i;
    for (const token of [left, right, left + right]) merges[k++] = idOf.get(token) ?? wrong(`the token ${quote(token)} is not in the vocabulary.`);
  }
  return merges;
}

function readPattern(preTokenizer: z.output<typeof bpeFile>["pre_tokenizer"], fail: Fail): PatternName {
  if (preTokenizer.type === "ByteLevel") {
    if (!preTokenizer.use_regex) fail("pre_tokenizer.use_regex", "a ByteLevel pre-tokenizer without its pattern needs a Split before it.");
    return "gpt2";
  }
  const [{ pattern }, { use_regex }] = preTokenizer.pretokenizers;
  if (use_regex) fail("pre_tokenizer.pretokenizers[1].use_regex", "two patterns one after the other are not supported.");
  const known = patternNames.find((name) => patterns[name] === pattern.Regex);
  if (known !== undefined) return known;
  return fail("pre_tokenizer.pretokenizers[0].pattern.Regex", `not supported: ${quote(pattern.Regex)}. Known are those of ${patternNames.join(", ")}.`);
}

const toAddedToken = ({ single_word, ...token }: AddedJson): AddedToken => ({ ...token, singleWord: single_word });

// The order of the keys is fixed, so that one tokenizer has one text, and one fingerprint.
function toAddedJson({ id, content, special, singleWord, lstrip, rstrip, normalized }: AddedToken): AddedJson {
  return { id, content, single_word: singleWord, lstrip, rstrip, normalized, special };
}

/** Tokens and their ids as an object that takes any key. */
function toVocab(tokens: readonly (string | undefined)[]): Record<string, number> {
  const vocab = Object.create(null) as Record<string, number>;
  for (const [id, token] of tokens.entries()) if (token !== undefined) vocab[token] = id;
  return vocab;
}

const header = (addedTokens: readonly AddedToken[]) => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: addedTokens.map(toAddedJson).sort((a, b) => a.id - b.id),
  normalizer: null,
});

const splitStep = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }) as const;

export function writeBpeJson({ names, merges, wholePieces, pattern }: BpeSpelled, addedTokens: readonly AddedToken[]): TokenizerJson {
  const text = (id: number): string => names[id] ?? "";
  const byteLevelStep = (use_regex: boolean) => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex }) as const;
  return {
    ...header(addedTokens),
    pre_tokenizer:
      pattern === "gpt2"
        ? byteLevelStep(true)
        : { type: "Sequence", pretokenizers: [splitStep(patterns[pattern]), byteLevelStep(false)] },
    post_processor: null,
    decoder: byteLevelStep(true),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: wholePieces,
      vocab: toVocab(names),
      merges: Array.from({ length: merges.length / 3 }, (_, i) => [text(merges[3 * i]), text(merges[3 * i + 1])]),
    },
  };
}

/** Any one character, the newline too. */
const everyCharacter = String.raw`[\s\S]`;

export function writeCharJson(names: readonly (string | undefined)[], addedTokens: readonly AddedToken[]): TokenizerJson {
  return {
    ...header(addedTokens),
    pre_tokenizer: splitStep(everyCharacter),
    post_processor: null,
    decoder: { type: "Fuse" },
    // WordLevel wants a name for what it does not know; not being in the vocabulary, it makes that an error there as it is here.
    model: { type: "WordLevel", vocab: toVocab(names), unk_token: "<unk>" },
  };
}

/** A token string or an object that holds one; anything else, none. */
const tokenName = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]);

/** The boundary tokens of a stranger's `tokenizer_config.json`. */
export function parseTokenizerConfig(json: unknown, file: string): { bosToken: string | undefined; eosToken: string | undefined } {
  const result = z.object({ bos_token: tokenName.nullish(), eos_token: tokenName.nullish() }).safeParse(json);
  if (!result.success) {
    const { path, message } = describe(result.error.issues[0]);
    throw new TokenizerError({ file, field: path }, message, { code: "bad-tokenizer" });
  }
  return { bosToken: result.data.bos_token ?? undefined, eosToken: result.data.eos_token ?? undefined };
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
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
