/**
 * @file Tokenizers: text to ids and back.
 *
 * `Tokenizer.train` learns a byte-level BPE, `CharTokenizer.fromText` takes a text's characters, `Tokenizer.load` and `Tokenizer.fromJSON` read what
 * Hugging Face `tokenizers` writes. To understand BPE read `bpe.ts` (encoding) and `train.ts` (learning).
 */

import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TokenizerError } from "../errors.js";
import { BpeTokenizer, endOfText, type EngineOption, type TrainTokenizerOptions } from "./bpe-tokenizer.js";
import { CharTokenizer } from "./char-tokenizer.js";
import { PipelineTokenizer } from "./pipeline-tokenizer.js";
import type { TextSource } from "./text-source.js";
import { readText, type BoundaryTokens, type Tokenizer as TokenizerInterface } from "./tokenizer.js";
import { parseTokenizerConfig, parseTokenizerJson } from "./tokenizer-json.js";

export type Tokenizer = TokenizerInterface;

export interface ReadTokenizerOptions extends BoundaryTokens, EngineOption {
  /** Named in errors. */
  readonly file?: string;
}

export const Tokenizer = {
  /** Learns a byte-level BPE vocabulary; see {@link BpeTokenizer.train}. */
  train: (source: TextSource, options: TrainTokenizerOptions): Promise<BpeTokenizer> => BpeTokenizer.train(source, options),

  /**
   * A tokenizer from the value of a `tokenizer.json`. Without `eosToken` and `bosToken`, a special token `<|endoftext|>` is taken as both.
   * Throws TokenizerError that names the field where the value is none or holds what is not supported.
   */
  fromJSON(json: unknown, { file, engine, ...boundaries }: ReadTokenizerOptions = {}): BpeTokenizer | CharTokenizer | PipelineTokenizer {
    const parsed = parseTokenizerJson(json, file);
    const marked = parsed.added.some((token) => token.special && token.content === endOfText);
    const given = boundaries.bosToken !== undefined || boundaries.eosToken !== undefined;
    const tokens = given || !marked ? boundaries : { bosToken: endOfText, eosToken: endOfText };
    if (parsed.kind === "char") return new CharTokenizer(parsed.names, parsed.added, tokens);
    if (parsed.kind === "pipeline") return new PipelineTokenizer(parsed.spec, parsed.added, tokens);
    return new BpeTokenizer(parsed.model, parsed.added, { ...tokens, engine });
  },

  /** Reads a folder with a `tokenizer.json` (and a `tokenizer_config.json`, which names the boundary tokens), or the file itself. */
  async load(path: string, options: EngineOption = {}): Promise<BpeTokenizer | CharTokenizer | PipelineTokenizer> {
    const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true;
    const file = isFolder ? join(path, "tokenizer.json") : path;
    const json = parseJson(await readText(file), file);
    const configFile = join(dirname(file), "tokenizer_config.json");
    const hasConfig = (await stat(configFile).catch(() => undefined)) !== undefined;
    const boundaries = hasConfig ? parseTokenizerConfig(parseJson(await readText(configFile), configFile), configFile) : {};
    return Tokenizer.fromJSON(json, { file, ...boundaries, ...options });
  },
};

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TokenizerError({ file }, `this is not JSON: ${error instanceof Error ? error.message : String(error)}.`, { code: "bad-tokenizer", cause: error });
  }
}

export { BpeTokenizer, endOfText, type EngineOption, type TrainTokenizerOptions } from "./bpe-tokenizer.js";
export { CharTokenizer, UnknownCharacterError, type CharTokenizerOptions } from "./char-tokenizer.js";
export type { AddedToken, AllowedSpecial } from "./added-tokens.js";
export type { EncodedDocuments, JobOptions, TokenizerEngine } from "./engine.js";
export { nativeEngine } from "./native.js";
export { PipelineTokenizer } from "./pipeline-tokenizer.js";
export { patternNames, type PatternName } from "./pretokenize.js";
export { referenceEngine } from "./reference.js";
export type { TextSource } from "./text-source.js";
export type { BatchOptions, DecodeOptions, DecodeStream, EncodeOptions } from "./tokenizer.js";
export type { TokenizerConfigJson, TokenizerJson } from "./tokenizer-json.js";
