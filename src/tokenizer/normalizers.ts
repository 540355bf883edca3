/**
 * @file Normalizers: what happens to a text before it is cut, as Hugging Face `tokenizers` does it. Each is a function from text to text.
 */

import { bertNormalizer, lowercase } from "./bert-normalizer.js";
import { fromBase64, toByteLevel } from "./bytes.js";
import { CharsMap } from "./charsmap.js";
import { asInUnicode16, translateRegex } from "./regex.js";
import type { NormalizerStep, TextPattern } from "./steps.js";
import { accents, normalizeUnicode } from "./unicode-versions.js";

export type Normalizer = (text: string) => string;

/**
 * One function for all the steps, or undefined where there are none.
 *
 * @param toLower what `Lowercase` does
 */
export function compileNormalizer(steps: readonly NormalizerStep[], toLower: Normalizer = lowercase): Normalizer | undefined {
  const functions = steps.map((step) => compileStep(step, toLower));
  if (functions.length === 0) return undefined;
  return (text) => functions.reduce((result, normalize) => normalize(result), text);
}

function compileStep(step: NormalizerStep, toLower: Normalizer): Normalizer {
  switch (step.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => normalizeUnicode(text, step.type);
    case "Lowercase":
      return toLower;
    case "BertNormalizer":
      return bertNormalizer(step);
    case "StripAccents":
      return (text) => text.replace(accents, "");
    case "Nmt":
      return (text) => text.replace(/[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/g, "").replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, " ");
    case "ByteLevel":
      return toByteLevel;
    case "Strip":
      return (text) => {
        const left = step.strip_left ? text.replace(/^\p{White_Space}+/u, "") : text;
        return step.strip_right ? trimRight(left) : left;
      };
    case "Prepend":
      return (text) => (text === "" ? text : step.prepend + text);
    case "Replace":
      return replacer(step.pattern, step.content);
    case "Precompiled": {
      if (step.precompiled_charsmap === null || step.precompiled_charsmap === "") return (text) => text;
      const map = new CharsMap(fromBase64(step.precompiled_charsmap), { field: "normalizer.precompiled_charsmap" });
      return (text) => map.normalizeGraphemes(text);
    }
  }
}

/** `\s+$` would look at every run of spaces up to its end, from each of its characters. */
function trimRight(text: string): string {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** Every match of a pattern replaced; the content has no placeholders. */
export function replacer(pattern: TextPattern, content: string): Normalizer {
  if ("String" in pattern) return pattern.String === "" ? (text) => text : (text) => text.replaceAll(pattern.String, () => content);
  const regex = translateRegex(pattern.Regex);
  return (text) => {
    let result = "";
    let end = 0;
    for (const match of asInUnicode16(text).matchAll(regex)) {
      result += text.slice(end, match.index) + content;
      end = match.index + match[0].length;
    }
    return result + text.slice(end);
  };
}
