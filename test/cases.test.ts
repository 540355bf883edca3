/**
 * Files as people have them, that were once read wrong: small ones, each with the right value and whose value it is
 * (`fixtures/cases/expected.json`). How each kind goes on is tested beside the code.
 */

import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import { main } from "../src/cli/main.js";
import { LanguageModel, Tokenizer } from "../src/index.js";
import { Tensor, noGrad, scope } from "../src/tensor/index.js";

interface Case {
  command: string;
  /** Token ids, as in `1,5,9`, or what must come out. */
  ids?: string | number[];
  first4?: number[];
  loads?: boolean;
  text?: string;
  special?: boolean;
  prompt?: string;
  maxTokens?: number;
  by: string;
}

const folder = fileURLToPath(new URL("fixtures/cases", import.meta.url));
const cases = Object.entries(JSON.parse(await readFile(join(folder, "expected.json"), "utf8")) as Record<string, Case>);
const of = (command: string) => cases.filter(([, one]) => one.command.startsWith(command));

describe("the logits of", () => {
  it.each(of("logits"))("%s", async (name, { ids, first4, loads }) => {
    const model = await LanguageModel.load(join(folder, name));
    const tokens = Int32Array.from((ids as string).split(","), Number);
    const tensor = noGrad(() => scope(() => model.logits(Tensor.from(tokens, { shape: [1, tokens.length], device: model.device }), { lastOnly: true })));
    const logits = [...(await tensor.data())];
    if (loads === true) expect(logits.every(Number.isFinite)).toBe(true);
    else first4!.forEach((value, i) => expect(logits[i]).toBeCloseTo(value, 3));
    model.dispose();
  });
});

describe("the tokens of", () => {
  it.each(of("encode"))("%s", async (name, { text, special = false, ids }) => {
    const tokenizer = await Tokenizer.load(join(folder, name));
    expect([...tokenizer.encode(text!, special ? { allowedSpecial: "all" } : {})]).toEqual(ids);
  });
});

describe("the greedy text of", () => {
  it.each(of("generate"))("%s", async (name, { prompt, maxTokens, ids }) => {
    const model = await LanguageModel.load(join(folder, name));
    expect((await model.generateText(prompt!, { temperature: 0, maxTokens: maxTokens! })).ids).toEqual(ids);
    model.dispose();
  });
});

describe("training on", () => {
  it.each(of("train"))("%s", async (name, { command }) => {
    const out = await mkdtemp(join(tmpdir(), "hornbook-case-"));
    for (const kind of ["log", "error"] as const) vi.spyOn(console, kind).mockReturnValue();
    for (const stream of [process.stdout, process.stderr]) vi.spyOn(stream, "write").mockReturnValue(true);
    try {
      expect(await main([...command.replace("FILE", join(folder, name)).split(" "), "--out", join(out, "run")])).toBe(0);
      expect((await readdir(join(out, "run"))).length).toBeGreaterThan(0);
    } finally {
      vi.restoreAllMocks();
      await rm(out, { recursive: true });
    }
  });
});
