/** Runs command lines in this process, and keeps what they say. */

import { stripVTControlCharacters } from "node:util";
import { expect, vi } from "vitest";
import { main } from "../../src/cli/main.js";

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one; neither stream is a terminal, so nothing may move a cursor. */
export async function hornbook(...args: string[]): Promise<Run> {
  const said = { stdout: "", stderr: "" };
  const into = (stream: "stdout" | "stderr") => (chunk: unknown) => {
    expect(chunk).not.toMatch(/\x1b\[\d*[A-HJK]/); // Colours perhaps, where CI takes them.
    said[stream] += stripVTControlCharacters(String(chunk));
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(into("stdout"));
  vi.spyOn(process.stderr, "write").mockImplementation(into("stderr"));
  vi.spyOn(console, "log").mockImplementation((text: unknown) => void into("stdout")(`${String(text)}\n`));
  vi.spyOn(console, "error").mockImplementation((text: unknown) => void into("stderr")(`${String(text)}\n`));
  try {
    return { code: await main(args), ...said };
  } finally {
    vi.restoreAllMocks();
  }
}

/** What it prints as JSON, where it must succeed without a word on stderr. */
export async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await hornbook(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** What it says on stderr, where it must fail with this code and say nothing of a stack. */
export async function failing(code: number, ...args: string[]): Promise<string> {
  const run = await hornbook(...args);
  expect(run.stderr).not.toMatch(/\n\s+at |fault of Hornbook/);
  expect({ code: run.code, said: run.stderr !== "" }).toEqual({ code, said: true });
  return run.stderr;
}
