/**
 * @file Weights between a model and its files, tensor by tensor, so that beyond the model there is about one tensor in memory.
 *
 * A plan says where a parameter lies: in one tensor or in several whose rows follow each other, transposed, with its rows in another order, or with a
 * number added. What a file has quantised can stay in its blocks, since rows move whole.
 */

import { basename } from "node:path";
import { CheckpointError, DeviceError } from "../errors.js";
import { firstDifference, roleOf, type Decoder } from "../model/index.js";
import { rowBytes, type BlockFormat } from "../tensor/block-formats.js";
import { QuantizedTensor, Tensor, launch, scope, type FloatDType, type BlockRows, type Weight } from "../tensor/index.js";
import { isFileDType } from "./dtype.js";
import { type TensorPart, type TensorPlan } from "./families/index.js";
import { broken } from "./file-bytes.js";
import { quantizedTensorsError } from "./quantized.js";
import { Safetensors } from "./safetensors.js";
import type { ModelSource } from "./model-source.js";
import { fromFileOrder, toFileOrder } from "./row-order.js";
import type { StoredTensor } from "./stored-tensor.js";

export function shapesOf(weights: ReadonlyMap<string, Weight>): Map<string, readonly number[]> {
  return new Map([...weights].map(([name, { shape }]) => [name, shape]));
}

// ---- from a model ----------------------------------------------------------------------------------------------------------

/** A part of a plan, and how to see that of the parameter which it holds; none where we have no such parameter. */
export interface PlannedPart {
  readonly part: TensorPart;
  /** In the shape of the file; the caller's scope owns it. */
  readonly window: (() => Tensor) | undefined;
}

/** The parts of a plan, each with the view of the parameter that has the file's shape. Of a quantised weight it is a view of its numbers. */
export function* partsOf(plan: TensorPlan, weights: ReadonlyMap<string, Weight>): Generator<PlannedPart> {
  const weight = plan.parameter === undefined ? undefined : weights.get(plan.parameter)!;
  let row = 0;
  for (const part of plan.parts) {
    const { shape, transposed = false } = part;
    const first = row;
    const window = (): Tensor => {
      const dense = weight instanceof QuantizedTensor ? weight.dequantize() : weight!;
      return dense.view(shape, transposed ? dense.strides.toReversed() : dense.strides, first * dense.strides[0]);
    };
    yield { part, window: weight && window };
    row += transposed ? shape[1] : shape[0];
  }
}

/** The bytes of one part as the file has it, in this dtype; zeros where we have no such parameter. */
export async function readPart({ part: { shape, rows, offset = 0 }, window }: PlannedPart, dtype: FloatDType): Promise<Uint8Array<ArrayBuffer>> {
  if (window === undefined) return new Uint8Array(shape.reduce((a, b) => a * b, dtype === "bf16" ? 2 : 4));
  const dense = scope(() => {
    const x = window();
    const y = Tensor.empty(shape, dtype, x.device);
    launch("copy", { x: offset === 0 ? x : x.add(offset), y }, {});
    return y;
  });
  try {
    const raw = await dense.raw();
    const bytes = new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength);
    return rows === undefined ? bytes : toFileOrder(bytes, rows);
  } finally {
    dense.dispose();
  }
}

// ---- into a model ----------------------------------------------------------------------------------------------------------

export interface LoadOptions {
  /** Ignore tensors in the file that the model has no use for, which are an error otherwise: it may be another model. */
  readonly allowUnused?: boolean;
  /** Turn quantised weights into f32, which takes several times the memory and can be trained. By default they stay in their blocks. */
  readonly dequantize?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fills a model with the weights of a source. Weights in bf16, f16 or any other plain dtype become f32.
 *
 * @throws CheckpointError `other-model` when the configuration there is not the model's; `bad-checkpoint` for files that are cut short or altered;
 * `missing-tensor`, `shape-mismatch` (naming both shapes), `unexpected-tensor`, `quantized-weights`. After an error while reading, the model's weights are not to be used.
 */
export async function fillModel(source: ModelSource, model: Decoder, { allowUnused = false, dequantize = false, signal }: LoadOptions): Promise<void> {
  const { config, weights: file } = source;
  // Dropout is a matter of training, not of what the weights mean.
  const difference = firstDifference({ ...config, dropout: 0 }, { ...model.config, dropout: 0 });
  if (difference !== undefined) {
    const { path: field, a: here, b: other } = difference;
    throw new CheckpointError({ file: source.path, field }, `the model here has ${JSON.stringify(here)}, and the one to load into ${JSON.stringify(other)}.`, { code: "other-model" });
  }
  const weights = model.weights();
  const plans = source.plans(shapesOf(weights));
  checkTensors(source, plans, allowUnused);
  await file.verify();
  const quantized = new Map<string, QuantizedTensor>();
  try {
    for (const plan of plans) {
      signal?.throwIfAborted();
      const stored = plan.parts.map(({ name }) => source.find(name)!);
      let throughMemory = model.device.writeFile === undefined;
      if (!dequantize && stays(plan, stored, weights)) quantized.set(plan.parameter!, await quantizedTensor(plan, stored, model));
      else for (const planned of partsOf(plan, weights)) throughMemory = (await fillPart(planned, source.find(planned.part.name)!, model)) || throughMemory;
      // What JavaScript reads could pile up faster than the device takes it; what the device reads itself cannot.
      if (throughMemory) await settled(model, file.path);
    }
  } finally {
    // After an error too: the model is disposed of with all that it has.
    model.replace(quantized);
  }
  await settled(model, file.path);
}

/** Waits for the device; where it read a file that ends before, the error says so. */
async function settled({ device }: Decoder, file: string): Promise<void> {
  try {
    await device.synchronize();
  } catch (error) {
    const ended = error instanceof DeviceError ? /the file ends at byte (\d+)/.exec(error.message) : null;
    if (ended !== null) throw broken({ file, offset: Number(ended[1]) }, "the file ends here: it was cut short while being read.");
    throw error;
  }
}

/**
 * From how many rows on the unembedding is split, so that the best tokens are found without reading all of it (`Decoder.best`). Of fewer, the reading is soon
 * done anyway.
 */
const splitRows = 16384;

/** Whether a weight stays as the file has it: a matrix that is multiplied or looked up in, some of it in blocks. */
function stays({ parameter, parts }: TensorPlan, stored: readonly StoredTensor[], weights: ReadonlyMap<string, Weight>): boolean {
  const formats = stored.map(({ dtype }) => blockFormatOf(dtype));
  return (
    parameter !== undefined && (parameter === "embed" || parameter === "unembed" || roleOf(weights.get(parameter)!)?.isHiddenMatrix === true) &&
    stored.some(({ dtype }) => !isFileDType(dtype)) && formats.every((format) => format !== undefined) && !parts.some(({ transposed }) => transposed === true)
  );
}

/** The block format of a dtype; f16 and bf16 count as such, with blocks of one. */
function blockFormatOf(dtype: StoredTensor["dtype"]): BlockFormat | undefined {
  if (!isFileDType(dtype)) return dtype;
  return dtype === "F16" ? "f16" : dtype === "BF16" ? "bf16" : undefined;
}

async function quantizedTensor({ parameter, parts }: TensorPlan, stored: readonly StoredTensor[], { device, config }: Decoder): Promise<QuantizedTensor> {
  const formats = stored.map(({ dtype }) => blockFormatOf(dtype)!);
  const segments: BlockRows[] = [];
  try {
    for (let begin = 0, end = 0; begin < stored.length; begin = end) {
      // Neighbours of one format are read into one tensor.
      while (formats[end] === formats[begin]) end++;
      const rows = stored.slice(begin, end).reduce((sum, { shape }) => sum + shape[0], 0);
      const blocks = Tensor.empty([rows, rowBytes(formats[begin], stored[begin].shape[1])], "u8", device);
      segments.push({ format: formats[begin], blocks });
      let row = 0;
      for (let i = begin; i < end; i++) {
        const place = blocks.view([stored[i].shape[0], blocks.shape[1]], blocks.strides, row * blocks.shape[1]);
        row += place.shape[0];
        try {
          await stored[i].readOnto(place, parts[i].rows);
        } finally {
          place.dispose();
        }
      }
    }
    const { vocabSize, head: { tied, softcap } } = config;
    // With a soft cap the best are not looked for so.
    const split = parameter === (tied ? "embed" : "unembed") && vocabSize >= splitRows && softcap === 0;
    return new QuantizedTensor(segments, { split });
  } catch (error) {
    for (const { blocks } of segments) blocks.dispose();
    throw error;
  }
}

/** True where its values went through JavaScript's memory. */
async function fillPart({ part, window }: PlannedPart, stored: StoredTensor, { device }: Decoder): Promise<boolean> {
  if (window === undefined) {
    const values = await stored.readFloat32();
    if (values.every((value) => value === 0)) return false;
    throw new CheckpointError({ file: stored.file, field: part.name }, "the configuration says that there are no biases, and this one is not zero.", {
      code: "bad-config",
      hint: 'Remove what "hornbook" in the configuration says of biases to load the model with them.',
    });
  }
  const { shape, rows, offset = 0 } = part;
  const format = isFileDType(stored.dtype) ? undefined : stored.dtype;
  if (format !== undefined && part.transposed !== true) {
    const blockRow = rowBytes(format, shape.at(-1)!);
    const w = Tensor.empty([stored.byteLength / blockRow, blockRow], "u8", device);
    await stored.readOnto(w, rows);
    scope(() => {
      const y = Tensor.empty([w.shape[0], shape.at(-1)!], "f32", device);
      launch("dequantize", { w, y }, { format, layout: "rows" });
      launch("copy", { x: (offset === 0 ? y : y.sub(offset)).reshape([...shape]), y: window() }, {});
    });
    w.dispose();
    return false;
  }
  if (stored.dtype === "F32" && part.transposed !== true && offset === 0) {
    const y = scope(window);
    try {
      await stored.readOnto(y, rows);
    } finally {
      y.dispose();
    }
    return false;
  }
  const read = await stored.readFloat32();
  const shifted = offset === 0 ? read : read.map((value) => value - offset);
  const values = rows === undefined ? shifted : fromFileOrder(shifted, rows);
  scope(() => {
    const y = window();
    if (y.isDense) y.write(values);
    else launch("copy", { x: Tensor.from(values, { shape, device }), y }, {});
  });
  return true;
}

function checkTensors(source: ModelSource, plans: readonly TensorPlan[], allowUnused: boolean): void {
  const { weights } = source;
  const quantized = quantizedTensorsError(weights.path, [...weights.tensors.keys()].filter((name) => !source.isIgnored(name)));
  // What is odd about the configuration may be why its tensors are not there.
  const known = source.warnings.length === 0 ? {} : { hint: source.warnings.join(" ") };
  const used = new Set<string>();
  for (const { name, shape } of plans.flatMap((plan) => plan.parts)) {
    const stored = source.find(name);
    if (stored === undefined) {
      if (quantized !== undefined) throw quantized;
      const listed = weights instanceof Safetensors ? weights.absent.get(name) : undefined;
      const where = listed === undefined ? "" : ` ${basename(weights.path)} says that it is in ${listed}, and it is not.`;
      throw new CheckpointError({ file: weights.path, field: name }, `this tensor is missing; the configuration asks for it, [${shape.join(", ")}].${where}`, { code: "missing-tensor", ...known });
    }
    if (stored.shape.join() !== shape.join()) {
      throw new CheckpointError({ file: weights.path, field: name }, `its shape is [${stored.shape.join(", ")}], and by the configuration it must be [${shape.join(", ")}].`, {
        code: "shape-mismatch",
        ...known,
      });
    }
    used.add(stored.name);
  }
  const unused = [...weights.tensors.keys()].filter((name) => !used.has(name) && !source.isIgnored(name));
  // Scales that nobody applies would make wrong numbers of the weights beside them.
  const scales = quantizedTensorsError(weights.path, unused);
  if (scales !== undefined) throw scales;
  if (unused.length > 0 && !allowUnused) {
    const some = `${unused.slice(0, 5).join(", ")}${unused.length > 5 ? `, and ${unused.length - 5} more` : ""}`;
    throw new CheckpointError({ file: weights.path }, `it holds tensors that this architecture has no place for: ${some}.`, {
      code: "unexpected-tensor",
      hint: "Is the configuration that of these weights?",
    });
  }
}
