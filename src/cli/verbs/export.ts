/** @file `hornbook export`: a model in another form, for other programs. */

import { stat } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import pc from "picocolors";
import { ggufMixes } from "../../checkpoint/gguf/index.js";
import { exportModel } from "../../export-model.js";
import { bytes } from "../format.js";
import { interruptible } from "../interrupt.js";
import { checkWritable } from "../options.js";
import { LiveLines, say } from "../terminal.js";

interface ExportFlags {
  format: "hf" | "gguf";
  quantize?: string;
  out?: string;
  maxShardSize?: number;
  json?: boolean;
}

export function exportCommand(): Command {
  return new Command("export")
    .description("Write a model as a Hugging Face folder (for transformers) or a GGUF file (for llama.cpp and Ollama).")
    .argument("<model>", "a model's folder or file, or a run's")
    .addOption(new Option("--format <format>", "what to write").choices(["hf", "gguf"]).makeOptionMandatory())
    .option("--quantize <type>", `of the weights; for gguf ${Object.keys(ggufMixes).join(", ")}, for hf f32 or bf16 (default: as they are)`)
    .option("--out <path>", "where to (default: named after the model, here)")
    .option("--max-shard-size <size>", "split larger weights into several files, as in 5GB or 500MB (default: hf 5GB, gguf none)", byteSize)
    .option("--json", "print {path, architecture, formats, notes}")
    .addHelpText(
      "after",
      `
Examples:
  hornbook export runs/start --format hf --out my-model
  hornbook export runs/start --format gguf --quantize Q8_0 --out my-model.gguf
  hornbook export my-model.gguf --format gguf --quantize Q4_K_M`,
    )
    .action(async (path: string, { json = false, maxShardSize: maxShardBytes, ...flags }: ExportFlags) => {
      if (flags.out !== undefined) await checkWritable(flags.out, flags.format === "gguf" ? "file" : "folder");
      const { signal, dispose } = interruptible();
      const progress = new LiveLines(process.stderr);
      try {
        const { path: written, gguf } = await exportModel(path, {
          ...flags,
          maxShardBytes,
          signal,
          onProgress: ({ tensor, done, total }) => {
            if (!json) progress.show(pc.dim(`${Math.floor((100 * done) / total)}% ${tensor}`.slice(0, progress.width)));
          },
        });
        progress.clear();
        if (json) {
          console.log(JSON.stringify({ path: written, ...(gguf && { architecture: gguf.architecture, formats: Object.fromEntries(gguf.formats), notes: gguf.notes }) }));
          return;
        }
        const mix = gguf === undefined ? "" : `, ${gguf.architecture}: ${[...gguf.formats].map(([format, count]) => `${count} ${format.toUpperCase()}`).join(", ")}`;
        console.log(`${written}${gguf === undefined ? "" : ` (${bytes(await sizeOf(gguf.files))}${gguf.files.length > 1 ? ` in ${gguf.files.length} files` : ""}${mix})`}`);
        for (const note of gguf?.notes ?? []) say(pc.dim(note));
      } finally {
        progress.clear();
        dispose();
      }
    });
}

/** As transformers and llama.cpp write sizes: a number, and B, K, M, G (powers of 1000) or Ki, Mi, Gi (of 1024). */
function byteSize(text: string): number {
  const [, number, unit = "", binary] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?$/i.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(number) * (binary === "" ? 1000 : 1024) ** " kmgt".indexOf(unit === "" ? " " : unit.toLowerCase()));
  if (number !== undefined && Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError("It is a size, as 5GB or 500MB.");
}

async function sizeOf(files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
