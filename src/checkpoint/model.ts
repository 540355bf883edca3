/**
 * @file A model as a folder that Hugging Face transformers opens: `config.json`, `model.safetensors`, `generation_config.json`,
 * and the tokenizer's files. Which architecture it is saved as follows from its configuration (`families/`).
 *
 * What an architecture cannot say stands in config.json under `"inkling"`, as fields of our configuration that override what the rest says.
 * A GPT-2 without biases, for one, is saved with biases of zero, which every program computes right, and `"inkling": {"bias": false}`.
 *
 * Weights are read and written tensor by tensor, so that beyond the model there is about one tensor in memory.
 */

import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { CheckpointError, ConfigError, systemErrorCode } from "../errors.js";
import { modelConfig, type Decoder, type ModelConfig, type ModelOptions } from "../model/index.js";
import { Tensor, launch, scope, type FloatDType } from "../tensor/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { readableFolder, writeFolderAtomically } from "./atomic.js";
import { ConfigFile, differences, families, type Family, type TensorPart, type TensorPlan } from "./families/index.js";
import { fromFileOrder, toFileOrder } from "./row-order.js";
import { Safetensors, writeSafetensorsFolder, type TensorToStore } from "./safetensors.js";
import type { StoredTensor } from "./stored-tensor.js";

/** How a model is meant to be sampled from: `generation_config.json`. */
export interface GenerationDefaults {
  /** The tokens that end a text. */
  readonly stopIds?: number[];
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

export interface ModelToSave {
  readonly model: Decoder;
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
  const family = families.find((family) => family.describes(config))!;
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

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
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

/**
 * The folder of a model's files: `path` itself, or, where it is a training run's, the best checkpoint in it, else the last.
 */
export async function resolveModelFolder(path: string): Promise<string> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true;
  for (const candidate of isFolder ? [path, join(path, "best"), join(path, "last")] : [path]) {
    const folder = await readableFolder(candidate);
    if ((await stat(join(folder, "config.json")).catch(() => undefined)) !== undefined) return folder;
  }
  return path;
}

export interface StoredModelConfig {
  readonly config: ModelConfig;
  readonly family: Family;
  readonly generation: GenerationDefaults;
}

/**
 * What a folder's model is, without its weights.
 *
 * @throws CheckpointError `no-such-file`; `not-a-model` for what is no model's folder; `pickle`; `unknown-architecture`, naming those that are
 * known; `bad-config` or `unsupported-config`, naming the field.
 */
export async function readModelConfig(folder: string): Promise<StoredModelConfig> {
  const place = await readableFolder(folder);
  await checkFolder(place);
  const path = join(place, "config.json");
  const file = new ConfigFile(path, await readJson(path));
  const modelType = file.text("model_type", "");
  const family = families.find((family) => family.modelType === modelType);
  if (family === undefined) {
    throw new CheckpointError({ file: path, field: "model_type" }, `the architecture ${JSON.stringify(modelType)} is not one of those known here: ${families.map((f) => f.modelType).join(", ")}.`, {
      code: "unknown-architecture",
    });
  }
  const config = checkedConfig(path, { ...family.read(file), ...(file.object("inkling").json as Partial<ModelOptions>) });
  if (!family.describes(config)) {
    throw new CheckpointError({ file: path, field: "inkling" }, `it says what a model of the architecture ${modelType} cannot be.`, { code: "bad-config" });
  }
  return { config, family, generation: await readGenerationDefaults(place, file) };
}

export interface LoadOptions {
  /** Ignore tensors in the file that the model has no use for, which are an error otherwise: it may be another model. */
  readonly allowUnused?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fills a model with the weights of a folder. Weights in bf16, f16 or any other dtype become f32.
 *
 * @throws CheckpointError what `readModelConfig` throws; `other-model` when the folder's configuration is not the model's; `bad-checkpoint` for files
 * that are cut short or altered; `missing-tensor`, `shape-mismatch` (naming both shapes), `unexpected-tensor`. After an error while
 * reading, the model's weights are not to be used.
 */
export async function loadWeights(folder: string, model: Decoder, { allowUnused = false, signal }: LoadOptions = {}): Promise<void> {
  const { config, family } = await readModelConfig(folder);
  // Dropout is a matter of training, not of what the weights mean.
  const field = differences(config, model.config).find((field) => field !== "dropout");
  if (field !== undefined) {
    throw new CheckpointError({ file: folder, field }, `the model here has ${JSON.stringify(config[field])}, and the one to load into ${JSON.stringify(model.config[field])}.`, {
      code: "other-model",
    });
  }
  await using file = await openWeights(folder);
  const parameters = model.parameters();
  const plans = family.tensors(config, shapesOf(parameters));
  const find = (name: string): StoredTensor | undefined => file.tensors.get(name) ?? file.tensors.get(name.startsWith(family.prefix) ? name.slice(family.prefix.length) : name);
  checkTensors(file, plans, find, allowUnused ? /^/ : family.ignored);
  await file.verify();
  for (const plan of plans) {
    for (const { part, window } of windowsOf(plan, parameters)) {
      signal?.throwIfAborted();
      const values = await find(part.name)!.readFloat32();
      if (window !== undefined) fill(window, part.rows === undefined ? values : fromFileOrder(values, part.rows), part.shape);
      else if (values.some((value) => value !== 0)) {
        throw new CheckpointError({ file: file.path, field: part.name }, "the configuration says that there are no biases, and this one is not zero.", {
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
 * The model of a folder: `make` builds it, without contents, and its weights are read. Throws what `loadWeights` throws, and then
 * disposes of the model.
 */
export async function loadModel<M extends Decoder>(folder: string, make: (stored: StoredModelConfig) => M, options?: LoadOptions): Promise<M> {
  const model = make(await readModelConfig(folder));
  try {
    await loadWeights(folder, model, options);
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

function checkTensors(file: Safetensors, plans: readonly TensorPlan[], find: (name: string) => StoredTensor | undefined, ignored: RegExp | undefined): void {
  const used = new Set<string>();
  for (const { name, shape } of plans.flatMap((plan) => plan.parts)) {
    const stored = find(name);
    if (stored === undefined) {
      throw new CheckpointError({ file: file.path, field: name }, `this tensor is missing; config.json asks for it, [${shape.join(", ")}].`, { code: "missing-tensor" });
    }
    if (stored.shape.join() !== shape.join()) {
      throw new CheckpointError({ file: file.path, field: name }, `its shape is [${stored.shape.join(", ")}], and by config.json it must be [${shape.join(", ")}].`, {
        code: "shape-mismatch",
      });
    }
    used.add(stored.name);
  }
  const unused = [...file.tensors.keys()].filter((name) => !used.has(name) && !ignored?.test(name));
  if (unused.length > 0) {
    const some = `${unused.slice(0, 5).join(", ")}${unused.length > 5 ? `, and ${unused.length - 5} more` : ""}`;
    throw new CheckpointError({ file: file.path }, `it holds tensors that this architecture has no place for: ${some}.`, {
      code: "unexpected-tensor",
      hint: "Is config.json that of these weights? `allowUnused` loads the rest.",
    });
  }
}

async function openWeights(folder: string): Promise<Safetensors> {
  try {
    return await Safetensors.open(folder);
  } catch (error) {
    if (error instanceof CheckpointError && error.code === "no-such-file") {
      const pickle = (await readdir(await readableFolder(folder)).catch(() => [])).find(isPickle);
      if (pickle !== undefined) throw pickleError(join(folder, pickle));
    }
    throw error;
  }
}

async function checkFolder(path: string): Promise<void> {
  const info = await stat(path).catch((cause: unknown) => {
    const missing = systemErrorCode(cause) === "ENOENT";
    throw new CheckpointError({ file: path }, missing ? "there is no such folder." : `cannot be read (${String(cause)}).`, {
      code: missing ? "no-such-file" : "cannot-read",
      hint: "Check the path.",
      cause,
    });
  });
  if (!info.isDirectory()) {
    if (isPickle(basename(path))) throw pickleError(path);
    throw new CheckpointError({ file: path }, "a model is a folder, and this is a file.", { code: "not-a-model", hint: "Name the folder that holds config.json." });
  }
  if ((await readdir(path)).includes("config.json")) return;
  throw new CheckpointError({ file: path }, "this is no model's folder: it has no config.json.", { code: "not-a-model" });
}

const isPickle = (name: string): boolean => /\.(bin|pt|pth|ckpt|pkl)$/.test(name);

function pickleError(path: string): CheckpointError {
  return new CheckpointError({ file: path }, "this is a pickle, whose opening can run any program that its author put into it; Inkling opens none.", {
    code: "pickle",
    hint: "Convert it to safetensors where you trust it: transformers' save_pretrained writes that.",
  });
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    const code = systemErrorCode(cause);
    throw new CheckpointError({ file: path }, code === undefined ? `it is no JSON (${String(cause)}): cut short or altered.` : `cannot be read (${code}).`, {
      code: code === undefined ? "bad-config" : "cannot-read",
      cause,
    });
  }
  const parsed = z.record(z.string(), z.unknown()).safeParse(json);
  if (!parsed.success) throw new CheckpointError({ file: path }, "it is not a JSON object.", { code: "bad-config" });
  return parsed.data;
}

function checkedConfig(path: string, options: ModelOptions): ModelConfig {
  try {
    return modelConfig(options);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new CheckpointError({ file: path }, `it describes a model that cannot be: ${cause.message}`, { code: "bad-config", cause });
  }
}

// ---- generation_config.json ------------------------------------------------------------------------------------------------

const id = z.number().int().min(0);
const generationSchema = z.object({
  eos_token_id: z.union([id.transform((one) => [one]), z.array(id)]).nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).nullish(),
  top_k: z.number().int().min(0).nullish(),
  top_p: z.number().positive().max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
});

/** From generation_config.json, and the end of text from config.json where that is silent. */
async function readGenerationDefaults(folder: string, config: ConfigFile): Promise<GenerationDefaults> {
  const path = join(folder, "generation_config.json");
  const exists = (await stat(path).catch(() => undefined)) !== undefined;
  const json = exists ? await readJson(path) : {};
  const parsed = generationSchema.safeParse({ ...json, eos_token_id: json["eos_token_id"] ?? config.json["eos_token_id"] });
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new CheckpointError({ file: path, field: issue.path.join(".") }, `this cannot be: ${issue.message}.`, { code: "bad-config" });
  }
  const { eos_token_id: stopIds, do_sample: sampled, temperature, top_k: topK, top_p: topP, min_p: minP, repetition_penalty: repetitionPenalty } = parsed.data;
  const all = {
    stopIds,
    repetitionPenalty,
    // Without do_sample the filters are there but not meant.
    ...(sampled === true && { temperature, topK, topP, minP }),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== null));
}

function writeGenerationDefaults({ temperature, topK, topP, minP, repetitionPenalty }: GenerationDefaults): Record<string, unknown> {
  const sampled = [temperature, topK, topP, minP].some((value) => value !== undefined);
  return { ...(sampled && { do_sample: true }), temperature, top_k: topK, top_p: topP, min_p: minP, repetition_penalty: repetitionPenalty };
}
