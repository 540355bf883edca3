/**
 * @file A model's folder as Hugging Face transformers has it, without its weights: `config.json` becomes our configuration through its family,
 * `generation_config.json` the way it is sampled from.
 */

import { readFile, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { CheckpointError, ConfigError, systemErrorCode } from "../errors.js";
import { modelConfig, type ModelConfig, type ModelOptions, type TransformerOptions } from "../model/index.js";
import { readableFolder } from "./atomic.js";
import { ConfigFile, brief, families, familyOf, unreadSettings, type Family } from "./families/index.js";
import { readGeneration, type GenerationDefaults } from "./generation.js";
import { isOldConfig, oldNameError } from "./old-name.js";
import { quantizedConfigError } from "./quantized.js";
import { Safetensors } from "./safetensors.js";

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
  /** What the files say and Hornbook does not act on, in words. */
  readonly warnings: readonly string[];
}

/**
 * What a folder's model is, without its weights.
 *
 * @throws CheckpointError `no-such-file`; `not-a-model` for what is no model's folder; `pickle`; `unknown-architecture`, naming those that are
 * known; `quantized-weights`; `bad-config` or `unsupported-config`, naming the field.
 */
export async function readModelConfig(folder: string): Promise<StoredModelConfig> {
  const place = await readableFolder(folder);
  await checkFolder(place);
  const path = join(place, "config.json");
  const json = await readJson(path);
  if (isOldConfig(json)) throw oldNameError(path, "inkling" in json ? "inkling" : "architectures");
  await checkPlain(place, path, json);
  const modelType = new ConfigFile(path, json).text("model_type", "");
  const family = familyOf(modelType, json);
  if (family === undefined) {
    throw new CheckpointError({ file: path, field: "model_type" }, `the architecture ${brief(modelType)} is not one of those known here: ${families.map((f) => f.modelType).join(", ")}.`, {
      code: "unknown-architecture",
      ...(json["text_config"] !== undefined && { hint: "It is a model of more than text (`text_config` is its part for text), and Hornbook reads models of text alone." }),
    });
  }
  const file = new ConfigFile(path, json, family);
  const config = checkedConfig(path, { ...family.read(file), ...(file.object("hornbook").json as Partial<TransformerOptions>) });
  if (!family.describes(config)) {
    throw new CheckpointError({ file: path, field: "hornbook" }, `it says what a model of the architecture ${family.modelType} cannot be.`, { code: "bad-config" });
  }
  file.object("hornbook").skip(...Object.keys(file.object("hornbook").json));
  const { generation, warnings } = await readGenerationDefaults(place, file);
  return { config, family, generation, warnings: [...unreadSettings(file), ...warnings] };
}

/** Throws CheckpointError `quantized-weights` where the folder says that its weights are. */
async function checkPlain(folder: string, path: string, json: Readonly<Record<string, unknown>>): Promise<void> {
  const field = ["quantization_config", "compression_config", "quantization"].find((field) => json[field] !== undefined && json[field] !== null);
  if (field !== undefined) throw quantizedConfigError(path, field, new ConfigFile(path, json).object(field).json);
  // NVIDIA's ModelOpt says it in a file of its own.
  const beside = join(folder, "hf_quant_config.json");
  if ((await stat(beside).catch(() => undefined))?.isFile() !== true) return;
  const said = new ConfigFile(beside, await readJson(beside)).object("quantization").json;
  if ((said["quant_algo"] ?? null) !== null) throw quantizedConfigError(beside, "quantization", { quant_method: "modelopt", format: said["quant_algo"] });
}

/** From generation_config.json, and the end of text from config.json where that is silent. One that cannot be read is told, and no reason not to load. */
async function readGenerationDefaults(folder: string, config: ConfigFile): Promise<{ generation: GenerationDefaults; warnings: string[] }> {
  const path = join(folder, "generation_config.json");
  const said = { path: config.path, stopIds: config.json["eos_token_id"] };
  if ((await stat(path).catch(() => undefined)) === undefined) return readGeneration(path, {}, said);
  try {
    return readGeneration(path, await readJson(path), said);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    const { generation, warnings } = readGeneration(path, {}, said);
    return { generation, warnings: [error.message, ...warnings] };
  }
}

/** The weights of a folder; the error for one that has only pickles says so. */
export async function openFolderWeights(folder: string): Promise<Safetensors> {
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

export const isPickle = (name: string): boolean => /\.(bin|pt|pth|ckpt|pkl)$/.test(name);

export function pickleError(path: string): CheckpointError {
  return new CheckpointError({ file: path }, "this is a pickle, whose opening can run any program that its author put into it; Hornbook opens none.", {
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

export function checkedConfig(path: string, options: ModelOptions): ModelConfig {
  try {
    return modelConfig(options);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new CheckpointError({ file: path }, `it describes a model that cannot be: ${cause.message}`, { code: "bad-config", cause });
  }
}
