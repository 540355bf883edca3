/** @file Every kind of tokenizer against the library that it comes from, on texts that are hard: ids, decoding, streams, and back through a file. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { Gguf, gguf, GgufMetadata, type GgufValue } from "../checkpoint/gguf/index.js";
import type { BpeTokenizer, PipelineTokenizer} from "./index.js";
import { readLlama2cTokenizer, readSentencePiece, readTiktoken, Tokenizer, tokenizerFromGguf, tokenizerToGguf, type TokenizerField } from "./index.js";

const folder = new URL("../../test/fixtures/tokenizers/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), "utf8");
const expected = JSON.parse(read("expected.json")) as {
  texts: string[];
  rows: Record<string, ([ids: number[], text: string] | null)[]>;
  surrounded: Record<string, number[]>;
};
const names = Object.keys(expected.rows);
const jsonNames = names.filter((name) => !name.startsWith("spm-"));
const modelNames = names.filter((name) => name.startsWith("spm-"));
const open = (name: string) =>
  name.startsWith("spm-") ? readSentencePiece(readFileSync(new URL(`${name}.model`, folder)), { file: `${name}.model` }) : Tokenizer.fromJSON(JSON.parse(read(`${name}.json`)), { file: `${name}.json` });

const cases = (name: string) => expected.texts.flatMap((text, i) => (expected.rows[name][i] === null ? [] : [{ text, ids: expected.rows[name][i][0], decoded: expected.rows[name][i][1] }]));

describe.each(names)("%s", (name) => {
  const tokenizer = open(name);

  it("gives the ids and the text that its library gives", () => {
    for (const { text, ids, decoded } of cases(name)) {
      expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids);
      expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded);
    }
  });

  it("gives in a stream what it gives at once, and in a batch what it gives one by one", async () => {
    for (const { ids, decoded } of cases(name)) {
      // Of bytes that are no text a stream gives what is whole before it knows.
      if (decoded.includes("\ufffd")) continue;
      const stream = tokenizer.decodeStream();
      expect([...ids.map((id) => stream.push(id)), stream.end()].join("")).toBe(decoded);
    }
    const { tokens, ends } = await tokenizer.encodeBatch(expected.texts, { threads: 1 });
    expect([...tokens.subarray(ends[6], ends[7])]).toEqual([...tokenizer.encode(expected.texts[7])]);
    expect(tokens.length).toBe(expected.texts.reduce((sum, text) => sum + tokenizer.encode(text).length, 0));
  });

  it("never makes a special token of text", () => {
    const special = new Set([...tokenizer.specialTokens].filter(([content]) => !/unk/i.test(content)).map(([, id]) => id));
    const text = [...tokenizer.specialTokens.keys()].join(" and ") + [...tokenizer.specialTokens.keys()].join("");
    expect([...tokenizer.encode(text)].filter((id) => special.has(id))).toEqual([]);
    if (special.size > 0) expect([...tokenizer.encode(text, { allowedSpecial: "all" })].some((id) => special.has(id))).toBe(true);
  });

  it("is the same after being written and read", () => {
    const again = Tokenizer.fromJSON(JSON.parse(JSON.stringify(tokenizer.toJSON())));
    // What SentencePiece does with its own symbols beside white space has no form in tokenizer.json.
    const { texts } = /spm-(bpe-nmt|unigram-bytes|bpe-no-prefix)/.test(name) ? { texts: ["the lord", "my noble king"] } : expected;
    for (const text of texts.filter((_, i) => i % 3 === 0)) {
      // A graph of Hugging Face's normalizer takes clusters where SentencePiece takes the longest rule.
      if (name.startsWith("spm-") && !/^[ -~]*$/.test(text)) continue;
      expect([...again.encode(text)], JSON.stringify(text)).toEqual([...tokenizer.encode(text)]);
    }
  });
});

describe.each(jsonNames)("%s", (name) => {
  it("puts around a text what its file says", () => {
    const tokenizer = open(name);
    expect([...tokenizer.encode("the lord", { addSpecialTokens: true })]).toEqual(expected.surrounded[name]);
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

describe("in a GGUF", () => {
  // A prefix of a space for the whole text only, an added token that eats spaces, a normal form: none of them is there.
  const lossy = new Set(["bpe-unknown", "bpe-fused-unknown", "every-step", "roberta", "falcon", "mistral-3", "phi-3", "gpt-neox", "qwen-2", "command-r", "t5", "xlm-r", "unigram-bytes", "gemma"]);
  // llama.cpp knows no case beyond ASCII, and sees SentencePiece's mark of a space in a text as any other character.
  const approximate = new Set(["tekken", "gpt-4o", "spm-unigram"]);
  it.each([...jsonNames.filter((name) => !lossy.has(name)), "spm-bpe-bytes", "spm-unigram"])("%s gives the same ids", (name) => {
    const tokenizer = open(name) as BpeTokenizer | PipelineTokenizer;
    const fields = new Map([...tokenizerToGguf(tokenizer)].map(([key, field]) => [key, toValue(field)]));
    const again = tokenizerFromGguf(new GgufMetadata("x.gguf", fields));
    for (const { text, ids } of cases(name)) {
      if (!approximate.has(name) || /^[\n\r -~]*$/.test(text)) expect([...again.encode(text)], JSON.stringify(text)).toEqual(ids);
    }
    expect(again.vocabSize).toBe(tokenizer.vocabSize);
    if (tokenizer.bosId !== undefined) expect([again.bosId, again.addsBos]).toEqual([tokenizer.bosId, tokenizer.addsBos]);
  });

  it("what llama.cpp cannot do is refused by name", () => {
    expect(() => tokenizerToGguf(open("roberta") as PipelineTokenizer)).toThrow(expect.objectContaining({ name: "TokenizerError", code: "no-gguf-form" }));
  });

  const root = fileURLToPath(new URL("../../../shared/fixtures/", import.meta.url));
  const vectors = existsSync(`${root}vocab`) ? readdirSync(`${root}vocab`).filter((file) => file.endsWith(".gguf")) : [];
  it.skipIf(vectors.length === 0)("gives llama.cpp's ids for its test vectors", async () => {
    for (const file of vectors) {
      const header = await Gguf.open(`${root}vocab/${file}`);
      const tokenizer = tokenizerFromGguf(header.metadata);
      await header.close();
      const texts = readFileSync(`${root}vocab/${file}.inp`, "utf8").split("\n__ggml_vocab_test__\n");
      const lines = readFileSync(`${root}vocab/${file}.out`, "utf8").split("\n");
      for (const [i, text] of texts.entries()) {
        expect([...tokenizer.encode(text)].join(" "), `${file} ${JSON.stringify(text)}`).toBe(lines[i].trim());
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }
    }
  });

  it.skipIf(!existsSync(`${root}stories260K`))("llama2.c's tokenizer gives the golden text", () => {
    const tokenizer = readLlama2cTokenizer(readFileSync(`${root}stories260K/tok512.bin`), "tok512.bin");
    const golden = JSON.parse(readFileSync(`${root}stories260K/golden.json`, "utf8")) as Record<string, unknown>;
    const ids = Object.values(golden).find((value): value is number[] => Array.isArray(value) && value.length >= 200 && value.every(Number.isInteger)) ?? [];
    const text = Object.values(golden).find((value) => typeof value === "string" && value.startsWith("Once upon")) as string;
    expect(ids.length).toBeGreaterThan(100);
    expect(text.startsWith(tokenizer.decode(ids, { skipSpecialTokens: true }).slice(0, 100))).toBe(true);
    expect([...tokenizer.encode(text.slice(0, 200), { addSpecialTokens: true })].slice(0, 20)).toEqual((ids[0] === 1 ? ids : [1, ...ids]).slice(0, 20));
  });
});

describe("tiktoken", () => {
  // The ranks of a byte-level BPE are the ids of its tokens where special tokens come last.
  const bytes = (name: string): string => Buffer.from(open("gpt-2").tokenBytes(open("gpt-2").idOf(name) ?? 0)).toString("base64");
  const gpt2 = open("gpt-2");
  const lines = Array.from({ length: gpt2.vocabSize - 1 }, (_, i) => `${Buffer.from(gpt2.tokenBytes(i + 1)).toString("base64")} ${i}`);

  it("joins by rank what the merges join", () => {
    const tokenizer = readTiktoken(lines.join("\n"), { pattern: "gpt2", specialTokens: { "<|endoftext|>": lines.length } });
    for (const { text, ids } of cases("gpt-2")) {
      const ours = [...tokenizer.encode(text)].map((id) => id + 1);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      expect(ours.length).toBeLessThanOrEqual(ids.length);
    }
    expect([...tokenizer.encode("<|endoftext|>", { allowedSpecial: "all" })]).toEqual([lines.length]);
  });

  it("names the line that is wrong", () => {
    for (const [line, wrong] of [[3, "no rank"], [5, `${bytes("a")} 1`], [7, `${bytes("!")} 999999`]] as const) {
      const text = [...lines.slice(0, line - 1), wrong, ...lines.slice(line)].join("\n");
      expect(() => readTiktoken(text, { file: "x.tiktoken" })).toThrow(expect.objectContaining({ name: "TokenizerError", file: "x.tiktoken" }));
    }
  });
});

it.each(modelNames)("%s cut short or altered is read or refused, nothing else", (name) => {
  const bytes = readFileSync(new URL(`${name}.model`, folder));
  let state = 7;
  const random = (below: number): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % below;
  for (let i = 0; i < 60; i++) {
    const mutated = Uint8Array.from(i % 3 === 0 ? bytes.subarray(0, random(bytes.length)) : bytes);
    for (let k = 0; k <= random(4) && mutated.length > 0; k++) mutated[random(mutated.length)] = random(256);
    try {
      const tokenizer = readSentencePiece(mutated, { file: "x.model" });
      tokenizer.decode(tokenizer.encode("the lord, 中文"));
    } catch (error) {
      expect(error).toMatchObject({ name: "TokenizerError" });
    }
  }
});
