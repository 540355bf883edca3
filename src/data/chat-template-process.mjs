/**
 * @file The process in which chat templates run; `chat-template-renderer.ts` starts it and speaks with it. A template is a program that came
 * with a model from anywhere, so it gets a process of its own: whatever it does to its memory or its time ends with the process, which a
 * worker thread does not promise (a single large allocation there takes the whole program with it). Within it the interpreter counts:
 * steps, the length of any text or list; so that most of what runs away ends here, in order and at once.
 *
 * Plain JavaScript, because Node must be able to run this file as it lies, from the sources as from what is built of them.
 *
 * A request is { id, template, variables, now, maxSteps, maxCharacters }; the answer { id, text }, or { id, problem, message } where
 * `problem` is `syntax`, `refused` (the template raised it), `exceeded` or `failed`.
 */

import * as jinja from "@huggingface/jinja";

// The package's own types do not resolve under Node's rules for modules; this is what is used of it.
/** @typedef {{ set(name: string, value: unknown): object }} Environment */
/** @typedef {{ evaluate(statement: unknown, environment: Environment): { value: unknown }, run(program: unknown): { value: unknown } }} Runner */
/** @typedef {{ Environment: new () => Environment, Interpreter: new (environment: Environment) => Runner, tokenize(source: string, options: object): unknown, parse(tokens: unknown): unknown }} Jinja */
const { Environment, Interpreter, parse, tokenize } = /** @type {Jinja} */ (/** @type {unknown} */ (jinja));

/** @typedef {{ id: number, template: string, variables: Record<string, unknown>, now: number, maxSteps: number, maxCharacters: number }} RenderRequest */
/** @typedef {"syntax" | "refused" | "exceeded" | "failed"} Problem */
/** @typedef {{ id: number, text: string } | { id: number, problem: Problem, message: string }} RenderAnswer */

/** As Jinja's own sandbox has it. */
const maxRange = 100_000;
const maxPrograms = 16;

// Python prints True and False.
/** @type {{ toString(): string }} */ (Object.getPrototypeOf(new Environment().set("x", true))).toString = function () {
  return /** @type {{ value: boolean }} */ (/** @type {unknown} */ (this)).value ? "True" : "False";
};

/** The end of a template: of its own will, or for want of room. */
class Stop extends Error {
  /** @param {Problem} problem @param {string} message */
  constructor(problem, message) {
    super(message);
    this.problem = problem;
  }
}

class BoundedInterpreter extends Interpreter {
  #steps = 0;

  /** @param {Environment} environment @param {RenderRequest} request */
  constructor(environment, request) {
    super(environment);
    this.request = request;
  }

  /**
   * Every node of the program passes here each time it is evaluated.
   * @override
   * @param {unknown} statement
   * @param {Environment} environment
   */
  evaluate(statement, environment) {
    const { maxSteps, maxCharacters } = this.request;
    if (++this.#steps > maxSteps) throw new Stop("exceeded", `it was not done after ${maxSteps} steps.`);
    const value = super.evaluate(statement, environment);
    const held = value.value;
    if (typeof held === "string" && held.length > maxCharacters) throw new Stop("exceeded", `it made a text of more than ${maxCharacters} characters.`);
    if (Array.isArray(held) && held.length > maxCharacters) throw new Stop("exceeded", `it made a list of more than ${maxCharacters} items.`);
    return value;
  }
}

/** @param {number} start @param {number} [stop] @param {number} [step] */
function range(start, stop, step = 1) {
  const [from, to] = stop === undefined || stop === null ? [0, start] : [start, stop];
  if (![from, to, step].every(Number.isSafeInteger) || step === 0) throw new Error("range() takes whole numbers, and a step that is not 0.");
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (length > maxRange) throw new Stop("exceeded", `it asked for a range of ${length} numbers; ${maxRange} is the most.`);
  return Array.from({ length }, (_, i) => from + i * step);
}

const months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Python's strftime in the C locale. @param {Date} date @param {string} format */
function strftime(date, format) {
  /** @param {number} n */
  const two = (n) => String(n).padStart(2, "0");
  const dayOfYear = Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000);
  /** @type {Record<string, () => string>} */
  const fields = {
    Y: () => String(date.getFullYear()), y: () => two(date.getFullYear() % 100), m: () => two(date.getMonth() + 1), d: () => two(date.getDate()),
    B: () => months[date.getMonth()], b: () => months[date.getMonth()].slice(0, 3), A: () => days[date.getDay()], a: () => days[date.getDay()].slice(0, 3),
    H: () => two(date.getHours()), I: () => two(date.getHours() % 12 || 12), p: () => (date.getHours() < 12 ? "AM" : "PM"), M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()), j: () => String(dayOfYear).padStart(3, "0"), "%": () => "%",
  };
  return format.replace(/%([a-zA-Z%])/g, (whole, letter) => fields[letter]?.() ?? whole);
}

/** @type {Map<string, unknown>} */
const programs = new Map();

/** @param {string} template */
function compiled(template) {
  let program = programs.get(template);
  if (program === undefined) {
    try {
      program = parse(tokenize(template, { trim_blocks: true, lstrip_blocks: true }));
    } catch (error) {
      throw new Stop("syntax", messageOf(error));
    }
    if (programs.size >= maxPrograms) programs.clear();
    programs.set(template, program);
  }
  return program;
}

/** @param {RenderRequest} request */
function render(request) {
  const program = compiled(request.template);
  const environment = new Environment();
  const globals = {
    true: true, True: true, false: false, False: false, none: null, None: null, range,
    raise_exception: (/** @type {unknown} */ message) => {
      throw new Stop("refused", String(message));
    },
    strftime_now: (/** @type {unknown} */ format) => strftime(new Date(request.now), String(format)),
  };
  for (const [name, value] of Object.entries({ ...globals, ...request.variables })) environment.set(name, value);
  return String(new BoundedInterpreter(environment, request).run(program).value);
}

/** @param {unknown} error */
function messageOf(error) {
  const message = error instanceof Error ? error.message : String(error);
  return message.length > 500 ? `${message.slice(0, 500)}...` : message;
}

process.on("message", (/** @type {RenderRequest} */ request) => {
  /** @type {RenderAnswer} */
  let answer;
  try {
    answer = { id: request.id, text: render(request) };
  } catch (error) {
    const tooDeep = error instanceof RangeError;
    const problem = error instanceof Stop ? error.problem : tooDeep ? "exceeded" : "failed";
    answer = { id: request.id, problem, message: messageOf(error) };
  }
  process.send?.(answer);
});

// Without whoever asked there is nothing to do.
process.on("disconnect", () => process.exit());
