/**
 * @file A tokenizer as a pipeline, the way Hugging Face `tokenizers` and SentencePiece put them together: added tokens are found, the text is
 * normalized, cut into pieces, each piece encoded by a model, and special tokens put around. Decoding is a chain of its own.
 *
 * In plain TypeScript. Byte-level BPE with one of the well-known patterns is `BpeTokenizer`, which runs natively and gives the same ids.
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { TokenizerError } from "../errors.js";
import { AddedTokens, withoutBarrier, type AddedToken, type Segment } from "./added-tokens.js";
import { decodeUtf8, encodeUtf8, escapeBytes, fromByteLevel, isUnfinishedUtf8, wellFormed } from "./bytes.js";
import { byteOf, compileDecoder, type TokenText } from "./decoders.js";
import type { EncodedDocuments, JobOptions } from "./engine.js";
import type { Model } from "./models.js";
import { compileNormalizer } from "./normalizers.js";
import { surroundingsOf } from "./post-processor.js";
import { compilePreTokenizer, type PreTokenizer } from "./pre-tokenizers.js";
import { asInLlamaCpp } from "./regex.js";
import { unescapeRwkv } from "./rwkv.js";
import { llamaCppNormalizer, sentencePieceNormalizer, sentencePieceText } from "./sp-normalizer.js";
import { buildModel, symbolFinder, type PipelineSpec } from "./pipeline-spec.js";
import { jobOptions, TokenizerBase, unreadable, type BatchOptions, type BoundaryTokens, type DecodeOptions, type DecodeStream, type EncodeOptions } from "./tokenizer.js";
import { writePipelineJson, type TokenizerJson } from "./tokenizer-json.js";
import { llamaCppLowercase, wpmWords } from "./wpm-words.js";

/** A token that stands for whatever came before. */
const something: TokenText = { text: "x", added: false };

/** How many pieces are encoded before other work is let in. */
const piecesAtATime = 4096;

export class PipelineTokenizer extends TokenizerBase {
  readonly needsValidText = false;
  private readonly preTokenize: PreTokenizer;
  private readonly toText: (tokens: readonly TokenText[]) => string;
  private readonly isByteLevel: boolean;
  private readonly hasByteFallback: boolean;
  private builtModel: Model | undefined;

  constructor(
    readonly spec: PipelineSpec,
    addedTokens: readonly AddedToken[] = [],
    boundaries: BoundaryTokens = {},
  ) {
    const { sentencePiece, normalizer, wpm } = spec;
    const makeNormalizer = spec.rules === "llama.cpp" ? llamaCppNormalizer : sentencePieceNormalizer;
    const normalize =
      wpm !== undefined
        ? undefined
        : sentencePiece === undefined
          ? compileNormalizer(normalizer, spec.rules === "llama.cpp" ? llamaCppLowercase : undefined)
          : makeNormalizer(sentencePiece.normalization, { field: "normalizer" }, symbolFinder(sentencePiece.userDefined.map((id) => spec.model.names.at(id) ?? "")));
    const surroundings = surroundingsOf(spec.postProcessor, (field, message) => {
      throw new TokenizerError({ field }, message, { code: "bad-tokenizer" });
    });
    super(spec.model.names, new AddedTokens(addedTokens, normalize, spec.rules === "llama.cpp"), boundaries, surroundings);
    this.preTokenize = wpm !== undefined ? wpmWords(wpm) : compilePreTokenizer(sentencePiece === undefined ? spec.preTokenizer : [], spec.rules === undefined ? undefined : asInLlamaCpp);
    this.toText = sentencePiece === undefined ? compileDecoder(spec.decoder) : sentencePieceText(spec.decoder, sentencePiece.normalization);
    this.isByteLevel = spec.model.kind === "rwkv" || spec.decoder.some(({ type }) => type === "ByteLevel");
    this.hasByteFallback = spec.decoder.some(({ type }) => type === "ByteFallback");
  }

  /** Made when it is first needed: the map of a large vocabulary takes longer than the rest of loading. */
  private get model(): Model {
    return (this.builtModel ??= buildModel(this.spec, this.added.tokens));
  }

  override prepare(): void {
    void this.model;
  }

  override encode(text: string, options: EncodeOptions = {}): Int32Array {
    return Int32Array.from(this.idsOfText(wellFormed(text), options));
  }

  override encodeBytes(bytes: Uint8Array, options: Omit<EncodeOptions, "barrier"> = {}): Int32Array {
    return Int32Array.from(this.idsOfText(this.textOf(bytes), options));
  }

  /** Bytes that are no UTF-8 go through a byte-level model as they are; elsewhere they become U+FFFD. */
  private textOf(bytes: Uint8Array): string {
    return this.isByteLevel ? escapeBytes(bytes) : decodeUtf8(bytes);
  }

  private idsOfText(text: string, { allowedSpecial, barrier, addSpecialTokens = false }: EncodeOptions): number[] {
    const { before, after } = this.surroundings;
    const ids: number[] = addSpecialTokens ? [...before] : [];
    for (const part of this.parts(text, allowedSpecial, barrier)) this.encodePart(part, ids);
    if (addSpecialTokens) ids.push(...after);
    return ids;
  }

  /** Ids of added tokens, and the pieces between them. */
  private parts(text: string, allowedSpecial: EncodeOptions["allowedSpecial"], barrier = ""): (string | number)[] {
    const segments: Segment[] = this.added.splitter(allowedSpecial, barrier)?.(text) ?? [withoutBarrier(text, barrier)];
    return segments.flatMap((segment, i): (string | number)[] => (typeof segment === "number" ? [segment] : this.preTokenize({ text: segment, first: i === 0 }).map((piece) => piece.text)));
  }

  private encodePart(part: string | number, ids: number[]): void {
    if (typeof part === "number") ids.push(part);
    else this.model.encode(part, ids);
  }

  protected encodePlain(text: string | Uint8Array): Int32Array {
    return typeof text === "string" ? this.encode(text) : this.encodeBytes(text);
  }

  protected encodePlainDocuments(documents: readonly Uint8Array[], job: JobOptions): Promise<EncodedDocuments> {
    return this.encodeBatch(documents, job);
  }

  /** Encodes one document after another on this thread, and lets other work in between. */
  override async encodeBatch(documents: readonly (string | Uint8Array)[], options: BatchOptions = {}): Promise<EncodedDocuments> {
    const { signal, onProgress } = jobOptions(options);
    const { before, after } = this.surroundings;
    const ends = new Float64Array(documents.length);
    const chunks: Int32Array[] = [];
    let count = 0;
    let done = 0;
    const keep = (ids: number[]): void => {
      chunks.push(Int32Array.from(ids));
      count += ids.length;
    };
    for (const [i, document] of documents.entries()) {
      let ids: number[] = options.addSpecialTokens === true ? [...before] : [];
      const parts = this.parts(typeof document === "string" ? wellFormed(document) : this.textOf(document), options.allowedSpecial);
      for (const [k, part] of parts.entries()) {
        this.encodePart(part, ids);
        if ((k + 1) % piecesAtATime !== 0) continue;
        keep(ids);
        ids = [];
        await new Promise((resolve) => setImmediate(resolve));
        signal?.throwIfAborted();
      }
      if (options.addSpecialTokens === true) ids.push(...after);
      keep(ids);
      ends[i] = count;
      onProgress?.((done += document.length));
      if (i % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    }
    const tokens = new (this.tokenWidth === 2 ? Uint16Array : Uint32Array)(count);
    let offset = 0;
    for (const ids of chunks) {
      tokens.set(ids, offset);
      offset += ids.length;
    }
    return { tokens, ends };
  }

  /** The whole file at once: where such a tokenizer may cut a text is not known. */
  override async *encodeFile(path: string, options: BatchOptions = {}): AsyncGenerator<Uint16Array | Uint32Array> {
    let bytes: Uint8Array;
    try {
      bytes = await readFile(path);
    } catch (error) {
      throw unreadable(path, error);
    }
    if (bytes.length > 0) yield (await this.encodeBatch([bytes], options)).tokens;
  }

  private tokenTexts(ids: Iterable<number>, { skipSpecialTokens = false }: DecodeOptions = {}): TokenText[] {
    const tokens: TokenText[] = [];
    for (const id of ids) {
      const added = this.added.byId.get(id);
      const text = added === undefined ? this.tokenText(id) : this.added.decodedText(added);
      if (!skipSpecialTokens || added?.special !== true) tokens.push({ text, added: added !== undefined });
    }
    return tokens;
  }

  override decode(ids: Iterable<number>, options?: DecodeOptions): string {
    if (this.spec.model.kind === "rwkv") return super.decode(ids, options);
    return this.toText(this.tokenTexts(ids, options));
  }

  override decodeBytes(ids: Iterable<number>, options?: DecodeOptions): Uint8Array {
    if (this.isByteLevel) return super.decodeBytes(ids, options);
    return encodeUtf8(this.decode(ids, options));
  }

  /**
   * Bytes of a character that is not whole are held back. Where a run of byte tokens turns out to be no UTF-8, `decode` gives U+FFFD for the whole
   * run; here, what was whole before has been given already.
   */
  override decodeStream(options?: DecodeOptions): DecodeStream {
    if (this.isByteLevel) return super.decodeStream(options);
    // What comes first in a text may lose its space, so what comes later is decoded as it is after something.
    const startsWithText = this.spec.sentencePiece?.normalization.removeExtraWhitespaces === true;
    let before: TokenText[] = [];
    let pending: TokenText[] = [];
    const flush = (): string => {
      const fresh = this.toText([...before, ...pending]).slice(this.toText(before).length);
      if (pending.length > 0 && !(fresh === "" && startsWithText)) before = [something];
      pending = [];
      return fresh;
    };
    const isOpen = (): boolean => {
      const bytes = pending.map(({ text }) => byteOf(text) ?? -1);
      return this.hasByteFallback && !bytes.includes(-1) && isUnfinishedUtf8(Uint8Array.from(bytes));
    };
    return {
      push: (id) => {
        pending.push(...this.tokenTexts([id], options));
        return isOpen() ? "" : flush();
      },
      end: flush,
    };
  }

  protected modelTokenBytes(name: string): Uint8Array {
    if (this.spec.model.kind === "rwkv") return unescapeRwkv(name);
    const byte = this.hasByteFallback ? byteOf(name) : undefined;
    if (byte !== undefined) return Uint8Array.of(byte);
    const bytes = this.isByteLevel ? fromByteLevel(name) : undefined;
    return bytes ?? encodeUtf8(this.toText([something, { text: name, added: false }]).slice(something.text.length));
  }

  /** What it is made of. */
  composition(): { spec: PipelineSpec; addedTokens: readonly AddedToken[] } {
    return { spec: this.spec, addedTokens: this.added.tokens };
  }

  override fingerprint(): string {
    const { model } = this.spec;
    if (model.kind !== "rwkv" && model.kind !== "plamo2") return super.fingerprint();
    // They have no tokenizer.json.
    return createHash("sha256").update(JSON.stringify([model.kind, [...model.names], "scores" in model ? Array.from(model.scores) : [], this.added.tokens])).digest("hex");
  }

  toJSON(): TokenizerJson {
    return writePipelineJson(this.spec, this.added.tokens);
  }
}
