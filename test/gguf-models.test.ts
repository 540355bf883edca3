/**
 * Real models as the world has them, where `../shared/models/get` put them: the loss on 400 tokens of a book, de-quantised and in blocks, against
 * Hugging Face transformers on the same weights (scripts/reference/gguf_models.py).
 */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { likelihood } from "../src/evaluate/likelihood.js";
import { LanguageModel } from "../src/language-model.js";
import { CpuDevice } from "../src/tensor/index.js";

interface Expected {
  ids: number[];
  loss: number;
  greedy: number[];
}

const folder = process.env["HORNBOOK_MODELS"] ?? join(homedir(), ".cache/hornbook-models");
const expected = JSON.parse(await readFile(new URL("fixtures/gguf-models.json", import.meta.url), "utf8")) as Record<string, Expected>;

describe.each(Object.entries(expected))("%s", (name, { ids, loss, greedy }) => {
  const path = join(folder, name);
  const isThere = existsSync(path) && CpuDevice.isAvailable();
  if (!isThere) console.warn(`${path} is not there, or there are no native kernels: its tests are skipped (../shared/models/get gets it).`);

  it.skipIf(!isThere).each([
    [true, 1e-3],
    [false, 5e-3 * loss],
  ])("has transformers' loss on a page; de-quantised: %s", { timeout: 300_000 }, async (dequantize, apart) => {
    const model = await LanguageModel.load(path, { dequantize });
    expect(model.weights().size > model.parameters().size).toBe(!dequantize);
    const { loss: ours } = await likelihood(model, Int32Array.from(ids));
    expect(Math.abs(ours - loss)).toBeLessThan(apart);
    if (dequantize) {
      const { ids: text } = await model.generateText(ids.slice(0, 40), { temperature: 0, maxTokens: greedy.length, stopIds: [] });
      expect(text).toEqual(greedy);
    }
    model.dispose();
  });
});
