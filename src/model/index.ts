/** @file The model room: one configurable decoder and its configuration. */

export { isGated, modelConfig, parameterCount, rotaryWidth, type ModelConfig, type ModelOptions } from "./config.js";
export type { DropoutSource, ForwardContext, KeyValueCache, Taps } from "./context.js";
export { Decoder, type DecoderOptions, type ForwardOptions } from "./decoder.js";
export { Head, ignoreIndex, type HeadOptions } from "./head.js";
export { Module } from "./module.js";
export { completedRopeScaling, yarnAttentionFactor, type RopeScaling } from "./positions/rope-scaling.js";
