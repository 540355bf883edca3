/** @file `hornbook generate`: goes on with a prompt, or, without one on a terminal, holds a conversation. */

import { Command } from "commander";
import { UsageError } from "../../errors.js";
import { generationSettings } from "../../generate/index.js";
import { LanguageModel } from "../../language-model.js";
import type { StateDType } from "../../model/index.js";
import type { FloatDType } from "../../tensor/index.js";
import { converse } from "../converse.js";
import { interruptible } from "../interrupt.js";
import { number, requireTokenizer, strings, tokenIds, wholeNumber, withSampling } from "../options.js";
import { endLine, say, write } from "../terminal.js";

interface GenerateFlags {
  prompt?: string;
  ids?: number[];
  maxTokens: number;
  temperature: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  stop?: string[];
  seed: number;
  dtype: FloatDType;
  cache?: StateDType;
  json?: boolean;
}

export function generateCommand(): Command {
  const command = new Command("generate")
    .description("Go on with a prompt. Without one, on a terminal, hold a conversation.")
    .argument("<model>", "a model's folder or file, or a run's folder")
    .option("--prompt <text>", "the text to go on with")
    .option("--ids <1,2,3>", "token ids to go on with", tokenIds)
    .option("--max-tokens <n>", "the most new tokens", wholeNumber(1), 256)
    .option("--temperature <t>", "0 takes the most probable token each time", number(0), 0.8)
    .option("--stop <text>", "ends the text before this string; may be given several times", strings);
  return withSampling(command)
    .option("--json", "print {promptIds, ids, text, tokensPerSecond}; ids are the new ones")
    .addHelpText(
      "after",
      `
Examples:
  hornbook generate runs/start --prompt "ROMEO:"
  hornbook generate runs/start --prompt "ROMEO:" --temperature 0 --max-tokens 50 --json
  hornbook generate runs/start                       a conversation`,
    )
    .action(async (path: string, flags: GenerateFlags) => {
      const { prompt, ids, json = false, ...settings } = flags;
      if (prompt !== undefined && ids !== undefined) throw new UsageError("Give --prompt or --ids, not both.");
      const input = prompt ?? ids;
      if (input === undefined && (!process.stdin.isTTY || !process.stdout.isTTY || json)) {
        throw new UsageError("There is nothing to go on with.", { hint: "Give --prompt or --ids; a conversation needs a terminal." });
      }
      generationSettings(settings);
      const model = await LanguageModel.load(path);
      if (ids === undefined) requireTokenizer(path, model, "Give --ids.");
      if (input === undefined) {
        console.log("\nWrite a beginning and the model goes on. /help tells what can be done.");
        await converse(model.chat({ ...settings, template: undefined }));
        return;
      }
      const { signal, dispose } = interruptible();
      try {
        if (json) {
          const { promptIds, ids: newIds, text, tokensPerSecond } = await model.generateText(input, { ...settings, signal });
          console.log(JSON.stringify({ promptIds, ids: newIds, text, tokensPerSecond }));
          return;
        }
        let echo = prompt ?? "";
        let finish: string | undefined;
        for await (const piece of model.generate(input, { ...settings, signal })) {
          // The prompt stands there once there is something to follow it, and not before an error.
          write(echo + piece.text);
          echo = "";
          finish = piece.finishReason ?? finish;
        }
        endLine();
        if (finish === "context") say(`(the context of ${model.config.contextLength} tokens is full)`);
      } finally {
        dispose();
      }
    });
}
