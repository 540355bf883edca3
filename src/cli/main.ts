/**
 * @file The command line: one verb a file, each a thin caller of the library. Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.
 */

import { Command, CommanderError } from "commander";
import pc from "picocolors";
import { ConfigError, HornbookError, UsageError } from "../errors.js";
import { packageVersion } from "../native/find.js";
import { buildCommand } from "./verbs/build.js";
import { chatCommand } from "./verbs/chat.js";
import { evaluateCommand } from "./verbs/evaluate.js";
import { exportCommand } from "./verbs/export.js";
import { generateCommand } from "./verbs/generate.js";
import { infoCommand } from "./verbs/info.js";
import { logitsCommand } from "./verbs/logits.js";
import { pullCommand } from "./verbs/pull.js";
import { startCommand } from "./verbs/start.js";
import { tokenizerCommand } from "./verbs/tokenizer.js";
import { trainCommand } from "./verbs/train.js";

const exitCodes = { done: 0, failed: 1, wrongUse: 2, interrupted: 130 };

/** Runs one command line (without `node` and the script) and returns the exit code. Everything it says goes to stdout and stderr. */
export async function main(args: readonly string[]): Promise<number> {
  const program = new Command("hornbook")
    .description("The whole life of a language model: train it, talk to it, look at it.")
    .version(packageVersion())
    .showHelpAfterError("(--help shows the options, with examples)")
    .exitOverride();
  const commands = [startCommand, trainCommand, chatCommand, generateCommand, logitsCommand, evaluateCommand, tokenizerCommand, infoCommand, exportCommand, pullCommand, buildCommand];
  for (const command of commands) program.addCommand(inherit(command()));
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCodes.done;
  } catch (error) {
    return report(error);
  }
}

/** Wrong use anywhere below a command is thrown, not exited on. */
function inherit(command: Command): Command {
  command.exitOverride().showHelpAfterError("(--help shows the options, with examples)");
  for (const child of command.commands) inherit(child);
  return command;
}

/** What an error means for the shell; said on stderr in one line, without a stack unless HORNBOOK_DEBUG asks for it. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.wrongUse;
  if (error instanceof Error && error.name === "AbortError") return exitCodes.interrupted;
  if (process.env["HORNBOOK_DEBUG"] === "1" || !(error instanceof HornbookError || error instanceof RangeError)) {
    console.error(error);
    return exitCodes.failed;
  }
  console.error(`${pc.red("error:")} ${error.message}`);
  return error instanceof UsageError || error instanceof ConfigError ? exitCodes.wrongUse : exitCodes.failed;
}
