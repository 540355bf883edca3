/** @file `hornbook generate`: goes on with a prompt, or, without one on a terminal, holds a conversation. */

import { Command } from "commander";
import { UsageError } from "../../errors.js";
import type { StateDType } from "../../model/index.js";
import { LanguageModel, type GenerateTextOptions } from "../../language-model.js";
import type { FloatDType } from "../../tensor/index.js";
import { converse } from "../converse.js";
import { interruptible } from "../interrupt.js";
import { number, tokenIds, wholeNumber, withSampling } from "../options.js";

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
    .argument("<model>", "a model's folder, or a run's")
    .option("--prompt <text>", "the text to go on with")
    .option("--ids <1,2,3>", "token ids to go on with", tokenIds)
    .option("--max-tokens <n>", "the most new tokens", wholeNumber(1), 256)
    .option("--temperature <t>", "0 takes the most probable token each time", number(0), 0.8)
    .option("--stop <text...>", "strings that end the text, before them");
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
      const { prompt, ids, json = false, ...rest } = flags;
      if (prompt !== undefined && ids !== undefined) throw new UsageError("Give --prompt or --ids, not both.");
      const model = await LanguageModel.load(path);
      const options: GenerateTextOptions = { ...rest };
      if (prompt === undefined && ids === undefined) {
        if (!process.stdin.isTTY || !process.stdout.isTTY || json) throw new UsageError("There is nothing to go on with.", { hint: "Give --prompt or --ids; a conversation needs a terminal." });
        console.log("\nWrite a beginning and the model goes on. /help tells what can be done.");
        await converse(model.chat({ ...rest, template: undefined }));
        return;
      }
      const input = prompt ?? ids!;
      const { signal, dispose } = interruptible();
      try {
        if (json) {
          const { promptIds, ids: newIds, text, tokensPerSecond } = await model.generateText(input, { ...options, signal });
          console.log(JSON.stringify({ promptIds, ids: newIds, text, tokensPerSecond }));
          return;
        }
        if (prompt !== undefined) process.stdout.write(prompt);
        let finish: string | undefined;
        for await (const piece of model.generate(input, { ...options, signal })) {
          process.stdout.write(piece.text);
          finish = piece.finishReason ?? finish;
        }
        process.stdout.write("\n");
        if (finish === "context") console.error(`(the context of ${model.config.contextLength} tokens is full)`);
      } finally {
        dispose();
      }
    });
}
