/**
 * @file A model as a folder that Hugging Face transformers opens: `config.json`, `model.safetensors`, `generation_config.json`,
 * and the tokenizer's files. Which architecture it is saved as follows from its configuration (`families/`).
 *
 * What an architecture cannot say stands in config.json under `"hornbook"`, as fields of our configuration that override what the rest says.
 * A GPT-2 without biases, for one, is saved with biases of zero, which every program computes right, and `"hornbook": {"bias": false}`.
 *
 * `weights.ts` moves the weights.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ChatTemplate } from "../data/index.js";
import { CheckpointError } from "../errors.js";
import type { Decoder } from "../model/index.js";
import type { FloatDType } from "../tensor/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { writeFolderAtomically } from "./atomic.js";
import { ConfigFile, families, unsaidBy, type Family } from "./families/index.js";
import { writeGeneration, type GenerationDefaults } from "./generation.js";
import { openModel, type ModelSource } from "./model-source.js";
import { writeSafetensorsFolder, type TensorToStore } from "./safetensors.js";
import { fillModel, partsOf, readPart, shapesOf, type LoadOptions } from "./weights.js";

export interface ModelToSave {
  /** `modelType`: what it is saved as where several architectures say the same, such as the one it was loaded as. */
  readonly model: Decoder & { readonly modelType?: string | undefined };
  readonly tokenizer?: Tokenizer | undefined;
  readonly chatTemplate?: ChatTemplate | undefined;
  readonly generation?: GenerationDefaults | undefined;
  /** Of the weights in the file; f32, in which they are trained, loses nothing. */
  readonly dtype?: FloatDType | undefined;
  /** Beyond so many bytes the weights become several files with an index. Default: 5 GB, as in transformers. */
  readonly maxShardBytes?: number | undefined;
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
    (what.chatTemplate !== undefined && (name === "chat_template.jinja" || name === "additional_chat_templates")) ||
    (what.tokenizer !== undefined && /^(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json$|^(merges\.txt|tokenizer\.model)$/.test(name));
  await writeFolderAtomically(folder, { marker: "config.json", owns }, (into) => writeModel(into, what));
}

/** Writes a model's files into a folder that is being written, as part of something larger; see `saveModel`. */
export async function writeModel(folder: string, { model, tokenizer, chatTemplate, generation = {}, dtype = "f32", maxShardBytes }: ModelToSave): Promise<void> {
  const { config } = model;
  const fitting = families.filter((family) => family.describes(config));
  const family = fitting.find(({ modelType }) => modelType === model.modelType) ?? fitting[0];
  const boundary = {
    bos_token_id: tokenizer?.bosId ?? null,
    eos_token_id: idOrIds(generation.stopIds) ?? tokenizer?.eosId ?? null,
  };
  const fields = { ...family.write(config), ...boundary };
  const unsaid = unsaidBy(family.read(new ConfigFile("config.json", fields, family)), config);
  await writeJson(join(folder, "config.json"), {
    architectures: [family.architecture],
    model_type: family.modelType,
    ...fields,
    // transformers has one for some architectures where nothing is said, and it may lie beyond the vocabulary.
    pad_token_id: null,
    dtype: dtype === "bf16" ? "bfloat16" : "float32",
    ...(Object.keys(unsaid).length > 0 && { hornbook: unsaid }),
  });
  await writeJson(join(folder, "generation_config.json"), { ...boundary, ...writeGeneration(generation) });
  await writeSafetensorsFolder(folder, storedTensors(model, family, dtype), maxShardBytes === undefined ? {} : { maxShardBytes });
  await tokenizer?.save(folder);
  for (const [name, source] of chatTemplate?.sources ?? []) {
    const path = name === "default" ? "chat_template.jinja" : join("additional_chat_templates", `${name}.jinja`);
    // A name comes from a file, and may be anything.
    if (!/^[\w.-]+$/.test(name) || name.startsWith(".")) throw new CheckpointError({ file: join(folder, path) }, `a chat template called ${JSON.stringify(name)} cannot be a file.`, { code: "bad-template" });
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), source);
  }
}

function idOrIds(ids: readonly number[] | undefined): number | readonly number[] | undefined {
  return ids?.length === 1 ? ids[0] : ids?.length === 0 ? undefined : ids;
}

/** The settings that transformers 5 refuses as whole numbers: 30 must be written 30.0, as JSON.stringify does not. */
const fractions = /("(?:\w*softcapping|logit_scale|\w*_eps|layer_norm_epsilon|rope_theta|\w*factor)": -?\d+)(?=,?\n)/g;

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2).replace(fractions, "$1.0")}\n`);
}

function* storedTensors(model: Decoder, family: Family, dtype: FloatDType): Generator<TensorToStore> {
  const weights = model.weights();
  for (const plan of family.tensors(model.config, shapesOf(weights))) {
    for (const planned of partsOf(plan, weights)) {
      const { name, shape } = planned.part;
      yield { name, shape, dtype: dtype === "bf16" ? "BF16" : "F32", data: () => readPart(planned, dtype) };
    }
  }
}

// ---- loading ---------------------------------------------------------------------------------------------------------------

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
