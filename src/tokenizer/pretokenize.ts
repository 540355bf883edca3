/**
 * @file Cuts text into the pieces that merges never cross, with the regular expressions that GPT-2 and its successors published.
 *
 * `native/tokenizer/pretokenize.h` does the same by hand, as fast as memory allows; this is what it must agree with. Every pattern matches
 * every character, so that the pieces are the whole text. Classes of characters are those of Unicode 16.0 on every version of Node (see
 * scripts/generate-unicode.mjs).
 */

import { letters, numbers, spaces } from "./unicode.generated.js";

/**
 * - `gpt2`: the pattern of GPT-2 (Radford et al. 2019, encoder.py)
 * - `cl100k`: GPT-4's; Llama 3 has the same. Contractions in either case, three digits at most, newlines on their own
 * - `qwen2`: cl100k with one digit at a time
 * - `smollm`: GPT-2's on either side of each digit, which is a piece of its own (`Digits` before it): SmolLM, StarCoder, Command R
 */
export type PatternName = keyof typeof patterns;

const cl100k = (digits: string): string =>
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** The expressions as `tokenizer.json` writes them; that of `smollm` does what the two steps of its files do. */
export const patterns = {
  gpt2: String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  cl100k: cl100k(String.raw`\p{N}{1,3}`),
  qwen2: cl100k(String.raw`\p{N}`),
  smollm: String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+`,
} as const;

export const patternNames = Object.keys(patterns) as readonly PatternName[];

/** Ranges in hexadecimal as the inside of a character class. */
const classOf = (ranges: string): string => ranges.trim().replace(/[0-9a-f]+/g, "\\u{$&}").replace(/\s+/g, "");

/** JavaScript's way to write a published expression: the classes spelled out, the inline flag too (U+017F, the long s, folds to s). */
function toJavaScript(pattern: string): string {
  const [letter, number, space] = [classOf(letters), classOf(numbers), classOf(spaces)];
  return pattern
    .replaceAll(String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)`, String.raw`'(?:[sS\u{17f}tTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])`)
    .replaceAll(String.raw`\S`, `[^${space}]`)
    .replace(/\[\^[^\]]*\]|\\s|\\p\{[LN]\}/g, (part) => {
      const spelled = part.replaceAll(String.raw`\p{L}`, letter).replaceAll(String.raw`\p{N}`, number).replaceAll(String.raw`\s`, space);
      return part.startsWith("[") ? spelled : `[${spelled}]`;
    });
}

/**
 * Where a text may be cut so that its parts give the pieces of the whole: after a letter and before what is none. No pattern joins the two, nor
 * looks across. (An apostrophe is left out for patterns that take the contraction with its word.)
 */
export const safeCut = new RegExp(`(?<=[${classOf(letters)}])(?![${classOf(letters)}'])`, "gu");

const compiled = new Map<PatternName, RegExp>();

/**
 * The pieces of a text, in order. Lone surrogates are characters that are neither letter, number nor space.
 *
 * @param view a text as long, in which the pieces are looked for
 */
export function* pretokenize(pattern: PatternName, text: string, view?: (text: string) => string): Generator<string> {
  let regex = compiled.get(pattern);
  if (regex === undefined) compiled.set(pattern, (regex = new RegExp(toJavaScript(patterns[pattern]), "gu")));
  const seen = view?.(text) ?? text;
  for (const { 0: piece, index } of seen.matchAll(regex)) yield seen === text ? piece : text.slice(index, index + piece.length);
}
