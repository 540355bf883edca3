/**
 * @file Text to learn from: a file, a folder of files, a field of JSONL, or text at hand, as documents with their boundaries, read as a
 * stream so that it may be larger than memory; and its tokens, made once and kept on disk.
 *
 * The split into training and validation is by position in the text, in characters (Unicode code points), before tokenization: the first
 * floor((1 - validation) n) of the n characters of all documents, as nanoGPT splits Tiny Shakespeare. A document that lies across the cut
 * is cut. So the same characters are held out whatever the tokenizer, and no token spans the cut.
 */
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { extname, join } from "node:path";
import { streamSafetensors } from "../checkpoint/safetensors.js";
import { CheckpointError, ConfigError, DataError, TokenizerError } from "../errors.js";
import { cannotRead, isLowSurrogate, joinPieces, readText, toLines, toPieces, type InvalidUtf8, type TextPiece } from "./text.js";
import { TokenDataset, TokenSplit, type TokenArray, type TokenMetadata } from "./tokens.js";

/** What a corpus needs of a tokenizer. */
export interface CorpusTokenizer {
  readonly vocabSize: number;
  /** The ids of a text, special tokens in it taken as plain text. */
  encode(text: string): ArrayLike<number>;
  /** The same of several texts, one after another, and where each ends: off this thread and on all cores, where the tokenizer can. */
  encodeBatch?(texts: readonly string[], options: { readonly signal?: AbortSignal | undefined }): Promise<{ readonly tokens: Uint16Array | Uint32Array; readonly ends: ArrayLike<number> }>;
  /** Put before, and after, each document, where the tokenizer has such tokens; where both are one token, only after. */
  readonly bosId?: number | undefined;
  readonly eosId?: number | undefined;
  /** Equal for tokenizers that give the same ids, and different otherwise. */
  fingerprint(): string;
  /** Set by a tokenizer over characters: bytes that are not UTF-8 are then an error, not a U+FFFD. */
  readonly needsValidText?: boolean;
}

export interface CorpusDocument {
  readonly text: string;
  /** The file it is from, with the line for JSONL. */
  readonly source: string;
}

export interface TextOptions {
  /** What stands between the documents of one file, such as `<|endoftext|>`; without it a file is one document. */
  readonly separator?: string | undefined;
  /** Bytes that are not UTF-8: `replace` (by U+FFFD) or `error`. Default: as the tokenizer needs it. */
  readonly invalidUtf8?: InvalidUtf8 | undefined;
}

export interface TokenizeOptions {
  /** The share of the text, at its end, held out for validation. Default 0.1. */
  readonly validation?: number | undefined;
  /** The folder where tokens are kept; `false` keeps them in memory only. Default `$HORNBOOK_CACHE`, or `~/.cache/hornbook`. */
  readonly cache?: string | false | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then while text is tokenized, not where the cache has it. */
  readonly onProgress?: ((progress: { characters: number; totalCharacters: number }) => void) | undefined;
}

/** The files of a folder that are taken as text. */
const textExtensions = [".txt", ".text", ".md", ".markdown"];
/** Part of the cache's key: to be raised when the same text and tokenizer would give other tokens. */
const formatVersion = 1;
/** UTF-16 units that are tokenized at once: some for every core, and soon done. */
const batchUnits = 1 << 22;
/** Room for the header of a file of tokens, whose counts are known at its end. */
const headerBytes = 1024;

export class Corpus implements AsyncIterable<CorpusDocument> {
  /** A path, or `text` for text given as it is. */
  readonly source: string;
  readonly #pieces: (invalidUtf8: InvalidUtf8) => AsyncIterable<TextPiece>;
  readonly #invalidUtf8: InvalidUtf8 | undefined;

  private constructor(source: string, pieces: (invalidUtf8: InvalidUtf8) => AsyncIterable<TextPiece>, invalidUtf8: InvalidUtf8 | undefined) {
    this.source = source;
    this.#pieces = pieces;
    this.#invalidUtf8 = invalidUtf8;
  }

  /**
   * A text file, a folder (each text file in it or below is a document, in the order of their paths), or text at hand (several strings are
   * several documents).
   *
   * @throws DataError `no-such-file`, `cannot-read`, or `no-text-files`.
   */
  static async fromText(source: string | { readonly text: string | readonly string[] }, { separator, invalidUtf8 }: TextOptions = {}): Promise<Corpus> {
    if (separator === "") throw new ConfigError("separator", "it is empty.", { hint: "Leave it out for one document a file." });
    if (typeof source !== "string") {
      const texts = typeof source.text === "string" ? [source.text] : source.text;
      return new Corpus(
        "text",
        async function* () {
          for (const text of texts) yield* toPieces([text], "text", separator);
        },
        invalidUtf8,
      );
    }
    const files = await textFiles(source);
    return new Corpus(
      source,
      async function* (invalid) {
        for (const file of files) yield* toPieces(readText(file, invalid), file, separator);
      },
      invalidUtf8,
    );
  }

  /**
   * One document a line: the string in `field` of each line's JSON object. Blank lines are passed over.
   *
   * @throws DataError `no-such-file`; while reading, `bad-jsonl` and `missing-field`, with the line.
   */
  static async fromJsonl(path: string, { field, invalidUtf8 }: { readonly field: string } & Pick<TextOptions, "invalidUtf8">): Promise<Corpus> {
    await statOf(path);
    return new Corpus(
      path,
      async function* (invalid) {
        for await (const { line, number } of toLines(readText(path, invalid))) {
          if (line.trim() !== "") yield* toPieces([fieldOf(path, number, line, field)], `${path}:${number}`);
        }
      },
      invalidUtf8,
    );
  }

  /** The documents, read as they are asked for. */
  documents(): AsyncGenerator<CorpusDocument> {
    return joinPieces(this.#pieces(this.#invalidUtf8 ?? "replace"));
  }

  [Symbol.asyncIterator](): AsyncGenerator<CorpusDocument> {
    return this.documents();
  }

  /**
   * The corpus as token ids: from the cache where this text, tokenizer and split were tokenized before, else made and kept there.
   *
   * @throws DataError `empty-text`, `invalid-utf8`, and those of reading; ConfigError for a share outside [0, 1); TokenizerError for an id
   * outside the vocabulary; CheckpointError where the cache cannot be written. Rejects with the signal's reason.
   */
  async tokenized(tokenizer: CorpusTokenizer, { validation = 0.1, cache, signal, onProgress }: TokenizeOptions = {}): Promise<TokenDataset> {
    if (!(validation >= 0 && validation < 1)) throw new ConfigError("validation", `${validation} is not a share from 0 up to, but not, 1.`);
    const pieces = () => this.#pieces(this.#invalidUtf8 ?? (tokenizer.needsValidText === true ? "error" : "replace"));
    const { hash, characters } = await survey(pieces(), signal);
    if (characters === 0) {
      throw new DataError({ file: this.source }, "there is no text in it.", { code: "empty-text", hint: "Give a text to learn from." });
    }
    const fingerprint = createHash("sha256")
      .update(JSON.stringify([formatVersion, hash, tokenizer.fingerprint(), tokenizer.bosId ?? null, tokenizer.eosId ?? null, validation]))
      .digest("hex");
    const parts = splitPieces(pieces(), Math.floor((1 - validation) * characters));
    const job: TokenizeJob = { tokenizer, parts, fingerprint, signal, progress: (done) => onProgress?.({ characters: done, totalCharacters: characters }) };
    if (cache === false) return tokenizeToMemory(job);

    const path = join(cache ?? defaultCache(), "tokens", `${fingerprint}.safetensors`);
    try {
      return await TokenDataset.open(path);
    } catch (error) {
      // Absent, cut short or altered: it is only a cache, and is made again.
      if (!(error instanceof CheckpointError)) throw error;
    }
    await tokenizeToFile(path, job);
    return TokenDataset.open(path);
  }
}

function defaultCache(): string {
  return process.env["HORNBOOK_CACHE"] ?? join(homedir(), ".cache", "hornbook");
}

async function statOf(path: string): Promise<Awaited<ReturnType<typeof stat>>> {
  return stat(path).catch((error: unknown) => {
    throw cannotRead(path, error);
  });
}

async function textFiles(path: string): Promise<string[]> {
  if (!(await statOf(path)).isDirectory()) return [path];
  const names = (await filesBelow(path, "")).filter((name) => textExtensions.includes(extname(name).toLowerCase()));
  if (names.length === 0) {
    throw new DataError({ file: path }, `the folder holds no text files (${textExtensions.join(", ")}).`, {
      code: "no-text-files",
      hint: "Name a file, or a folder with such files in it or below.",
    });
  }
  return names.sort((a, b) => (a < b ? -1 : 1)).map((name) => join(path, name));
}

/** Hidden files and folders left out; links to files followed, links to folders not, since they may lead back. */
async function filesBelow(root: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue;
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesBelow(root, name)));
    else if (entry.isFile() || (entry.isSymbolicLink() && (await statOf(join(root, name))).isFile())) found.push(name);
  }
  return found;
}

function fieldOf(file: string, line: number, text: string, field: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new DataError({ file, line }, `the line is not JSON (${why}).`, { code: "bad-jsonl", hint: "Each line must be one JSON object.", cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DataError({ file, line }, "the line is not a JSON object.", { code: "bad-jsonl", hint: "Each line must be one JSON object." });
  }
  const document: unknown = Object.hasOwn(value, field) ? Reflect.get(value, field) : undefined;
  if (typeof document !== "string") {
    const what = document === undefined ? "the field is missing" : "the field is not a string";
    throw new DataError({ file, line, field }, `${what}; the line has ${Object.keys(value).slice(0, 10).join(", ") || "no fields"}.`, {
      code: "missing-field",
      hint: "Name a field that holds text on every line.",
    });
  }
  return document;
}

/** One reading of everything: what it is, as a hash over text and boundaries, and how much. */
async function survey(pieces: AsyncIterable<TextPiece>, signal: AbortSignal | undefined): Promise<{ hash: string; characters: number }> {
  const hash = createHash("sha256");
  let characters = 0;
  let documentBytes = 0;
  let units = 0;
  for await (const { text, last } of pieces) {
    signal?.throwIfAborted();
    // Text at hand comes without a wait, in which others have their turn.
    if (Math.floor(units / batchUnits) < Math.floor((units += text.length) / batchUnits)) await new Promise((resolve) => setImmediate(resolve));
    const bytes = Buffer.from(text);
    hash.update(bytes);
    characters += countCharacters(text);
    documentBytes += bytes.length;
    if (!last) continue;
    hash.update(`\0${documentBytes}\0`);
    documentBytes = 0;
  }
  return { hash: hash.digest("hex"), characters };
}

function countCharacters(text: string): number {
  let pairs = 0;
  for (let i = 0; i < text.length; i++) if (isLowSurrogate(text.charCodeAt(i))) pairs++;
  return text.length - pairs;
}

/** A piece on its side of the cut. */
interface SplitPiece {
  readonly split: "train" | "validation";
  readonly text: string;
  readonly characters: number;
  readonly first: boolean;
  readonly last: boolean;
}

async function* splitPieces(pieces: AsyncIterable<TextPiece>, trainCharacters: number): AsyncGenerator<SplitPiece> {
  let room = trainCharacters;
  for await (const { text, first, last } of pieces) {
    const characters = countCharacters(text);
    if (characters <= room) yield { split: "train", text, characters, first, last };
    else if (room <= 0) yield { split: "validation", text, characters, first, last };
    else {
      const cut = unitsOf(text, room);
      yield { split: "train", text: text.slice(0, cut), characters: room, first, last: false };
      yield { split: "validation", text: text.slice(cut), characters: characters - room, first: false, last };
    }
    room -= characters;
  }
}

/** The UTF-16 units that the first so many characters take. */
function unitsOf(text: string, characters: number): number {
  let units = 0;
  for (let i = 0; i < characters; i++) units += isLowSurrogate(text.charCodeAt(units + 1)) ? 2 : 1;
  return units;
}

interface TokenizeJob {
  readonly tokenizer: CorpusTokenizer;
  readonly parts: AsyncIterable<SplitPiece>;
  readonly fingerprint: string;
  readonly signal: AbortSignal | undefined;
  readonly progress: (characters: number) => void;
}

/** Pieces in batches of about `batchUnits`. */
async function* inBatches(parts: AsyncIterable<SplitPiece>): AsyncGenerator<SplitPiece[]> {
  let batch: SplitPiece[] = [];
  let units = 0;
  for await (const part of parts) {
    batch.push(part);
    units += part.text.length;
    if (units < batchUnits) continue;
    yield batch;
    batch = [];
    units = 0;
  }
  if (batch.length > 0) yield batch;
}

/** The ids of each text. */
async function encodeTexts(tokenizer: CorpusTokenizer, texts: readonly string[], signal: AbortSignal | undefined): Promise<ArrayLike<number>[]> {
  if (tokenizer.encodeBatch === undefined) return texts.map((text) => tokenizer.encode(text));
  const { tokens, ends } = await tokenizer.encodeBatch(texts, signal === undefined ? {} : { signal });
  return texts.map((_, i) => tokens.subarray(i === 0 ? 0 : ends[i - 1], ends[i]));
}

/** Encodes batch after batch, training first, and hands each array of ids on. */
async function tokenize(
  { tokenizer, parts, fingerprint, signal, progress }: TokenizeJob,
  emit: (tokens: TokenArray, split: "train" | "validation") => Promise<void>,
): Promise<{ counts: { train: number; validation: number }; metadata: TokenMetadata }> {
  const { vocabSize, bosId, eosId } = tokenizer;
  const counts = { train: 0, validation: 0 };
  const bytes = { train: 0, validation: 0 };
  let characters = 0;
  for await (const batch of inBatches(parts)) {
    const encoded = await encodeTexts(tokenizer, batch.map(({ text }) => text), signal);
    for (const [i, part] of batch.entries()) {
      signal?.throwIfAborted();
      const ids = encoded[i];
      const before = part.first && bosId !== undefined && bosId !== eosId ? [bosId] : [];
      const after = part.last && eosId !== undefined ? [eosId] : [];
      const tokens = emptyTokens(vocabSize, before.length + ids.length + after.length);
      tokens.set(before);
      tokens.set(ids, before.length);
      tokens.set(after, before.length + ids.length);
      for (let k = 0; k < ids.length; k++) {
        if (!(ids[k] >= 0 && ids[k] < vocabSize)) throw new TokenizerError({}, `the tokenizer gave id ${ids[k]}, outside its vocabulary of ${vocabSize}.`, { code: "bad-id" });
      }
      await emit(tokens, part.split);
      counts[part.split] += tokens.length;
      bytes[part.split] += Buffer.byteLength(part.text);
      progress((characters += part.characters));
    }
  }
  return { counts, metadata: { vocabSize, fingerprint, trainBytes: bytes.train, validationBytes: bytes.validation } };
}

function emptyTokens(vocabSize: number, length: number): TokenArray {
  return vocabSize <= 65536 ? new Uint16Array(length) : new Uint32Array(length);
}

async function tokenizeToFile(path: string, job: TokenizeJob): Promise<void> {
  await streamSafetensors(path, headerBytes, async (append) => {
    const { counts, metadata } = await tokenize(job, (tokens) => append(new Uint8Array(tokens.buffer)));
    const dtype = job.tokenizer.vocabSize <= 65536 ? "U16" : "U32";
    return {
      tensors: (["train", "validation"] as const).map((name) => ({ name, dtype, shape: [counts[name]] })),
      metadata: Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)])),
    };
  });
}

async function tokenizeToMemory(job: TokenizeJob): Promise<TokenDataset> {
  const parts: Record<"train" | "validation", TokenArray[]> = { train: [], validation: [] };
  const { counts, metadata } = await tokenize(job, (tokens, split) => {
    parts[split].push(tokens);
    return Promise.resolve();
  });
  const [train, validation] = (["train", "validation"] as const).map((name) => {
    const tokens = emptyTokens(metadata.vocabSize, counts[name]);
    let at = 0;
    for (const part of parts[name]) {
      tokens.set(part, at);
      at += part.length;
    }
    return new TokenSplit(name, tokens, { textBytes: name === "train" ? metadata.trainBytes : metadata.validationBytes, fingerprint: metadata.fingerprint });
  });
  return new TokenDataset(train, validation.length === 0 ? undefined : validation, metadata.vocabSize);
}
