/** A real trained Llama in llama2.c's format: its greedy text and its logits are those that transformers computes from the same weights. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { LanguageModel } from "../src/language-model.js";
import { Tensor } from "../src/tensor/index.js";

const folder = fileURLToPath(new URL("../../shared/fixtures/stories260K", import.meta.url));
const isThere = existsSync(folder);
if (!isThere) console.warn(`stories260K is not at ${folder}: its tests are skipped.`);

interface Golden {
  ids: number[];
  text: string;
  logits_after_32: number[];
}

describe.skipIf(!isThere)("stories260K", () => {
  it("goes on with 200 tokens of the golden text, greedily, and has its logits", async () => {
    const model = await LanguageModel.load(`${folder}/stories260K.bin`);
    const golden = JSON.parse(await readFile(`${folder}/golden.json`, "utf8")) as Golden;
    const [first, ...rest] = golden.ids;
    const { ids } = await model.generateText([first], { temperature: 0, maxTokens: rest.length, stopIds: [] });
    expect(ids).toEqual(rest);
    const logits = await model.logits(Tensor.from([golden.ids.slice(0, 32)], { dtype: "i32" }), { lastOnly: true }).data();
    golden.logits_after_32.forEach((value, i) => expect(Math.abs(logits[i] - value)).toBeLessThan(1e-4));
  });
});
