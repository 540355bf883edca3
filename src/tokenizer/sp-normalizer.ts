/**
 * @file SentencePiece's normalizer, and its way back: character rules, white space, the dummy prefix and the escape of spaces in one pass (normalizer.cc of
 * google/sentencepiece). Hugging Face puts it together from several steps, which come close.
 */

import type { FilePlace } from "../errors.js";
import { decodeUtf8, encodeUtf8, wellFormed } from "./bytes.js";
import { CharsMap } from "./charsmap.js";
import { compileDecoder, type TokenText } from "./decoders.js";
import type { Normalizer } from "./normalizers.js";
import type { DecoderStep } from "./steps.js";

export interface SentencePieceNormalization {
  /** The precompiled rules; empty for none. */
  readonly charsMap: Uint8Array;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
  /** The mark of a space ends a word rather than begins it. */
  readonly whitespaceAsSuffix: boolean;
}

/** @param symbolAt the length, in code units, of a symbol at a place of a text that stays as it is, or 0 */
export function sentencePieceNormalizer(spec: SentencePieceNormalization, place: FilePlace, symbolAt?: (text: string, start: number) => number): Normalizer {
  const map = spec.charsMap.length === 0 ? undefined : new CharsMap(spec.charsMap, place);
  const space = spec.escapeWhitespaces ? "▁" : " ";
  const rewritten = (text: string): string[] => rewrite(text, map, symbolAt);

  return (given) => {
    const parts = rewritten(wellFormed(given));
    let first = 0;
    if (spec.removeExtraWhitespaces) while (parts[first] === " ") first++;
    if (first >= parts.length) return "";

    let result = spec.addDummyPrefix && !spec.whitespaceAsSuffix ? space : "";
    let afterSpace = spec.removeExtraWhitespaces;
    for (const part of parts.slice(first)) {
      const kept = afterSpace ? part.replace(/^ +/, "") : part;
      if (kept === "") continue;
      result += spec.escapeWhitespaces ? kept.replaceAll(" ", space) : kept;
      afterSpace = spec.removeExtraWhitespaces && kept.endsWith(" ");
    }
    if (spec.removeExtraWhitespaces) {
      let end = result.length;
      while (end > 0 && result[end - 1] === space) end--;
      result = result.slice(0, end);
    }
    return spec.addDummyPrefix && spec.whitespaceAsSuffix ? result + space : result;
  };
}

/**
 * The same as llama.cpp does it (src/llama-vocab.cpp, llm_tokenizer_ugm): the prefix stands before the first character that is no space, and where extra
 * spaces are removed there is one before every word, the first too.
 */
export function llamaCppNormalizer(spec: SentencePieceNormalization, place: FilePlace, symbolAt?: (text: string, start: number) => number): Normalizer {
  const map = spec.charsMap.length === 0 ? undefined : new CharsMap(spec.charsMap, place);
  const space = spec.escapeWhitespaces ? "▁" : " ";
  const { removeExtraWhitespaces: merges, addDummyPrefix, whitespaceAsSuffix } = spec;
  return (given) => {
    let result = "";
    let wantsPrefix = addDummyPrefix && !whitespaceAsSuffix;
    let inWord = false;
    for (const part of rewrite(wellFormed(given), map, symbolAt)) {
      for (const character of part) {
        if (character === " ") {
          inWord = false;
          if (!merges) result += space;
          continue;
        }
        if (!inWord && (merges || wantsPrefix)) {
          result += space;
          wantsPrefix = false;
        }
        inWord = true;
        result += character;
      }
    }
    return addDummyPrefix && whitespaceAsSuffix ? result + space : result;
  };
}

/**
 * The text of tokens as SentencePiece writes it: a space is dropped where the text begins, and where extra ones are removed, from each token
 * until there is some text. (Among the steps of Hugging Face, `Strip` comes close to that.)
 */
export function sentencePieceText(steps: readonly DecoderStep[], { addDummyPrefix, removeExtraWhitespaces }: SentencePieceNormalization): (tokens: readonly TokenText[]) => string {
  const toText = compileDecoder(steps.filter(({ type }) => type !== "Strip"));
  if (!addDummyPrefix && !removeExtraWhitespaces) return toText;
  return (tokens) => {
    let first = 0;
    for (; first < tokens.length; first++) {
      const { text, added } = tokens[first];
      if (text !== "▁" || !removeExtraWhitespaces) return toText([{ text: text.startsWith("▁") ? text.slice(1) : text, added }, ...tokens.slice(first + 1)]);
    }
    return "";
  };
}

/** The text character by character, or rule by rule, as the rules write it. */
function rewrite(text: string, map: CharsMap | undefined, symbolAt: ((text: string, start: number) => number) | undefined): string[] {
  if (map === undefined && symbolAt === undefined) return [...text];
  const parts: string[] = [];
  const bytes = map === undefined ? new Uint8Array() : encodeUtf8(text);
  let byte = 0;
  for (let i = 0; i < text.length; ) {
    const symbol = symbolAt?.(text, i) ?? 0;
    const rule = symbol > 0 ? undefined : map?.longest(bytes, byte);
    let length = symbol || ((text.charCodeAt(i) & 0xfc00) === 0xd800 ? 2 : 1);
    // A rule counts in bytes of UTF-8, and ends where a character does.
    if (rule !== undefined) length = decodeUtf8(bytes.subarray(byte, byte + rule.length)).length;
    const source = text.slice(i, i + length);
    parts.push(rule === undefined ? source : decodeUtf8(rule.replacement));
    i += length;
    byte += map === undefined ? 0 : (rule?.length ?? Buffer.byteLength(source));
  }
  return parts;
}
