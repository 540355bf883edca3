/** @file `inkling info`: what a model is and where its parameters sit, without loading them. */

import { basename } from "node:path";
import { Command } from "commander";
import { readModelConfig, resolveModelFolder } from "../../checkpoint/folder.js";
import { fileDTypes } from "../../checkpoint/dtype.js";
import { Safetensors } from "../../checkpoint/safetensors.js";
import { parameterCount } from "../../model/index.js";
import { bytes, compact, table } from "../format.js";

export function infoCommand(): Command {
  return new Command("info")
    .description("Show a model: its configuration, and each tensor with shape, parameters and bytes.")
    .argument("<model>", "a model's folder, or a run's")
    .option("--json", "print {config, tensors, parameters, bytes}")
    .addHelpText("after", "\nExamples:\n  inkling info runs/start\n  inkling info my-model --json")
    .action(async (path: string, { json = false }: { json?: boolean }) => {
      const folder = await resolveModelFolder(path);
      const { config, family } = await readModelConfig(folder);
      await using file = await Safetensors.open(folder);
      const tensors = [...file.tensors.values()].map(({ name, dtype, shape, byteLength, file: where }) => ({
        name, dtype, shape, parameters: byteLength / fileDTypes[dtype], bytes: byteLength, file: basename(where),
      }));
      // The file may hold more: biases of zero, for an architecture that always has some.
      const parameters = parameterCount(config);
      const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
      if (json) {
        console.log(JSON.stringify({ config, family: family.modelType, tensors, parameters, bytes: total }));
        return;
      }
      console.log(table(Object.entries(config).map(([name, value]) => [name, String(value)])));
      const rows = tensors.map((t) => [t.name, t.dtype, `[${t.shape.join(", ")}]`, compact(t.parameters), bytes(t.bytes), t.file]);
      console.log(`\n${table([["tensor", "dtype", "shape", "parameters", "bytes", "file"], ...rows], [3, 4])}`);
      console.log(`\n${family.modelType}, ${compact(parameters)} parameters, ${bytes(total)} in ${folder}`);
    });
}
