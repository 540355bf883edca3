/** @file Arguments of functions and filters: matched with their parameters, and taken as the Python types that they must be. */

import { PyError } from "./errors.js";
import { isInt, isText, textOf, toList, typeError, typeName, Undefined, type Int, type Keywords, type Value } from "./values.js";

export const noKeywords: Keywords = new Map();

/**
 * The arguments in the order of the parameters; what is not given is undefined. A parameter list reads as in Python:
 * `"old, new, count="` has two that must be given and one that need not; those before `/` have no name to a caller.
 *
 * Throws TypeError.
 */
export function bind(name: string, signature: string, args: readonly Value[], keywords: Keywords): (Value | undefined)[] {
  const parameters = parsed(signature);
  if (args.length > parameters.length) typeError(`${name}() takes at most ${parameters.length} arguments (${args.length} given)`);
  const bound: (Value | undefined)[] = parameters.map((_, i) => args[i]);
  for (const [key, value] of keywords) {
    const at = parameters.findIndex((parameter) => parameter.name === key && !parameter.positional);
    if (at < 0) typeError(`${name}() got an unexpected keyword argument '${key}'`);
    if (bound[at] !== undefined) typeError(`${name}() got multiple values for argument '${key}'`);
    bound[at] = value;
  }
  parameters.forEach((parameter, i) => {
    if (bound[i] === undefined && !parameter.optional) typeError(`${name}() missing a required argument: '${parameter.name}'`);
  });
  return bound;
}

interface Parameter {
  readonly name: string;
  readonly optional: boolean;
  readonly positional: boolean;
}
const signatures = new Map<string, readonly Parameter[]>();

function parsed(signature: string): readonly Parameter[] {
  let parameters = signatures.get(signature);
  if (parameters === undefined) {
    const parts = signature.split(", ").filter((part) => part !== "");
    const slash = parts.indexOf("/");
    parameters = parts.filter((part) => part !== "/").map((part, i) => ({ name: part.replace("=", ""), optional: part.endsWith("="), positional: i < slash }));
    signatures.set(signature, parameters);
  }
  return parameters;
}

/** A str. Throws TypeError. */
export function asText(value: Value, what: string): string {
  return isText(value) ? textOf(value) : typeError(`${what} must be str, not ${typeName(value)}`);
}

/** What Python takes as an index or count: an int or bool. Throws TypeError. */
export function asInt(value: Value): Int {
  return isInt(value) ? (typeof value === "boolean" ? Number(value) : value) : typeError(`'${typeName(value)}' object cannot be interpreted as an integer`);
}

/** The same as a number. Throws OverflowError beyond 64 bits. */
export function asCount(value: Value): number {
  const count = Number(asInt(value));
  if (Math.abs(count) >= 2 ** 63) throw new PyError("OverflowError", "Python int too large to convert to C ssize_t");
  return count;
}

/** The items of `*value`. Throws TypeError. */
export function spread(value: Value): Value[] {
  if (value instanceof Undefined) return [];
  return toList(value);
}
