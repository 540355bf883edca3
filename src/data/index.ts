/** @file The data room: text as documents, documents as tokens, tokens as batches. */

export type { Batches, Json } from "./batches.js";
export { builtinCorpora, builtinCorpus, builtinPath, type BuiltinCorpus } from "./builtin.js";
export { ChatTemplate, type ChatMessage, type ChatTemplateOptions, type ChatTokenizer, type RenderOptions } from "./chat-template.js";
export { Corpus, type CorpusDocument, type CorpusTokenizer, type TextOptions, type TokenizeOptions } from "./corpus.js";
export { BatchSampler, batchOrders, samplerStateSchema, type BatchOptions, type BatchOrder, type SamplerState, type TokenBatch } from "./sampler.js";
export type { InvalidUtf8 } from "./text.js";
export { ignoredTarget, TokenDataset, TokenSplit, type TokenArray } from "./tokens.js";
