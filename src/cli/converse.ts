/**
 * @file A conversation on a terminal with a model that continues text: what is typed is added to the text so far, and the model goes on
 * from there. Ctrl-C ends a reply; at the prompt it ends the conversation, as Ctrl-D does.
 */

import { createInterface } from "node:readline";
import pc from "picocolors";
import type { GenerateTextOptions, LanguageModel } from "../language-model.js";
import { compact } from "./format.js";

const help = () => `${pc.dim("/reset")} forgets the text so far, ${pc.dim("/temperature N")} changes how bold it is, ${pc.dim("/tokens N")} how long a reply is, ${pc.dim("/quit")} ends.`;

export async function converse(model: LanguageModel, initial: GenerateTextOptions): Promise<void> {
  let options = { ...initial };
  let text = "";
  let reply: AbortController | undefined;
  await using lines = new Lines(pc.bold(pc.cyan("› ")), () => reply);
  console.log(`\nWrite a beginning and the model goes on. ${help()}`);
  for (let turn = 0; ; turn++) {
    const line = await lines.next();
    if (line === undefined) break;
    const [command, value] = line.trim().split(/\s+/, 2);
    if (command === "/quit" || command === "/exit") break;
    if (command.startsWith("/")) {
      const number = Number(value);
      if (command === "/reset") text = "";
      else if (command === "/temperature" && number >= 0) options = { ...options, temperature: number };
      else if (command === "/tokens" && Number.isSafeInteger(number) && number > 0) options = { ...options, maxTokens: number };
      else console.log(help());
      continue;
    }
    text += `${line}\n`;
    reply = new AbortController();
    const start = performance.now();
    let [tokens, dropped] = [0, 0];
    try {
      // Another seed each turn: to ask again is to get another answer, and the same conversation gives the same answers.
      const settings: GenerateTextOptions = { ...options, seed: (initial.seed ?? 0) + turn, onContextFull: "slide", truncatePrompt: true, signal: reply.signal };
      for await (const piece of model.generate(text, settings)) {
        process.stdout.write(piece.text);
        text += piece.text;
        tokens++;
        dropped = Math.max(dropped, piece.droppedTokens);
      }
    } catch (error) {
      if (!reply.signal.aborted) console.log(pc.red((error as Error).message));
      // What cannot be read is not part of the text.
      if (tokens === 0) text = text.slice(0, -line.length - 1);
    }
    reply = undefined;
    if (tokens === 0) continue;
    const speed = compact(tokens / ((performance.now() - start) / 1000));
    console.log(pc.dim(`\n[${tokens} tokens, ${speed} a second${dropped > 0 ? `; the oldest ${dropped} no longer fit the context` : ""}]`));
  }
}

/** The lines typed, those typed ahead during a reply included; undefined at the end. Ctrl-C ends the reply that runs, or else the lines. */
class Lines implements AsyncDisposable {
  readonly #terminal = createInterface({ input: process.stdin, output: process.stdout });
  readonly #typed: string[] = [];
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(prompt: string, reply: () => AbortController | undefined) {
    this.#terminal.setPrompt(prompt);
    this.#terminal.on("line", (line) => {
      this.#typed.push(line);
      this.#wake?.();
    });
    this.#terminal.on("close", () => {
      this.#closed = true;
      this.#wake?.();
    });
    this.#terminal.on("SIGINT", () => {
      const running = reply();
      if (running === undefined) this.#terminal.close();
      else running.abort();
    });
  }

  async next(): Promise<string | undefined> {
    if (this.#typed.length === 0 && !this.#closed) {
      this.#terminal.prompt();
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    return this.#typed.shift();
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) process.stdout.write("\n");
    this.#terminal.close();
    return Promise.resolve();
  }
}
