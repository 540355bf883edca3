/**
 * @file A conversation on a terminal: what is typed is said, the reply streams, and below it stands, quietly, what it took. Ctrl-C ends the
 * reply; at the prompt, twice in a row, it ends the conversation, as Ctrl-D does.
 */

import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import pc from "picocolors";
import { HornbookError, systemErrorCode } from "../errors.js";
import type { ChatSession, ReplyOptions } from "../generate/index.js";
import { compact } from "./format.js";
import { endLine, write } from "./terminal.js";

const commands: readonly (readonly [string, string])[] = [
  ["/reset", "begins anew"],
  ["/system TEXT", "tells the model what it is to be; without a text, shows what it was told"],
  ["/temperature N", "how bold it is; 0 takes the most probable token each time"],
  ["/tokens N", "how long a reply may be"],
  ["/save FILE", "writes the conversation as JSON"],
  ["/help", "shows this"],
  ["/quit", "leaves, as Ctrl-D does; Ctrl-C stops a reply"],
];
const help = () => [...commands.map(([command, does]) => `  ${command.padEnd(16)}${does}`), "  A line that ends in \\ goes on in the next."].join("\n");

/** Until its user leaves. `settings` are those of every reply, where the session's are not meant. */
export async function converse(session: ChatSession, settings: ReplyOptions = {}): Promise<void> {
  let reply: AbortController | undefined;
  const state = { settings, saved: new Set<string>() };
  await using lines = new Lines(pc.bold(pc.cyan("› ")), () => reply);
  for (;;) {
    const line = await lines.next();
    if (line === undefined) return;
    if (line.trim() === "") continue;
    if (line.startsWith("/")) {
      const said = await command(line, session, state);
      if (said === undefined) return;
      console.log(pc.dim(said));
      continue;
    }
    reply = new AbortController();
    try {
      await answer(session, line, { ...state.settings, signal: reply.signal });
    } catch (error) {
      if (!reply.signal.aborted) console.log(pc.red(describe(error)));
    }
    reply = undefined;
  }
}

/** Streams the reply, and then says what it took. */
async function answer(session: ChatSession, text: string, options: ReplyOptions): Promise<void> {
  const before = session.droppedMessages;
  const turn = session.lastTurn;
  let finish: string | undefined;
  let droppedTokens = 0;
  try {
    for await (const piece of session.send(text, options)) {
      write(piece.text);
      ({ droppedTokens } = piece);
      finish = piece.finishReason ?? finish;
    }
  } finally {
    endLine();
    const { lastTurn } = session;
    if (lastTurn !== undefined && lastTurn !== turn) {
      const { newTokens, tokensPerSecond, secondsToFirstToken } = lastTurn;
      const speed = tokensPerSecond > 0 ? `${compact(tokensPerSecond)} a second, ` : "";
      const notes = [
        `${newTokens} token${newTokens === 1 ? "" : "s"}, ${speed}the first after ${secondsToFirstToken.toFixed(2)} s`,
        ...(options.signal?.aborted === true ? ["stopped"] : []),
        ...(finish === "length" ? ["cut at the most that /tokens allows"] : finish === "context" ? ["cut, as the context is full"] : []),
        ...(session.droppedMessages > before ? [`the oldest ${session.droppedMessages} messages no longer fit the context`] : []),
        ...(droppedTokens > 0 ? [`the oldest ${droppedTokens} tokens no longer fit the context`] : []),
      ];
      console.log(pc.dim(`[${notes.join("; ")}]\n`));
    }
  }
}

/** Does a command; what to say of it, or undefined to leave. */
async function command(line: string, session: ChatSession, state: { settings: ReplyOptions; readonly saved: Set<string> }): Promise<string | undefined> {
  const [, name, rest] = /^\/(\S*)\s*([\s\S]*)$/.exec(line.trimEnd())!;
  const number = rest === "" ? NaN : Number(rest);
  switch (name) {
    case "quit":
    case "exit":
      return undefined;
    case "reset":
      session.reset();
      return "The conversation begins anew.";
    case "system":
      if (rest === "") return session.system === undefined ? "There is no system prompt." : `The system prompt: ${session.system}`;
      session.system = rest;
      return "It is told so from the next message on.";
    case "temperature":
      if (!(number >= 0 && number < Infinity)) return "/temperature takes a number from 0.";
      state.settings = { ...state.settings, temperature: number };
      return `The temperature is ${number}.`;
    case "tokens":
      if (!Number.isSafeInteger(number) || number < 1) return "/tokens takes a whole number from 1.";
      state.settings = { ...state.settings, maxTokens: number };
      return `A reply has at most ${number} tokens.`;
    case "save":
      return rest === "" ? "/save takes the name of a file." : save(rest, session, state.saved);
    case "help":
      return help();
    default:
      return `There is no command /${name}.\n${help()}`;
  }
}

/** Writes the conversation, over a file of its own only. */
async function save(path: string, session: ChatSession, saved: Set<string>): Promise<string> {
  const messages = [...(session.system === undefined ? [] : [{ role: "system", content: session.system }]), ...session.messages];
  try {
    await writeFile(path, `${JSON.stringify({ messages }, null, 2)}\n`, { flag: saved.has(path) ? "w" : "wx" });
  } catch (error) {
    const code = systemErrorCode(error);
    return code === "EEXIST" ? `${path} is there already; choose another name.` : `${path} cannot be written (${code ?? String(error)}).`;
  }
  saved.add(path);
  return `${messages.length} messages are in ${path}.`;
}

export function describe(error: unknown): string {
  return error instanceof HornbookError ? error.message : error instanceof Error && process.env["HORNBOOK_DEBUG"] === "1" ? (error.stack ?? error.message) : String(error);
}

/** The lines typed, those typed ahead during a reply included; undefined at the end. Ctrl-C ends the reply that runs, or, twice, the lines. */
class Lines implements AsyncDisposable {
  readonly #terminal = createInterface({ input: process.stdin, output: process.stdout });
  readonly #prompt: string;
  readonly #typed: string[] = [];
  #closed = false;
  #warned = false;
  #wake: (() => void) | undefined;

  constructor(prompt: string, reply: () => AbortController | undefined) {
    this.#prompt = prompt;
    this.#terminal.on("line", (line) => {
      this.#warned = false;
      this.#typed.push(line);
      this.#wake?.();
    });
    this.#terminal.on("close", () => {
      this.#closed = true;
      this.#wake?.();
    });
    this.#terminal.on("SIGINT", () => {
      const running = reply();
      if (running !== undefined) return running.abort();
      if (this.#warned) return this.#terminal.close();
      this.#warned = true;
      // What was typed is given up, as in a shell.
      this.#terminal.write(null, { ctrl: true, name: "e" });
      this.#terminal.write(null, { ctrl: true, name: "u" });
      process.stdout.write(`\n${pc.dim("(Ctrl-C again, or Ctrl-D, leaves)")}\n`);
      this.#terminal.prompt();
    });
  }

  async next(): Promise<string | undefined> {
    let text = "";
    for (let prompt = this.#prompt; ; prompt = pc.dim("… ")) {
      const line = await this.#line(prompt);
      if (line === undefined) return text === "" ? undefined : text;
      if (!line.endsWith("\\")) return text + line;
      text += `${line.slice(0, -1)}\n`;
    }
  }

  async #line(prompt: string): Promise<string | undefined> {
    if (this.#typed.length === 0 && !this.#closed) {
      this.#terminal.setPrompt(prompt);
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
