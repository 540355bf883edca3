/** @file The generation room: samplers, caches, stop strings, and the loop over them. */

export { CachedContext } from "./cached-context.js";
export { ChatSession, type ChatOptions, type ChatPiece, type ReplyOptions, type TurnReport } from "./chat.js";
export { generate, generateBatch, generateText, type GenerateOptions, type Generation, type Prompt } from "./generate.js";
export { logitBias, newTokenPenalty, repetitionPenalty, type LogitProcessor, type ProcessedSequence } from "./logit-processors.js";
export { Scheduler, type AddOptions, type SchedulerOptions } from "./scheduler.js";
export { SequenceState, type SequenceStateOptions, type Snapshot } from "./sequence-state.js";
export { generationSettings, type GenerationSettings, type GenerationSettingsInput } from "./options.js";
export { argmax, candidates, largest, logProbabilities, sample, type Candidates, type Sampling } from "./sampler.js";
export { Sequence, type FinishReason, type Piece, type TextCodec } from "./sequence.js";
export { StopStrings } from "./stop-strings.js";
