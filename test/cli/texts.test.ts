/** Training on whatever text people have: it trains, or the error says what is wrong with it. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { failing, hornbook } from "./harness.js";

let folder: string;
const file = (name: string) => join(folder, name);
const recipe = (kind: string) =>
  `export default { description: "tiny", text: "shakespeare", validation: 0.1, tokenizer: { kind: ${kind} },
    model: { numLayers: 1, numHeads: 2, hiddenSize: 16, contextLength: 16 }, train: { steps: 2, batchSize: 2, dtype: "f32", sampleEvery: 1, sampleTokens: 12 } };`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-texts-"));
  vi.stubEnv("HORNBOOK_CACHE", file("cache"));
  await writeFile(file("characters.mjs"), recipe('"characters"'));
  await writeFile(file("bpe.mjs"), recipe('"bpe", vocabSize: 300'));
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

let runs = 0;
async function train(kind: string, content: string | Buffer) {
  await writeFile(file("text.txt"), content);
  return ["train", "--recipe", file(`${kind}.mjs`), "--data", file("text.txt"), "--out", file(`run-${runs++}`)];
}

describe("trains, and samples", () => {
  it("a text on one line, with the recipe that people start with", async () => {
    const text = fileURLToPath(new URL("../fixtures/cases/text-on-one-line.txt", import.meta.url));
    const { code, stdout } = await hornbook("train", "--data", text, "--out", file("one-line"), "--steps", "1");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^The recipe shakespeare-char, on .*text-on-one-line\.txt\n/);
    expect(stdout).toMatch(/\n {2}│ [ACGT]{120}\n/);
  });

  it.each<[string, string]>([
    ["one character repeated", "a".repeat(500)],
    ["non-Latin letters", "白日依山尽黄河入海流".repeat(50)],
    ["emoji of several characters", "😀👩‍👩‍👧🎉".repeat(100)],
    ["lines of Windows", "the cat\r\nsat on the mat\r\n".repeat(30)],
    ["spaces alone", " ".repeat(500)],
    ["NUL characters", "\0".repeat(500)],
    ["the least that is enough", "abcdefghijklmnopqrst"],
  ])("%s", async (_, text) => {
    const { code, stdout, stderr } = await hornbook(...(await train("characters", text)));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("  │");
    expect(stdout).not.toMatch(/[\0\r]/);
  });

  it("a text with a byte order mark, which is no part of it", async () => {
    const args = await train("characters", `\ufeff${"ab".repeat(100)}`);
    expect((await hornbook(...args)).stdout).toContain("vocabulary 2,");
  });

  it("bytes that are no text, with a tokenizer of bytes and a warning", async () => {
    const { code, stderr } = await hornbook(...(await train("bpe", Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7) % 256)))));
    expect(code).toBe(0);
    expect(stderr).toMatch(/^hornbook: warning: .*text\.txt, at byte 19: the text is not UTF-8 here\. Such bytes, here and in other files, are read as U\+FFFD\.\n$/);
  });
});

describe("says what is wrong with", () => {
  it.each<[string, string | Buffer, RegExp]>([
    ["an empty file", "", /there is no text in it/],
    ["a byte order mark alone", "\ufeff", /there is no text in it/],
    ["a text that is too short", "To be", /the train split has 4 tokens and needs at least 17, one more than the context of 16\. Give more text/],
    ["UTF-16", Buffer.from(`\ufeff${"hello ".repeat(100)}`, "utf16le"), /the text is UTF-16, and UTF-8 is expected\. .*iconv -f UTF-16/],
    ["UTF-16 of the other order", Buffer.from(`\ufeff${"hello ".repeat(100)}`, "utf16le").swap16(), /the text is UTF-16/],
    ["UTF-32", Buffer.concat([Buffer.from([0xff, 0xfe, 0, 0]), Buffer.alloc(400, "a\0\0\0")]), /the text is UTF-32/],
  ])("%s", async (_, content, said) => {
    expect(await failing(1, ...(await train("characters", content)))).toMatch(said);
    if (content.length > 10) expect(await failing(1, ...(await train("bpe", content)))).toMatch(said);
  });

  it("bytes that are no text, with a tokenizer of characters", async () => {
    expect(await failing(1, ...(await train("characters", await readFile(process.execPath).then((bytes) => bytes.subarray(0, 4096)))))).toMatch(/text\.txt, at byte \d+: the text is not UTF-8 here/);
  });
});
