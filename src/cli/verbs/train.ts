/** @file `hornbook train`: runs a recipe, and shows how it goes. */

import { join } from "node:path";
import { Command, Option } from "commander";
import pc from "picocolors";
import type { LanguageModel } from "../../language-model.js";
import { UsageError } from "../../errors.js";
import { continuedTraining, loadRecipe, prepareRecipe, prepareTrained, recipeNames } from "../../recipes.js";
import { defaultDevice, type FloatDType } from "../../tensor/index.js";
import { Tokenizer } from "../../tokenizer/index.js";
import { configOfRun, measureMatmulRate, train, trainSettings, type TrainSettings } from "../../train/index.js";
import type { Recipe } from "../../train/recipe.js";
import { bytes, compact } from "../format.js";
import { collectGarbage } from "../heap.js";
import { interruptible } from "../interrupt.js";
import { checkWritable, number, wholeNumber } from "../options.js";
import { Progress } from "../progress.js";
import { say } from "../terminal.js";

export interface TrainFlags {
  readonly recipe?: string;
  readonly from?: string;
  readonly dequantize?: boolean;
  readonly data?: string;
  readonly out?: string;
  readonly steps?: number;
  readonly seed?: number;
  readonly batchSize?: number;
  readonly lr?: number;
  readonly context?: number;
  readonly dtype?: FloatDType;
  readonly resume?: boolean;
  readonly json?: boolean;
}

export function trainCommand(): Command {
  return new Command("train")
    .description("Train a model: text, tokenizer, model and settings come from a recipe.")
    .option("--recipe <name>", `a recipe that ships (${recipeNames().join(", ")}) or a path to one (default: ${defaultRecipe})`)
    .option("--from <model>", "train this model on, with its tokenizer, in place of a new one: a folder or file as generate takes it")
    .option("--dequantize", "with --from: turn quantised weights into f32 to train them")
    .option("--data <path>", "a text file or folder in place of the recipe's text")
    .option("--out <dir>", "where checkpoints and metrics go (default: runs/<recipe or model>)")
    .option("--steps <n>", "optimizer steps in all", wholeNumber(1))
    .option("--seed <n>", "decides the initial weights and the order of the data (default: the recipe's, or 0)", wholeNumber())
    .option("--batch-size <n>", "sequences in a batch (default: the recipe's; with --from 4)", wholeNumber(1))
    .option("--lr <rate>", "the highest learning rate (default: the recipe's; with --from 1e-4)", number(0))
    .option("--context <n>", "tokens in a sequence (default: the model's context; with --from 512 at most)", wholeNumber(1))
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
  hornbook train --from smollm2/ --data my-texts/    a trained model, trained on
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
  const { from } = flags;
  if (flags.dequantize && from === undefined) throw new UsageError("--dequantize is for a model that is trained on.", { hint: "Name it with --from." });
  const name = flags.recipe ?? from ?? defaultRecipe;
  const recipe = from !== undefined && flags.recipe === undefined ? continuedRecipe(from, flags.data) : await loadRecipe(name);
  const { seed = recipe.train.seed ?? 0 } = flags;
  const out = flags.out ?? join("runs", (from ?? name).replace(/[/\\]+$/, "").replace(/^.*[/\\]|\.\w+$/g, ""));
  await checkWritable(out, "folder");
  const show = (text: string): void => {
    if (!json) console.log(text);
  };

  const { signal, dispose } = interruptible(() => say(pc.yellow("stopping after this step; Ctrl-C again stops at once")));
  try {
    let settings = settingsOf(recipe, flags, seed);
    const goesOn = resume && (await configOfRun(out)) !== undefined;
    const tokenizerOfRun = goesOn ? await Tokenizer.load(join(out, "last")) : undefined;
    const { model, tokenizer, data } =
      from === undefined ? await prepareRecipe({ ...(recipe as Recipe), train: settings }, { seed, signal, ...(flags.data && { text: flags.data }), ...(tokenizerOfRun && { tokenizer: tokenizerOfRun }) })
      : await prepareTrained(from, { text: flags.data === undefined ? recipe.text : { path: flags.data }, validation: recipe.validation, dequantize: flags.dequantize, signal });
    if (from !== undefined) settings = { contextLength: Math.min(recipe.model?.contextLength ?? 512, model.config.contextLength), ...settings };
    const saveWith = from === undefined ? {} : { saveWith: { chatTemplate: model.chatTemplate, generation: model.generation } };
    await using _data = data;
    const device = defaultDevice();
    const matmulRate = await measureMatmulRate(device, settings.dtype);
    show(pc.bold(flags.data === undefined || from !== undefined ? recipe.description : `The recipe ${name}, on ${flags.data}`));
    show(
      pc.dim(
        `${compact(model.numParameters)} parameters (${bytes(model.numBytes)}), vocabulary ${tokenizer.vocabSize}, ${compact(data.train.length)} tokens to learn from, ` +
          `${compact(data.validation?.length ?? 0)} to validate; ${settings.dtype} on ${device.description}, ${(matmulRate / 1e9).toFixed(matmulRate < 1e10 ? 1 : 0)} GFLOP/s in matmuls`,
      ),
    );
    const progress = new Progress({ steps: settings.steps, json, flopsPerToken: model.flopsPerToken(), matmulRate });
    let saved = join(out, "last");
    try {
      for await (const report of train(model, data, { ...settings, ...saveWith, out, resume, tokenizer, signal })) {
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

const defaultRecipe = "shakespeare-char";

/** What a recipe says beside tokenizer and model, for a model that has these. */
type ContinuedRecipe = Pick<Recipe, "description" | "text" | "validation" | "train"> & { readonly model?: Recipe["model"] };

function continuedRecipe(from: string, data: string | undefined): ContinuedRecipe {
  if (data === undefined) {
    throw new UsageError("--from needs a text to train the model on.", { code: "no-text", hint: "Give --data with a text file or folder, or --recipe for the text and settings of one." });
  }
  return { description: `${from}, trained on ${data}`, text: { path: data }, ...continuedTraining };
}

/** The recipe's settings, with what flags change. */
function settingsOf({ train }: ContinuedRecipe, { steps, batchSize, lr, context, dtype }: TrainFlags, seed: number): TrainSettings {
  const settings = trainSettings({ ...train, seed, ...(steps && { steps }), ...(batchSize && { batchSize }), ...(context && { contextLength: context }), ...(dtype && { dtype }) });
  if (lr === undefined) return settings;
  const { schedule } = settings;
  // The whole schedule is scaled: its end keeps its distance from its top.
  const scaled = schedule.kind === "constant" ? { ...schedule, rate: lr } : { ...schedule, rate: lr, finalRate: (schedule.finalRate * lr) / schedule.rate };
  return trainSettings({ ...settings, schedule: scaled });
}

/** The command that goes on with this run: whatever decides what a step computes must be said again. */
function trainCommandLine(flags: TrainFlags): string {
  const { recipe = flags.from === undefined ? defaultRecipe : undefined, from, data, out, steps, seed, batchSize, lr, context, dtype, dequantize } = flags;
  const values = { recipe, from, data, out, steps, seed, "batch-size": batchSize, lr, context, dtype };
  const given = Object.entries(values).flatMap(([flag, value]) => (value === undefined ? [] : [[flag, value] as const]));
  const quoted = (value: string | number) => (/^[\w./:@-]+$/.test(String(value)) ? String(value) : `'${String(value).replaceAll("'", `'\\''`)}'`);
  return `hornbook train ${given.map(([flag, value]) => `--${flag} ${quoted(value)}`).join(" ")}${dequantize ? " --dequantize" : ""} --resume`;
}
