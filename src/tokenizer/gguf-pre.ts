/**
 * @file The `pre` kinds of GGUF: how text is cut for a byte-level tokenizer, by name. A GGUF file carries no expressions; which name means which is in
 * llama.cpp (src/llama-vocab.cpp).
 *
 * The steps are what llama.cpp does, written as `tokenizer.json` writes it. That is not always what the family's own file says: llama.cpp's matcher knows
 * letters but not their case, so that `[\p{Lu}\p{Lt}...]` takes any letter, or any but a to z. Where a family's own steps are others, `published` has
 * them, so that a tokenizer that is read from its `tokenizer.json` finds the name too.
 */

import { patterns } from "./pretokenize.js";
import type { PreTokenizerStep } from "./steps.js";

export interface PreTokenizerKind {
  /** How llama.cpp cuts. */
  readonly steps: readonly PreTokenizerStep[];
  /** How the families that the name stands for cut, where that is not the same. */
  readonly published?: readonly (readonly PreTokenizerStep[])[];
  /** A piece that is a token is taken whole. */
  readonly ignoreMerges?: boolean;
  /** Wanted before a text where the file does not say. */
  readonly addBos?: boolean;
  /** Wanted before a text even where the file says otherwise. */
  readonly alwaysAddsBos?: boolean;
  /** No token begins a text unless the file names one. */
  readonly hasNoBos?: boolean;
  /** Tokens are spelled in letters, not in GPT-2's byte alphabet; what has no token becomes bytes as in `<0x0A>`. */
  readonly rawText?: boolean;
  /** The space is spelled `▁`. */
  readonly escapesSpaces?: boolean;
  /** A piece of line breaks that is a token is taken whole. */
  readonly wholeLineBreaks?: boolean;
  /** A file may come without merges. */
  readonly mayLackMerges?: boolean;
}

/** Ranges in hexadecimal as the inside of a class of Oniguruma. */
const classOf = (ranges: string): string => ranges.trim().replace(/[0-9a-f]+/g, "\\x{$&}").replace(/\s+/g, "");

const byteLevel = (use_regex: boolean): PreTokenizerStep => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex });
const split = (Regex: string): Extract<PreTokenizerStep, { type: "Split" }> => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
const digits: PreTokenizerStep = { type: "Digits", individual_digits: true };
const splits = (...expressions: string[]): PreTokenizerStep[] => [...expressions.map(split), byteLevel(false)];
/** Cut, and then as GPT-2 cuts. */
const beforeGpt2 = (...expressions: string[]): PreTokenizerStep[] => [...expressions.map(split), byteLevel(true)];

const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = String.raw`|\s*[\r\n]+|\s+(?!\S)|\s+`;
const afterWords = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n/]*${spaces}`;
const beforeWord = String.raw`[^\r\n\p{L}\p{N}]?`;
/** Words with their capitals first, so that `HTTPServer` is two, by two classes of letters. */
const cased = (upper: string, lower: string, suffix: string, number: string): string =>
  `${beforeWord}${upper}*${lower}+${suffix}|${beforeWord}${upper}+${lower}*${suffix}|${number}${afterWords}`;
const unicodeCased = (suffix: string, number: string): string =>
  cased(String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`, suffix, number);
/** The same where only a to z have a case. */
const asciiCased = (letters: string, suffix: string, number: string): string => cased(`[${letters}&&[^a-z]]`, `[${letters}&&[^A-Z]]`, suffix, number);
/** Words in which case plays no role. */
const uncased = (number: string): string => String.raw`${beforeWord}[\p{L}\p{M}]+${contraction}?|${number}${afterWords}`;

const digit = String.raw`\p{N}`;
const threeDigits = String.raw`\p{N}{1,3}`;
/** Three digits at a time, counted from the right. The first of them stay with the text before. */
const groupedDigits: PreTokenizerStep = { ...split(String.raw`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`), behavior: "MergedWithPrevious" };
const lines = String.raw`[^\n]+|\n+`;
const kana = "[一-龥\u3040-ゟ゠-ヿ]+";
// The line breaks are themselves, not escaped, where the families' files have them so.
const codeWords = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+";
const punctuated = "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const bloomWords = String.raw` ?[^(\s|[.,!?…。，、।۔،])]+`;
const asiatic = "[一-龥ࠀ-一가-퟿]+";
/** llama.cpp takes no white space for letters. */
const asiaticLetters = String.raw`[[一-龥ࠀ-一가-퟿]&&[^\s]]+`;
const youtuScripts = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+";

/** The letters that have a case, of the alphabets that DeepSeek's first tokenizer knows. */
const deepseekLetters = `
41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3f5 3f7-481 48a-52f
531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d
1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102
2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee
2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3
104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943`;

/** What llama.cpp takes for Chinese characters in Kimi's pattern. */
const han = classOf("4e00-9fff 3400-4dbf 20000-2a6df 2a700-2b73f 2b740-2b81f 2b820-2ceaf 2ceb0-2ebef f900-faff 2f800-2fa1f");

/** Trinity's scripts without spaces, and Hangul. The third range begins at U+8C48, to which normalization takes the U+F900 that was meant. */
const asianScripts = classOf("4e00-9fff 3400-4dbf 8c48-faff 3040-309f 30a0-30ff ff65-ff9f 2f00-2fdf e40-e7f e80-eff 1780-17ff 1000-109f aa60-aa7f a9e0-a9ff ac00-d7af 1100-11ff");

const gpt2: PreTokenizerKind = { steps: [byteLevel(true)] };
const smollm: PreTokenizerKind = { steps: [digits, byteLevel(true)] };
const cl100k: PreTokenizerKind = { steps: splits(patterns.cl100k) };
const llama3: PreTokenizerKind = { ...cl100k, ignoreMerges: true, addBos: true };
const glm4: PreTokenizerKind = { ...cl100k, ignoreMerges: true, hasNoBos: true };
const qwen2: PreTokenizerKind = { steps: splits(patterns.qwen2) };
const bloom: PreTokenizerKind = { steps: splits(bloomWords) };
const deepseek3: PreTokenizerKind = { steps: splits(threeDigits, kana, codeWords + punctuated) };
const gpt4o: PreTokenizerKind = {
  steps: splits(asciiCased(String.raw`\p{L}`, `${contraction}?`, threeDigits)),
  published: [splits(unicodeCased(`${contraction}?`, threeDigits))],
};
const tinyAya: PreTokenizerKind = {
  steps: [groupedDigits, ...splits(uncased(threeDigits))],
  published: [splits(String.raw`\d{1,3}(?=(?:\d{3})*\b)`, unicodeCased(`${contraction}?`, threeDigits))],
};
const bailing: PreTokenizerKind = {
  steps: splits(String.raw`'(?i:[sdmt]|ll|ve|re)|${beforeWord}\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`),
  published: [splits(String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`)],
};
/** SentencePiece's BPE on letters, a line at a time. */
const gemma4: PreTokenizerKind = { steps: [split(lines)], rawText: true, escapesSpaces: true, wholeLineBreaks: true, alwaysAddsBos: true };

/** By name; those at the front are written where several mean the same. */
export const preTokenizers: Readonly<Record<string, PreTokenizerKind>> = {
  "gpt-2": gpt2,
  "llama-bpe": llama3,
  "smaug-bpe": cl100k,
  qwen2,
  smollm,
  tekken: { steps: splits(asciiCased(String.raw`\p{L}`, "", digit)), published: [splits(unicodeCased("", digit))], ignoreMerges: true, addBos: true },
  "gpt-4o": gpt4o,
  falcon: { steps: [split(String.raw`[\p{P}$+<=>^~|\x60]+`), byteLevel(true), split("[0-9][0-9][0-9]")] },
  bloom,
  "deepseek-v3": deepseek3,
  "deepseek-coder": {
    steps: splits("[\r\n]", String.raw`\s?\p{L}+`, String.raw`\s?\p{P}+`, asiaticLetters, digit),
    published: [splits("[\r\n]", String.raw`\s?\p{L}+`, String.raw`\s?\p{P}+`, asiatic, digit)],
  },
  "deepseek-llm": {
    steps: splits("[\r\n]", String.raw`\s?[${classOf(deepseekLetters)}]+`, String.raw`\s?[!-/:-~！-／：-～‘-‟、-。]+`, String.raw`\s+$`, asiaticLetters, String.raw`\p{N}+`),
  },
  default: { steps: [split(String.raw`[\p{P}$+<=>^~|]+`), split(patterns.gpt2), split(String.raw`\p{N}+`), split("[0-9][0-9][0-9]"), byteLevel(false)] },
  qwen35: { steps: splits(String.raw`${contraction}|${beforeWord}[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*${spaces}`) },
  "jais-2": {
    steps: splits(
      String.raw`${contraction}|${beforeWord}\p{L}+|${threeDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|` +
        [512, 256, 128, 64, 32, 16, 8, 4].map((count) => String.raw`\s{${count}}(?!\S)|`).join("") +
        String.raw`\s{1,2}(?!\S)|\s{1}`,
    ),
  },
  spark2_5: { steps: splits(threeDigits, kana, `${codeWords}| ?[\\p{P}\\p{S}]+|[\r\n]|\\s+(?!\\S)|\\s+`, digit) },
  youtu: {
    steps: splits(youtuScripts, uncased(digit)),
    published: [splits(youtuScripts, unicodeCased(`${contraction}?`, digit))],
    ignoreMerges: true,
  },
  viking: { steps: splits(bloomWords, digit) },
  chameleon: {
    steps: beforeGpt2("<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", String.raw`([\t\n]|    |  )`, digit, "[\\p{P}!-/:-@\\[-`{-~]"),
    addBos: true,
  },
  "granite-embed-multi-97m": {
    steps: splits(asciiCased(String.raw`[\p{L}\p{M}]`, `${contraction}?`, threeDigits)),
    published: [splits(unicodeCased(`${contraction}?`, threeDigits))],
    ignoreMerges: true,
  },
  "kimi-k2": {
    steps: splits(String.raw`[${han}]+|${beforeWord}[\p{L}&&[^${han}]]+${contraction}?|${threeDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*${spaces}`),
    mayLackMerges: true,
  },
  superbpe: { steps: splits(String.raw`\p{N}+`, "(?=(?:[0-9]{3})+(?![0-9]))"), published: [splits(String.raw`\p{N}+`, String.raw`(?=(\d{3})+(?!\d))`)] },
  "seed-coder": { steps: splits(String.raw`${contraction}|${beforeWord}\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+${spaces}`) },
  ufakzeka: { steps: splits(String.raw`${beforeWord}\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*${spaces}`) },
  afmoe: { steps: [groupedDigits, ...splits(`[${asianScripts}]+`, codeWords + punctuated)] },
  laguna: { steps: splits(lines, patterns.qwen2) },
  "exaone-moe": {
    // Words one space apart stay together: each letter may follow a space.
    steps: splits(
      String.raw`${contraction}|${beforeWord}\p{L}(?:(?! (?!\p{L}))[\p{L}\p{M} ])*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`,
    ),
  },
  minicpm5: { steps: splits(threeDigits, patterns.cl100k.replace("{1,3}", "+")), ignoreMerges: true },
  gemma4,
  "sarvam-moe": { steps: [split(lines)], rawText: true, escapesSpaces: true },
  whitespace: { steps: [split(String.raw`\S+`)], rawText: true },
  bailingmoe: bailing,
  tiny_aya: tinyAya,
  ...sameAs(llama3, "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
  ...sameAs(cl100k, "dbrx"),
  "chatglm-bpe": { ...cl100k, hasNoBos: true },
  ...sameAs(glm4, "glm4", "glm5"),
  ...sameAs(qwen2, "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez", "hunyuan", "solar-open", "grok-2"),
  ...sameAs(gpt2, "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "jina-v1-en", "jina-v2-code"),
  ...sameAs(gpt2, "roberta-bpe", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"),
  ...sameAs(smollm, "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
  ...sameAs(gpt4o, "llama4", "kanana2", "talkie", "minimax-m2"),
  ...sameAs(deepseek3, "hunyuan-dense", "hy_v4", "joyai-llm"),
  ...sameAs(bloom, "gpt3-finnish", "poro-chat"),
  ...sameAs(bailing, "bailingmoe2", "llada-moe"),
  ...sameAs(tinyAya, "cohere2moe"),
  ...sameAs(gemma4, "granite-embed-multi-311m"),
};

function sameAs(kind: PreTokenizerKind, ...names: string[]): Record<string, PreTokenizerKind> {
  return Object.fromEntries(names.map((name) => [name, kind]));
}
