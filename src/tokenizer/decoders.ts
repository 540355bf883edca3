/**
 * @file Decoders: how tokens become text again, as Hugging Face `tokenizers` does it. Each step is a function from the tokens' texts to texts,
 * which in the end are joined.
 */

import { decodeUtf8, fromByteLevel, encodeUtf8, isWellFormedUtf8, concatBytes } from "./bytes.js";
import { replacer } from "./normalizers.js";
import { metaspaceOf, type DecoderStep } from "./steps.js";

/** A token on its way to text. */
export interface TokenText {
  readonly text: string;
  /** An added token stands for its own letters, whatever alphabet the others are written in. */
  readonly added: boolean;
}

type Chain = (tokens: readonly TokenText[]) => TokenText[];

/** The text of tokens. Without any step, tokens are joined by spaces, as Hugging Face does. */
export function compileDecoder(steps: readonly DecoderStep[]): (tokens: readonly TokenText[]) => string {
  if (steps.length === 0) return (tokens) => tokens.map(({ text }) => text).join(" ");
  const chain = steps.map(compileStep);
  return (tokens) =>
    chain
      .reduce<readonly TokenText[]>((texts, step) => step(texts), tokens)
      .map(({ text }) => text)
      .join("");
}

const each =
  (change: (text: string, index: number) => string): Chain =>
  (tokens) =>
    tokens.map(({ text, added }, i) => ({ text: change(text, i), added }));

function compileStep(step: DecoderStep): Chain {
  switch (step.type) {
    case "ByteLevel":
      return (tokens) => [plain(decodeUtf8(concatBytes(tokens.map(({ text, added }) => (added ? undefined : fromByteLevel(text)) ?? encodeUtf8(text)))))];
    case "Metaspace": {
      const { replacement, prepend } = metaspaceOf(step);
      return each((text, i) => text.replaceAll(replacement, i === 0 && prepend !== "never" ? "" : " "));
    }
    case "ByteFallback":
      return fallBackToBytes;
    case "Fuse":
      return (tokens) => [plain(tokens.map(({ text }) => text).join(""))];
    case "Strip":
      return each((text) => strip(text, step.content, step.start, step.stop));
    case "Replace":
      return each(replacer(step.pattern, step.content));
    case "WordPiece":
      return each((text, i) => {
        const joined = i === 0 ? text : text.startsWith(step.prefix) ? text.slice(step.prefix.length) : ` ${text}`;
        return step.cleanup ? withoutExtraSpaces(joined) : joined;
      });
    case "BPEDecoder":
      return (tokens) => tokens.map(({ text, added }, i) => ({ text: text.replaceAll(step.suffix, i === tokens.length - 1 ? "" : " "), added }));
    case "CTC":
      return (tokens) =>
        tokens
          .filter(({ text }, i) => text !== tokens[i - 1]?.text)
          .map(({ text, added }) => {
            const kept = text.replaceAll(step.pad_token, "");
            return { text: step.cleanup ? withoutExtraSpaces(kept).replaceAll(step.word_delimiter_token, " ") : kept, added };
          })
          .filter(({ text }) => text !== "");
  }
}

/** Without the spaces that word tokenizers leave before punctuation and contractions. */
export const withoutExtraSpaces = (text: string): string =>
  [[" .", "."], [" ?", "?"], [" !", "!"], [" ,", ","], [" ' ", "'"], [" n't", "n't"], [" 'm", "'m"], [" do not", " don't"], [" 's", "'s"], [" 've", "'ve"], [" 're", "'re"]]
    .reduce((result, [from, to]) => result.replaceAll(from, to), text);

const plain = (text: string): TokenText => ({ text, added: false });

/** The byte that a token such as `<0x0A>` stands for. */
export const byteOf = (token: string): number | undefined => (/^<0x[0-9A-Fa-f]{2}>$/.test(token) ? parseInt(token.slice(3, 5), 16) : undefined);

/** How the token of a byte is spelled. */
export const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

/** A run of byte tokens becomes the text that it is, or, where it is none, one U+FFFD for each of its bytes. */
function fallBackToBytes(tokens: readonly TokenText[]): TokenText[] {
  const result: TokenText[] = [];
  let run: number[] = [];
  const flush = (): void => {
    const bytes = Uint8Array.from(run);
    if (run.length > 0) result.push(...(isWellFormedUtf8(bytes) ? [plain(decodeUtf8(bytes))] : run.map(() => plain("\ufffd"))));
    run = [];
  };
  for (const token of tokens) {
    const byte = byteOf(token.text);
    if (byte !== undefined) {
      run.push(byte);
      continue;
    }
    flush();
    result.push(token);
  }
  flush();
  return result;
}

/** Up to so many of a character taken from the start and the end. */
function strip(text: string, content: string, start: number, stop: number): string {
  const characters = [...text];
  let first = 0;
  while (first < start && characters[first] === content) first++;
  let last = characters.length;
  while (last > first && characters.length - last < stop && characters[last - 1] === content) last--;
  return characters.slice(first, last).join("");
}
