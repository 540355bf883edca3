/** @file How a template ends early. Both kinds are turned into a `DataError` by whoever renders (`src/data/chat-template.ts`). */

/** `syntax`: it cannot be compiled; `refused`: it raised an exception of its own; `exceeded`: it ran into a limit; `failed`: all else. */
export type Problem = "syntax" | "refused" | "exceeded" | "failed";

/** The end of a template, with the line at which it came. */
export class TemplateFailure extends Error {
  readonly problem: Problem;
  readonly line: number | undefined;

  constructor(problem: Problem, message: string, line?: number) {
    super(message);
    this.problem = problem;
    this.line = line;
  }
}

export type PyErrorType =
  | "TypeError" | "ValueError" | "KeyError" | "IndexError" | "AttributeError" | "ZeroDivisionError" | "OverflowError" | "AssertionError"
  | "UndefinedError" | "SecurityError" | "FilterArgumentError" | "TemplateRuntimeError" | "RuntimeError";

/** An exception that Python raises at this place. Some constructs of Jinja catch some types, hence `type`. */
export class PyError extends Error {
  readonly type: PyErrorType;

  constructor(type: PyErrorType, message: string) {
    super(message);
    this.type = type;
  }
}

/** Throws TemplateFailure: Python renders something here that we do not; said rather than guessed. */
export function unsupported(what: string): never {
  throw new TemplateFailure("failed", `${what} is not supported.`);
}
