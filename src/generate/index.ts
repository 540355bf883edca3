/** @file The generation room: samplers, caches, stop strings, and the loop over them. */

export { CachedContext } from "./cached-context.js";
export { ChatSession, type ChatOptions, type ChatPiece, type ReplyOptions, type TurnReport } from "./chat.js";
export { generate, generateBatch, generateText, type GenerateOptions, type Generation, type Prompt } from "./generate.js";
export { DenseKeyValueCache, type CacheDType } from "./key-value-cache.js";
export { generationSettings, type GenerationSettings, type GenerationSettingsInput } from "./options.js";
export { argmax, candidates, largest, logProbabilities, sample, type Candidates, type Sampling } from "./sampler.js";
export type { FinishReason, Piece, TextCodec } from "./sequence.js";
export { StopStrings } from "./stop-strings.js";
