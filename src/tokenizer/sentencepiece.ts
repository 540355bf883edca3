/**
 * @file SentencePiece's `tokenizer.model`: a protocol buffer with the pieces, their scores and types, how the text is normalized, and which of
 * two models it is (sentencepiece_model.proto of google/sentencepiece).
 *
 * Ids are those of the SentencePiece library. Control symbols are special tokens; user-defined ones are found in any text.
 */

import { TokenizerError } from "../errors.js";
import { specialToken, type AddedToken } from "./added-tokens.js";
import { maxTokenId } from "./bpe.js";
import { decodeUtf8 } from "./bytes.js";
import { byteOf } from "./decoders.js";
import { PipelineTokenizer } from "./pipeline-tokenizer.js";
import type { PipelineSpec } from "./pipeline-spec.js";
import { templateOf } from "./post-processor.js";
import type { SentencePieceNormalization } from "./sp-normalizer.js";
import type { DecoderStep, NormalizerStep, PreTokenizerStep } from "./steps.js";
import { TokenNames } from "./token-names.js";
import { readTokenizerFile, type BoundaryTokens } from "./tokenizer.js";

/** Types of pieces; the same numbers as in GGUF. */
export const pieceTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface SentencePieceOptions extends BoundaryTokens {
  /** Named in errors. */
  readonly file?: string;
  /** Whether the model wants `bosId` before a text and `eosId` after it, which the file does not say. */
  readonly addBos?: boolean | undefined;
  readonly addEos?: boolean | undefined;
}

interface Piece {
  readonly name: string;
  readonly score: number;
  readonly type: number;
}

/** The pieces of a model by id, for who makes something else of them. */
export interface SentencePieceParts {
  readonly pieces: readonly Piece[];
  /** The model is BPE, not unigram. */
  readonly isBpe: boolean;
}

/** Throws TokenizerError as {@link readSentencePiece} does, though it checks less. */
export function sentencePieceParts(bytes: Uint8Array, file?: string): SentencePieceParts {
  const root = new Message(bytes, 0, file, "");
  const trainer = root.messages(2, "trainer_spec").at(-1) ?? root.empty("trainer_spec");
  return { pieces: piecesOf(root), isBpe: trainer.number(3, "model_type", 1) === 2 };
}

const piecesOf = (root: Message): Piece[] =>
  root.messages(1, "pieces").map((piece): Piece => ({ name: piece.text(1, "piece"), score: piece.float(2, "score", 0), type: piece.number(3, "type", pieceTypes.normal) }));

/** A tokenizer from the bytes of a `tokenizer.model`. Throws TokenizerError that names the field and the offset. */
export function readSentencePiece(bytes: Uint8Array, { file, addBos = false, addEos = false, ...boundaries }: SentencePieceOptions = {}): PipelineTokenizer {
  const place = file === undefined ? {} : { file };
  const root = new Message(bytes, 0, file, "");
  const pieces = piecesOf(root);
  const trainer = root.messages(2, "trainer_spec").at(-1) ?? root.empty("trainer_spec");
  const rules = root.messages(3, "normalizer_spec").at(-1) ?? root.empty("normalizer_spec");
  const modelType = trainer.number(3, "model_type", 1);
  const fail = (field: string, message: string): never => {
    throw new TokenizerError({ ...place, field }, message, { code: "bad-tokenizer" });
  };
  if (modelType !== 1 && modelType !== 2) fail("trainer_spec.model_type", `model type ${modelType} is not supported; unigram (1) and BPE (2) are.`);
  if (pieces.length === 0) fail("pieces", "there are none.");
  if (pieces.length > maxTokenId) fail("pieces", `${pieces.length} are more than there can be.`);

  const names = pieces.map(({ name }) => name);
  const idsOfType = (type: number): number[] => pieces.flatMap((piece, id) => (piece.type === type ? [id] : []));
  const seen = new Map<string, number>();
  for (const [id, { name, score, type }] of pieces.entries()) {
    const other = seen.get(name);
    if (name === "") fail(`pieces[${id}].piece`, "is empty.");
    if (other !== undefined) fail(`pieces[${id}].piece`, `${JSON.stringify(name.slice(0, 60))} is piece ${other} already.`);
    if (!Number.isFinite(score)) fail(`pieces[${id}].score`, "is not a number.");
    if (type === pieceTypes.byte && byteOf(name) === undefined) fail(`pieces[${id}].piece`, "a byte is written as in <0x0A>.");
    seen.set(name, id);
  }
  const [unkId, ...otherUnknown] = idsOfType(pieceTypes.unknown);
  if (unkId === undefined || otherUnknown.length > 0) fail("pieces", "exactly one piece must be the unknown one.");

  const normalization: SentencePieceNormalization = {
    charsMap: rules.bytes(2, "precompiled_charsmap"),
    addDummyPrefix: rules.flag(3, "add_dummy_prefix", true),
    removeExtraWhitespaces: rules.flag(4, "remove_extra_whitespaces", true),
    escapeWhitespaces: rules.flag(5, "escape_whitespaces", true),
    whitespaceAsSuffix: trainer.flag(24, "treat_whitespace_as_suffix", false),
  };
  const userDefined = idsOfType(pieceTypes.userDefined);
  const controls = idsOfType(pieceTypes.control);
  const byteIds = idsOfType(pieceTypes.byte);
  const boundary = (field: number, name: string, fallback: number): number | undefined => {
    const id = trainer.number(field, name, fallback);
    return controls.includes(id) ? id : undefined;
  };
  const bosId = boundary(41, "bos_id", 1);
  const eosId = boundary(42, "eos_id", 2);
  const byteFallback = trainer.flag(35, "byte_fallback", false) && byteIds.length === 256;
  const scores = Float64Array.from(pieces, ({ score }) => score);
  const surroundings = { before: addBos && bosId !== undefined ? [bosId] : [], after: addEos && eosId !== undefined ? [eosId] : [] };

  const spec: PipelineSpec = {
    ...asSteps(normalization, userDefined.length > 0),
    postProcessor: templateOf(surroundings, (id) => names[id]),
    decoder: sentencePieceDecoder(Number(normalization.addDummyPrefix || normalization.removeExtraWhitespaces), names[unkId]),
    model: modelType === 1 ? { kind: "unigram", names: TokenNames.of(names), scores, unkId, byteFallback } : { kind: "score-bpe", names: TokenNames.of(names), scores, unkId, byteFallback, fuseUnk: true },
    unreachable: byteIds,
    sentencePiece: { normalization, userDefined, unused: idsOfType(pieceTypes.unused) },
  };
  // User-defined symbols are found by the model itself, in text that is normalized as a whole; see `sentencePiece` above.
  const added: AddedToken[] = [...controls, unkId].sort((a, b) => a - b).map((id) => specialToken(names[id], id));
  try {
    return new PipelineTokenizer(spec, added, { bosId, eosId, ...boundaries });
  } catch (error) {
    throw error instanceof TokenizerError && error.file === undefined && file !== undefined ? new TokenizerError({ file, field: error.field ?? "normalizer_spec" }, error.message, { code: "bad-tokenizer", cause: error }) : error;
  }
}

/** Reads a `tokenizer.model`. */
export async function loadSentencePiece(file: string, options: SentencePieceOptions = {}): Promise<PipelineTokenizer> {
  return readSentencePiece(await readTokenizerFile(file), { ...options, file });
}

/** The steps of Hugging Face that come to the same, user-defined symbols beside white space apart. */
export function asSteps(spec: SentencePieceNormalization, hasSymbols: boolean): { normalizer: NormalizerStep[]; preTokenizer: PreTokenizerStep[] } {
  const { charsMap, addDummyPrefix, removeExtraWhitespaces, escapeWhitespaces, whitespaceAsSuffix } = spec;
  const space = escapeWhitespaces ? "▁" : " ";
  const replace = (Regex: string, content: string): NormalizerStep => ({ type: "Replace", pattern: { Regex }, content });
  const prefixed = addDummyPrefix && !whitespaceAsSuffix;
  return {
    normalizer: [
      ...(charsMap.length > 0 ? [{ type: "Precompiled", precompiled_charsmap: Buffer.from(charsMap).toString("base64") } as const] : []),
      ...(removeExtraWhitespaces ? [replace(String.raw`\A +|[ ▁]+\z`, ""), replace(" {2,}", " ")] : []),
      ...(prefixed && !hasSymbols ? [{ type: "Prepend", prepend: space } as const] : []),
      ...(escapeWhitespaces ? [{ type: "Replace", pattern: { String: " " }, content: "▁" } as const] : []),
      ...(addDummyPrefix && whitespaceAsSuffix ? [replace(String.raw`(?<=[\s\S])\z`, space)] : []),
    ],
    preTokenizer: hasSymbols && prefixed ? [{ type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false }] : [],
  };
}

/** @param leadingSpaces how many spaces a text loses at its start */
export function sentencePieceDecoder(leadingSpaces: number, unknown: string | undefined): DecoderStep[] {
  return [
    ...(unknown === undefined ? [] : [{ type: "Replace", pattern: { String: unknown }, content: " ⁇ " } as const]),
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(leadingSpaces > 0 ? [{ type: "Strip", content: " ", start: leadingSpaces, stop: 0 } as const] : []),
  ];
}

type Field = { readonly at: number } & ({ readonly wire: 0; readonly value: number } | { readonly wire: 1 | 2 | 5; readonly value: Uint8Array });

/** A message of a protocol buffer: its fields by number, each as often as it stands there. Nothing is copied. */
class Message {
  private readonly fields = new Map<number, Field[]>();

  /** @param offset where the message begins in the file, for errors */
  constructor(
    private readonly data: Uint8Array,
    private readonly offset: number,
    private readonly file: string | undefined,
    private readonly name: string,
  ) {
    for (let at = 0; at < data.length; ) {
      const key = this.varint(at);
      const number = Math.floor(key.value / 8);
      const wire = key.value % 8;
      if (number === 0) this.fail(at, "a field has the number 0.");
      let field: Field;
      let end: number;
      if (wire === 0) {
        const { value, next } = this.varint(key.next);
        [field, end] = [{ at, wire, value }, next];
      } else if (wire === 1 || wire === 2 || wire === 5) {
        const length = wire === 2 ? this.varint(key.next) : { value: wire === 1 ? 8 : 4, next: key.next };
        end = length.next + length.value;
        if (end > data.length) this.fail(at, `a field of ${length.value} bytes runs past the end.`);
        field = { at, wire, value: data.subarray(length.next, end) };
      } else return this.fail(at, `wire type ${wire} is not supported.`);
      const known = this.fields.get(number);
      if (known === undefined) this.fields.set(number, [field]);
      else known.push(field);
      at = end;
    }
  }

  private fail(at: number, message: string, field = this.name): never {
    const place = { ...(this.file !== undefined && { file: this.file }), field: field || "model", offset: this.offset + at };
    throw new TokenizerError(place, message, { code: "bad-tokenizer", hint: "Is this a SentencePiece model?" });
  }

  /** Up to 64 bits; beyond 2^53 only the size of the number matters, which is too large for anything here. */
  private varint(start: number): { value: number; next: number } {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      const byte = this.data[start + i];
      if (byte === undefined) this.fail(start, "a number runs past the end.");
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return { value, next: start + i + 1 };
    }
    return this.fail(start, "a number has more than ten bytes.");
  }

  private last(number: number): Field | undefined {
    return this.fields.get(number)?.at(-1);
  }

  private path(field: string): string {
    return this.name === "" ? field : `${this.name}.${field}`;
  }

  empty(name: string): Message {
    return new Message(new Uint8Array(), 0, this.file, name);
  }

  messages(number: number, name: string): Message[] {
    return (this.fields.get(number) ?? []).map((field, i) => {
      if (field.wire !== 2) return this.fail(field.at, "must be a message.", this.path(name));
      return new Message(field.value, this.offset + field.value.byteOffset - this.data.byteOffset, this.file, name === "pieces" ? `pieces[${i}]` : name);
    });
  }

  bytes(number: number, name: string): Uint8Array {
    const field = this.last(number);
    if (field === undefined) return new Uint8Array();
    return field.wire === 2 ? field.value : this.fail(field.at, "must be bytes.", this.path(name));
  }

  text(number: number, name: string): string {
    return decodeUtf8(this.bytes(number, name));
  }

  number(number: number, name: string, fallback: number): number {
    const field = this.last(number);
    if (field === undefined) return fallback;
    return field.wire === 0 ? field.value : this.fail(field.at, "must be a whole number.", this.path(name));
  }

  flag(number: number, name: string, fallback: boolean): boolean {
    return this.number(number, name, Number(fallback)) !== 0;
  }

  float(number: number, name: string, fallback: number): number {
    const field = this.last(number);
    if (field === undefined) return fallback;
    if (field.wire !== 5) return this.fail(field.at, "must be a 32-bit number.", this.path(name));
    return new DataView(field.value.buffer, field.value.byteOffset, 4).getFloat32(0, true);
  }
}
