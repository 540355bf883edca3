/**
 * @file A tokenizer in loose files, without a `tokenizer.json`: `vocab.json` and `merges.txt`, `vocab.txt`, `tokenizer.model`, and beside them what is
 * special (`tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`). How text is cut none of them says: it is in the class that the
 * configuration names. Here each class is the `tokenizer.json` that transformers 5 builds for it, which is then read like any other.
 */

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { TokenizerError } from "../errors.js";
import { warn } from "../warn.js";
import { patterns } from "./pretokenize.js";
import { pieceTypes, type SentencePieceParts } from "./sentencepiece.js";

type Json = Record<string, unknown>;

interface Token {
  readonly content: string;
  readonly single_word?: boolean | undefined;
  readonly lstrip?: boolean | undefined;
  readonly rstrip?: boolean | undefined;
  readonly normalized?: boolean | null | undefined;
  readonly special?: boolean | undefined;
}

const token = z.union([
  z.string().transform((content): Token => ({ content })),
  z.object({ content: z.string(), single_word: z.boolean().optional(), lstrip: z.boolean().optional(), rstrip: z.boolean().optional(), normalized: z.boolean().nullish(), special: z.boolean().optional() }),
]);

const flag = z.boolean().nullish();
const tokens = z.array(token).nullish();
/** The named special tokens, in the order in which they get ids. */
const names = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] as const;
type TokenName = (typeof names)[number];
const named = Object.fromEntries(names.map((name) => [name, token.nullish()])) as Record<TokenName, z.ZodOptional<z.ZodNullable<typeof token>>>;

const specialTokensMap = z.object({ ...named, additional_special_tokens: tokens, extra_special_tokens: z.union([tokens, z.record(z.string(), token)]).optional() });
const addedTokensFile = z.record(z.string(), z.int().min(0));
const configFile = specialTokensMap.extend({
  tokenizer_class: z.string().nullish(),
  added_tokens_decoder: z.record(z.string().regex(/^\d{1,9}$/), token).nullish(),
  add_bos_token: flag,
  add_eos_token: flag,
  add_prefix_space: flag,
  legacy: flag,
  do_lower_case: flag,
  tokenize_chinese_chars: flag,
  strip_accents: flag,
});
type Config = z.output<typeof configFile>;

/** What all of a folder's files say, checked. */
interface Files {
  readonly folder: string;
  readonly config: Config;
  readonly specials: z.output<typeof specialTokensMap>;
  readonly addedTokens: z.output<typeof addedTokensFile>;
}

/** What a class makes of a vocabulary. */
interface TokenizerClass {
  /** The special tokens that it has unless the configuration says otherwise. */
  readonly tokens: Partial<Record<TokenName, string>>;
  readonly parts: (config: Config, idOf: (name: TokenName) => [content: string, id: number]) => Json;
}

const byteLevel = (add_prefix_space: boolean, use_regex = true): Json => ({ type: "ByteLevel", add_prefix_space, trim_offsets: true, use_regex });
const prefixes = ({ add_prefix_space }: Config): boolean => add_prefix_space ?? false;
const special = (id: string, type_id: number): Json => ({ SpecialToken: { id, type_id } });
const sequence: Json = { Sequence: { id: "A", type_id: 0 } };
const around = (before: readonly [string, number][], after: readonly [string, number][]): Json => ({
  type: "TemplateProcessing",
  single: [...before.map(([id]) => special(id, 0)), sequence, ...after.map(([id]) => special(id, 0))],
  pair: [],
  special_tokens: Object.fromEntries([...before, ...after].map(([id, number]) => [id, { id, ids: [number], tokens: [id] }])),
});
/** `<s>` and `</s>` around a text where the configuration wants them. */
const asTold = ({ add_bos_token, add_eos_token }: Config, idOf: (name: TokenName) => [string, number]): Json =>
  around(add_bos_token === true ? [idOf("bos_token")] : [], add_eos_token === true ? [idOf("eos_token")] : []);

const end = "<|endoftext|>";
const gpt2: TokenizerClass = {
  tokens: { bos_token: end, eos_token: end, unk_token: end },
  parts: (config, idOf) => ({ pre_tokenizer: byteLevel(prefixes(config)), post_processor: asTold(config, idOf), decoder: byteLevel(true) }),
};
const gptNeox: TokenizerClass = {
  tokens: { ...gpt2.tokens, pad_token: "<|padding|>" },
  parts: (config, idOf) => ({ ...gpt2.parts(config, idOf), normalizer: { type: "NFC" } }),
};
const qwen = (pattern: string): TokenizerClass => ({
  tokens: { eos_token: end, unk_token: end, pad_token: end },
  parts: (config, idOf) => ({
    normalizer: { type: "NFC" },
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false }, byteLevel(prefixes(config), false)] },
    post_processor: asTold(config, idOf),
    decoder: byteLevel(true),
  }),
});
const roberta: TokenizerClass = {
  tokens: { bos_token: "<s>", eos_token: "</s>", sep_token: "</s>", cls_token: "<s>", unk_token: "<unk>", pad_token: "<pad>", mask_token: "<mask>" },
  parts: (config, idOf) => ({
    pre_tokenizer: byteLevel(prefixes(config)),
    post_processor: { type: "RobertaProcessing", sep: idOf("sep_token"), cls: idOf("cls_token"), trim_offsets: true, add_prefix_space: prefixes(config) },
    decoder: byteLevel(true),
  }),
};
const bert: TokenizerClass = {
  tokens: { unk_token: "[UNK]", sep_token: "[SEP]", pad_token: "[PAD]", cls_token: "[CLS]", mask_token: "[MASK]" },
  parts: ({ do_lower_case, tokenize_chinese_chars, strip_accents }, idOf) => ({
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: tokenize_chinese_chars ?? true, strip_accents: strip_accents ?? null, lowercase: do_lower_case ?? true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: around([idOf("cls_token")], [idOf("sep_token")]),
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  }),
};
const replace = (from: string, content: string): Json => ({ type: "Replace", pattern: { String: from }, content });
const unescaped: readonly Json[] = [replace("▁", " "), { type: "ByteFallback" }, { type: "Fuse" }];
const llama: TokenizerClass = {
  tokens: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
  parts: (config, idOf) => {
    const prefixed = config.add_prefix_space ?? true;
    return {
      pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: !prefixed ? "never" : config.legacy === true ? "always" : "first", split: false },
      post_processor: asTold(config, idOf),
      decoder: { type: "Sequence", decoders: [...unescaped, ...(prefixed ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [])] },
    };
  },
};
const gemma: TokenizerClass = {
  tokens: { bos_token: "<bos>", eos_token: "<eos>", unk_token: "<unk>", pad_token: "<pad>", mask_token: "<mask>" },
  parts: (config, idOf) => ({ normalizer: replace(" ", "▁"), post_processor: asTold(config, idOf), decoder: { type: "Sequence", decoders: unescaped } }),
};

const qwen35 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const ofMerges: Readonly<Record<string, TokenizerClass>> = {
  GPT2Tokenizer: gpt2,
  CodeGenTokenizer: gpt2,
  GPTNeoXTokenizer: gptNeox,
  Qwen2Tokenizer: qwen(patterns.qwen2),
  Qwen3_5Tokenizer: qwen(qwen35),
  RobertaTokenizer: roberta,
  BartTokenizer: roberta,
  LEDTokenizer: roberta,
  LongformerTokenizer: roberta,
};
const ofWords: Readonly<Record<string, TokenizerClass>> = { BertTokenizer: bert, DistilBertTokenizer: bert, ElectraTokenizer: bert, RetriBertTokenizer: bert, LxmertTokenizer: bert, DPRQuestionEncoderTokenizer: bert };
const ofPieces: Readonly<Record<string, TokenizerClass>> = { LlamaTokenizer: llama, GemmaTokenizer: gemma };
/** Classes that give the pieces of a SentencePiece model other ids. */
const rearranging = /^(XLMRoberta|XLMProphetNet|Camembert|MBart|MBart50|Nllb|Barthez|BigBird|Pegasus|M2M100|Plbart|SeamlessM4T|Fnet|Speech2Text|DebertaV2|Rembert|Marian)/i;

/** Whether a folder has a tokenizer in loose files of the kind that {@link readTokenizerFiles} reads. */
export const looseFiles = ["vocab.json", "vocab.txt"] as const;

const classOf = ({ tokenizer_class }: Config): string | undefined => tokenizer_class?.replace(/Fast$/, "") ?? undefined;

async function readFiles(folder: string): Promise<Files> {
  const read = async <T>(name: string, schema: z.ZodType<T>): Promise<T> => {
    const file = join(folder, name);
    const value = (await stat(file).catch(() => undefined)) === undefined ? {} : await readJson(file);
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const { path, message } = result.error.issues[0];
    throw new TokenizerError({ file, field: path.join(".") }, `not what this reader supports: ${message}.`, { code: "bad-tokenizer" });
  };
  return {
    folder,
    config: await read("tokenizer_config.json", configFile),
    specials: await read("special_tokens_map.json", specialTokensMap),
    addedTokens: await read("added_tokens.json", addedTokensFile),
  };
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new TokenizerError({ file }, `this is no JSON that can be read: ${error instanceof Error ? error.message : String(error)}.`, { code: "bad-tokenizer", cause: error });
  }
}

/** A `tokenizer.json` and which of its tokens begin and end a text. */
export interface BuiltTokenizer {
  readonly json: Json;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
}

/**
 * The tokenizer of a folder that has `vocab.json` (with `merges.txt`) or `vocab.txt`.
 * Throws TokenizerError that names the file; a class that is not known is a warning, and its vocabulary is read as GPT-2's or BERT's.
 */
export async function readTokenizerFiles(folder: string, vocabFile: (typeof looseFiles)[number]): Promise<BuiltTokenizer> {
  const files = await readFiles(folder);
  const file = join(folder, vocabFile);
  const ofText = vocabFile === "vocab.txt";
  const [classes, usual] = ofText ? [ofWords, "BertTokenizer"] : [ofMerges, "GPT2Tokenizer"];
  const name = classOf(files.config);
  if (name === undefined || !Object.hasOwn(classes, name)) {
    const said = name === undefined ? "tokenizer_config.json names no tokenizer_class" : `nothing is known of the tokenizer_class ${JSON.stringify(name.slice(0, 60))}`;
    warn(`${file}: ${said}, so text is cut as by ${usual}; known are ${Object.keys(classes).join(", ")}.`);
  }
  const chosen = Object.hasOwn(classes, name ?? "") ? classes[name ?? ""] : classes[usual];
  if (ofText) {
    const lines = (await readFile(file, "utf8")).split("\n");
    if (lines.at(-1) === "") lines.pop();
    const vocab = Object.fromEntries(lines.map((line, id) => [line.replace(/\r$/, ""), id]));
    const unk = nameOf(files, chosen, "unk_token") ?? "[UNK]";
    return build(files, chosen, { type: "WordPiece", unk_token: unk, continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab }, file);
  }
  const vocab = await readJson(file);
  const merges = (await readFile(join(folder, "merges.txt"), "utf8").catch((error: unknown) => {
    throw new TokenizerError({ file: join(folder, "merges.txt") }, "the merges of vocab.json cannot be read.", { code: "unreadable", cause: error });
  })).split("\n").filter((line, i) => line.trim() !== "" && !(i === 0 && line.startsWith("#version")));
  return build(files, chosen, { type: "BPE", vocab, merges: merges.map((line) => line.replace(/\r$/, "")) }, file);
}

/**
 * The tokenizer of a `tokenizer.model` as its class has it, or undefined where the class does nothing of its own and the model is read as SentencePiece
 * has it. Throws TokenizerError for a class that gives the pieces other ids.
 */
export async function readPieces(folder: string, file: string, parts: SentencePieceParts): Promise<BuiltTokenizer | undefined> {
  const files = await readFiles(folder);
  const name = classOf(files.config);
  if (name !== undefined && rearranging.test(name)) {
    throw new TokenizerError({ file: join(folder, "tokenizer_config.json"), field: "tokenizer_class" }, `${name} gives the pieces of a SentencePiece model other ids, which is not supported.`, {
      code: "bad-tokenizer",
      hint: "Save the tokenizer with transformers, which writes a tokenizer.json.",
    });
  }
  const isKnown = name !== undefined && Object.hasOwn(ofPieces, name) && parts.isBpe;
  if (!isKnown) {
    const added = [...Object.keys(files.addedTokens), ...Object.values(files.config.added_tokens_decoder ?? {}).map(({ content }) => content)].filter((content) => !parts.pieces.some((piece) => piece.name === content));
    if (added.length === 0) return undefined;
    throw new TokenizerError({ file: join(folder, "tokenizer_config.json"), field: "tokenizer_class" }, `added tokens (${added.slice(0, 3).map((each) => JSON.stringify(each)).join(", ")}) beside a tokenizer.model are read for ${Object.keys(ofPieces).join(" and ")}, not for ${name ?? "no class"}.`, {
      code: "bad-tokenizer",
      hint: "Save the tokenizer with transformers, which writes a tokenizer.json.",
    });
  }
  const vocab = Object.create(null) as Record<string, number>;
  for (const [id, piece] of parts.pieces.entries()) vocab[piece.name] = id;
  const own = parts.pieces.flatMap((piece): Token[] => (piece.type === pieceTypes.control || piece.type === pieceTypes.userDefined ? [{ content: piece.name, normalized: false, special: piece.type === pieceTypes.control }] : []));
  const unk = name === "GemmaTokenizer" ? nameOf(files, gemma, "unk_token") : undefined;
  return build(files, ofPieces[name], { type: "BPE", unk_token: unk, fuse_unk: true, byte_fallback: true, vocab, merges: mergesOf(parts.pieces.map((piece) => piece.name)) }, file, own);
}

/** Every way to put a piece together from two, the pieces with the lowest ids first. */
function mergesOf(pieces: readonly string[]): [string, string][] {
  const ids = new Map(pieces.map((piece, id) => [piece, id]));
  const merges: { left: string; right: string; leftLength: number }[] = [];
  for (const piece of pieces) {
    const characters = [...piece];
    const own: typeof merges = [];
    for (let cut = 1; cut < characters.length; cut++) {
      const [left, right] = [characters.slice(0, cut).join(""), characters.slice(cut).join("")];
      if (ids.has(left) && ids.has(right)) own.push({ left, right, leftLength: cut });
    }
    merges.push(...own.sort((a, b) => a.leftLength - b.leftLength));
  }
  return merges.map(({ left, right }) => [left, right]);
}

/** A named special token: what the map says, else the configuration, else the class. */
function nameOf({ config, specials }: Files, { tokens: usual }: TokenizerClass, name: TokenName): string | undefined {
  const said = config.added_tokens_decoder == null && specials[name] !== undefined ? specials[name] : config[name];
  return said === undefined ? usual[name] : said?.content;
}

/** The `tokenizer.json`: the class's parts and the added tokens, which get ids as transformers gives them, one after another. */
function build(files: Files, chosen: TokenizerClass, model: Json, file: string, own: readonly Token[] = []): BuiltTokenizer {
  const { config, specials, addedTokens } = files;
  const vocab = model["vocab"];
  if (typeof vocab !== "object" || vocab === null || Array.isArray(vocab)) throw new TokenizerError({ file }, "a vocabulary is an object of tokens and their ids.", { code: "bad-tokenizer" });
  const known = new Map(Object.entries(vocab as Record<string, unknown>).filter((entry): entry is [string, number] => typeof entry[1] === "number"));
  const content = (name: TokenName): string | undefined => nameOf(files, chosen, name);
  const extra = [...(config.added_tokens_decoder == null ? list(specials.extra_special_tokens) : []), ...list(specials.additional_special_tokens), ...list(config.extra_special_tokens), ...list(config.additional_special_tokens)];
  const isSpecial = new Set([...names.map(content), ...extra.map((each) => each.content)]);

  const stated: [number, Token][] =
    config.added_tokens_decoder != null
      ? Object.entries(config.added_tokens_decoder).map(([id, each]) => [Number(id), each])
      : Object.entries(addedTokens).map(([each, id]) => [id, { content: each, special: isSpecial.has(each) }]);
  const wanted: [number | undefined, Token][] = [
    ...stated.sort((a, b) => a[0] - b[0]),
    ...names.flatMap((name): [undefined, Token][] => (content(name) === undefined ? [] : [[undefined, { ...(tokenIn(files, name) ?? {}), content: content(name) ?? "", special: true }]])),
    ...[...extra.map((each): Token => ({ ...each, special: true })), ...own].map((each): [undefined, Token] => [undefined, each]),
  ];

  let next = 0;
  for (const id of known.values()) next = Math.max(next, id + 1);
  const added: Json[] = [];
  const ids = new Map<string, number>();
  for (const [said, { content: text, special: marked = false, normalized, ...flags }] of wanted) {
    if (ids.has(text) || text === "") continue;
    const id = known.get(text) ?? next++;
    if (said !== undefined && said !== id) warn(`${file}: the added token ${JSON.stringify(text.slice(0, 60))} is said to be ${said}, and becomes ${id}, the next that is free, as in transformers.`);
    ids.set(text, id);
    const isOne = marked || isSpecial.has(text);
    added.push({ id, content: text, ...flags, normalized: normalized ?? !isOne, special: isOne });
  }
  const idOf = (name: TokenName): [string, number] => {
    const text = content(name) ?? "";
    const id = ids.get(text);
    return id === undefined ? fail(file, name) : [text, id];
  };
  return { json: { version: "1.0", added_tokens: added, ...chosen.parts(config, idOf), model }, bosToken: content("bos_token"), eosToken: content("eos_token") };
}

const fail = (file: string, name: string): never => {
  throw new TokenizerError({ file, field: name }, "a text needs this token around it, and there is none.", { code: "bad-tokenizer" });
};

/** The flags of a named token, where a file gives them. */
const tokenIn = ({ config, specials }: Files, name: TokenName): Token | undefined => {
  const inMap = config.added_tokens_decoder == null ? specials[name] : undefined;
  return inMap ?? config[name] ?? undefined;
};

const list = (value: readonly Token[] | Readonly<Record<string, Token>> | null | undefined): Token[] => (value == null ? [] : Array.isArray(value) ? [...(value as readonly Token[])] : Object.values(value as Record<string, Token>));
