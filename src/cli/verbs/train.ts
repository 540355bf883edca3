/** @file `hornbook train`: runs a recipe, and shows how it goes. */

import { join } from "node:path";
import { Command, Option } from "commander";
import pc from "picocolors";
import type { LanguageModel } from "../../language-model.js";
import { loadRecipe, prepareRecipe, recipeNames } from "../../recipes.js";
import { defaultDevice, type FloatDType } from "../../tensor/index.js";
import { Tokenizer } from "../../tokenizer/index.js";
import { configOfRun, measureMatmulRate, train, trainSettings } from "../../train/index.js";
import { bytes, compact } from "../format.js";
import { collectGarbage } from "../heap.js";
import { interruptible } from "../interrupt.js";
import { checkWritable, wholeNumber } from "../options.js";
import { Progress } from "../progress.js";
import { say } from "../terminal.js";

export interface TrainFlags {
  readonly recipe: string;
  readonly data?: string;
  readonly out?: string;
  readonly steps?: number;
  readonly seed?: number;
  readonly dtype?: FloatDType;
  readonly resume?: boolean;
  readonly json?: boolean;
}

export function trainCommand(): Command {
  return new Command("train")
    .description("Train a model: text, tokenizer, model and settings come from a recipe.")
    .addOption(new Option("--recipe <name>", `a recipe that ships (${recipeNames().join(", ")}) or a path to one`).default("shakespeare-char"))
    .option("--data <path>", "a text file or folder in place of the recipe's text")
    .option("--out <dir>", "where checkpoints and metrics go (default: runs/<recipe>)")
    .option("--steps <n>", "optimizer steps in all", wholeNumber(1))
    .option("--seed <n>", "decides the initial weights and the order of the data (default: the recipe's, or 0)", wholeNumber())
    .addOption(new Option("--dtype <dtype>", "of the computation; weights stay f32").choices(["f32", "bf16"]))
    .option("--resume", "go on from the last checkpoint in --out")
    .option("--json", "one JSON object a step, for scripts")
    .addHelpText(
      "after",
      `
Examples:
  hornbook train                                     nanoGPT's Shakespeare recipe
  hornbook train --recipe books-llama --dtype bf16   a small Llama on 18 novels
  hornbook train --data my-texts/ --out my-model     your own text
  hornbook train --resume                            after Ctrl-C, or a power cut

Ctrl-C saves and stops; a second one stops at once. OUT/last is the newest
checkpoint, OUT/best the one with the lowest validation loss.`,
    )
    .action(async (flags: TrainFlags) => {
      await runTraining(flags);
    });
}

/** Runs the recipe to its end and returns the trained model. Rejects with an AbortError after Ctrl-C has saved; `goOn` is the command that then goes on. */
export async function runTraining(flags: TrainFlags, goOn = trainCommandLine(flags)): Promise<LanguageModel> {
  const { json = false, resume = false } = flags;
  const recipe = await loadRecipe(flags.recipe);
  const { seed = recipe.train.seed ?? 0 } = flags;
  const out = flags.out ?? join("runs", flags.recipe.replace(/^.*[/\\]|\.\w+$/g, ""));
  await checkWritable(out, "folder");
  const show = (text: string): void => {
    if (!json) console.log(text);
  };

  const { signal, dispose } = interruptible(() => say(pc.yellow("stopping after this step; Ctrl-C again stops at once")));
  try {
    const settings = trainSettings({ ...recipe.train, seed, ...(flags.steps && { steps: flags.steps }), ...(flags.dtype && { dtype: flags.dtype }) });
    const goesOn = resume && (await configOfRun(out)) !== undefined;
    const tokenizerOfRun = goesOn ? await Tokenizer.load(join(out, "last")) : undefined;
    const { model, tokenizer, data } = await prepareRecipe({ ...recipe, train: settings }, { seed, signal, ...(flags.data && { text: flags.data }), ...(tokenizerOfRun && { tokenizer: tokenizerOfRun }) });
    await using _data = data;
    const device = defaultDevice();
    const matmulRate = await measureMatmulRate(device, settings.dtype);
    show(pc.bold(flags.data === undefined ? recipe.description : `The recipe ${flags.recipe}, on ${flags.data}`));
    show(
      pc.dim(
        `${compact(model.numParameters)} parameters (${bytes(model.numBytes)}), vocabulary ${tokenizer.vocabSize}, ${compact(data.train.length)} tokens to learn from, ` +
          `${compact(data.validation?.length ?? 0)} to validate; ${settings.dtype} on ${device.description}, ${(matmulRate / 1e9).toFixed(matmulRate < 1e10 ? 1 : 0)} GFLOP/s in matmuls`,
      ),
    );
    const progress = new Progress({ steps: settings.steps, json, flopsPerToken: model.flopsPerToken(), matmulRate });
    let saved = join(out, "last");
    try {
      for await (const report of train(model, data, { ...settings, out, resume, tokenizer, signal })) {
        progress.update(report);
        if (report.validationLoss !== undefined || report.saved !== undefined) collectGarbage();
        saved = report.saved ?? saved;
      }
    } catch (error) {
      if (signal.aborted) {
        show(`saved in ${saved}; ${pc.bold(goOn)} goes on`);
        throw new DOMException("interrupted", "AbortError");
      }
      throw error;
    }
    show(`saved in ${pc.bold(saved)}; talk to it: ${pc.bold(`hornbook generate ${out}`)}`);
    return model;
  } finally {
    dispose();
  }
}

/** The command that goes on with this run: whatever decides what a step computes must be said again. */
function trainCommandLine({ recipe, data, out, steps, seed, dtype }: TrainFlags): string {
  const given = Object.entries({ recipe, data, out, steps, seed, dtype }).flatMap(([flag, value]) => (value === undefined ? [] : [[flag, value] as const]));
  const quoted = (value: string | number) => (/^[\w./:@-]+$/.test(String(value)) ? String(value) : `'${String(value).replaceAll("'", `'\\''`)}'`);
  return `hornbook train ${given.map(([flag, value]) => `--${flag} ${quoted(value)}`).join(" ")} --resume`;
}
