/**
 * @file The `pre` kinds of GGUF: how text is cut for a byte-level tokenizer, by name. A GGUF file carries no expressions; which name means which is
 * in llama.cpp (src/llama-vocab.cpp). Here they are as the families' own tokenizer.json has them, where the two agree.
 */

import { patterns } from "./pretokenize.js";
import type { PreTokenizerStep } from "./steps.js";

export interface PreTokenizerKind {
  readonly steps: readonly PreTokenizerStep[];
  /** A piece that is a token is taken whole. */
  readonly ignoreMerges?: boolean;
  /** Wanted before a text where the file does not say. */
  readonly addBos?: boolean;
}

const byteLevel = (use_regex: boolean): PreTokenizerStep => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex });
const split = (Regex: string): PreTokenizerStep => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
const digits: PreTokenizerStep = { type: "Digits", individual_digits: true };
const splits = (...expressions: string[]): PreTokenizerStep[] => [...expressions.map(split), byteLevel(false)];

const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const rest = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
/** Words with their capitals first: `HTTPServer` is two. */
const cased = (suffix: string, number: string): string =>
  String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+${suffix}|[^\r\n\p{L}\p{N}]?${upper}+${lower}*${suffix}|${number}${rest}`;

const gpt2: PreTokenizerKind = { steps: [byteLevel(true)] };
const smollm: PreTokenizerKind = { steps: [digits, byteLevel(true)] };
const cl100k: PreTokenizerKind = { steps: splits(patterns.cl100k) };
const llama3: PreTokenizerKind = { ...cl100k, ignoreMerges: true, addBos: true };
const qwen2: PreTokenizerKind = { steps: splits(patterns.qwen2) };
const gpt4o: PreTokenizerKind = { steps: splits(cased(contraction, String.raw`\p{N}{1,3}`)) };
const punctuation = String.raw`[\p{P}$+<=>^~|\x60]+`;
const bloom: PreTokenizerKind = { steps: splits(String.raw` ?[^(\s|[.,!?…。，、।۔،])]+`) };
const deepseek3: PreTokenizerKind = {
  steps: splits(
    String.raw`\p{N}{1,3}`,
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
  ),
};

/** By name; those at the front are written where several mean the same. */
export const preTokenizers: Readonly<Record<string, PreTokenizerKind>> = {
  "gpt-2": gpt2,
  "llama-bpe": llama3,
  "smaug-bpe": cl100k,
  qwen2,
  smollm,
  tekken: { steps: splits(cased("", String.raw`\p{N}`)), ignoreMerges: true, addBos: true },
  "gpt-4o": gpt4o,
  falcon: { steps: [split(punctuation), byteLevel(true), split("[0-9][0-9][0-9]")] },
  bloom,
  "deepseek-v3": deepseek3,
  "deepseek-coder": { steps: splits("[\r\n]", String.raw`\s?\p{L}+`, String.raw`\s?\p{P}+`, "[一-龥ࠀ-一가-퟿]+", String.raw`\p{N}`) },
  default: { steps: [split(String.raw`[\p{P}$+<=>^~|]+`), split(patterns.gpt2), split(String.raw`\p{N}+`), split("[0-9][0-9][0-9]"), byteLevel(false)] },
  llama3,
  "llama-v3": llama3,
  falcon3: llama3,
  "falcon-h1": llama3,
  pixtral: llama3,
  lfm2: llama3,
  dbrx: cl100k,
  glm4: cl100k,
  "chatglm-bpe": cl100k,
  "deepseek-r1-qwen": qwen2,
  stablelm2: qwen2,
  megrez: qwen2,
  hunyuan: qwen2,
  "grok-2": qwen2,
  "phi-2": gpt2,
  mpt: gpt2,
  olmo: gpt2,
  jais: gpt2,
  trillion: gpt2,
  exaone4: gpt2,
  "modern-bert": gpt2,
  starcoder: smollm,
  refact: smollm,
  "command-r": smollm,
  codeshell: smollm,
  exaone: smollm,
  "minerva-7b": smollm,
  llama4: gpt4o,
  "hunyuan-dense": deepseek3,
  "gpt3-finnish": bloom,
};
