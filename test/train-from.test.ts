/** `hornbook train --from`: a trained model goes on from its weights, with its tokenizer, under the usual settings as flags. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { main } from "../src/cli/main.js";
import { ChatTemplate, Corpus, LanguageModel, train, type StepReport } from "../src/index.js";
import { CharTokenizer } from "../src/tokenizer/index.js";

let folder: string;
const file = (name: string) => join(folder, name);
const text = "the quick brown fox jumps over the lazy dog.\n".repeat(60);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-from-"));
  vi.stubEnv("HORNBOOK_CACHE", file("cache"));
  await writeFile(file("text.txt"), text);
  const tokenizer = await CharTokenizer.fromText(text);
  const chatTemplate = new ChatTemplate({ template: "{% for message in messages %}{{ message.content }}{% endfor %}" });
  const model = new LanguageModel(
    {
      vocabSize: tokenizer.vocabSize,
      hiddenSize: 32,
      numLayers: 1,
      numHeads: 2,
      contextLength: 32,
      norm: "rmsnorm",
      position: "rope",
      feedForward: "swiglu",
      bias: false,
    },
    { seed: 1, tokenizer, chatTemplate },
  );
  const data = (await Corpus.fromText({ text })).tokenized(tokenizer, { cache: false });
  for await (const _ of train(model, data, { steps: 80, batchSize: 4, schedule: { kind: "constant", rate: 1e-2 } }));
  await model.save(file("base"));
  await model.saveGguf(file("base.gguf"), { quantize: "q8_0" });
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function hornbook(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const said = { stdout: "", stderr: "" };
  const into = (stream: "stdout" | "stderr") => (chunk: unknown) => ((said[stream] += `${String(chunk)}\n`), true);
  vi.spyOn(console, "log").mockImplementation(into("stdout"));
  vi.spyOn(console, "error").mockImplementation(into("stderr"));
  vi.spyOn(process.stderr, "write").mockImplementation(into("stderr"));
  return { code: await main(args), ...said };
}

it("goes on from the weights, with the settings that flags give, and keeps the chat template", async () => {
  const flags = ["--data", file("text.txt"), "--batch-size", "3", "--lr", "5e-3", "--context", "16", "--steps", "4", "--json"];
  const { code, stdout, stderr } = await hornbook("train", "--from", file("base"), ...flags, "--out", file("on"));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const reports = stdout
    .trim()
    .split(/\n+/)
    .map((line) => JSON.parse(line) as StepReport);
  expect(reports.map(({ step, tokens }) => [step, tokens])).toEqual([1, 2, 3, 4].map((step) => [step, step * 3 * 16]));
  // It has learned this text: a new model would begin at ln 28 = 3.3.
  expect(reports[0].loss).toBeLessThan(1.5);
  expect(Math.max(...reports.map(({ learningRate }) => learningRate))).toBeLessThanOrEqual(5e-3);
  expect(await readFile(join(file("on"), "last", "chat_template.jinja"), "utf8")).toContain("message.content");

  const again = await hornbook("train", "--from", file("base"), ...flags.with(flags.indexOf("4"), "6"), "--out", file("on"), "--resume");
  expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: "" });
  expect(
    again.stdout
      .trim()
      .split(/\n+/)
      .map((line) => (JSON.parse(line) as StepReport).step),
  ).toEqual([5, 6]);
});

it("refuses quantised weights, unless it is asked to turn them into f32", async () => {
  const flags = ["--from", file("base.gguf"), "--data", file("text.txt"), "--steps", "2", "--json", "--out", file("quantised")];
  const refused = await hornbook("train", ...flags);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(/weights are quantised .*--dequantize/s);
  const { code, stdout } = await hornbook("train", ...flags, "--dequantize");
  expect(code).toBe(0);
  expect((JSON.parse(stdout.trim().split(/\n+/)[0]) as StepReport).loss).toBeLessThan(1.5);
});

it("asks for a text, and for a model to dequantize", async () => {
  expect(await hornbook("train", "--from", file("base"))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/needs a text.*--data/s) as string,
  });
  expect(await hornbook("train", "--dequantize")).toMatchObject({ code: 2, stderr: expect.stringMatching(/--from/) as string });
});
