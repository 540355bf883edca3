/** @file `hornbook start` (and `npm start`): trains a small model on the text that ships, and ends in a conversation with it. */

import { join } from "node:path";
import { Command } from "commander";
import { LanguageModel } from "../../language-model.js";
import { defaultDevice } from "../../tensor/index.js";
import { isRunComplete } from "../../train/index.js";
import { converse } from "../converse.js";
import { wholeNumber } from "../options.js";
import { runTraining } from "./train.js";

export function startCommand(): Command {
  return new Command("start")
    .description("Train the default recipe on the text that ships (a few minutes), then talk to it.")
    .option("--out <dir>", "where it is saved (default: runs/<recipe>)")
    .option("--steps <n>", "optimizer steps in all", wholeNumber(1))
    .addHelpText("after", "\nA second start goes on where the first was stopped, or straight to the conversation.\n\nExamples:\n  hornbook start\n  hornbook start --steps 500 --out runs/quick")
    .action(async ({ out: given, steps }: { out?: string; steps?: number }) => {
      // Without native kernels everything is a hundred times slower, so the model is that much smaller.
      const recipe = defaultDevice().name === "reference" ? "start-reference" : "start";
      const out = given ?? join("runs", recipe);
      const model = (await isRunComplete(out)) ? await LanguageModel.load(out) : await runTraining({ recipe, out, resume: true, ...(steps && { steps }) }, ["hornbook start", ...(given ? ["--out", given] : []), ...(steps ? ["--steps", steps] : [])].join(" "));
      if (process.stdin.isTTY && process.stdout.isTTY) {
        console.log("\nWrite a beginning and the model goes on. /help tells what can be done.");
        await converse(model.chat({ template: undefined, temperature: 0.8, maxTokens: 300 }));
        return;
      }
      const { text } = await model.generateText("\n", { temperature: 0.8, maxTokens: 300, onContextFull: "slide" });
      console.log(`\nA sample of what it writes:\n${text}`);
    });
}
