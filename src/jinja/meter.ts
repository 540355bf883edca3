/**
 * @file What a rendering may spend. A template is a program that came with a model from anywhere, so everything that can grow is counted
 * before it is made: evaluations, characters, list items, nested calls. One budget of steps pays for all of it, so time and memory are
 * bounded together: a step is some 50 ns, or 64 characters copied, or 8 list items.
 *
 * Rendering is synchronous, so one meter serves all: `metered` sets it for the time of one rendering.
 */

import { TemplateFailure } from "./errors.js";

export interface Limits {
  /** Evaluations of a node of the template; copies of text and lists count as well. */
  readonly maxSteps: number;
  /** Of any text that comes about on the way, the result included; and items of a list. */
  readonly maxCharacters: number;
}

/** Nested calls of macros and recursive loops. Python's own limit of 1000 frames lies a little above. */
const maxCalls = 180;
/** Digits of a whole number, as Python limits the conversion to text (`sys.int_info.default_max_str_digits`), in bits. */
const maxBits = 100_000;

/** Outside a rendering, as while a template is compiled, work is bounded by the template's length. */
let limits: Limits = { maxSteps: Infinity, maxCharacters: Infinity };
let left = Infinity;
let calls = 0;

/** Runs `body` within the limits; a TemplateFailure `exceeded` ends it where it runs into one. */
export function metered<T>(within: Limits, body: () => T): T {
  const before = { limits, left, calls };
  [limits, left, calls] = [within, within.maxSteps, 0];
  try {
    return body();
  } finally {
    ({ limits, left, calls } = before);
  }
}

/** Pays for work. */
export function spend(steps: number): void {
  left -= steps;
  if (left < 0) throw new TemplateFailure("exceeded", `it was not done after ${limits.maxSteps} steps.`);
}

/** Asks for a text of so many characters (UTF-16 units) that is about to be copied together. */
export function askText(length: number): void {
  askLength(length);
  spend(length / 64);
}

/** Checks the length of a text that shares the memory of its parts, as a concatenation does. */
export function askLength(length: number): void {
  if (!(length <= limits.maxCharacters)) throw new TemplateFailure("exceeded", `it made a text of more than ${limits.maxCharacters} characters.`);
}

/** Asks for a list of so many items. */
export function askItems(length: number): void {
  if (!(length <= limits.maxCharacters)) throw new TemplateFailure("exceeded", `it made a list of more than ${limits.maxCharacters} items.`);
  spend(length / 8);
}

/** Asks for a whole number of so many bits. */
export function askBits(bits: number): void {
  if (!(bits <= maxBits)) throw new TemplateFailure("exceeded", "it made a whole number of more than 30000 digits.");
  spend(bits / 64);
}

/** A call within a call. */
export function nested<T>(body: () => T): T {
  if (++calls > maxCalls) throw new TemplateFailure("exceeded", `its calls nest more than ${maxCalls} deep.`);
  try {
    return body();
  } finally {
    calls--;
  }
}
