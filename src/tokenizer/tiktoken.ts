/**
 * @file tiktoken's rank files: a line a token, its bytes in base64 and its rank. There are no merges: of the neighbours that together are a token
 * the one with the lowest rank is joined first, and the rank is the id.
 *
 * As merges, each token of more than one byte has one: the two parts that joining by lower ranks alone leaves of its bytes. (What a token is
 * made of never matters otherwise: every way to it ends in those two.)
 */

import { TokenizerError } from "../errors.js";
import type { AddedToken } from "./added-tokens.js";
import { specialToken } from "./added-tokens.js";
import { latin1, maxTokenId } from "./bpe.js";
import { BpeTokenizer, type EngineOption } from "./bpe-tokenizer.js";
import { byteAlphabet, decodeUtf8 } from "./bytes.js";
import { preTokenizers } from "./gguf-pre.js";
import { PipelineTokenizer } from "./pipeline-tokenizer.js";
import type { PatternName } from "./pretokenize.js";
import type { PreTokenizerStep } from "./steps.js";
import { TokenNames } from "./token-names.js";
import { readTokenizerFile, type BoundaryTokens } from "./tokenizer.js";
import { asByteLevelBpe, byteLevelDecoder, byteLevelSteps } from "./tokenizer-json.js";

const maxTokenBytes = 1024;

export interface TiktokenOptions extends BoundaryTokens, EngineOption {
  /** Named in errors. */
  readonly file?: string;
  /** How text is cut, which the file does not say: a pattern known here, or `o200k`. Default: `cl100k`. */
  readonly pattern?: PatternName | "o200k";
  /** Special tokens and their ids; none by default. */
  readonly specialTokens?: Readonly<Record<string, number>>;
}

/** A tokenizer from the text of a `.tiktoken` file. Throws TokenizerError that names the line. */
export function readTiktoken(text: string, { file, pattern = "cl100k", specialTokens = {}, engine, ...boundaries }: TiktokenOptions = {}): BpeTokenizer | PipelineTokenizer {
  const fail = (line: number, message: string): never => {
    throw new TokenizerError({ ...(file !== undefined && { file }), line, field: "rank" }, message, { code: "bad-tokenizer", hint: "A line is a token in base64, a space, and its rank." });
  };
  const ranks = new Map<string, number>();
  const names: (string | undefined)[] = [];
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const match = /^([A-Za-z0-9+/]+={0,2}) (\d{1,9})\r?$/.exec(line);
    if (match === null) return fail(i + 1, `${JSON.stringify(line.slice(0, 60))} is no token and its rank.`);
    const bytes = Buffer.from(match[1], "base64");
    const rank = Number(match[2]);
    if (rank > Math.min(maxTokenId, 4 * lines.length + 1024)) fail(i + 1, `the rank ${rank} is out of all proportion to ${lines.length} lines.`);
    if (bytes.length === 0 || bytes.length > maxTokenBytes) fail(i + 1, `a token of ${bytes.length} bytes.`);
    const key = latin1(bytes);
    if (ranks.has(key)) fail(i + 1, "this token stands there twice.");
    while (names.length <= rank) names.push(undefined);
    if (names[rank] !== undefined) fail(i + 1, `the rank ${rank} is given twice.`);
    ranks.set(key, rank);
    names[rank] = Array.from(bytes, (byte) => byteAlphabet[byte]).join("");
  }
  for (let byte = 0; byte < 256; byte++) if (!ranks.has(String.fromCharCode(byte))) fail(1, `no line has the byte ${byte}.`);

  const merges: number[] = [];
  for (const [key, rank] of [...ranks].sort((a, b) => a[1] - b[1])) {
    if (key.length === 1) continue;
    const parts = joinBelow(key, ranks, rank);
    // A token that cannot be arrived at by joining is found only as a whole piece.
    if (parts.length === 2) merges.push(ranks.get(parts[0]) ?? 0, ranks.get(parts[1]) ?? 0, rank);
  }
  const added = Object.entries(specialTokens).map(([content, id]): AddedToken => {
    if (!Number.isInteger(id) || id < 0 || id > maxTokenId || names[id] !== undefined) fail(1, `the special token ${content} cannot have the id ${id}.`);
    return specialToken(content, id);
  });
  const preTokenizer: readonly PreTokenizerStep[] = pattern === "o200k" ? preTokenizers["gpt-4o"].steps : byteLevelSteps(pattern);
  const spec = {
    normalizer: [],
    preTokenizer,
    postProcessor: [],
    decoder: byteLevelDecoder,
    model: { kind: "bpe", names: TokenNames.of(names), merges: Uint32Array.from(merges), unkToken: undefined, fuseUnk: false, byteFallback: false, ignoreMerges: true, continuingSubwordPrefix: "", endOfWordSuffix: "" },
  } as const;
  const fast = asByteLevelBpe(spec);
  return fast === undefined ? new PipelineTokenizer(spec, added, boundaries) : new BpeTokenizer(fast, added, { ...boundaries, engine });
}

/** What joining neighbours by ranks below `limit` leaves of a token's bytes. */
function joinBelow(bytes: string, ranks: ReadonlyMap<string, number>, limit: number): string[] {
  const parts = [...bytes];
  for (;;) {
    let best = limit;
    let at = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(parts[i] + parts[i + 1]);
      if (rank !== undefined && rank < best) [best, at] = [rank, i];
    }
    if (at < 0) return parts;
    parts.splice(at, 2, parts[at] + parts[at + 1]);
  }
}

/** Reads a `.tiktoken` file. */
export async function loadTiktoken(file: string, options: TiktokenOptions = {}): Promise<BpeTokenizer | PipelineTokenizer> {
  return readTiktoken(decodeUtf8(await readTokenizerFile(file)), { ...options, file });
}
