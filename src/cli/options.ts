/** @file Options and parsers of their values, shared by the verbs: a wrong value is said with the flag's name, and exits with 2. */

import { InvalidArgumentError, Option, type Command } from "commander";

/** A whole number from `least`. */
export function wholeNumber(least = 0): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value) || value < least) throw new InvalidArgumentError(`A whole number from ${least} is expected.`);
    return value;
  };
}

/** A number in [least, most]. */
export function number(least: number, most = Infinity): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < least || value > most) {
      throw new InvalidArgumentError(most === Infinity ? `A number from ${least} is expected.` : `A number from ${least} to ${most} is expected.`);
    }
    return value;
  };
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
    .option("--top-p <p>", "only the most probable tokens that together have probability p", number(0, 1))
    .option("--min-p <p>", "only tokens with at least p times the probability of the likeliest", number(0, 1))
    .option("--repetition-penalty <r>", "makes tokens that stand there already less likely; 1 is off", number(0))
    .option("--seed <n>", "decides what is drawn", wholeNumber(), 0)
    .addOption(new Option("--dtype <dtype>", "of the computation").choices(["f32", "bf16"]).default("f32"))
    .addOption(new Option("--cache <dtype>", "how keys and values are kept; q8 takes a quarter of f32's memory (default: as --dtype)").choices(["f32", "bf16", "q8"]));
}
