/** @file `inkling evaluate`: how well a model predicts a text. */

import { Command, Option } from "commander";
import { readText } from "../../data/text.js";
import { UsageError } from "../../errors.js";
import { likelihood } from "../../evaluate/likelihood.js";
import { LanguageModel } from "../../language-model.js";
import type { FloatDType } from "../../tensor/index.js";
import { table } from "../format.js";
import { interruptible } from "../interrupt.js";
import { tokenIds } from "../options.js";

export function evaluateCommand(): Command {
  return new Command("evaluate")
    .description("Measure how well a model predicts a text: its likelihood, perplexity and bits per byte.")
    .argument("<model>", "a model's folder, or a run's")
    .option("--text <file>", "a text file")
    .option("--ids <1,2,3>", "token ids", tokenIds)
    .addOption(new Option("--dtype <dtype>", "of the computation").choices(["f32", "bf16"]).default("f32"))
    .option("--json", "print {tokens, nll, loss, perplexity, bitsPerByte}: nll in nats in all, loss per token")
    .addHelpText("after", "\nEvery token but the first is predicted once, in windows of the model's context.\n\nExamples:\n  inkling evaluate runs/start --text data/tinyshakespeare.txt\n  inkling evaluate my-model --ids 1,2,3,4 --json")
    .action(async (path: string, { text, ids: given, dtype, json = false }: { text?: string; ids?: number[]; dtype: FloatDType; json?: boolean }) => {
      if ((text === undefined) === (given === undefined)) throw new UsageError("Give --text or --ids.");
      const model = await LanguageModel.load(path);
      if (text !== undefined && model.tokenizer === undefined) throw new UsageError(`${path} has no tokenizer, so it cannot read a text.`, { hint: "Give --ids." });
      const { signal, dispose } = interruptible();
      let result;
      try {
        const ids = given ?? model.tokenizer!.encode(await whole(readText(text!, model.tokenizer!.needsValidText ? "error" : "replace")));
        result = await likelihood(model, ids, { tokenizer: model.tokenizer, dtype, signal });
      } finally {
        dispose();
      }
      if (json) console.log(JSON.stringify(result));
      else console.log(table(Object.entries(result).map(([name, value]) => [name, value === null ? "-" : Number.isInteger(value) ? String(value) : (value as number).toFixed(4)]), [1]));
    });
}

async function whole(parts: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const part of parts) text += part;
  return text;
}
