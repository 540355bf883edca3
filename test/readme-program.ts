/** @file The README's program, with numbers small enough for a test. */

import { readFile } from "node:fs/promises";

/** The program as the README has it. */
export async function readmeProgram(): Promise<string> {
  const program = /```ts\n([\s\S]*?)```/.exec(await readFile("README.md", "utf8"))?.[1];
  if (program === undefined) throw new Error("the README has no program");
  return program;
}

/** The same program for a model that trains in seconds. */
export async function smallReadmeProgram(): Promise<string> {
  const small = [
    ["4096", "512"],
    ["384", "32"],
    ["numLayers: 6, numHeads: 6, contextLength: 256", "numLayers: 2, numHeads: 2, contextLength: 32"],
    ["steps: 2000", "steps: 100"],
  ];
  return small.reduce((program, [from, to]) => {
    if (!program.includes(from)) throw new Error(`the README's program has no ${from}`);
    return program.replaceAll(from, to);
  }, await readmeProgram());
}
