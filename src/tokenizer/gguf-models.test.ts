/** @file The tokenizer models of GGUF other than byte-level BPE, on invented vocabularies: the ids and pieces that llama.cpp gives (scripts/reference/gguf_pre.py). */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { gguf, GgufMetadata, type GgufValue } from "../checkpoint/gguf/index.js";
import { Tokenizer, tokenizerFromGguf, tokenizerToGguf, type BpeTokenizer, type PipelineTokenizer, type TokenizerField } from "./index.js";

const folder = new URL("../../test/fixtures/gguf-pre/models/", import.meta.url);
const json = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const texts = json("strings.json") as string[];
const expected = json("expected.json") as Record<string, { ids: string; sample: number[][]; pieces: string[] }>;
const digest = (rows: Int32Array[]): string => createHash("sha256").update(rows.map((row) => `${row.join(" ")}\n`).join("")).digest("hex");

describe.each(Object.keys(expected))("%s", async (name) => {
  const { ids, sample, pieces } = expected[name];
  // A file without tensors, as llama.cpp's own vocabularies are.
  const tokenizer = await Tokenizer.load(fileURLToPath(new URL(`${name}.gguf`, folder)));
  const rows = texts.flatMap((text) => {
    const special = tokenizer.encode(text, { addSpecialTokens: true, allowedSpecial: "all" });
    return text.includes("<s>") ? [special] : [tokenizer.encode(text, { addSpecialTokens: true }), special];
  });

  it(`gives llama.cpp's ids for ${texts.length} texts`, () => {
    expect(rows.slice(0, sample.length).map((row) => [...row])).toEqual(sample);
    expect(digest(rows)).toBe(ids);
  });

  it("gives the text of ids that llama.cpp prints", () => {
    for (const [i, text] of pieces.entries()) {
      const row = rows[2 * i];
      // The space before the text is dropped from the whole, not from what is printed piece by piece.
      expect([text, text.replace(/^((?:<\|plamo:bos\|>|<s>|\[CLS\])?) /, "$1")]).toContain(tokenizer.decode(row));
      const stream = tokenizer.decodeStream();
      const streamed = Array.from(row, (id) => stream.push(id)).join("") + stream.end();
      if (!text.includes("\ufffd")) expect(streamed).toBe(tokenizer.decode(row));
    }
  });

  it("encodes a batch of bytes as it encodes one text", async () => {
    const { tokens, ends } = await tokenizer.encodeBatch(texts.slice(0, 100).map((text) => Buffer.from(text)), { addSpecialTokens: true, allowedSpecial: "all" });
    for (const [i, end] of ends.entries()) expect([...tokens.subarray(i === 0 ? 0 : ends[i - 1], end)]).toEqual([...tokenizer.encode(texts[i], { addSpecialTokens: true, allowedSpecial: "all" })]);
  });
});

const toValue = (field: TokenizerField): GgufValue =>
  typeof field === "string" ? gguf.string(field)
  : typeof field === "number" ? gguf.uint32(field)
  : typeof field === "boolean" ? gguf.bool(field)
  : field instanceof Float32Array ? gguf.float32s(field)
  : field instanceof Int32Array ? gguf.int32s(field)
  : field instanceof Uint8Array ? { type: "array", of: "uint8", value: field }
  : gguf.strings(field);

describe("written again", () => {
  // What the model's name says of white space beside special tokens has no key.
  it.each(Object.keys(expected).filter((name) => !["llama-phi-3", "jina-mask", "whitespace-lower"].includes(name)))("%s gives the same ids as a GGUF", async (name) => {
    const tokenizer = (await Tokenizer.load(fileURLToPath(new URL(`${name}.gguf`, folder)))) as BpeTokenizer | PipelineTokenizer;
    const fields = new Map([...tokenizerToGguf(tokenizer)].map(([key, field]) => [key, toValue(field)]));
    const again = tokenizerFromGguf(new GgufMetadata("x.gguf", fields));
    for (const text of texts) {
      const options = { addSpecialTokens: true, allowedSpecial: "all" } as const;
      expect([...again.encode(text, options)], JSON.stringify(text)).toEqual([...tokenizer.encode(text, options)]);
    }
  });

  it.each(["bert", "bert-cased", "gemma4"])("%s gives the same ids as a tokenizer.json, for ASCII", async (name) => {
    const tokenizer = await Tokenizer.load(fileURLToPath(new URL(`${name}.gguf`, folder)));
    const again = Tokenizer.fromJSON(JSON.parse(JSON.stringify(tokenizer.toJSON())));
    for (const text of texts.filter((each) => /^[ -~]*$/.test(each) && !each.includes("@@@"))) expect([...again.encode(text)], JSON.stringify(text)).toEqual([...tokenizer.encode(text)]);
  });

  it.each(["rwkv", "plamo2"])("%s has no tokenizer.json, and says so; its fingerprint is its own", async (name) => {
    const tokenizer = await Tokenizer.load(fileURLToPath(new URL(`${name}.gguf`, folder)));
    expect(() => tokenizer.toJSON()).toThrow(expect.objectContaining({ name: "TokenizerError", code: "no-json-form" }));
    expect(tokenizer.fingerprint()).toMatch(/^[0-9a-f]{64}$/);
  });
});
