/** @file `hornbook logits`: the raw scores of the next token, for scripts and comparisons. */

import { Command } from "commander";
import { TokenizerError } from "../../errors.js";
import { LanguageModel } from "../../language-model.js";
import { Tensor, noGrad, scope } from "../../tensor/index.js";
import { tokenIds } from "../options.js";

export function logitsCommand(): Command {
  return new Command("logits")
    .description("Print the logits after the last of these token ids, or after each.")
    .argument("<model>", "a model's folder, or a run's")
    .requiredOption("--ids <1,2,3>", "token ids", tokenIds)
    .option("--all", "of every position: a list of lists")
    .option("--json", "accepted for likeness with the other verbs; the output is JSON anyway")
    .addHelpText("after", "\nExamples:\n  hornbook logits runs/start --ids 1,2,3\n  hornbook logits my-model --ids 1,2,3 --all")
    .action(async (path: string, { ids, all = false }: { ids: number[]; all?: boolean }) => {
      const model = await LanguageModel.load(path);
      const { vocabSize } = model.config;
      const outside = ids.find((id) => id >= vocabSize);
      if (outside !== undefined) {
        throw new TokenizerError({}, `token id ${outside} is outside the model's vocabulary of ${vocabSize}.`, { code: "token-out-of-range", hint: `Ids go from 0 to ${vocabSize - 1}.` });
      }
      const tensor = noGrad(() => scope(() => model.logits(Tensor.from(Int32Array.from(ids), { shape: [1, ids.length] }), { lastOnly: !all })));
      const flat = Array.from(await tensor.data());
      const rows = Array.from({ length: flat.length / vocabSize }, (_, i) => flat.slice(i * vocabSize, (i + 1) * vocabSize));
      console.log(JSON.stringify({ logits: all ? rows : rows[0] }));
    });
}
