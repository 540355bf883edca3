/** @file Parsers of option values, shared by the verbs: a wrong value is said with the flag's name, and exits with 2. */

import { InvalidArgumentError } from "commander";

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
