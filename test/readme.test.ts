/** @file The README's program is run as it stands, with smaller numbers and a folder of its own; its commands are held to the command line. */

import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { main } from "../src/cli/main.js";
import { smallReadmeProgram } from "./readme-program.js";

let folder: string;
const home = process.cwd();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-readme-"));
  await mkdir(join(folder, "books"));
  const play = await readFile("data/tinyshakespeare.txt", "utf8");
  await writeFile(join(folder, "books", "play.txt"), play.slice(0, 120_000));
  vi.stubEnv("HORNBOOK_CACHE", join(folder, "cache"));
});
afterAll(async () => {
  process.chdir(home);
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

test("every command in the README and the docs is one that there is, with its options", async () => {
  const text = (await Promise.all(["README.md", "docs/quantization.md"].map((path) => readFile(path, "utf8")))).join("\n");
  const commands = [...text.matchAll(/^hornbook .+$/gm), ...text.matchAll(/(?<=`)hornbook (?:[^`\\]|\\.)+(?=`)/g)].map(([line]) => line.replace(/ #.*| <.*/, ""));
  expect(commands.length).toBeGreaterThan(15);
  let help = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    help += String(chunk);
    return true;
  });
  for (const command of commands) {
    const [, verb] = command.split(" ");
    help = "";
    expect(await main([verb, "--help"]), command).toBe(0);
    for (const [option] of command.matchAll(/--[a-z-]+/g)) expect(help, command).toContain(`${option} `);
  }
  vi.restoreAllMocks();
});

test("the ten lines of the README train, save, load and generate", async () => {
  const small = await smallReadmeProgram();
  expect(small).toContain('from "hornbook"');

  // The library under test stands in for the installed package.
  const library = pathToFileURL(join(home, "src/index.ts")).href;
  const source = ts.transpile(small.replace('"hornbook"', JSON.stringify(library)), { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext });
  const path = join(folder, "program.mjs");
  await writeFile(path, source);

  const losses: number[] = [];
  let text = "";
  vi.spyOn(console, "log").mockImplementation((_step: unknown, loss: unknown) => void losses.push(loss as number));
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  process.chdir(folder);
  try {
    await import(/* @vite-ignore */ pathToFileURL(path).href);
  } finally {
    vi.restoreAllMocks();
    process.chdir(home);
  }
  expect(losses).toHaveLength(100);
  expect(losses.at(-1)).toBeLessThan(losses[0] - 0.5);
  expect(text.length).toBeGreaterThan(20);
  expect(JSON.parse(await readFile(join(folder, "my-model", "config.json"), "utf8"))).toMatchObject({ model_type: "gpt2", vocab_size: 512 });
});
