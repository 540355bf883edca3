/**
 * @file A model as a folder that Hugging Face transformers opens: `config.json`, `model.safetensors`, `generation_config.json`,
 * and the tokenizer's files. Which architecture it is saved as follows from its configuration (`families/`).
 *
 * What an architecture cannot say stands in config.json under `"inkling"`, as fields of our configuration that override what the rest says.
 * A GPT-2 without biases, for one, is saved with biases of zero, which every program computes right, and `"inkling": {"bias": false}`.
 *
 * Weights are read and written tensor by tensor, so that beyond the model there is about one tensor in memory.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, ConfigError } from "../errors.js";
import { modelConfig, type Decoder, type ModelConfig, type ModelOptions } from "../model/index.js";
import { Tensor, launch, scope, type FloatDType } from "../tensor/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { writeFolderAtomically } from "./atomic.js";
import { ConfigFile, differences, families, type Family, type TensorPart, type TensorPlan } from "./families/index.js";
import { fromFileOrder, toFileOrder } from "./row-order.js";
import { writeGenerationDefaults, type GenerationDefaults } from "./folder.js";
import { openModel, type ModelSource } from "./model-source.js";
import { writeSafetensorsFolder, type TensorToStore } from "./safetensors.js";

export interface ModelToSave {
  /** `modelType`: what it is saved as where several architectures say the same, such as the one it was loaded as. */
  readonly model: Decoder & { readonly modelType?: string | undefined };
  readonly tokenizer?: Tokenizer | undefined;
  readonly generation?: GenerationDefaults | undefined;
  /** Of the weights in the file; f32, in which they are trained, loses nothing. */
  readonly dtype?: FloatDType | undefined;
}

// ---- saving ----------------------------------------------------------------------------------------------------------------

/**
 * Saves a model as a folder, atomically: the folder holds the old model or the new one, whole. Files of the user's own stay.
 *
 * @throws CheckpointError `disk-full`, `cannot-write`, or `not-a-checkpoint` (the folder holds something else); what stood there stands.
 */
export async function saveModel(folder: string, what: ModelToSave): Promise<void> {
  const owns = (name: string): boolean =>
    /^(generation_)?config\.json$|^model.*\.safetensors(\.index\.json)?$/.test(name) ||
    (what.tokenizer !== undefined && /^(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json$|^(merges\.txt|tokenizer\.model)$/.test(name));
  await writeFolderAtomically(folder, { marker: "config.json", owns }, (into) => writeModel(into, what));
}

/** Writes a model's files into a folder that is being written, as part of something larger; see `saveModel`. */
export async function writeModel(folder: string, { model, tokenizer, generation = {}, dtype = "f32" }: ModelToSave): Promise<void> {
  const { config } = model;
  const fitting = families.filter((family) => family.describes(config));
  const family = fitting.find(({ modelType }) => modelType === model.modelType) ?? fitting[0];
  const boundary = {
    bos_token_id: tokenizer?.bosId ?? null,
    eos_token_id: idOrIds(generation.stopIds) ?? tokenizer?.eosId ?? null,
  };
  const fields = { ...family.write(config), ...boundary };
  const unsaid = unsaidBy(family.read(new ConfigFile("config.json", fields)), config);
  await writeJson(join(folder, "config.json"), {
    architectures: [family.architecture],
    model_type: family.modelType,
    ...fields,
    // transformers has one for some architectures where nothing is said, and it may lie beyond the vocabulary.
    pad_token_id: null,
    dtype: dtype === "bf16" ? "bfloat16" : "float32",
    ...(Object.keys(unsaid).length > 0 && { inkling: unsaid }),
  });
  await writeJson(join(folder, "generation_config.json"), { ...boundary, ...writeGenerationDefaults(generation) });
  await writeSafetensorsFolder(folder, storedTensors(model, family, dtype));
  await tokenizer?.save(folder);
}

/** The fewest fields that make what a family says the whole configuration. */
function unsaidBy(said: ModelOptions, config: ModelConfig): Partial<ModelConfig> {
  let unsaid: Partial<ModelConfig> = config;
  // From the last: what another field is the default of comes after it.
  for (const field of (Object.keys(config) as (keyof ModelConfig)[]).toReversed()) {
    const { [field]: _, ...fewer } = unsaid;
    try {
      if (differences(config, modelConfig({ ...said, ...fewer })).length === 0) unsaid = fewer;
    } catch (error) {
      // It cannot be built without this field.
      if (!(error instanceof ConfigError)) throw error;
    }
  }
  return unsaid;
}

function idOrIds(ids: readonly number[] | undefined): number | readonly number[] | undefined {
  return ids?.length === 1 ? ids[0] : ids?.length === 0 ? undefined : ids;
}

/** The settings that transformers 5 refuses as whole numbers: 30 must be written 30.0, as JSON.stringify does not. */
const fractions = /("(?:\w*softcapping|logit_scale|\w*_eps|layer_norm_epsilon|rope_theta|\w*factor)": -?\d+)(?=,?\n)/g;

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2).replace(fractions, "$1.0")}\n`);
}

function shapesOf(parameters: ReadonlyMap<string, Tensor>): Map<string, readonly number[]> {
  return new Map([...parameters].map(([name, { shape }]) => [name, shape]));
}

function* storedTensors(model: Decoder, family: Family, dtype: FloatDType): Generator<TensorToStore> {
  const parameters = model.parameters();
  for (const plan of family.tensors(model.config, shapesOf(parameters))) {
    for (const { part, window } of windowsOf(plan, parameters)) {
      const { name, shape, rows } = part;
      const data = async () => {
        const bytes = await readWindow(shape, dtype, window);
        return rows === undefined ? bytes : toFileOrder(bytes, rows);
      };
      yield { name, shape, dtype: dtype === "bf16" ? "BF16" : "F32", data };
    }
  }
}

async function readWindow(shape: readonly number[], dtype: FloatDType, window: (() => Tensor) | undefined): Promise<Uint8Array<ArrayBuffer>> {
  if (window === undefined) return new Uint8Array(shape.reduce((a, b) => a * b, dtype === "bf16" ? 2 : 4));
  const dense = scope(() => {
    const x = window();
    const y = Tensor.empty(shape, dtype, x.device);
    launch("copy", { x, y }, {});
    return y;
  });
  try {
    const raw = await dense.raw();
    return new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength);
  } finally {
    dense.dispose();
  }
}

/** The parts of a plan, each with the view of the parameter that has the file's shape; none where there is no such parameter. */
function* windowsOf(plan: TensorPlan, parameters: ReadonlyMap<string, Tensor>): Generator<{ part: TensorPart; window: (() => Tensor) | undefined }> {
  const parameter = plan.parameter === undefined ? undefined : parameters.get(plan.parameter)!;
  let row = 0;
  for (const part of plan.parts) {
    const { shape, transposed = false } = part;
    const offset = row * (parameter?.strides[0] ?? 0);
    const window = parameter && (() => parameter.view(shape, transposed ? parameter.strides.toReversed() : parameter.strides, offset));
    yield { part, window };
    row += transposed ? shape[1] : shape[0];
  }
}

// ---- loading ---------------------------------------------------------------------------------------------------------------

export interface LoadOptions {
  /** Ignore tensors in the file that the model has no use for, which are an error otherwise: it may be another model. */
  readonly allowUnused?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fills a model with the weights of another that lies in files; `path` as for `openModel`. Weights in bf16, f16 or any other dtype become f32.
 *
 * @throws CheckpointError what `openModel` throws; `other-model` when the configuration there is not the model's; `bad-checkpoint` for files
 * that are cut short or altered; `missing-tensor`, `shape-mismatch` (naming both shapes), `unexpected-tensor`. After an error while
 * reading, the model's weights are not to be used.
 */
export async function loadWeights(path: string, model: Decoder, options: LoadOptions = {}): Promise<void> {
  await using source = await openModel(path);
  await fillModel(source, model, options);
}

async function fillModel(source: ModelSource, model: Decoder, { allowUnused = false, signal }: LoadOptions): Promise<void> {
  const { config, weights } = source;
  // Dropout is a matter of training, not of what the weights mean.
  const field = differences(config, model.config).find((field) => field !== "dropout");
  if (field !== undefined) {
    throw new CheckpointError({ file: source.path, field }, `the model here has ${JSON.stringify(config[field])}, and the one to load into ${JSON.stringify(model.config[field])}.`, {
      code: "other-model",
    });
  }
  const parameters = model.parameters();
  const plans = source.plans(shapesOf(parameters));
  checkTensors(source, plans, allowUnused);
  await weights.verify();
  for (const plan of plans) {
    for (const { part, window } of windowsOf(plan, parameters)) {
      signal?.throwIfAborted();
      const values = await source.find(part.name)!.readFloat32();
      if (window !== undefined) fill(window, part.rows === undefined ? values : fromFileOrder(values, part.rows), part.shape);
      else if (values.some((value) => value !== 0)) {
        throw new CheckpointError({ file: weights.path, field: part.name }, "the configuration says that there are no biases, and this one is not zero.", {
          code: "bad-config",
          hint: 'Remove what "inkling" in config.json says of biases to load the model with them.',
        });
      }
      // Otherwise what is read could pile up faster than the device takes it.
      await model.device.synchronize();
    }
  }
}

/**
 * The model of an open source: `make` builds it, without contents, and its weights are read. Throws what `loadWeights` throws, and then
 * disposes of the model.
 */
export async function loadModel<M extends Decoder>(source: ModelSource, make: (source: ModelSource) => M | Promise<M>, options: LoadOptions = {}): Promise<M> {
  const model = await make(source);
  try {
    await fillModel(source, model, options);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function fill(window: () => Tensor, values: Float32Array<ArrayBuffer>, shape: readonly number[]): void {
  scope(() => {
    const y = window();
    if (y.isDense) y.write(values);
    else launch("copy", { x: Tensor.from(values, { shape, device: y.device }), y }, {});
  });
}

function checkTensors(source: ModelSource, plans: readonly TensorPlan[], allowUnused: boolean): void {
  const { weights, ignored } = source;
  const used = new Set<string>();
  for (const { name, shape } of plans.flatMap((plan) => plan.parts)) {
    const stored = source.find(name);
    if (stored === undefined) {
      throw new CheckpointError({ file: weights.path, field: name }, `this tensor is missing; the configuration asks for it, [${shape.join(", ")}].`, { code: "missing-tensor" });
    }
    if (stored.shape.join() !== shape.join()) {
      throw new CheckpointError({ file: weights.path, field: name }, `its shape is [${stored.shape.join(", ")}], and by the configuration it must be [${shape.join(", ")}].`, {
        code: "shape-mismatch",
      });
    }
    used.add(stored.name);
  }
  const unused = allowUnused ? [] : [...weights.tensors.keys()].filter((name) => !used.has(name) && !ignored?.test(name));
  if (unused.length > 0) {
    const some = `${unused.slice(0, 5).join(", ")}${unused.length > 5 ? `, and ${unused.length - 5} more` : ""}`;
    throw new CheckpointError({ file: weights.path }, `it holds tensors that this architecture has no place for: ${some}.`, {
      code: "unexpected-tensor",
      hint: "Is the configuration that of these weights? `allowUnused` loads the rest.",
    });
  }
}
