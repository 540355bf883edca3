/** @file Every kind of pre-tokenizer that llama.cpp compares, on one invented vocabulary: the ids that llama.cpp gives (scripts/reference/gguf_pre.py). */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { Gguf, gguf, GgufMetadata, type GgufValue } from "../checkpoint/gguf/index.js";
import { preTokenizers } from "./gguf-pre.js";
import { BpeTokenizer, tokenizerFromGguf } from "./index.js";

const folder = new URL("../../test/fixtures/gguf-pre/", import.meta.url);
const json = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const texts = json("strings.json") as string[];
/** The hash of the ids of all texts, without special tokens and with them, what stands around a text, and the ids of the first few. */
interface Kind { plain: string; special: string; surrounded: number[]; sample: number[][] }
const { kinds } = json("expected.json") as { kinds: Record<string, Kind> };
const file = await Gguf.open(fileURLToPath(new URL("vocab.gguf", folder)));
const digest = (rows: Int32Array[]): string => createHash("sha256").update(rows.map((row) => `${row.join(" ")}\n`).join("")).digest("hex");

const open = (pre: string) => {
  const changes: [string, GgufValue][] = [["tokenizer.ggml.pre", gguf.string(pre)]];
  if (pre === "whitespace") changes.push(["tokenizer.ggml.model", gguf.string("whitespace")]);
  return tokenizerFromGguf(new GgufMetadata("vocab.gguf", new Map([...file.metadata.values, ...changes])));
};

it("there are no kinds but those that llama.cpp compares, and all of them", () => {
  expect(Object.keys(preTokenizers).sort()).toEqual(Object.keys(kinds).sort());
});

describe.each(Object.keys(kinds))("%s", (pre) => {
  const { plain, special, surrounded, sample } = kinds[pre];
  const tokenizer = open(pre);

  it(`gives llama.cpp's ids for ${texts.length} texts`, () => {
    expect(sample.map((_, i) => [...tokenizer.encode(texts[i])])).toEqual(sample);
    expect(digest(texts.map((text) => tokenizer.encode(text)))).toBe(plain);
    expect(digest(texts.map((text) => tokenizer.encode(text, { allowedSpecial: "all" })))).toBe(special);
    expect([...tokenizer.encode("x", { addSpecialTokens: true })]).toEqual(surrounded);
  });

  it("gives them in a batch of bytes too, and gives the text back", async () => {
    const documents = texts.slice(0, 300).map((text) => Buffer.from(text));
    const { tokens, ends } = await tokenizer.encodeBatch(documents, { threads: 1 });
    expect([...ends].map((end, i) => [...tokens.subarray(ends[i - 1] ?? 0, end)])).toEqual(texts.slice(0, 300).map((text) => [...tokenizer.encode(text)]));
    if (tokenizer instanceof BpeTokenizer) for (const text of texts.slice(0, 300)) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });
});
