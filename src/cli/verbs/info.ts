/** @file `hornbook info`: what a model is and where its parameters sit, without loading them; without a model, what Hornbook runs on here. */

import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { Command } from "commander";
import { Gguf, type GgufMetadata } from "../../checkpoint/gguf/index.js";
import { openModel } from "../../checkpoint/model-source.js";
import { countParameters } from "../../model/index.js";
import { systemInfo } from "../../system-info.js";
import { describeModel } from "../describe-model.js";
import { bytes, compact, table } from "../format.js";
import { describeSystem } from "../system.js";

interface InfoFlags {
  tensors?: boolean;
  json?: boolean;
}

export function infoCommand(): Command {
  return new Command("info")
    .description("Show what a model is: size, layers, types of its weights, context, tokenizer. Without a model, show what Hornbook runs on here.")
    .argument("[model]", "a model's folder or file (GGUF, safetensors, llama2.c), or a run's")
    .option("--tensors", "each tensor too, with its type, shape, parameters and bytes")
    .option("--json", "print all of it: {config, family, format, tensors, types, parameters, bytes, tokenizer, chatTemplate, generation, metadata}; without a model, what systemInfo() gives")
    .addHelpText("after", "\nExamples:\n  hornbook info\n  hornbook info runs/start\n  hornbook info model-q4_k_m.gguf --tensors\n  hornbook info my-model --json")
    .action((path: string | undefined, flags: InfoFlags) => (path === undefined ? showSystem(flags) : showModel(path, flags)));
}

function showSystem({ json = false }: InfoFlags): void {
  const info = systemInfo();
  console.log(json ? JSON.stringify(info) : describeSystem(info));
}

async function showModel(path: string, { tensors: listed = false, json = false }: InfoFlags): Promise<void> {
  await using source = await openModel(path);
  const { config, family, format, weights, generation } = source;
  const tensors = [...weights.tensors.values()].map(({ name, dtype, shape, byteLength, file }) => ({
    name, dtype: dtype.toUpperCase(), shape, parameters: shape.reduce((a, b) => a * b, 1), bytes: byteLength, file: basename(file),
  }));
  const types = new Map<string, { tensors: number; bytes: number }>();
  for (const { dtype, bytes } of tensors) types.set(dtype, { tensors: (types.get(dtype)?.tensors ?? 0) + 1, bytes: (types.get(dtype)?.bytes ?? 0) + bytes });
  // The file may hold more: biases of zero, for an architecture that always has some.
  const parameters = countParameters(config);
  const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const metadata = weights instanceof Gguf ? shortMetadata(weights.metadata) : {};
  const tokenizer = (await source.tokenizerKind()) ?? null;
  const chatTemplate = (await source.chatTemplate()) !== undefined;
  if (json) {
    console.log(JSON.stringify({ config, family: family.modelType, format, tensors, types: Object.fromEntries(types), parameters, bytes: total, tokenizer, chatTemplate, generation, metadata }));
    return;
  }
  const bytesOnDisk = format === "folder" ? total : (await stat(source.path)).size;
  const info = { path: source.path, family: family.modelType, format: formats[format], config, tensors, types, parameters, bytesOnDisk, tokenizer, chatTemplate, generation, metadata };
  console.log(describeModel(info, process.stdout.columns));
  if (!listed) return;
  const rows = tensors.map((t) => [t.name, t.dtype, `[${t.shape.join(", ")}]`, compact(t.parameters), bytes(t.bytes), t.file]);
  console.log(`\n${table([["tensor", "dtype", "shape", "parameters", "bytes", "file"], ...rows], [3, 4])}`);
}

const formats = { folder: "a folder", gguf: "GGUF", llama2c: "llama2.c" } as const;

/** The values of a file's metadata, of lists only how many there are; what the configuration says already is left out. */
function shortMetadata(metadata: GgufMetadata): Record<string, string> {
  const architecture = metadata.text("general.architecture", "");
  return Object.fromEntries(
    [...metadata.values].filter(([key]) => !key.startsWith(`${architecture}.`)).map(([key, found]) => [key, found.type === "array" ? `${found.value.length} of ${found.of}` : String(found.value)]),
  );
}
