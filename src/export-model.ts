/**
 * @file Models given away: from any form that can be loaded to a Hugging Face folder or a GGUF file. What the source has beside weights goes along:
 * tokenizer, chat template, how it is sampled; from GGUF to GGUF all the metadata.
 */

import { stat } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { Gguf, parseMix, type SavedGguf } from "./checkpoint/gguf/index.js";
import { openModel } from "./checkpoint/model-source.js";
import { ConfigError, UsageError } from "./errors.js";
import { LanguageModel } from "./language-model.js";

export interface ExportOptions {
  readonly format: "hf" | "gguf";
  /** For GGUF a type or mix such as Q4_K_M, by default as the weights are; for a folder `f32` (the default) or `bf16`. */
  readonly quantize?: string | undefined;
  /** By default named after the model, in the current folder. */
  readonly out?: string | undefined;
  /** Weights beyond so many bytes become several files: of a folder as transformers has them (by default from 5 GB on), of GGUF as llama.cpp has them. */
  readonly maxShardBytes?: number | undefined;
  readonly onProgress?: ((progress: { readonly tensor: string; readonly done: number; readonly total: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ExportedModel {
  /** The file or folder; of a GGUF in several files the first. */
  readonly path: string;
  /** Of a GGUF file: its architecture, how many tensors have each format, and what another program will compute slightly differently. */
  readonly gguf?: SavedGguf;
}

/**
 * Writes a model in another form, atomically; `path` as for `LanguageModel.load`.
 *
 * @throws UsageError when it would overwrite what it reads; ConfigError for a type that is not known; CheckpointError `unsupported-config` for a model
 * that the format cannot say, `disk-full`, `cannot-write`, and what loading throws; TokenizerError `no-gguf-form`.
 */
export async function exportModel(path: string, { format, quantize, out, maxShardBytes, onProgress, signal }: ExportOptions): Promise<ExportedModel> {
  const target = out ?? defaultName(path, format, quantize);
  if (format === "gguf") parseMix(quantize);
  else if (quantize !== undefined && !/^(f32|bf16)$/i.test(quantize)) {
    throw new ConfigError("quantize", `a Hugging Face folder is written in f32 or bf16, not in ${quantize}.`, { hint: "Quantised types are GGUF's: --format gguf." });
  }
  await using source = await openModel(path);
  const same = resolve(target) === resolve(path) || resolve(target) === resolve(source.path);
  if (same) throw new UsageError(`${target} is the model itself.`, { hint: "Name another place with --out." });
  const isFolder = (await stat(target).catch(() => undefined))?.isDirectory() === true;
  if (format === "gguf" && isFolder) throw new UsageError(`${target} is a folder, and GGUF is one file.`, { hint: "Name a file with --out." });
  const model = await LanguageModel.load(path, { signal });
  try {
    if (format === "hf") {
      await model.save(target, { dtype: quantize?.toLowerCase() === "bf16" ? "bf16" : "f32", maxShardBytes });
      return { path: target };
    }
    const metadata = source.weights instanceof Gguf ? source.weights.metadata : undefined;
    const gguf = await model.saveGguf(target, { quantize, metadata, maxShardBytes, onProgress, signal });
    return { path: gguf.files[0], gguf };
  } finally {
    model.dispose();
  }
}

function defaultName(path: string, format: "hf" | "gguf", quantize: string | undefined): string {
  const whole = resolve(path);
  // Of a run's checkpoint, the run.
  const named = /^(best|last)$/.test(basename(whole)) ? dirname(whole) : whole;
  const extension = /^\.(gguf|bin|safetensors|json)$/i.test(extname(named)) ? extname(named) : "";
  const name = basename(named, extension);
  return format === "hf" ? `${name}-hf` : `${name}${quantize === undefined ? "" : `-${quantize.toUpperCase()}`}.gguf`;
}
