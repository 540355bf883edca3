/**
 * @file The character tokenizer: every character (code point) of the training text is a token, in code point order, as in nanoGPT's
 * Shakespeare recipe. A character that was not in the text has no id, and meeting one is an error that names it.
 */

import { isUtf8 } from "node:buffer";
import { DataError, TokenizerError } from "../errors.js";
import { AddedTokens, specialToken, type AddedToken } from "./added-tokens.js";
import { decodeUtf8, encodeUtf8, firstInvalidByte } from "./bytes.js";
import type { EncodedDocuments, JobOptions } from "./engine.js";
import { documentsOf, type TextSource } from "./text-source.js";
import { TokenNames } from "./token-names.js";
import { TokenizerBase, type BoundaryTokens } from "./tokenizer.js";
import { writeCharJson, type TokenizerJson } from "./tokenizer-json.js";

/** A character that the tokenizer has no token for. */
export class UnknownCharacterError extends TokenizerError {
  /** The character, a lone surrogate perhaps. */
  readonly character: string;
  /** Its place in the text, in UTF-16 code units as JavaScript counts. */
  readonly index: number;

  constructor(character: string, index: number, text: string) {
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    const line = text.slice(0, index).split("\n").length;
    super({ line }, `the character ${JSON.stringify(character)} (U+${code}) at index ${index} has no token in this character tokenizer.`, {
      code: "unknown-character",
      hint: "It was not in the text the tokenizer was made from; a byte-level tokenizer takes any text.",
    });
    this.character = character;
    this.index = index;
  }
}

export interface CharTokenizerOptions {
  /** They get the last ids, in this order; none by default. */
  readonly specialTokens?: readonly string[];
}

/** A long text is encoded in parts of so many bytes, with other work let in between. */
const partBytes = 2 ** 20;

const noToken = -1;

export class CharTokenizer extends TokenizerBase {
  readonly needsValidText = true;
  /** The id of every character of the basic plane, and of those beyond. */
  private readonly basic = new Int32Array(0x10000).fill(noToken);
  private readonly beyond = new Map<number, number>();

  constructor(
    private readonly characters: TokenNames,
    addedTokens: readonly AddedToken[] = [],
    boundaries: BoundaryTokens = {},
  ) {
    const added = new AddedTokens(addedTokens);
    super(characters, added, boundaries);
    for (let id = 0; id < characters.length; id++) {
      const point = characters.at(id)?.codePointAt(0);
      if (point === undefined || added.byId.has(id)) continue;
      if (point < 0x10000) this.basic[point] = id;
      else this.beyond.set(point, id);
    }
  }

  /** One token for each character of a text. Throws DataError `empty-text` where there is none, TokenizerError for a lone surrogate. */
  static async fromText(source: TextSource, { specialTokens = [] }: CharTokenizerOptions = {}): Promise<CharTokenizer> {
    const points = new Set<number>();
    for await (const document of documentsOf(source)) {
      for (let i = 0; i < document.length; i++) {
        const point = document.codePointAt(i) ?? 0;
        if (point >= 0xd800 && point < 0xe000) throw new UnknownCharacterError(document[i], i, document);
        if (point > 0xffff) i++;
        points.add(point);
      }
    }
    if (points.size === 0) throw new DataError({}, "there is no text to make a character tokenizer from.", { code: "empty-text" });
    const characters = [...points].sort((a, b) => a - b).map((point) => String.fromCodePoint(point));
    return new CharTokenizer(TokenNames.of([...characters, ...specialTokens]), specialTokens.map((token, i) => specialToken(token, characters.length + i)));
  }

  protected encodePlain(text: string | Uint8Array): Int32Array {
    const characters = typeof text === "string" ? text : textOf(text);
    const ids = new Int32Array(characters.length);
    return ids.slice(0, this.encodeInto(ids, 0, characters));
  }

  protected async encodePlainDocuments(documents: readonly Uint8Array[], { signal, onProgress }: JobOptions): Promise<EncodedDocuments> {
    const ids = new (this.tokenWidth === 2 ? Uint16Array : Uint32Array)(documents.reduce((sum, document) => sum + document.length, 0));
    const ends = new Float64Array(documents.length);
    let count = 0;
    let done = 0;
    for (const [i, document] of documents.entries()) {
      for (let start = 0; start < document.length; ) {
        let end = Math.min(start + partBytes, document.length);
        while (end < document.length && (document[end] & 0xc0) === 0x80) end++;
        try {
          count = this.encodeInto(ids, count, textOf(document.subarray(start, end), start));
        } catch (error) {
          // The place in the part becomes the place in the document.
          if (!(error instanceof UnknownCharacterError)) throw error;
          throw new UnknownCharacterError(error.character, textOf(document.subarray(0, start)).length + error.index, textOf(document));
        }
        done += end - start;
        start = end;
        if (start < document.length) await new Promise((resolve) => setImmediate(resolve));
      }
      ends[i] = count;
      signal?.throwIfAborted();
      onProgress?.(done);
    }
    return { tokens: ids.slice(0, count), ends };
  }

  /** Writes the ids of a text from `offset` on and returns where they end. */
  private encodeInto(ids: Int32Array | Uint16Array | Uint32Array, offset: number, text: string): number {
    for (let i = 0; i < text.length; i++) {
      let id = this.basic[text.charCodeAt(i)];
      if (id === noToken) {
        const point = text.codePointAt(i) ?? 0;
        id = this.beyond.get(point) ?? noToken;
        if (id === noToken) throw new UnknownCharacterError(String.fromCodePoint(point), i, text);
        i++;
      }
      ids[offset++] = id;
    }
    return offset;
  }

  protected modelTokenBytes(name: string): Uint8Array {
    return encodeUtf8(name);
  }

  toJSON(): TokenizerJson {
    return writeCharJson(this.characters, this.added.tokens);
  }
}

/** @param offset where the bytes stand in their document, for the error */
function textOf(bytes: Uint8Array, offset = 0): string {
  if (!isUtf8(bytes)) {
    throw new TokenizerError({ offset: offset + firstInvalidByte(bytes) }, "not UTF-8, so it has no characters to encode.", {
      code: "invalid-utf8",
      hint: "A byte-level tokenizer takes any bytes.",
    });
  }
  return decodeUtf8(bytes);
}
