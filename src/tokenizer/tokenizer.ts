/**
 * @file What every tokenizer can do, and what all of them do alike: finding special tokens, batches, files, decoding.
 *
 * Invariants: text never becomes a special token unless the caller allows it; `decode(encode(text))` is the text (lone surrogates aside, which
 * are no text); decoding in pieces gives what decoding at once gives; every id is below `vocabSize`.
 */

import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat, writeFile, type FileHandle } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DataError, TokenizerError, systemErrorCode } from "../errors.js";
import { withoutBarrier, type AddedToken, type AddedTokens, type AllowedSpecial, type Segment } from "./added-tokens.js";
import { concatBytes, decodeUtf8, encodeDocuments, encodeUtf8, escapeBytes, unescapeBytes } from "./bytes.js";
import type { EncodedDocuments, JobOptions } from "./engine.js";
import { noSurroundings, type Surroundings } from "./post-processor.js";
import { safeCut } from "./pretokenize.js";
import type { TokenNames } from "./token-names.js";
import type { TokenizerConfigJson, TokenizerJson } from "./tokenizer-json.js";

export interface EncodeOptions {
  /** Special tokens that the text may contain as such; by default none, and their letters are plain text. */
  readonly allowedSpecial?: AllowedSpecial;
  /**
   * A character that is left out of the text, and across which no added token is found: who builds a text of trusted and untrusted parts
   * breaks with it the tokens that the untrusted ones spell.
   */
  readonly barrier?: string;
  /** Put the special tokens around the text that its model wants there, such as `<s>` before it. Default: false. */
  readonly addSpecialTokens?: boolean;
}

export interface BatchOptions extends Omit<EncodeOptions, "barrier">, Partial<JobOptions> {}

export interface DecodeOptions {
  /** Leave special tokens out. */
  readonly skipSpecialTokens?: boolean;
}

/** Turns ids into text as they come. */
export interface DecodeStream {
  /** The text that this id completes; empty while a character is still missing bytes. */
  push(id: number): string;
  /** What is left, with U+FFFD for a character that never became whole. */
  end(): string;
}

export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  /** The tokens outside the model's own, special or not. */
  readonly addedTokens: readonly AddedToken[];
  /** The ids that begin and end a text, where the tokenizer has such. */
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Whether `addSpecialTokens` begins a text with `bosId`, and ends it with `eosId`: what its model was trained on. */
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  /** The tokenizer is one of characters: bytes that are not UTF-8 are an error to it. */
  readonly needsValidText: boolean;
  /** Equal for tokenizers that give the same ids, and different otherwise: a hash of `tokenizer.json`. */
  fingerprint(): string;
  /** Makes what encoding needs, which is made when it is first needed otherwise. */
  prepare(): void;

  /**
   * Ids of a text. Synchronous: for prompts and the like; `encodeBatch` and `encodeFile` leave the thread free.
   * Throws TokenizerError where a character has no token (`UnknownCharacterError`) or an allowed special token is none (`not-special`).
   */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** Ids of UTF-8 text, or of any bytes where the tokenizer works on bytes. */
  encodeBytes(bytes: Uint8Array, options?: Omit<EncodeOptions, "barrier">): Int32Array;
  /** Ids of many documents, strings or UTF-8, on several threads. Memory of byte documents must stay as it is until then. */
  encodeBatch(documents: readonly (string | Uint8Array)[], options?: BatchOptions): Promise<EncodedDocuments>;
  /** Ids of one text file, a few million at a time, in bounded memory (whole, where special tokens are to be found). */
  encodeFile(path: string, options?: BatchOptions): AsyncGenerator<Uint16Array | Uint32Array>;

  /** The text of ids; bytes that are no UTF-8 become U+FFFD. Throws TokenizerError `token-id` for an id that is none. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  decodeBytes(ids: Iterable<number>, options?: DecodeOptions): Uint8Array;
  decodeStream(options?: DecodeOptions): DecodeStream;

  /** The bytes a token stands for. */
  tokenBytes(id: number): Uint8Array;
  /** A token as `tokenizer.json` spells it, and the id of such a spelling. */
  tokenText(id: number): string;
  idOf(token: string): number | undefined;

  /** The `tokenizer.json` that Hugging Face `tokenizers` opens. */
  toJSON(): TokenizerJson;
  /** Writes `tokenizer.json` and `tokenizer_config.json`, which transformers opens as a folder. */
  save(folder: string): Promise<void>;
}

/** `HORNBOOK_THREADS`, else one a core. */
export const defaultThreads = (): number => {
  const threads = Number(process.env["HORNBOOK_THREADS"]);
  return Number.isInteger(threads) && threads > 0 ? threads : availableParallelism();
};

export const jobOptions = ({ threads = defaultThreads(), signal, onProgress }: Partial<JobOptions>): JobOptions => ({ threads, signal, onProgress });

const fileBlockBytes = 2 ** 24;

export abstract class TokenizerBase implements Tokenizer {
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;

  readonly addsBos: boolean;
  readonly addsEos: boolean;

  /** The spelling of every id, added tokens too. */
  protected readonly names: TokenNames;
  private hash: string | undefined;

  /**
   * @param names the tokens of the model by id, as `tokenizer.json` spells them
   * @param surroundings what the model wants around a text
   */
  protected constructor(
    names: TokenNames,
    protected readonly added: AddedTokens,
    { bosToken, eosToken, bosId, eosId }: BoundaryTokens,
    protected readonly surroundings: Surroundings = noSurroundings,
  ) {
    this.names = names.with(new Map(added.tokens.map(({ id, content }) => [id, content])));
    this.specialTokens = new Map(added.tokens.filter((token) => token.special).map((token) => [token.content, token.id]));
    // What a template puts around a text is as good as a name.
    const { before, after } = surroundings;
    this.bosId = bosId ?? this.boundaryId("bosToken", bosToken) ?? before[0];
    this.eosId = eosId ?? this.boundaryId("eosToken", eosToken) ?? after.at(-1);
    this.addsBos = this.bosId !== undefined && before.includes(this.bosId);
    this.addsEos = this.eosId !== undefined && after.includes(this.eosId);
  }

  protected abstract encodePlain(text: string | Uint8Array): Int32Array;
  protected abstract encodePlainDocuments(documents: readonly Uint8Array[], job: JobOptions): Promise<EncodedDocuments>;
  /** The bytes of a token of the model; added tokens stand for their own text. */
  protected abstract modelTokenBytes(name: string): Uint8Array;
  abstract readonly needsValidText: boolean;
  abstract toJSON(): TokenizerJson;

  fingerprint(): string {
    return (this.hash ??= createHash("sha256").update(JSON.stringify(this.toJSON())).digest("hex"));
  }

  get vocabSize(): number {
    return this.names.length;
  }

  get addedTokens(): readonly AddedToken[] {
    return this.added.tokens;
  }

  /** Bytes a token takes in bulk results. */
  protected get tokenWidth(): 2 | 4 {
    return this.vocabSize <= 65_536 ? 2 : 4;
  }

  encode(text: string, { allowedSpecial, barrier = "", addSpecialTokens = false }: EncodeOptions = {}): Int32Array {
    const split = this.added.splitter(allowedSpecial, barrier);
    return this.surrounded(split === undefined ? this.encodePlain(withoutBarrier(text, barrier)) : this.encodeSegments(split(text)), addSpecialTokens);
  }

  encodeBytes(bytes: Uint8Array, { allowedSpecial, addSpecialTokens = false }: Omit<EncodeOptions, "barrier"> = {}): Int32Array {
    const split = this.added.splitter(allowedSpecial);
    const plain = (segment: Segment): number | Uint8Array => (typeof segment === "number" ? segment : unescapeBytes(segment));
    return this.surrounded(split === undefined ? this.encodePlain(bytes) : this.encodeSegments(split(escapeBytes(bytes)).map(plain)), addSpecialTokens);
  }

  private surrounded(ids: Int32Array, wanted: boolean): Int32Array {
    const { before, after } = this.surroundings;
    return wanted && before.length + after.length > 0 ? Int32Array.from([...before, ...ids, ...after]) : ids;
  }

  private encodeSegments(segments: readonly (Segment | Uint8Array)[]): Int32Array {
    const parts = segments.map((segment) => (typeof segment === "number" ? Int32Array.of(segment) : this.encodePlain(segment)));
    const ids = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) {
      ids.set(part, offset);
      offset += part.length;
    }
    return ids;
  }

  async encodeBatch(documents: readonly (string | Uint8Array)[], options: BatchOptions = {}): Promise<EncodedDocuments> {
    if (options.addSpecialTokens === true && this.surroundings !== noSurroundings) {
      const { addSpecialTokens: _, ...rest } = options;
      return surroundAll(await this.encodeBatch(documents, rest), this.surroundings);
    }
    const job = jobOptions(options);
    const split = this.added.splitter(options.allowedSpecial);
    if (split === undefined) return this.encodePlainDocuments(await encodeDocuments(documents), job);

    // Plain text between added tokens becomes documents of its own; then the ids go between.
    const segments = documents.map((document) => split(typeof document === "string" ? document : escapeBytes(document)));
    const isText = (segment: Segment): segment is string => typeof segment === "string";
    const texts = segments.flatMap((list, i) => list.filter(isText).map(typeof documents[i] === "string" ? encodeUtf8 : unescapeBytes));
    const plain = await this.encodePlainDocuments(texts, job);
    const addedCount = segments.reduce((sum, list) => sum + list.length, 0) - texts.length;
    const tokens = new (this.tokenWidth === 2 ? Uint16Array : Uint32Array)(plain.tokens.length + addedCount);
    const ends = new Float64Array(documents.length);
    let [next, offset, begin] = [0, 0, 0];
    for (const [i, list] of segments.entries()) {
      for (const segment of list) {
        if (!isText(segment)) {
          tokens[offset++] = segment;
          continue;
        }
        const end = plain.ends[next++];
        tokens.set(plain.tokens.subarray(begin, end), offset);
        offset += end - begin;
        begin = end;
      }
      ends[i] = offset;
    }
    return { tokens, ends };
  }

  async *encodeFile(path: string, options: BatchOptions = {}): AsyncGenerator<Uint16Array | Uint32Array> {
    const { onProgress, ...rest } = options;
    let file: FileHandle;
    try {
      file = await open(path);
    } catch (error) {
      throw unreadable(path, error);
    }
    try {
      if (options.addSpecialTokens === true || this.added.splitter(options.allowedSpecial) !== undefined) {
        yield (await this.encodeBatch([await file.readFile()], options)).tokens;
        return;
      }
      const job = jobOptions(rest);
      let done = 0;
      let kept: Uint8Array = new Uint8Array();
      for (;;) {
        const block = new Uint8Array(kept.length + fileBlockBytes);
        block.set(kept);
        const { bytesRead } = await file.read(block, kept.length, fileBlockBytes);
        const text = block.subarray(0, kept.length + bytesRead);
        const cut = bytesRead === 0 ? text.length : lastSafeCut(text);
        if (cut > 0) yield (await this.encodePlainDocuments([text.subarray(0, cut)], job)).tokens;
        if (bytesRead === 0) return;
        kept = text.subarray(cut);
        onProgress?.((done += bytesRead));
      }
    } finally {
      await file.close();
    }
  }

  decode(ids: Iterable<number>, options?: DecodeOptions): string {
    return decodeUtf8(this.decodeBytes(ids, options));
  }

  decodeBytes(ids: Iterable<number>, { skipSpecialTokens = false }: DecodeOptions = {}): Uint8Array {
    const parts: Uint8Array[] = [];
    for (const id of ids) {
      const bytes = this.tokenBytes(id);
      if (!skipSpecialTokens || this.added.byId.get(id)?.special !== true) parts.push(bytes);
    }
    return concatBytes(parts);
  }

  decodeStream(options?: DecodeOptions): DecodeStream {
    // The decoder holds back the bytes of a character that is not yet whole.
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (id) => decoder.decode(this.decodeBytes([id], options), { stream: true }),
      end: () => decoder.decode(),
    };
  }

  tokenBytes(id: number): Uint8Array {
    const name = this.tokenText(id);
    return this.added.byId.has(id) ? encodeUtf8(name) : this.modelTokenBytes(name);
  }

  tokenText(id: number): string {
    return this.names.at(id) ?? this.unknownId(id);
  }

  /** A token as `tokenizer.json` spells it; undefined where the id is not in use. */
  nameOf(id: number): string | undefined {
    return this.names.at(id);
  }

  prepare(): void {
    // Nothing, unless a subclass puts something off.
  }

  idOf(token: string): number | undefined {
    return this.names.idOf(token);
  }

  protected unknownId(id: number): never {
    throw new TokenizerError({}, `token id ${id} is outside the vocabulary of ${this.vocabSize}.`, {
      code: "token-id",
      hint: "Is this the tokenizer of the model?",
    });
  }

  async save(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    const tokenText = (id: number | undefined): string | null => (id === undefined ? null : this.tokenText(id));
    const config: TokenizerConfigJson = {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: tokenText(this.bosId),
      eos_token: tokenText(this.eosId),
      clean_up_tokenization_spaces: false,
    };
    await writeWhole(join(folder, "tokenizer.json"), JSON.stringify(this.toJSON()));
    await writeWhole(join(folder, "tokenizer_config.json"), JSON.stringify(config, null, 2));
  }

  private boundaryId(field: string, token: string | undefined): number | undefined {
    if (token === undefined) return undefined;
    const id = this.added.byContent.get(token)?.id ?? this.idOf(token);
    if (id === undefined) throw new TokenizerError({ field }, `${JSON.stringify(token)} is not in the vocabulary.`, { code: "bad-tokenizer" });
    return id;
  }
}

/** The same around every document. */
function surroundAll({ tokens, ends }: EncodedDocuments, { before, after }: Surroundings): EncodedDocuments {
  const extra = before.length + after.length;
  const surrounded = new (tokens instanceof Uint16Array ? Uint16Array : Uint32Array)(tokens.length + ends.length * extra);
  let [begin, offset] = [0, 0];
  const newEnds = ends.map((end) => {
    surrounded.set(before, offset);
    surrounded.set(tokens.subarray(begin, end), offset + before.length);
    surrounded.set(after, offset + before.length + end - begin);
    offset += extra + end - begin;
    begin = end;
    return offset;
  });
  return { tokens: surrounded, ends: newEnds };
}

/** The tokens that begin and end a text, by name or by id. */
export interface BoundaryTokens {
  readonly bosId?: number | undefined;
  readonly eosId?: number | undefined;
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
}

/** Where the last safe cut of a block of UTF-8 is, or 0. */
function lastSafeCut(bytes: Uint8Array): number {
  for (const tailLength of [4096, bytes.length]) {
    let start = Math.max(0, bytes.length - tailLength);
    while (start < bytes.length && (bytes[start] & 0xc0) === 0x80) start++;
    const tail = escapeBytes(bytes.subarray(start));
    // A character cut in two at the end of the block looks like bytes that are no text; whatever is at least four bytes away is whole.
    const cuts = [...tail.matchAll(safeCut)].filter(({ index }) => index < tail.length - 4);
    const last = cuts.at(-1);
    if (last !== undefined) return start + unescapeBytes(tail.slice(0, last.index)).length;
  }
  return 0;
}

/** A file appears whole or not at all. */
async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new TokenizerError({ file: path }, `the tokenizer cannot be written (${systemErrorCode(error) ?? "unknown error"}).`, { code: "unwritable", cause: error });
  }
}

export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new TokenizerError({ file: path }, `the file cannot be read (${systemErrorCode(error) ?? "unknown error"}).`, { code: "unreadable", cause: error });
  }
}

const maxTokenizerBytes = 2 ** 28;

/** The bytes of a tokenizer's file, which no tokenizer needs more than a quarter of a gigabyte of. */
export async function readTokenizerFile(file: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(file);
    if (size > maxTokenizerBytes) throw new TokenizerError({ file }, `${size} bytes are too many for a tokenizer.`, { code: "bad-tokenizer" });
    return await readFile(file);
  } catch (error) {
    if (error instanceof TokenizerError) throw error;
    throw new TokenizerError({ file }, `the file cannot be read (${systemErrorCode(error) ?? "unknown error"}).`, { code: "unreadable", cause: error });
  }
}

/** A text to encode that cannot be read. */
export const unreadable = (path: string, error: unknown): DataError =>
  new DataError({ file: path }, `the file cannot be read (${systemErrorCode(error) ?? "unknown error"}).`, { code: "unreadable", cause: error });

