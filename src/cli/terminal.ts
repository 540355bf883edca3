/**
 * @file What stands on the terminal: text that streams, lines of progress that are drawn over, and messages. Everything passes through here, so that
 * a message never lands within a line of something else.
 */

import { printable } from "./format.js";

const live = new Set<LiveLines>();
let lineIsOpen = false;

/** Streams text to stdout: as it is to a file or a pipe, and so that it cannot command a terminal. */
export function write(text: string): void {
  if (text === "") return;
  process.stdout.write(process.stdout.isTTY ? printable(text) : text);
  lineIsOpen = !text.endsWith("\n");
}

/** Ends the line that streamed text left open. */
export function endLine(): void {
  if (lineIsOpen) write("\n");
}

/** Says something to the user on a line of its own: on stderr, so that what a script reads stays clean. */
export function say(text: string): void {
  for (const lines of live) lines.clear();
  if (process.stdout.isTTY && process.stderr.isTTY) endLine();
  console.error(`${clearLine(process.stderr)}${text}`);
}

/** Lines at the bottom of a terminal that are drawn again and again; nothing where the stream is none. */
export class LiveLines {
  #shown = 0;

  constructor(private readonly stream: NodeJS.WriteStream) {}

  /** In columns; one less than there are, since some terminals wrap a full line. */
  get width(): number {
    return (this.stream.columns || 80) - 1;
  }

  /** Draws the lines over those drawn last. Each must fit `width`: a line that wraps could not be drawn over. */
  show(...lines: string[]): void {
    if (!this.stream.isTTY) return;
    this.clear();
    this.stream.write(lines.map((line) => `${line}\n`).join(""));
    this.#shown = lines.length;
    live.add(this);
  }

  clear(): void {
    if (this.#shown > 0) this.stream.write(`\r\x1b[${this.#shown}A\x1b[0J`);
    this.keep();
  }

  /** Leaves the lines where they stand. */
  keep(): void {
    this.#shown = 0;
    live.delete(this);
  }
}

/** Clears what the terminal itself has put on the line, such as the ^C of Ctrl-C. */
function clearLine(stream: NodeJS.WriteStream): string {
  return stream.isTTY ? "\r\x1b[K" : "";
}
