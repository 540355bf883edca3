/**
 * @file What a user of the library holds: a decoder that can be loaded, saved, and asked to go on with a text.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { GenerationDefaults } from "./checkpoint/generation.js";
import { saveGguf, type SaveGgufOptions, type SavedGguf } from "./checkpoint/gguf/index.js";
import { loadModel, saveModel, type ModelToSave } from "./checkpoint/model.js";
import { openModel, type ModelSource } from "./checkpoint/model-source.js";
import type { ChatTemplate } from "./data/index.js";
import { CheckpointError, ConfigError } from "./errors.js";
import { ChatSession, generate, generateBatch, generateText, type ChatOptions, type Generation, type GenerationSettingsInput, type Piece, type Prompt, type TextCodec } from "./generate/index.js";
import { Decoder, type DecoderOptions, type ModelOptions } from "./model/index.js";
import type { Device } from "./tensor/index.js";
import type { Tokenizer } from "./tokenizer/index.js";

export interface LanguageModelOptions extends DecoderOptions {
  /** Used wherever none is given. */
  readonly tokenizer?: Tokenizer | undefined;
  /** How a conversation becomes text. */
  readonly chatTemplate?: ChatTemplate | undefined;
  /** How it is sampled from where nothing is said. */
  readonly generation?: GenerationDefaults | undefined;
  /** The architecture, as transformers' `model_type` names it, that it is saved as where it can be said as several. Default: the first that can say it. */
  readonly modelType?: string | undefined;
}

export type GenerateTextOptions = GenerationSettingsInput & {
  /** Default: the model's own. */
  readonly tokenizer?: TextCodec | undefined;
  readonly signal?: AbortSignal | undefined;
};

export interface LoadModelOptions {
  readonly device?: Device | undefined;
  /** Turn the quantised weights of a GGUF file into f32, which takes several times the memory and can be trained. By default they stay quantised. */
  readonly dequantize?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Throws CheckpointError where the tokenizer gives ids that the embedding has no rows for. */
function checkFits(tokenizer: Tokenizer | undefined, { path, config: { vocabSize } }: ModelSource): void {
  if (tokenizer === undefined || tokenizer.vocabSize <= vocabSize) return;
  throw new CheckpointError({ file: path }, `the tokenizer has ${tokenizer.vocabSize} ids, and the model's embedding ${vocabSize} rows: they do not belong together.`, {
    code: "tokenizer-mismatch",
    hint: "Put the tokenizer beside it that the model was trained with.",
  });
}

export class LanguageModel extends Decoder {
  /** The tokenizer it was loaded or last saved with. */
  tokenizer: Tokenizer | undefined;
  /** None where it was not taught to converse. */
  chatTemplate: ChatTemplate | undefined;
  readonly generation: GenerationDefaults;
  /** The architecture it was loaded as. */
  readonly modelType: string | undefined;

  /**
   * A new model with random weights, the same for the same seed. Throws ConfigError, which names the field, for one that cannot be built.
   *
   *     new LanguageModel({ vocabSize: 4096, hiddenSize: 384, numLayers: 6, numHeads: 6, contextLength: 256 }, { seed: 1 })
   */
  constructor(options: ModelOptions, { tokenizer, chatTemplate, generation = {}, modelType, ...rest }: LanguageModelOptions = {}) {
    super(options, rest);
    this.tokenizer = tokenizer;
    this.chatTemplate = chatTemplate;
    this.generation = generation;
    this.modelType = modelType;
  }

  /**
   * Loads a model with its tokenizer where it has one: a folder that Hornbook or transformers saved; of a training run's, the best checkpoint; a
   * `.safetensors` file with its config.json beside it; a GGUF file; a llama2.c `.bin`.
   *
   * @throws CheckpointError saying which file is wrong and how (see `openModel` and `loadWeights`); TokenizerError for the tokenizer's.
   */
  static async load(path: string, { device, signal, dequantize }: LoadModelOptions = {}): Promise<LanguageModel> {
    await using source = await openModel(path);
    const make = ({ config, generation, family: { modelType } }: ModelSource) => new LanguageModel(config, { weights: "none", generation, modelType, ...(device && { device }) });
    const weights = loadModel(source, make, { signal, dequantize });
    // The device reads the weights meanwhile, once all that is in its queue.
    const text = nextTurn().then(async () => {
      const [tokenizer, chatTemplate] = await Promise.all([source.tokenizer(), source.chatTemplate()]);
      tokenizer?.prepare();
      return [tokenizer, chatTemplate] as const;
    });
    const [model] = await Promise.allSettled([weights, text]);
    try {
      const [tokenizer, chatTemplate] = await text;
      checkFits(tokenizer, source);
      return Object.assign(await weights, { tokenizer, chatTemplate });
    } catch (error) {
      if (model.status === "fulfilled") model.value.dispose();
      throw error;
    }
  }

  /**
   * Saves it as a folder that transformers opens, atomically. A tokenizer given here becomes the model's own.
   *
   * @throws CheckpointError when it cannot be written; what stood there before stands.
   */
  async save(folder: string, options: Omit<ModelToSave, "model"> = {}): Promise<void> {
    this.tokenizer = options.tokenizer ?? this.tokenizer;
    await saveModel(folder, { generation: this.generation, chatTemplate: this.chatTemplate, ...options, model: this, tokenizer: this.tokenizer });
  }

  /**
   * Saves it as one GGUF file, which llama.cpp and Ollama open, atomically; `quantize` chooses the type of the weights.
   *
   * @throws as `saveGguf`.
   */
  saveGguf(path: string, options: SaveGgufOptions = {}): Promise<SavedGguf> {
    return saveGguf(path, this, { tokenizer: this.tokenizer, chatTemplate: this.chatTemplate?.sources, modelType: this.modelType, ...options });
  }

  /** Goes on with a text, or with token ids, a piece a token; `break` ends it. See `generate` for what it throws. */
  generate(prompt: Prompt, options: GenerateTextOptions = {}): AsyncGenerator<Piece, void, void> {
    return generate(this, { ...this.#completed(options), ...(typeof prompt === "string" ? { prompt } : { ids: prompt }) });
  }

  /** As `generate`, to its end. */
  generateText(prompt: Prompt, options: GenerateTextOptions = {}): Promise<Generation> {
    return generateText(this, { ...this.#completed(options), ...(typeof prompt === "string" ? { prompt } : { ids: prompt }) });
  }

  /** Goes on with several prompts side by side. */
  generateBatch(prompts: readonly Prompt[], options: GenerateTextOptions = {}): Promise<Generation[]> {
    return generateBatch(this, { ...this.#completed(options), prompts });
  }

  /**
   * A conversation with it, in its chat template's form; without a template it goes on with what is said. Dispose of it to free its cache.
   * Throws ConfigError where there is no tokenizer, or for a setting that cannot be.
   *
   *     const chat = model.chat({ system: "Be brief." });
   *     for await (const piece of chat.send("What is the capital of France?")) process.stdout.write(piece.text);
   */
  chat(options: Partial<ChatOptions> = {}): ChatSession {
    const tokenizer = options.tokenizer ?? this.tokenizer;
    if (tokenizer === undefined) throw new ConfigError("tokenizer", "a conversation needs one, and the model has none.");
    return new ChatSession(this, { template: this.chatTemplate, ...this.generation, ...options, tokenizer });
  }

  #completed(options: GenerateTextOptions): GenerateTextOptions {
    return { tokenizer: this.tokenizer, ...this.generation, ...options };
  }
}
