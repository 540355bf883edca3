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
import { ConfigFile, families, type Family } from "./families/index.js";
import { isOldConfig, oldNameError } from "./old-name.js";
import { Safetensors } from "./safetensors.js";

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
  if (isOldConfig(file.json)) throw oldNameError(path, "inkling" in file.json ? "inkling" : "architectures");
  const modelType = file.text("model_type", "");
  const family = families.find((family) => family.modelType === modelType);
  if (family === undefined) {
    throw new CheckpointError({ file: path, field: "model_type" }, `the architecture ${JSON.stringify(modelType)} is not one of those known here: ${families.map((f) => f.modelType).join(", ")}.`, {
      code: "unknown-architecture",
      ...(file.has("text_config") && { hint: "It is a model of more than text (`text_config` is its part for text), and Hornbook reads models of text alone." }),
    });
  }
  const config = checkedConfig(path, { ...family.read(file), ...(file.object("hornbook").json as Partial<TransformerOptions>) });
  if (!family.describes(config)) {
    throw new CheckpointError({ file: path, field: "hornbook" }, `it says what a model of the architecture ${modelType} cannot be.`, { code: "bad-config" });
  }
  return { config, family, generation: await readGenerationDefaults(place, file) };
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

export function writeGenerationDefaults({ temperature, topK, topP, minP, repetitionPenalty }: GenerationDefaults): Record<string, unknown> {
  const sampled = [temperature, topK, topP, minP].some((value) => value !== undefined);
  return { ...(sampled && { do_sample: true }), temperature, top_k: topK, top_p: topP, min_p: minP, repetition_penalty: repetitionPenalty };
}
