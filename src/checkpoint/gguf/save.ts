/**
 * @file A model as one GGUF file, which llama.cpp and Ollama open: its configuration and tokenizer as metadata, its weights as they are or quantised.
 * Weights are written tensor by tensor, so that beyond the model there is about one tensor in memory.
 */

import { basename, extname } from "node:path";
import { ConfigError } from "../../errors.js";
import type { Decoder, TransformerConfig } from "../../model/index.js";
import { rowBytes } from "../../tensor/block-formats.js";
import { QuantizedTensor, Tensor, launch, scope, type Weight } from "../../tensor/index.js";
import type { Tokenizer } from "../../tokenizer/index.js";
import { fromFloat32, isFileDType } from "../dtype.js";
import { families, type TensorPlan } from "../families/index.js";
import { toFileOrder } from "../row-order.js";
import { inShards } from "../shards.js";
import type { StoredDType } from "../stored-tensor.js";
import { partsOf, readPart, shapesOf, type PlannedPart } from "../weights.js";
import { writeGgufConfig } from "./config.js";
import { gguf, type GgufMetadata, type GgufValue } from "./metadata.js";
import { ggufMix, ggufMixes, mixedDType, type GgufMix, type WrittenDType } from "./mix.js";
import { ggufPlans, ropeFactors } from "./names.js";
import { tokenizerMetadata } from "./tokenizer.js";
import { alignmentKey } from "./header.js";
import { isSplitKey, partName, splitMetadata } from "./split.js";
import { storedBytes, writeGguf, type GgufTensorToStore } from "./write.js";

export interface SaveGgufOptions {
  readonly tokenizer?: Tokenizer | undefined;
  /** The Jinja program that makes a text of a conversation, or several by name, of which `default` is taken unasked. */
  readonly chatTemplate?: string | ReadonlyMap<string, string> | undefined;
  /** A type or mix of `ggufMixes`, by its name. By default weights are written as they are: f32, or the blocks of quantised ones. */
  readonly quantize?: string | undefined;
  /** `general.name`; by default the name of the file. */
  readonly name?: string | undefined;
  /** transformers' `model_type` of the architecture to save it as, where it can be said as several. */
  readonly modelType?: string | undefined;
  /** The metadata of the GGUF file that the model comes from: kept as it is, tokenizer and all, but for the type of the weights. */
  readonly metadata?: GgufMetadata | undefined;
  /** Beyond so many bytes of tensors the model becomes several files, `NAME-00001-of-0000N.gguf`. By default it is one, whatever its size. */
  readonly maxShardBytes?: number | undefined;
  readonly onProgress?: ((progress: { readonly tensor: string; readonly done: number; readonly total: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SavedGguf {
  /** Where it lies: the file, or all parts. */
  readonly files: readonly string[];
  readonly architecture: string;
  /** How many tensors have each format. */
  readonly formats: ReadonlyMap<StoredDType, number>;
  /** What another program will compute slightly differently, and why; for the user. */
  readonly notes: readonly string[];
}

/**
 * Writes a model as GGUF, atomically.
 *
 * @throws CheckpointError `unsupported-config` for a model that llama.cpp has no architecture for; `disk-full`, `cannot-write`, and what stood there
 * stands; ConfigError for a type that is not known; TokenizerError `no-gguf-form`.
 */
export async function saveGguf(path: string, model: Decoder, options: SaveGgufOptions = {}): Promise<SavedGguf> {
  const { signal, onProgress } = options;
  const mix = parseMix(options.quantize);
  const { family, config, values } = writeGgufConfig(model.config, families.find((family) => family.modelType === options.modelType));
  const { architecture } = family.gguf;

  const weights = model.weights();
  const tensors: GgufTensorToStore[] = ropeFactors(config).map(({ name, factors }) => ({ name, dtype: "F32", shape: [factors.length], data: fromFloat32("F32", Float32Array.from(factors)) }));
  const formats = new Map<StoredDType, number>();
  for (const plan of ggufPlans(family.gguf, model.config, shapesOf(weights))) {
    for (const [i, planned] of [...partsOf(plan, weights)].entries()) {
      const { name, shape } = planned.part;
      const kept = keptSegment(plan, weights, i);
      const dtype = mix === undefined ? (kept?.dtype ?? "F32") : mixedDType(mix, { architecture, ...config }, name, shape);
      formats.set(dtype, (formats.get(dtype) ?? 0) + 1);
      const done = tensors.length;
      const data = (): Promise<Uint8Array> => {
        signal?.throwIfAborted();
        onProgress?.({ tensor: name, done, total: tensors.length });
        return kept?.dtype === dtype ? kept.read() : encode(planned, dtype as WrittenDType);
      };
      tensors.push({ name, dtype, shape, data });
    }
  }
  const files = await writeParts(path, metadataOf(path, config, options, mix, values), tensors, options.maxShardBytes);
  return { files, architecture, formats, notes: notesOn(config, architecture) };
}

/** Writes one file, or several where it would be larger than asked; the first, without which the others are nothing, last. */
async function writeParts(path: string, metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensorToStore[], maxBytes = Infinity): Promise<string[]> {
  const shards = inShards(tensors, storedBytes, maxBytes);
  if (shards.length === 1) {
    await writeGguf(path, { metadata, tensors });
    return [path];
  }
  const prefix = path.replace(/\.gguf$/i, "");
  const parts = shards.map((shard, i) => ({
    path: partName(prefix, i + 1, shards.length),
    metadata: new Map([...(i === 0 ? metadata : alignmentOf(metadata)), ...splitMetadata(i, shards.length, tensors.length)]),
    tensors: shard,
  }));
  for (const { path, ...part } of [...parts.slice(1), parts[0]]) await writeGguf(path, part);
  return parts.map(({ path }) => path);
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): [string, GgufValue][] {
  const alignment = metadata.get(alignmentKey);
  return alignment === undefined ? [] : [[alignmentKey, alignment]];
}

/** A mix by its name. Throws ConfigError for one that there is not. */
export function parseMix(name: string | undefined): GgufMix | undefined {
  if (name === undefined) return undefined;
  const mix = ggufMix(name);
  if (mix === undefined) throw new ConfigError("quantize", `${JSON.stringify(name)} is not a type that can be written; there are ${Object.keys(ggufMixes).join(", ")}.`);
  return mix;
}

function metadataOf(path: string, config: TransformerConfig, options: SaveGgufOptions, mix: GgufMix | undefined, values: ReadonlyMap<string, GgufValue>): Map<string, GgufValue> {
  const { tokenizer, chatTemplate, metadata } = options;
  const fileType: [string, GgufValue] = ["general.file_type", gguf.uint32(ggufMixes[mix ?? "F32"].fileType)];
  if (metadata !== undefined) return new Map([...[...metadata.values].filter(([key]) => !isSplitKey(key)), ...(mix === undefined ? [] : [fileType])]);
  return new Map<string, GgufValue>([
    ["general.architecture", values.get("general.architecture")!],
    ["general.type", gguf.string("model")],
    ["general.name", gguf.string(options.name ?? basename(path, extname(path)))],
    fileType,
    ["general.quantization_version", gguf.uint32(2)],
    ...values,
    ...(tokenizer === undefined ? [["tokenizer.ggml.model", gguf.string("no_vocab")] as const] : tokenizerMetadata(tokenizer, config.vocabSize)),
    ...templatesOf(chatTemplate),
  ]);
}

/** As llama.cpp's converter writes them: the default under the key itself, the others each under its name, and a list of these. */
function templatesOf(template: SaveGgufOptions["chatTemplate"]): [string, GgufValue][] {
  const all = typeof template === "string" ? new Map([["default", template]]) : (template ?? new Map<string, string>());
  const others = [...all.keys()].filter((name) => name !== "default");
  return [
    ...[...all].map(([name, source]): [string, GgufValue] => [`tokenizer.chat_template${name === "default" ? "" : `.${name}`}`, gguf.string(source)]),
    ...(others.length === 0 ? [] : [["tokenizer.chat_templates", gguf.strings(others)] satisfies [string, GgufValue]]),
  ];
}

/** The blocks of a part of a quantised weight, where the part has one format. */
function keptSegment({ parameter, parts }: TensorPlan, weights: ReadonlyMap<string, Weight>, i: number): { dtype: StoredDType; read: () => Promise<Uint8Array> } | undefined {
  const weight = parameter === undefined ? undefined : weights.get(parameter);
  const first = parts.slice(0, i).reduce((rows, { shape }) => rows + shape[0], 0);
  const { shape: [count], rows } = parts[i];
  const format = weight instanceof QuantizedTensor ? weight.formatOf(first, count) : undefined;
  if (format === undefined) return undefined;
  const read = async (): Promise<Uint8Array> => {
    const bytes = await (weight as QuantizedTensor).rows(first, count);
    return rows === undefined ? bytes : toFileOrder(bytes, rows);
  };
  return { dtype: format === "f16" ? "F16" : format === "bf16" ? "BF16" : format, read };
}

/** A part's bytes in a format of the file. */
async function encode(planned: PlannedPart, dtype: WrittenDType): Promise<Uint8Array> {
  const bytes = await readPart(planned, "f32");
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  if (isFileDType(dtype)) return fromFloat32(dtype, values);
  const rowLength = planned.part.shape.at(-1)!;
  const rows = values.length / rowLength;
  const blocks = scope(() => {
    const x = Tensor.from(values, { shape: [rows, rowLength] });
    const w = Tensor.empty([rows, rowBytes(dtype, rowLength)], "u8", x.device);
    launch("quantize", { x, w }, { format: dtype });
    return w;
  });
  try {
    return (await blocks.raw()) as Uint8Array;
  } finally {
    blocks.dispose();
  }
}

function notesOn({ feedForward, slidingWindow, ropeScaling: scaling }: TransformerConfig, architecture: string): string[] {
  return [
    ...(scaling.kind === "yarn" && (scaling.betaFast !== 32 || scaling.betaSlow !== 1)
      ? [`llama.cpp needs to be told YaRN's ramp: --yarn-beta-fast ${scaling.betaFast} --yarn-beta-slow ${scaling.betaSlow}.`]
      : []),
    ...(feedForward === "gelu" ? ["llama.cpp computes GELU by its tanh approximation, so its numbers differ in the fourth digit."] : []),
    ...(architecture === "llama" && slidingWindow > 0 ? [`llama.cpp ignores the sliding window of this architecture: texts beyond ${slidingWindow} tokens come out differently.`] : []),
  ];
}
