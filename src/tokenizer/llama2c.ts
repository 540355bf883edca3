/**
 * @file The tokenizer file of karpathy/llama2.c: the longest token's length, then for each token its score (float32), its length (int32) and its
 * bytes, little-endian, to the end of the file. It is Llama's SentencePiece BPE: 0 is unknown, 1 and 2 begin and end a text, then come the 256 bytes.
 */

import { TokenizerError } from "../errors.js";
import { specialToken } from "./added-tokens.js";
import { maxTokenId } from "./bpe.js";
import { decodeUtf8 } from "./bytes.js";
import { byteOf } from "./decoders.js";
import { PipelineTokenizer } from "./pipeline-tokenizer.js";
import { templateOf } from "./post-processor.js";
import { asSteps, sentencePieceDecoder } from "./sentencepiece.js";
import { TokenNames } from "./token-names.js";
import { readTokenizerFile } from "./tokenizer.js";

const [unkId, bosId, eosId] = [0, 1, 2];

/** Throws TokenizerError that names the offset. */
export function readLlama2cTokenizer(bytes: Uint8Array, file?: string): PipelineTokenizer {
  const fail = (offset: number, message: string): never => {
    throw new TokenizerError({ ...(file !== undefined && { file }), field: "token", offset }, message, { code: "bad-tokenizer", hint: "Is this a tokenizer of llama2.c?" });
  };
  if (bytes.length < 4) fail(0, `${bytes.length} bytes are too few.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const longest = view.getInt32(0, true);
  const names: string[] = [];
  const scores: number[] = [];
  for (let at = 4; at < bytes.length; ) {
    if (at + 8 > bytes.length) fail(at, "the file ends within a token.");
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    if (!Number.isFinite(score)) fail(at, "a score is not a number.");
    if (length < 0 || length > longest || at + 8 + length > bytes.length) fail(at + 4, `a token of ${length} bytes, where the longest has ${longest} and ${bytes.length - at - 8} are left.`);
    // The marks of spaces are written as spaces, and those around a text with line breaks beside them.
    names.push(decodeUtf8(bytes.subarray(at + 8, at + 8 + length)).replaceAll(" ", "▁"));
    scores.push(score);
    at += 8 + length;
  }
  if (names.length < 259 || names.length > maxTokenId) fail(4, `${names.length} tokens: at least three and the 256 bytes are needed.`);
  for (const id of [unkId, bosId, eosId]) names[id] = ["<unk>", "<s>", "</s>"][id];
  const byteIds = Array.from({ length: 256 }, (_, byte) => byte + 3);
  for (const id of byteIds) if (byteOf(names[id]) !== id - 3) fail(4, `token ${id} must be that of the byte ${id - 3}, not ${JSON.stringify(names[id].slice(0, 40))}.`);
  const plain = { charsMap: new Uint8Array(), addDummyPrefix: true, removeExtraWhitespaces: false, escapeWhitespaces: true, whitespaceAsSuffix: false };
  return new PipelineTokenizer(
    {
      ...asSteps(plain, false),
      postProcessor: templateOf({ before: [bosId], after: [] }, (id) => names[id]),
      decoder: sentencePieceDecoder(1, undefined),
      model: { kind: "score-bpe", names: TokenNames.of(names), scores, unkId, byteFallback: true, fuseUnk: false },
      unreachable: byteIds,
    },
    [unkId, bosId, eosId].map((id) => specialToken(names[id], id)),
    { bosId, eosId },
  );
}

export async function loadLlama2cTokenizer(file: string): Promise<PipelineTokenizer> {
  return readLlama2cTokenizer(await readTokenizerFile(file), file);
}
