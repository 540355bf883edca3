/**
 * @file How llama.cpp cuts a text for BERT's WordPiece (src/llama-vocab.cpp, llm_tokenizer_wpm): much as `BertNormalizer` and `BertPreTokenizer` do, but
 * a character decomposes into its first part alone, and what is white space, a control or punctuation is Unicode 15.1's.
 */

import type { PreTokenizer } from "./pre-tokenizers.js";
import { asInLlamaCpp, differsInLlamaCpp } from "./regex.js";

export interface WpmOptions {
  readonly lowercase: boolean;
  readonly stripAccents: boolean;
}

const first = (text: string): string => String.fromCodePoint(text.codePointAt(0) ?? 0);
const isSpace = /\p{White_Space}/u;
const isDropped = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/u;
const isMark = /\p{M}/u;
/** A word of its own: punctuation, symbols of ASCII, Chinese characters. */
const isAlone = /[\p{P}$+<=>^`|~\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/u;

/** A character that is too new for llama.cpp has neither parts nor cases. */
const isNew = (character: string): boolean => character !== "\u017f" && differsInLlamaCpp(character);

const lower = (character: string): string => (isNew(character) ? character : first(character.toLowerCase()));

/** Lower case as llama.cpp has it: one character for one. */
export const llamaCppLowercase = (text: string): string => text.replace(/[^\0-@[-`{-\x7f]/gu, lower);

/** The words of a text, in order. */
export function wpmWords({ lowercase, stripAccents }: WpmOptions): PreTokenizer {
  return ({ text }) => {
    const words: string[] = [];
    let word = "";
    const end = (): void => {
      if (word !== "") words.push(word);
      word = "";
    };
    for (const given of text) {
      const character = stripAccents && !isNew(given) ? first(given.normalize("NFD")) : given;
      const seen = asInLlamaCpp(character);
      if (isSpace.test(seen)) {
        end();
        continue;
      }
      if (isDropped.test(seen) || (stripAccents && isMark.test(seen))) continue;
      const written = lowercase ? lower(character) : character;
      if (isAlone.test(seen) || isAlone.test(character)) {
        end();
        words.push(written);
      } else word += written;
    }
    end();
    return words.map((each, i) => ({ text: each, first: i === 0 }));
  };
}
