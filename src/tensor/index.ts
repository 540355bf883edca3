/** @file The public face of the tensor room. */

import "./methods.js";

export {
  blockFormatNames, blockFormatOfGgmlType, blockFormats, isWritten, rowBytes, writtenFormats, type BlockFormat, type BlockFormatSpec, type WrittenFormat,
} from "./block-formats.js";
export { CpuDevice, type CpuDeviceOptions } from "./cpu/device.js";
export type { Activation } from "./contract.js";
export type { BufferView, Device } from "./device.js";
export { chosenDevice, defaultDevice, setDefaultDevice } from "./devices.js";
export { bytesPerElement, dtypes, fromBfloat16, fromFloat16, isFloat, toBfloat16, toFloat16, type DType, type FloatDType, type RawArray } from "./dtype.js";
export { launch } from "./launch.js";
export * from "./ops/index.js";
export { mostBest } from "./ops/quantized.js";
export { joinMaster, splitMaster, updateMaster } from "./ops/master.js";
export { QuantizedTensor, type BlockRows, type QuantizedSegment, type QuantizedTensorOptions, type Weight } from "./quantized.js";
export { Random, randomKey, type RandomKey } from "./random.js";
export { Replay } from "./replay.js";
export { ReferenceDevice } from "./reference/device.js";
export { keep, scope } from "./scope.js";
export type { Shape } from "./shape.js";
export { backward, gradEnabled, noGrad, recompute, record, type Backward, type BackwardOptions } from "./tape.js";
export { memory, Tensor, type NestedNumbers, type TensorData } from "./tensor.js";
