/** @file Options and parsers of their values, shared by the verbs: a wrong value is said with the flag's name, and exits with 2. */

import { access, constants, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { InvalidArgumentError, Option, type Command } from "commander";
import { writeError } from "../checkpoint/atomic.js";
import { cannotRead } from "../data/text.js";
import { CheckpointError, DataError, UsageError } from "../errors.js";
import type { LanguageModel } from "../language-model.js";
import type { Tokenizer } from "../tokenizer/index.js";

/** A whole number from `least`. */
export function wholeNumber(least = 0): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value) || value < least) throw new InvalidArgumentError(`A whole number from ${least} is expected.`);
    return value;
  };
}

/** A number in [least, most], or with `above` in (least, most]. */
export function number(least: number, most = Infinity, { above = false } = {}): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < least || (above && value === least) || value > most) {
      throw new InvalidArgumentError(`A number ${above ? "above" : "from"} ${least}${most === Infinity ? "" : ` to ${most}`} is expected.`);
    }
    return value;
  };
}

/** A string that says something; given several times, all of them. */
export function strings(text: string, before: readonly string[] = []): string[] {
  if (text === "") throw new InvalidArgumentError("It is empty.");
  return [...before, text];
}

/** Token ids: `1,2,3`. */
export function tokenIds(text: string): number[] {
  return text.split(",").map((part) => {
    const id = Number(part);
    if (part.trim() === "" || !Number.isSafeInteger(id) || id < 0) throw new InvalidArgumentError("Token ids are whole numbers with commas between: 1,2,3.");
    return id;
  });
}

/** The options of every verb that draws tokens, beside how many and how freely, where verbs have defaults of their own. */
export function withSampling(command: Command): Command {
  return command
    .option("--top-k <k>", "only the k most probable tokens", wholeNumber(0))
    .option("--top-p <p>", "only the most probable tokens that together have probability p", number(0, 1, { above: true }))
    .option("--min-p <p>", "only tokens with at least p times the probability of the likeliest", number(0, 1))
    .option("--repetition-penalty <r>", "makes tokens that stand there already less likely; 1 is off", number(0, Infinity, { above: true }))
    .option("--seed <n>", "decides what is drawn", wholeNumber(), 0)
    .addOption(new Option("--dtype <dtype>", "of the computation").choices(["f32", "bf16"]).default("f32"))
    .addOption(new Option("--cache <dtype>", "how keys and values are kept; q8 takes a quarter of f32's memory (default: as --dtype)").choices(["f32", "bf16", "q8"]));
}

/** The tokenizer of a model that is to read or write text. Throws UsageError where it has none; `hint` says what works without. */
export function requireTokenizer(path: string, { tokenizer }: LanguageModel, hint: string): Tokenizer {
  if (tokenizer === undefined) throw new UsageError(`${path} has no tokenizer, so it can neither read nor write text.`, { hint });
  return tokenizer;
}

/** Throws DataError where a text file cannot be read: before a model is loaded to read it. */
export async function checkReadable(file: string): Promise<void> {
  const info = await stat(file).catch((error: unknown) => {
    throw cannotRead(file, error);
  });
  if (info.isDirectory()) throw new DataError({ file }, "this is a folder.", { code: "cannot-read", hint: "Name a text file." });
  await access(file, constants.R_OK).catch((error: unknown) => {
    throw cannotRead(file, error);
  });
}

/** Throws CheckpointError where a file or folder could not be written at this path: before long work whose result goes there. */
export async function checkWritable(path: string, kind: "file" | "folder"): Promise<void> {
  const standing = await stat(path).catch(() => undefined);
  if (standing !== undefined && standing.isDirectory() !== (kind === "folder")) {
    throw new CheckpointError({ file: path }, kind === "folder" ? "this is a file, and a folder is written." : "this is a folder, and a file is written.", { code: "cannot-write", hint: "Name another place with --out." });
  }
  // Folders that are absent will be made in the nearest that is there.
  let place = resolve(path);
  while ((await stat(place).catch(() => undefined)) === undefined && dirname(place) !== place) place = dirname(place);
  await access(place, constants.W_OK).catch((error: unknown) => {
    throw writeError(path, error);
  });
}
