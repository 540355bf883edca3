/**
 * @file Runs chat templates in a process of their own (`chat-template-process.mjs`), one after the other, each within bounds: of steps and of
 * characters, which the interpreter there counts; of memory, which that process's heap has; and of time, after which it is killed.
 * A process that died is replaced by the next request. It starts with the first one (some 50 ms; an answer takes one or two after that),
 * does not keep the program alive, and ends with it.
 */

import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { DataError, type FilePlace } from "../errors.js";
import type { RenderAnswer, RenderRequest } from "./chat-template-process.mjs";

/** What one rendering may spend. */
export interface RenderLimits {
  /** Evaluations of a node of the template. */
  readonly maxSteps: number;
  /** Of any text that comes about on the way, the result included; and items of a list. */
  readonly maxCharacters: number;
  /** After which the process is killed, whatever it does. */
  readonly maxSeconds: number;
}

export interface RenderJob extends RenderLimits {
  readonly template: string;
  /** Values that JSON can say. */
  readonly variables: Readonly<Record<string, unknown>>;
  readonly now: Date;
  /** Where the template comes from, for errors. */
  readonly place: FilePlace;
  readonly signal?: AbortSignal | undefined;
}

/** Megabytes of the interpreter's heap; a template that needs more ends its process. */
const heapMegabytes = 256;

const said = {
  syntax: "the chat template is no Jinja",
  refused: "the chat template refuses this conversation",
  exceeded: "the chat template was stopped",
  failed: "the chat template fails",
} as const;
const codes = { syntax: "bad-template", refused: "template-refused", exceeded: "template-exceeded", failed: "bad-template" } as const;

class TemplateRenderer {
  #child: ChildProcess | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #count = 0;

  /** Starts the process, so that the first rendering need not wait for it. */
  warm(): void {
    this.#start();
  }

  /**
   * The rendered text.
   *
   * @throws DataError: `bad-template` (it is no Jinja, or fails), `template-refused` (it raised an exception of its own), `template-exceeded`
   * (it ran into one of the limits); the signal's reason.
   */
  render(job: RenderJob): Promise<string> {
    const result = this.#last.then(() => this.#run(job));
    this.#last = result.catch(() => undefined);
    return result;
  }

  #run({ template, variables, now, place, signal, maxSteps, maxCharacters, maxSeconds }: RenderJob): Promise<string> {
    signal?.throwIfAborted();
    const child = this.#start();
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      const settle = (how: () => void, { kill = false } = {}) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        child.off("message", onMessage).off("exit", onExit).off("error", onError);
        if (kill) this.#kill(child);
        // What nobody waits for must not keep the program alive.
        child.unref();
        child.channel?.unref();
        how();
      };
      const fail = (problem: keyof typeof said, message: string) => reject(new DataError(place, `${said[problem]}: ${message}`, { code: codes[problem] }));
      const timer = setTimeout(() => settle(() => fail("exceeded", `it was not done after ${maxSeconds} seconds.`), { kill: true }), maxSeconds * 1000);
      const onAbort = () => settle(() => reject(signal!.reason as Error), { kill: true });
      const onExit = () => settle(() => fail("exceeded", `it took more than the ${heapMegabytes} MB of memory that it may have.`), { kill: true });
      const onError = (error: Error) => settle(() => fail("failed", `its process cannot run (${error.message}).`), { kill: true });
      const onMessage = (answer: RenderAnswer) => {
        if (answer.id === id) settle(() => ("text" in answer ? resolve(answer.text) : fail(answer.problem, answer.message)));
      };
      child.ref();
      child.channel?.ref();
      signal?.addEventListener("abort", onAbort, { once: true });
      child.on("message", onMessage).on("exit", onExit).on("error", onError);
      child.send({ id, template, variables, now: now.getTime(), maxSteps, maxCharacters } satisfies RenderRequest);
    });
  }

  #start(): ChildProcess {
    if (this.#child?.connected === true) return this.#child;
    const { NODE_OPTIONS: _, ...env } = process.env;
    const child = fork(fileURLToPath(new URL("./chat-template-process.mjs", import.meta.url)), [], {
      execArgv: [`--max-old-space-size=${heapMegabytes}`, "--disallow-code-generation-from-strings"],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env,
      // A group of its own: Ctrl-C on a terminal goes to the whole group, and is not meant for this one.
      detached: true,
    });
    child.unref();
    child.channel?.unref();
    if (this.#child === undefined) process.once("exit", () => this.#child?.kill("SIGKILL"));
    return (this.#child = child);
  }

  #kill(child: ChildProcess): void {
    child.kill("SIGKILL");
    if (this.#child === child) this.#child = undefined;
  }
}

/** One for the whole program: conversations take turns. */
export const templateRenderer = new TemplateRenderer();
