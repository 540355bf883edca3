/** @file A benchmark side as a long-lived process: it is asked for one measurement at a time, so that two sides can take turns. */

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";

/** What a side answers to `run N`. */
export interface Measurement {
  readonly tokensPerSecond: number;
  readonly stepMs: number;
  readonly peakRssBytes: number;
}

export class Peer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#process = spawn(command, args, { env: { ...process.env, ...env } });
    this.#process.stderr.on("data", (chunk: Buffer) => {
      if (process.env["HORNBOOK_BENCH_VERBOSE"] === "1" || process.env["HORNBOOK_PROFILE"] === "1") process.stderr.write(chunk);
    });
    this.#process.on("error", (error) => console.error(`${name}: ${error.message}`));
    this.#process.stdin.on("error", () => undefined);
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** Waits until it is warm: it says so itself, and perhaps more. */
  async ready<T>(): Promise<T> {
    return (await this.#answer()) as T;
  }

  /** One measurement of N training steps. Throws where the process ended instead. */
  run(steps: number): Promise<Measurement> {
    return this.ask(`run ${steps}`);
  }

  /** The answer to a line of its protocol. */
  async ask<T>(line: string): Promise<T> {
    this.#process.stdin.write(`${line}\n`);
    return (await this.#answer()) as T;
  }

  /** The next line that is JSON. */
  async #answer(): Promise<unknown> {
    for (;;) {
      const line = await this.#lines.next();
      if (line.done === true) throw new Error(`${this.name} ended without an answer (HORNBOOK_BENCH_VERBOSE=1 shows why).`);
      if (line.value.startsWith("{")) return JSON.parse(line.value) as unknown;
    }
  }

  /** Ends its input, with which it ends by itself (and prints its profile, where it has one). */
  async close(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    const timer = setTimeout(() => this.#process.kill(), 5000);
    this.#process.stdin.end();
    await ended;
    clearTimeout(timer);
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The Python that has the peers' packages: HORNBOOK_BENCH_PYTHON, or python3. */
export const peerPython = process.env["HORNBOOK_BENCH_PYTHON"] ?? "python3";
