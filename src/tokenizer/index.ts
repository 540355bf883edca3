/**
 * @file Tokenizers: text to ids and back.
 *
 * `Tokenizer.train` learns a byte-level BPE, `CharTokenizer.fromText` takes a text's characters, `Tokenizer.load` reads what others wrote. To
 * understand BPE read `bpe.ts` (encoding) and `train.ts` (learning); the unigram model is `unigram.ts`. How a text goes from normalizer to model is
 * `pipeline-tokenizer.ts`, each step in its file.
 */

import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { TokenizerError } from "../errors.js";
import { BpeTokenizer, endOfText, type EngineOption, type TrainTokenizerOptions } from "./bpe-tokenizer.js";
import { CharTokenizer } from "./char-tokenizer.js";
import { tokenizerFromGguf } from "./gguf.js";
import { loadLlama2cTokenizer } from "./llama2c.js";
import { PipelineTokenizer } from "./pipeline-tokenizer.js";
import { templateOf } from "./post-processor.js";
import { loadSentencePiece, sentencePieceParts } from "./sentencepiece.js";
import type { PostProcessorStep } from "./steps.js";
import type { TextSource } from "./text-source.js";
import { loadTiktoken } from "./tiktoken.js";
import { readText, readTokenizerFile, type BoundaryTokens, type Tokenizer as TokenizerInterface } from "./tokenizer.js";
import { looseFiles, readPieces, readTokenizerFiles, type BuiltTokenizer } from "./tokenizer-files.js";
import { parseTokenizerConfig, parseTokenizerJson, type TokenizerConfig } from "./tokenizer-json.js";

export type Tokenizer = TokenizerInterface;

export interface ReadTokenizerOptions extends BoundaryTokens, EngineOption {
  /** Named in errors. */
  readonly file?: string;
  /** Put `bosToken` before a text, and `eosToken` after it, where the tokenizer has no template of its own that says what goes around a text. */
  readonly addBos?: boolean | undefined;
  readonly addEos?: boolean | undefined;
}

export const Tokenizer = {
  /** Learns a byte-level BPE vocabulary; see {@link BpeTokenizer.train}. */
  train: (source: TextSource, options: TrainTokenizerOptions): Promise<BpeTokenizer> => BpeTokenizer.train(source, options),

  /**
   * A tokenizer from the value of a `tokenizer.json`. Without `eosToken` and `bosToken`, a special token `<|endoftext|>` is taken as both.
   * Throws TokenizerError that names the field where the value is none or holds what is not supported.
   */
  fromJSON(json: unknown, { file, engine, addBos = false, addEos = false, ...boundaries }: ReadTokenizerOptions = {}): BpeTokenizer | CharTokenizer | PipelineTokenizer {
    const parsed = parseTokenizerJson(json, file);
    const marked = parsed.added.some((token) => token.special && token.content === endOfText);
    const given = boundaries.bosToken !== undefined || boundaries.eosToken !== undefined;
    const tokens = given || !marked ? boundaries : { bosToken: endOfText, eosToken: endOfText };
    if (parsed.kind === "char") return new CharTokenizer(parsed.names, parsed.added, tokens);

    const idOf = (content: string | undefined): number[] => parsed.added.filter((token) => token.content === content).map(({ id }) => id);
    const around = { before: addBos ? idOf(tokens.bosToken) : [], after: addEos ? idOf(tokens.eosToken) : [] };
    const template = (own: readonly PostProcessorStep[]): readonly PostProcessorStep[] =>
      own.some(({ type }) => type !== "ByteLevel") ? own : [...own, ...templateOf(around, (id) => parsed.added.find((token) => token.id === id)?.content ?? "")];
    if (parsed.kind === "pipeline") return new PipelineTokenizer({ ...parsed.spec, postProcessor: template(parsed.spec.postProcessor) }, parsed.added, tokens);
    return new BpeTokenizer({ ...parsed.model, postProcessor: template(parsed.model.postProcessor ?? []) }, parsed.added, { ...tokens, engine });
  },

  /**
   * Reads a folder or a file: `tokenizer.json` (beside it a `tokenizer_config.json`, which names the boundary tokens), `vocab.json` with `merges.txt`,
   * `vocab.txt` (see `tokenizer-files.ts`), a SentencePiece `.model`, tiktoken's `.tiktoken`, llama2.c's `.bin`, the tokenizer in a `.gguf`, with tensors or without.
   */
  async load(path: string, options: EngineOption = {}): Promise<BpeTokenizer | CharTokenizer | PipelineTokenizer> {
    const file = await findFile(path);
    switch (extname(file)) {
      case ".model": {
        const built = await readPieces(dirname(file), file, sentencePieceParts(await readTokenizerFile(file), file));
        return built === undefined ? loadSentencePiece(file, await configBeside(file)) : fromFiles(built, file, options);
      }
      case ".txt":
        return fromFiles(await readTokenizerFiles(dirname(file), "vocab.txt"), file, options);
      case ".tiktoken":
        return loadTiktoken(file, options);
      case ".bin":
        return loadLlama2cTokenizer(file);
      case ".gguf":
        return loadGgufTokenizer(file, options);
      default: {
        if (basename(file) === "vocab.json") return fromFiles(await readTokenizerFiles(dirname(file), "vocab.json"), file, options);
        const json = parseJson(await readText(file), file);
        return Tokenizer.fromJSON(json, { file, ...(await configBeside(file)), ...options });
      }
    }
  },
};

const fromFiles = ({ json, bosToken, eosToken }: BuiltTokenizer, file: string, options: EngineOption): BpeTokenizer | CharTokenizer | PipelineTokenizer =>
  Tokenizer.fromJSON(json, { file, bosToken, eosToken, ...options });

/** The one place that looks up to the checkpoints: only there is a GGUF's header read, and only who opens one needs it. */
async function loadGgufTokenizer(file: string, options: EngineOption): Promise<BpeTokenizer | PipelineTokenizer> {
  const { Gguf } = await import("../checkpoint/gguf/gguf.js");
  const opened = await Gguf.open(file);
  try {
    return tokenizerFromGguf(opened.metadata, options);
  } finally {
    await opened.close();
  }
}

async function configBeside(tokenizerFile: string): Promise<Partial<TokenizerConfig>> {
  const file = join(dirname(tokenizerFile), "tokenizer_config.json");
  const isThere = (await stat(file).catch(() => undefined)) !== undefined;
  return isThere ? parseTokenizerConfig(parseJson(await readText(file), file), file) : {};
}

/** In a folder, the file that says most. */
async function findFile(path: string): Promise<string> {
  if ((await stat(path).catch(() => undefined))?.isDirectory() !== true) return path;
  const names = await readdir(path);
  const found = ["tokenizer.json", "tokenizer.model", "spiece.model", ...looseFiles].find((name) => names.includes(name)) ?? names.find((name) => name.endsWith(".tiktoken"));
  return join(path, found ?? "tokenizer.json");
}

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
export { tokenizerFromGguf, tokenizerToGguf, type TokenizerField, type TokenizerMetadata } from "./gguf.js";
export { loadLlama2cTokenizer, readLlama2cTokenizer } from "./llama2c.js";
export { PipelineTokenizer } from "./pipeline-tokenizer.js";
export { patternNames, type PatternName } from "./pretokenize.js";
export { referenceEngine } from "./reference.js";
export { loadSentencePiece, readSentencePiece, type SentencePieceOptions } from "./sentencepiece.js";
export { loadTiktoken, readTiktoken, type TiktokenOptions } from "./tiktoken.js";
export type { TextSource } from "./text-source.js";
export type { BatchOptions, DecodeOptions, DecodeStream, EncodeOptions } from "./tokenizer.js";
export type { TokenizerConfigJson, TokenizerJson } from "./tokenizer-json.js";
