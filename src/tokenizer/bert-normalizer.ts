/**
 * @file BERT's normalizer (Devlin et al. 2018, tokenization.py), as Hugging Face `tokenizers` has it: text without control characters and accents,
 * in lower case, with spaces around each Chinese character.
 */

import type { Normalizer } from "./normalizers.js";
import { bertControls, nonspacing, normalizeUnicode } from "./unicode-versions.js";

export interface BertNormalizerOptions {
  readonly clean_text: boolean;
  readonly handle_chinese_chars: boolean;
  /** Null: as `lowercase` says. */
  readonly strip_accents: boolean | null;
  readonly lowercase: boolean;
}

/** The CJK ideographs that BERT sets apart: not kana, not hangul. The gap in extension E is in the library. */
const chinese = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/** Lower case character by character: a whole string would turn the last sigma of a word into its final form. */
export const lowercase = (text: string): string => text.replace(/[^\0-@[-`{-\x7f]/gu, (character) => character.toLowerCase());

export function bertNormalizer({ clean_text, handle_chinese_chars, strip_accents, lowercase: lower }: BertNormalizerOptions): Normalizer {
  return (text) => {
    let result = text;
    if (clean_text) result = result.replace(bertControls, "").replace(/\p{White_Space}/gu, " ");
    if (handle_chinese_chars) result = result.replace(chinese, " $& ");
    if (strip_accents ?? lower) result = normalizeUnicode(result, "NFD").replace(nonspacing, "");
    return lower ? lowercase(result) : result;
  };
}
