/** @file What is said of wrong use, in the words of the command line: errors of the library name its settings, and here they get the names of options. */

import type { Command, CommanderError, Option } from "commander";
import { ConfigError, type HornbookError } from "../errors.js";
import { suggestOption, suggestVerb } from "./suggestions.js";

/** Options that the library has another name for. */
const settings: Readonly<Record<string, string>> = { context: "contextLength", data: "text", special: "specialTokens" };

/** Advice in the place of the library's, where that names what the command line does not have. */
const advice: Readonly<Record<string, string>> = {
  "context-exceeded": "Shorten it.",
  "empty-prompt": "Give it something to go on with.",
  "document-too-long": "Split the file.",
};

/** The message of an error, with the option as it was typed in the place of the setting that it names. */
export function asTyped(error: HornbookError, command: Command): string {
  const { message, hint, code } = error;
  const here = hint === undefined || !Object.hasOwn(advice, code) ? message : `${message.slice(0, -hint.length)}${advice[code]}`;
  if (!(error instanceof ConfigError)) return here;
  // What was not typed comes from a recipe or a model, which name their settings as the library does.
  const option = command.options.find((option) => namesOf(option).includes(error.field.replace(/\.\d+$|\[\d+\]$/, "")) && command.getOptionValueSource(option.attributeName()) === "cli");
  return option === undefined ? here : `${option.long}${here.slice(error.field.length)}`;
}

function namesOf(option: Option): string[] {
  const name = option.attributeName();
  return Object.hasOwn(settings, name) ? [name, settings[name]] : [name];
}

/** What commander says, with what may have been meant and where to read more. */
export function describeWrongUse({ code, message }: CommanderError, command: Command): string {
  const [, said, similar] = /^(?:error: )?(.*?)(?:\n(\(Did you mean .*))?$/s.exec(message)!;
  const more = suggestion(code, said, command) ?? similar;
  return [said, more, `(${pathOf(command)} --help shows ${code === "commander.unknownCommand" ? "what there is" : "the options, with examples"})`].filter((line) => line !== undefined).join("\n");
}

function suggestion(code: string, said: string, command: Command): string | undefined {
  const quoted = /'([^']*)'/.exec(said)?.[1] ?? "";
  switch (code) {
    case "commander.unknownOption":
      return suggestOption(quoted, command);
    case "commander.unknownCommand":
      return suggestVerb(quoted, command, pathOf(command));
    case "commander.missingArgument":
      return quoted === "model" ? "(A model is a folder or a file: `hornbook start` trains one, `hornbook pull ORG/NAME` downloads one)" : undefined;
    case "commander.excessArguments":
      return command.options.some(({ long }) => long === "--prompt") ? '(A prompt is given with --prompt, in quotes where it has spaces: --prompt "Once upon a time")' : undefined;
    default:
      return undefined;
  }
}

/** `hornbook tokenizer train`. */
export function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}
