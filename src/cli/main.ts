/**
 * @file The command line: one verb a file, each a thin caller of the library. Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.
 */

import { inspect } from "node:util";
import { Command, type CommanderError } from "commander";
import pc from "picocolors";
import { ConfigError, HornbookError, UsageError, systemErrorCode } from "../errors.js";
import { packageVersion } from "../native/find.js";
import { endLine, say } from "./terminal.js";
import { asTyped, describeWrongUse } from "./usage.js";
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
import { showWarnings } from "./warnings.js";

const exitCodes = { done: 0, failed: 1, wrongUse: 2, interrupted: 130 };

/** Runs one command line (without `node` and the script) and returns the exit code. Everything it says goes to stdout and stderr. */
export async function main(args: readonly string[]): Promise<number> {
  await using _warnings = showWarnings();
  const program = commandLine();
  let running: Command | undefined;
  program.hook("preAction", (_, command) => void (running = command));
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCodes.done;
  } catch (error) {
    return report(error, running);
  } finally {
    endLine();
  }
}

/** All verbs. */
export function commandLine(): Command {
  const program = new Command("hornbook").description("The whole life of a language model: train it, talk to it, look at it.").version(packageVersion());
  const commands = [startCommand, trainCommand, chatCommand, generateCommand, logitsCommand, evaluateCommand, tokenizerCommand, infoCommand, exportCommand, pullCommand, buildCommand];
  for (const command of commands) program.addCommand(command());
  prepare(program);
  return program;
}

/** Wrong use of a command or one below it is thrown, and `report` says it. */
function prepare(command: Command): void {
  command.configureOutput({ outputError: () => undefined }).exitOverride((error) => {
    throw new WrongUse(error, command);
  });
  for (const child of command.commands) prepare(child);
}

/** What commander found wrong, and in which command. Asking for help or the version ends that way too. */
class WrongUse extends Error {
  constructor(
    readonly error: CommanderError,
    readonly command: Command,
  ) {
    super(error.message);
  }
}

/** What an error means for the shell; said on stderr, without a stack unless HORNBOOK_DEBUG asks for it. */
function report(error: unknown, running: Command | undefined): number {
  if (error instanceof WrongUse) {
    if (error.error.exitCode === 0) return exitCodes.done;
    // Help that is shown for want of a verb says enough.
    if (error.error.code !== "commander.help") fail(describeWrongUse(error.error, error.command));
    return exitCodes.wrongUse;
  }
  if (error instanceof Error && error.name === "AbortError") return exitCodes.interrupted;
  if (process.env["HORNBOOK_DEBUG"] === "1") say(inspect(error));
  else if (error instanceof HornbookError) fail(running === undefined ? error.message : asTyped(error, running));
  else if (error instanceof RangeError || systemErrorCode(error) !== undefined) fail((error as Error).message);
  else fail(`${String(error)}\nThis is a fault of Hornbook itself. With HORNBOOK_DEBUG=1 it shows where it happened.`);
  return error instanceof UsageError || error instanceof ConfigError ? exitCodes.wrongUse : exitCodes.failed;
}

function fail(text: string): void {
  say(`${pc.red("error:")} ${text}`);
}
