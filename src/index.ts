/**
 * @file Hornbook: the whole life of a language model. What a program imports; the rooms behind it are in docs/architecture.md.
 *
 *     import { LanguageModel, Tokenizer, Corpus, train } from "hornbook";
 */

// The declarations use `AsyncDisposable`, which a program's own `lib` may lack.
/// <reference lib="esnext.disposable" preserve="true" />

export * from "./errors.js";
export { ChatTemplate, Corpus, TokenDataset, builtinCorpora, builtinCorpus, type Batches, type ChatMessage, type CorpusDocument, type TextOptions, type TokenBatch, type TokenizeOptions } from "./data/index.js";
export { Tokenizer, CharTokenizer, BpeTokenizer, endOfText, type DecodeStream, type EncodeOptions, type TrainTokenizerOptions } from "./tokenizer/index.js";
export { LanguageModel, type GenerateTextOptions, type LanguageModelOptions, type LoadModelOptions } from "./language-model.js";
export { exportModel, type ExportOptions, type ExportedModel } from "./export-model.js";
export { openModel, type ModelSource } from "./checkpoint/model-source.js";
export { Gguf, ggufMixes, type GgufMix, type SaveGgufOptions, type SavedGguf } from "./checkpoint/gguf/index.js";
export { Decoder, Head, Module, modelConfig, type ForwardOptions, type ModelConfig, type ModelOptions, type Taps } from "./model/index.js";
export {
  CachedContext, ChatSession, generate, generateBatch, generateText, type ChatOptions, type ChatPiece, type ReplyOptions, type TurnReport, type FinishReason, type GenerateOptions, type Generation, type Piece, type Prompt } from "./generate/index.js";
export {
  train, trainSettings, estimateMemory, evaluateObjective, pretraining, TrainingError, type Objective, type ObjectiveResult, type StepReport, type StepSums, type TrainOptions,
  type TrainSettings, type TrainSettingsInput, type TrainingData,
} from "./train/index.js";
export { defineRecipe, type Recipe } from "./train/recipe.js";
export { loadRecipe, prepareRecipe, prepareTrained, recipeNames, type ContinueOptions, type Prepared } from "./recipes.js";
export { compareModels, type Divergence, type DivergenceOptions } from "./evaluate/divergence.js";
export { likelihood, type Likelihood, type LikelihoodOptions } from "./evaluate/likelihood.js";
export { pullModel, type PulledModel, type PullOptions, type PullProgress } from "./checkpoint/hub/index.js";
export { systemInfo, type SystemInfo } from "./system-info.js";
/** Tensors, their ops and devices: `tensor.Tensor`, `tensor.matmul`, `tensor.scope`. */
export * as tensor from "./tensor/index.js";
export { Tensor, backward, noGrad, scope } from "./tensor/index.js";
