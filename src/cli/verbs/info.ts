/** @file `hornbook info`: what a model is and where its parameters sit, without loading them; without a model, what Hornbook runs on here. */

import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { Command } from "commander";
import { Gguf, type GgufMetadata } from "../../checkpoint/gguf/index.js";
import { openModel } from "../../checkpoint/model-source.js";
import { parameterCount, type ModelConfig } from "../../model/index.js";
import { systemInfo } from "../../system-info.js";
import { bytes, compact, table } from "../format.js";
import { describeSystem } from "../system.js";

export function infoCommand(): Command {
  return new Command("info")
    .description("Show a model of any kind: its configuration, and each tensor with shape, parameters and bytes. Without a model, show what Hornbook runs on here.")
    .argument("[model]", "a model's folder or file (GGUF, safetensors, llama2.c), or a run's")
    .option("--json", "print {config, family, format, tensors, types, parameters, bytes, tokenizer, chatTemplate, metadata}; without a model, what systemInfo() gives")
    .addHelpText("after", "\nExamples:\n  hornbook info\n  hornbook info runs/start\n  hornbook info model-q4_k_m.gguf\n  hornbook info my-model --json")
    .action(async (path: string | undefined, { json = false }: { json?: boolean }) => {
      if (path === undefined) {
        const info = systemInfo();
        console.log(json ? JSON.stringify(info) : describeSystem(info));
        return;
      }
      await using source = await openModel(path);
      const { config, family, format, weights } = source;
      const tensors = [...weights.tensors.values()].map(({ name, dtype, shape, byteLength, file }) => ({
        name, dtype: dtype.toUpperCase(), shape, parameters: shape.reduce((a, b) => a * b, 1), bytes: byteLength, file: basename(file),
      }));
      const types = new Map<string, { tensors: number; bytes: number }>();
      for (const { dtype, bytes } of tensors) types.set(dtype, { tensors: (types.get(dtype)?.tensors ?? 0) + 1, bytes: (types.get(dtype)?.bytes ?? 0) + bytes });
      // The file may hold more: biases of zero, for an architecture that always has some.
      const parameters = parameterCount(config);
      const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
      const metadata = weights instanceof Gguf ? shortMetadata(weights.metadata) : {};
      const tokenizer = (await source.tokenizerKind()) ?? null;
      const chatTemplate = (await source.chatTemplate()) !== undefined;
      if (json) {
        console.log(JSON.stringify({ config, family: family.modelType, format, tensors, types: Object.fromEntries(types), parameters, bytes: total, tokenizer, chatTemplate, metadata }));
        return;
      }
      console.log(table(Object.entries(config).map(([name, value]) => [name, shown(value)])));
      if (Object.keys(metadata).length > 0) console.log(`\n${table(Object.entries(metadata).map(([key, value]) => [key, value.replaceAll("\n", " ").slice(0, 100)]))}`);
      const rows = tensors.map((t) => [t.name, t.dtype, `[${t.shape.join(", ")}]`, compact(t.parameters), bytes(t.bytes), t.file]);
      console.log(`\n${table([["tensor", "dtype", "shape", "parameters", "bytes", "file"], ...rows], [3, 4])}`);
      const mix = [...types].sort((a, b) => b[1].bytes - a[1].bytes).map(([type, of]) => `${of.tensors} ${type} (${bytes(of.bytes)})`);
      console.log(`\n${mix.join(", ")}`);
      console.log(`tokenizer: ${tokenizer ?? "none"}; chat template: ${chatTemplate ? "yes" : "no"}`);
      const onDisk = format === "folder" ? total : (await stat(source.path)).size;
      console.log(`${family.modelType}, ${compact(parameters)} parameters, ${bytes(onDisk)} in ${source.path}`);
    });
}

function shown(value: ModelConfig[keyof ModelConfig]): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The values of a file's metadata, of lists only how many there are; what the configuration says already is left out. */
function shortMetadata(metadata: GgufMetadata): Record<string, string> {
  const architecture = metadata.text("general.architecture", "");
  return Object.fromEntries(
    [...metadata.values].filter(([key]) => !key.startsWith(`${architecture}.`)).map(([key, found]) => [key, found.type === "array" ? `${found.value.length} of ${found.of}` : String(found.value)]),
  );
}
