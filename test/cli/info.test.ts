/** `hornbook info`: one screen for a model of any family. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { hornbook, json } from "./harness.js";

const families = fileURLToPath(new URL("../fixtures/families", import.meta.url));
const row = (text: string, name: string): string | undefined => new RegExp(`^${name} +(.*)$`, "m").exec(text)?.[1];

describe("a model on one screen", () => {
  it.each(readdirSync(families))("%s", async (name) => {
    const folder = join(families, name);
    const { code, stdout } = await hornbook("info", folder);
    expect(code).toBe(0);
    expect(stdout.split("\n").length).toBeLessThan(20);
    const { config, parameters, tensors, family } = (await json("info", folder, "--json")) as unknown as {
      config: { layers: object[]; vocabSize: number; contextLength: number };
      parameters: number;
      tensors: { name: string }[];
      family: string;
    };
    expect(row(stdout, "architecture")).toBe(family);
    expect(row(stdout, "parameters")).toMatch(new RegExp(`^${(parameters / 1000).toFixed(1)}k: embedding .* in each of ${config.layers.length} layers$`));
    expect(row(stdout, "context")).toBe(`${config.contextLength} tokens`);
    // Each layer stands in one group.
    const layers = Array.from(stdout.matchAll(/^layers? ([\d, -]+?) {2,}/gm), ([, text]) => text.split(", ")).flat().flatMap((range) => {
      const [from, to = from] = range.split("-").map(Number);
      return Array.from({ length: to - from + 1 }, (_, i) => from + i);
    });
    expect(layers.sort((a, b) => a - b)).toEqual(Array.from({ length: config.layers.length }, (_, i) => i));
    expect((await hornbook("info", folder, "--tensors")).stdout.split("\n").length).toBe(stdout.split("\n").length + 2 + tensors.length);
  });

  it("says where layers differ, and how positions are known", async () => {
    const gemma = (await hornbook("info", join(families, "gemma3"))).stdout;
    expect(row(gemma, "layers 0-1, 3-4")).toBe("attention over the last 7 tokens: 6 heads of 6 (2 for keys and values), normed queries and keys, RoPE base 300; MLP 29, gegluTanh");
    expect(row(gemma, "layer 2")).toBe("attention: 6 heads of 6 (2 for keys and values), normed queries and keys; MLP 29, gegluTanh");
    expect(row(gemma, "positions")).toBe("RoPE base 40000, scaled: linear by 3");
    expect(row((await hornbook("info", join(families, "smollm3"))).stdout, "layer 2")).toContain("without RoPE");
    expect(row((await hornbook("info", join(families, "bloom"))).stdout, "positions")).toBe("ALiBi");
    expect(row((await hornbook("info", join(families, "llama-yarn"))).stdout, "positions")).toBe("RoPE base 5000, scaled: yarn by 4.5 from 14 tokens");
  });
});
