/**
 * @file Jinja as transformers sets it up for chat templates (`ImmutableSandboxedEnvironment`, `trim_blocks`, `lstrip_blocks`, loop controls,
 * `generation`, its `tojson`, `strftime_now`, `raise_exception`), with Python's values: a template renders exactly what it renders there,
 * or fails with an error that names line and construct.
 *
 *     lexer.ts → parser.ts → ast.ts → scopes.ts → evaluator.ts        the language
 *     values.ts, numbers.ts, text.ts, operators.ts, attributes.ts      Python's values and what can be done with them
 *     show.ts, format.ts, string-methods.ts, strftime.ts, wrap.ts      values as text, and text
 *     filters.ts, tests.ts, globals.ts                                 what a template can name
 *     meter.ts                                                         bounds of time and memory
 *
 * It runs foreign programs within the process: nothing of JavaScript can be reached from a template, every value is one of `values.ts`, and
 * all that can grow is counted before it is made.
 */

import type { Body } from "./ast.js";
import { PyError, TemplateFailure } from "./errors.js";
import { Evaluator } from "./evaluator.js";
import { globalsAt } from "./globals.js";
import { metered, type Limits } from "./meter.js";
import { parse } from "./parser.js";
import { analyze, type Analysis } from "./scopes.js";
import { fromJs, type Value } from "./values.js";

export { TemplateFailure, type Problem } from "./errors.js";
export type { Limits } from "./meter.js";
export { markCharacter } from "./text.js";
export { Float, Tuple } from "./values.js";

export interface RenderSettings extends Limits {
  /** What `strftime_now` tells. */
  readonly now: Date;
}

/** A compiled template. */
export class Template {
  readonly #body: Body;
  readonly #analysis: Analysis;

  /** Throws TemplateFailure `syntax`, `exceeded`. */
  constructor(source: string) {
    try {
      this.#body = parse(source);
      this.#analysis = analyze(this.#body);
    } catch (error) {
      throw error instanceof RangeError ? new TemplateFailure("exceeded", "it nests too deep.") : error;
    }
  }

  /**
   * The text that the template makes of the variables, which are values that JSON can say: integral numbers become ints, others floats
   * (a `Float` says that a number is one). Throws TemplateFailure `refused`, `exceeded`, `failed`.
   */
  render(variables: Readonly<Record<string, unknown>>, { now, ...limits }: RenderSettings): string {
    try {
      return metered(limits, () => {
        const given = new Map<string, Value>(Object.entries(variables).map(([name, value]) => [name, fromJs(value)]));
        return new Evaluator(this.#analysis).render(this.#body, [given, globalsAt(now)]);
      });
    } catch (error) {
      if (error instanceof PyError) throw new TemplateFailure("failed", `${error.message}.`);
      throw error instanceof RangeError ? new TemplateFailure("exceeded", "it nests too deep.") : error;
    }
  }
}
