/** @file The byte-level BPE tokenizer: trained here or read from a `tokenizer.json`, run by the native engine where there is one. */

import { ConfigError, DataError, TokenizerError } from "../errors.js";
import { AddedTokens, specialToken, type AddedToken } from "./added-tokens.js";
import { byteAlphabet, bytesInAlphabetOrder, encodeDocuments, encodeUtf8, fromByteLevel } from "./bytes.js";
import { maxTokenId, noToken, type BpeVocabulary } from "./bpe.js";
import type { EncodedDocuments, Encoder, JobOptions, TokenizerEngine } from "./engine.js";
import { LlamaCppEncoder } from "./llama-cpp-encoder.js";
import { nativeEngine } from "./native.js";
import { compileNormalizer } from "./normalizers.js";
import { surroundingsOf } from "./post-processor.js";
import { patternNames, pretokenize, type PatternName } from "./pretokenize.js";
import { referenceEncoder, referenceEngine } from "./reference.js";
import { asInLlamaCpp } from "./regex.js";
import { documentsOf, type TextSource } from "./text-source.js";
import { TokenNames } from "./token-names.js";
import { jobOptions, TokenizerBase, type BoundaryTokens } from "./tokenizer.js";
import type { PipelineSpec } from "./pipeline-spec.js";
import { asPipeline, writeBpeJson, type BpeSpelled, type TokenizerJson } from "./tokenizer-json.js";

/** The mark between documents, as GPT-2 writes it. */
export const endOfText = "<|endoftext|>";

export interface EngineOption {
  /** By default the native engine where the addon was built. The results are the same. */
  readonly engine?: TokenizerEngine | undefined;
}

export interface TrainTokenizerOptions extends Partial<JobOptions>, EngineOption {
  /** Tokens in all: special tokens, the 256 bytes, and as many merges as fit. A short text may have fewer to offer. */
  readonly vocabSize: number;
  /** How text is cut before merging; `gpt2` by default. */
  readonly pattern?: PatternName;
  /** They get the first ids, in this order; `<|endoftext|>` by default, which then begins and ends texts. */
  readonly specialTokens?: readonly string[];
  /** Pairs that occur less often are not merged; by default any may be. */
  readonly minFrequency?: number;
}

/** Documents are counted in batches of about so many characters. */
const batchCharacters = 2 ** 23;

export const defaultEngine = (): TokenizerEngine => nativeEngine() ?? referenceEngine;

export class BpeTokenizer extends TokenizerBase {
  readonly needsValidText = false;
  private readonly engine: TokenizerEngine;
  private builtEncoder: Encoder | undefined;

  constructor(
    private readonly model: BpeSpelled,
    addedTokens: readonly AddedToken[] = [],
    { engine = defaultEngine(), ...boundaries }: BoundaryTokens & EngineOption = {},
  ) {
    const surroundings = surroundingsOf(model.postProcessor ?? [], (field, message) => {
      throw new TokenizerError({ field }, message, { code: "bad-tokenizer" });
    });
    super(model.names, new AddedTokens(addedTokens, compileNormalizer(model.normalizer ?? []), model.rules === "llama.cpp"), boundaries, surroundings);
    this.engine = engine;
  }

  /** Made when it is first needed, since a tokenizer may be loaded to decode, or only to be looked at. */
  private get encoder(): Encoder {
    return (this.builtEncoder ??= this.makeEncoder());
  }

  private makeEncoder(): Encoder {
    const { pattern, rules } = this.model;
    const vocabulary = this.vocabulary();
    const encoder = this.engine.createEncoder(vocabulary, pattern);
    return rules === undefined ? encoder : new LlamaCppEncoder(encoder, () => referenceEncoder(vocabulary, pattern, asInLlamaCpp));
  }

  /** What text may become: not the special tokens, whatever their letters. */
  private vocabulary(): BpeVocabulary {
    const { names, merges, wholePieces } = this.model;
    const isSpecial = (id: number): boolean => this.added.byId.get(id)?.special === true;
    const byteTokens = Int32Array.from(byteAlphabet, (character) => {
      const id = names.idOf(character);
      return id === undefined || isSpecial(id) ? noToken : id;
    });
    const bytesOf = (name: string | undefined, id: number) => (name === undefined || isSpecial(id) ? undefined : fromByteLevel(name));
    return { byteTokens, merges, wholePieces: wholePieces ? Array.from(names, bytesOf) : undefined };
  }

  override prepare(): void {
    void this.encoder;
  }

  // A token that is not spelled in the alphabet stands for itself.
  protected modelTokenBytes(name: string): Uint8Array {
    return fromByteLevel(name) ?? encodeUtf8(name);
  }

  /** How text is cut before merging. */
  get pattern(): PatternName {
    return this.model.pattern;
  }

  /** Left, right and result of each merge, in the order in which they were learned. */
  get merges(): Uint32Array {
    return this.model.merges;
  }

  /**
   * Learns a vocabulary from text: the same tokens and merges as Hugging Face's `BpeTrainer` with the byte alphabet.
   * Throws ConfigError for settings that cannot be, DataError `empty-text` where there is nothing to learn from.
   */
  static async train(source: TextSource, options: TrainTokenizerOptions): Promise<BpeTokenizer> {
    const { vocabSize, pattern = "gpt2", specialTokens = [endOfText], minFrequency = 0, engine = defaultEngine() } = options;
    checkTraining(vocabSize, pattern, specialTokens, minFrequency);
    const { onProgress, ...job } = jobOptions(options);

    const trainer = engine.createTrainer(pattern);
    let seen = false;
    let batch: string[] = [];
    let characters = 0;
    for await (const document of documentsOf(source)) {
      if (document.length === 0) continue;
      seen = true;
      batch.push(document);
      characters += document.length;
      if (characters < batchCharacters) continue;
      await trainer.feed(await encodeDocuments(batch), job);
      batch = [];
      characters = 0;
    }
    if (!seen) throw new DataError({}, "there is no text to train a tokenizer on.", { code: "empty-text" });
    await trainer.feed(await encodeDocuments(batch), job);

    // Special tokens first, then the bytes: the ids that Hugging Face gives. Special tokens stay out of the merges' reach.
    const initial = [...specialTokens.map(() => undefined), ...bytesInAlphabetOrder.map((byte) => Uint8Array.of(byte))];
    const learned = await trainer.train(initial, { vocabSize, minFrequency }, { ...job, onProgress });
    const names = [...specialTokens, ...bytesInAlphabetOrder.map((byte) => byteAlphabet[byte])];
    for (let i = 0; i < learned.length; i += 3) names[learned[i + 2]] ??= names[learned[i]] + names[learned[i + 1]];
    const boundary = specialTokens.includes(endOfText) ? endOfText : undefined;
    const model = { names: TokenNames.of(names), merges: withoutRepeats(learned), wholePieces: false, pattern };
    return new BpeTokenizer(model, specialTokens.map(specialToken), { bosToken: boundary, eosToken: boundary, engine });
  }

  protected encodePlain(text: string | Uint8Array): Int32Array {
    return this.encoder.encode(text);
  }

  protected encodePlainDocuments(documents: readonly Uint8Array[], job: JobOptions): Promise<EncodedDocuments> {
    return this.encoder.encodeDocuments(documents, this.tokenWidth, job);
  }

  /** What it is made of. */
  composition(): { spec: PipelineSpec; addedTokens: readonly AddedToken[] } {
    return { spec: asPipeline(this.model), addedTokens: this.added.tokens };
  }

  toJSON(): TokenizerJson {
    return writeBpeJson(this.model, this.added.tokens);
  }
}

function checkTraining(vocabSize: number, pattern: PatternName, specialTokens: readonly string[], minFrequency: number): void {
  const least = 256 + specialTokens.length;
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > maxTokenId + 1) {
    throw new ConfigError("vocabSize", `${vocabSize} is not a whole number from ${least} (the bytes and special tokens) to ${maxTokenId + 1}.`);
  }
  if (!patternNames.includes(pattern)) throw new ConfigError("pattern", `${String(pattern)} is not known; there are ${patternNames.join(", ")}.`);
  if (!Number.isSafeInteger(minFrequency) || minFrequency < 0) throw new ConfigError("minFrequency", `${minFrequency} is not a whole number from 0.`);
  for (const [i, token] of specialTokens.entries()) {
    const field = `specialTokens[${i}]`;
    if (specialTokens.indexOf(token) !== i) throw new ConfigError(field, `${JSON.stringify(token)} stands there twice.`);
    // A string that text can hold as one piece could be learned as a token, and then any text could hold the special token.
    if (token.trim() === "" || [...pretokenize(pattern, token)].length === 1) {
      throw new ConfigError(field, `${JSON.stringify(token)} could occur in ordinary text as a token.`, { hint: `Mark it, as in ${endOfText}.` });
    }
  }
}

/** Where a pair was merged more than once its last place counts. */
function withoutRepeats(merges: Uint32Array): Uint32Array {
  const last = new Map<number, number>();
  for (let i = 0; i < merges.length; i += 3) last.set(merges[i] * (maxTokenId + 1) + merges[i + 1], i);
  if (last.size === merges.length / 3) return merges;
  return Uint32Array.from([...last.values()].sort((a, b) => a - b).flatMap((i) => [...merges.subarray(i, i + 3)]));
}
