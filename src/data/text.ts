/**
 * @file Text as a stream: files read and decoded in pieces, so that a corpus may be larger than memory.
 *
 * Pieces are cut where no tokenizer joins two characters, so that encoding piece by piece gives the tokens of the whole: after a letter or
 * digit, before white space. (GPT-2's and cl100k's patterns, and those after them, never run past that point, and none looks back over it.)
 * Where 2^17 characters hold no such place, the cut falls where it must, and costs a token or so. Where cuts fall depends on the text alone,
 * never on how the disk delivered it.
 */
import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { DataError, systemErrorCode } from "../errors.js";

/** In UTF-16 units: small enough that encoding one does not hold up the event loop for long. */
const pieceLength = 1 << 17;
/** V8 makes no string longer than 2^29 - 24 units. */
const maxDocumentLength = 1 << 28;

/** A part of a document, in reading order. */
export interface TextPiece {
  readonly text: string;
  /** The file (with `:LINE` for JSONL) that the document is from. */
  readonly source: string;
  /** Whether a document begins, or ends, with this piece. */
  readonly first: boolean;
  readonly last: boolean;
}

/** What to do with bytes that are not UTF-8: replace them by U+FFFD, or throw. */
export type InvalidUtf8 = "replace" | "error";

/**
 * The text of a file, without a byte order mark. Where bytes that are no UTF-8 are replaced, a warning of the process says so for the first such file.
 *
 * @throws DataError `no-such-file`, `cannot-read`; `invalid-utf8` with the offset of the first bad byte, and for text that is marked as UTF-16 or UTF-32.
 */
export async function* readText(file: string, invalidUtf8: InvalidUtf8): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8");
  let checked = invalidUtf8 === "error" || !warnedOfReplacement;
  /** Where `pending`, the start of a character that the last chunk broke off in, lies in the file. */
  let at = 0;
  let pending: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      if (at === 0 && pending.length === 0) refuseWideText(file, chunk);
      if (checked) {
        const bytes = Buffer.concat([pending, chunk]);
        const whole = bytes.length - unfinished(bytes);
        if (!isUtf8(bytes.subarray(0, whole))) {
          const offset = at + firstInvalid(bytes);
          if (invalidUtf8 === "error") throw notUtf8(file, offset);
          warnOfReplacement(file, offset);
          checked = false;
        }
        at += whole;
        pending = bytes.subarray(whole);
      }
      const text = decoder.decode(chunk, { stream: true });
      if (text !== "") yield text;
    }
  } catch (error) {
    throw cannotRead(file, error);
  }
  if (checked && pending.length > 0) {
    if (invalidUtf8 === "error") throw notUtf8(file, at);
    warnOfReplacement(file, at);
  }
  const rest = decoder.decode();
  if (rest !== "") yield rest;
}

export function cannotRead(file: string, error: unknown): unknown {
  const code = systemErrorCode(error);
  if (code === undefined) return error;
  const hint = /^https?:\/\//i.test(file) ? "It is an address: download it, and name the file." : "Check the path.";
  if (code === "ENOENT") return new DataError({ file }, "there is no such file or folder.", { code: "no-such-file", hint, cause: error });
  return new DataError({ file }, `cannot be read (${code}).`, { code: "cannot-read", hint: "Check the path and its permissions.", cause: error });
}

/** Throws for text of two or four bytes a character, as its byte order mark says: read as bytes it would be a text of something else. */
function refuseWideText(file: string, start: Uint8Array): void {
  const mark = Buffer.from(start.subarray(0, 4)).toString("hex");
  const name = /^(fffe0000|0000feff)/.test(mark) ? "UTF-32" : /^(fffe|feff)/.test(mark) ? "UTF-16" : undefined;
  if (name === undefined) return;
  throw new DataError({ file }, `the text is ${name}, and UTF-8 is expected.`, { code: "invalid-utf8", hint: `Save it as UTF-8, or convert it: iconv -f ${name} -t UTF-8.` });
}

let warnedOfReplacement = false;

function warnOfReplacement(file: string, offset: number): void {
  if (warnedOfReplacement) return;
  warnedOfReplacement = true;
  process.emitWarning(`${file}, at byte ${offset}: the text is not UTF-8 here. Such bytes, here and in other files, are read as U+FFFD.`, { type: "HornbookWarning", code: "HORNBOOK_INVALID_UTF8" });
}

function notUtf8(file: string, offset: number): DataError {
  return new DataError({ file, offset }, "the text is not UTF-8 here.", {
    code: "invalid-utf8",
    hint: "Convert the file to UTF-8, or use a byte-level tokenizer, for which such bytes are replaced by U+FFFD.",
  });
}

/** The offset of the first byte that begins no whole character. */
function firstInvalid(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length && isUtf8(bytes.subarray(at, at + characterBytes(bytes[at])))) at += characterBytes(bytes[at]);
  return at;
}

/** How many bytes at the end begin a character that they do not finish. */
function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) !== 0x80) return characterBytes(byte) > back ? back : 0;
  }
  return 0;
}

/** The length of the character that a byte begins; 1 for a byte that begins none. */
function characterBytes(first: number): number {
  return first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
}

/**
 * Cuts a stream of text into documents at each occurrence of a separator, which belongs to none of them, and documents into pieces. The
 * separator may come in two halves. Without one the stream is one document. Empty documents are left out.
 */
export async function* toPieces(chunks: AsyncIterable<string> | Iterable<string>, source: string, separator?: string): AsyncGenerator<TextPiece> {
  let buffer = "";
  /** How far the buffer is known to hold no separator. */
  let searched = 0;
  let first = true;
  const take = (length: number, last: boolean): TextPiece => {
    const piece = { text: buffer.slice(0, length), source, first, last };
    buffer = buffer.slice(length);
    searched = Math.max(0, searched - length);
    first = last;
    return piece;
  };
  for await (const chunk of chunks) {
    buffer += chunk;
    for (;;) {
      const end = separator === undefined ? -1 : buffer.indexOf(separator, searched);
      // Until the separator, or as far as none can begin; one unit stays behind, so that the last piece of a document is known to be the last.
      searched = end >= 0 ? end : Math.max(0, buffer.length - (separator?.length ?? 1));
      while (searched > pieceLength) yield take(safeCut(buffer), false);
      if (end < 0) break;
      const length = searched;
      if (length > 0) yield take(length, true);
      buffer = buffer.slice(separator?.length);
      searched = 0;
      first = true;
    }
  }
  while (buffer.length > pieceLength) yield take(safeCut(buffer), false);
  if (buffer.length > 0) yield take(buffer.length, true);
}

const letterOrDigit = /[\p{L}\p{N}]/u;
const space = /\s/;

/** The last place within a piece's length at which no tokenizer joins characters; the length itself, or one less within a surrogate pair, without one. */
function safeCut(text: string): number {
  for (let at = pieceLength; at > 0; at--) {
    if (space.test(text[at]) && letterOrDigit.test(text[at - 1])) return at;
  }
  return isLowSurrogate(text.charCodeAt(pieceLength)) ? pieceLength - 1 : pieceLength;
}

export function isLowSurrogate(unit: number): boolean {
  return (unit & 0xfc00) === 0xdc00;
}

/** The pieces of each document joined. @throws DataError `document-too-long` for one beyond 2^28 UTF-16 units. */
export async function* joinPieces(pieces: AsyncIterable<TextPiece>): AsyncGenerator<{ text: string; source: string }> {
  let text = "";
  for await (const piece of pieces) {
    text += piece.text;
    if (text.length > maxDocumentLength) {
      throw new DataError({ file: piece.source }, `a document here is longer than ${maxDocumentLength} characters.`, {
        code: "document-too-long",
        hint: "Say how its documents are separated (separator), or split the file.",
      });
    }
    if (!piece.last) continue;
    yield { text, source: piece.source };
    text = "";
  }
}

/** Lines without their ends, numbered from 1. */
export async function* toLines(chunks: AsyncIterable<string>): AsyncGenerator<{ line: string; number: number }> {
  let buffer = "";
  let number = 0;
  for await (const chunk of chunks) {
    const lines = (buffer + chunk).split("\n");
    buffer = lines.pop() ?? "";
    for (const line of lines) yield { line, number: ++number };
  }
  if (buffer !== "") yield { line: buffer, number: ++number };
}
