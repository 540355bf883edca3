/** @file The model room: a decoder as a list of layers, its configuration, and the parts that layers are made of. */

export { type LayerSpec, type NormPlacement } from "./block.js";
export { modelConfig, type LayerOptions, type LayeredOptions, type ModelConfig, type ModelOptions } from "./config.js";
export type { DropoutSource, ForwardContext, Taps } from "./context.js";
export { countParameters, withoutWeights } from "./count.js";
export { Decoder, type DecoderOptions, type ForwardOptions } from "./decoder.js";
export { FeedForward } from "./feed-forwards/feed-forward.js";
export { feedForwards, type FeedForwardSpec, type FeedForwardSpecs } from "./feed-forwards/index.js";
export { Head, ignoreIndex, type HeadOptions } from "./head.js";
export { Adapter, FusedLinear, Linear, LinearPart, type Adaptable } from "./linear.js";
export { mixers, type MixerSpec, type MixerSpecs } from "./mixers/index.js";
export { Mixer, type ActivationSize } from "./mixers/mixer.js";
export { Module } from "./module.js";
export { hiddenMatrix, roleOf, setRole, table, vector, type Initializer, type ParameterRole } from "./parameter.js";
export { completedRopeScaling, ropeFrequencies, ropeRegime, yarnAttentionFactor, type RopeScaling } from "./positions/rope-scaling.js";
export { rotaryWidth, type RopeSpec } from "./positions/rotary.js";
export { firstDifference, sameValue } from "./same-value.js";
export { RecurrentState } from "./recurrent-state.js";
export { isStateful, type ModuleState, type SavedSlot, type StateDType, type StateOptions, type StatePass, type Stateful } from "./state.js";
export type { BuildPlace, ModelShape, PartKind } from "./specs.js";
export { layersOf, transformerConfig, transformerOf, type TransformerConfig, type TransformerOptions } from "./transformer.js";
