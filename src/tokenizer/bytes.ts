/**
 * @file Bytes as text, in the two senses a byte-level tokenizer needs.
 *
 * GPT-2's byte alphabet writes every byte as one printable character, so that tokens which are no valid UTF-8 can stand in a JSON file: the
 * space is `Ġ`, the newline `Ċ`. It is how `tokenizer.json` spells tokens, and nothing else; inside, tokens are bytes.
 *
 * Escaped text carries bytes that are not UTF-8 through a JavaScript string: byte b becomes the lone surrogate U+DC00 + b, which no valid
 * text contains (Python calls it surrogateescape). So any bytes whatever can be cut by regular expressions and come out as they were.
 */

const printable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;

/** The character of each byte: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up, in order. */
export const byteAlphabet: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

/** The 256 bytes in the order of their characters: the order in which GPT-2 and Hugging Face give them ids. */
export const bytesInAlphabetOrder: readonly number[] = [...byteAlphabet.keys()].sort((a, b) => (byteAlphabet[a] < byteAlphabet[b] ? -1 : 1));

/** The byte of each character code, or -1. */
const byteOfCode = new Int16Array(0x180).fill(-1);
for (const [byte, character] of byteAlphabet.entries()) byteOfCode[character.charCodeAt(0)] = byte;

/** The bytes that a token of `tokenizer.json` spells, or undefined where a character is none of the alphabet's. */
export function fromByteLevel(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = byteOfCode[text.charCodeAt(i)] ?? -1;
    if (byte === -1) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/**
 * A text with every byte of its UTF-8 as a character of the alphabet. Escaped bytes (see below) are the bytes they stand for.
 */
export function toByteLevel(text: string): string {
  if (/^[!-~]*$/.test(text)) return text;
  let result = "";
  for (const byte of unescapeBytes(text)) result += byteAlphabet[byte];
  return result;
}

/** Base64 that has been checked to be such. */
export const fromBase64 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "base64"));

const encoder = new TextEncoder();
// A byte order mark is text like any other.
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lossyDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8; a lone surrogate becomes U+FFFD. */
export const encodeUtf8 = (text: string): Uint8Array => encoder.encode(text);

/** UTF-8 of strings among documents, a megabyte at a time so that the thread stays free. */
export async function encodeDocuments(documents: readonly (string | Uint8Array)[]): Promise<Uint8Array[]> {
  const unitsAtATime = 2 ** 20;
  const result: Uint8Array[] = [];
  let units = 0;
  for (const document of documents) {
    if (typeof document !== "string") {
      result.push(document);
      continue;
    }
    const parts: Uint8Array[] = [];
    for (let start = 0; start < document.length; ) {
      let end = Math.min(start + unitsAtATime, document.length);
      // Not between the halves of a pair.
      if (end < document.length && (document.charCodeAt(end) & 0xfc00) === 0xdc00) end++;
      parts.push(encoder.encode(document.slice(start, end)));
      units += end - start;
      start = end;
      if (units < unitsAtATime) continue;
      await new Promise((resolve) => setImmediate(resolve));
      units = 0;
    }
    result.push(parts.length === 1 ? parts[0] : concatBytes(parts));
  }
  return result;
}

/** Text of UTF-8; what is not UTF-8 becomes U+FFFD. */
export const decodeUtf8 = (bytes: Uint8Array): string => lossyDecoder.decode(bytes);

/** Text without lone surrogates: each becomes U+FFFD, as it would in UTF-8. */
export const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, "\ufffd");

/** Whether bytes are text that ends within a character. */
export function isUnfinishedUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return !isWellFormedUtf8(bytes);
  } catch {
    return false;
  }
}

export const isWellFormedUtf8 = (bytes: Uint8Array): boolean => firstInvalidByte(bytes) < 0;

/** The length of the well-formed UTF-8 sequence at `i` (The Unicode Standard, table 3-7), or 0. */
function sequenceLength(bytes: Uint8Array, i: number): number {
  const lead = bytes[i];
  if (lead < 0x80) return 1;
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (length === 0 || i + length > bytes.length) return 0;
  // The second byte rules out overlong forms, surrogates, and what lies above U+10FFFF.
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (bytes[i + 1] < low || bytes[i + 1] > high) return 0;
  for (let k = 2; k < length; k++) if ((bytes[i + k] & 0xc0) !== 0x80) return 0;
  return length;
}

/** The place of the first byte that belongs to no UTF-8 sequence, or -1. */
export function firstInvalidByte(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes, i);
    if (length === 0) return i;
    i += length;
  }
  return -1;
}

/** Bytes as escaped text; {@link unescapeBytes} gives them back. */
export function escapeBytes(bytes: Uint8Array): string {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    let text = "";
    let start = 0;
    for (let i = 0; i < bytes.length; ) {
      const length = sequenceLength(bytes, i);
      if (length === 0) {
        text += strictDecoder.decode(bytes.subarray(start, i)) + String.fromCharCode(0xdc00 + bytes[i]);
        start = i + 1;
      }
      i += length || 1;
    }
    return text + strictDecoder.decode(bytes.subarray(start));
  }
}

/** The bytes of escaped text. */
export function unescapeBytes(text: string): Uint8Array {
  if (!/\p{Surrogate}/u.test(text)) return encoder.encode(text);
  return concatBytes(text.split(/(\p{Surrogate})/u).map((part) => (/^\p{Surrogate}$/u.test(part) ? Uint8Array.of(part.charCodeAt(0) & 0xff) : encoder.encode(part))));
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
