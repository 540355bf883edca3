/** @file Tokenizers in loose files, against transformers (scripts/reference/tokenizer_folders.py). */
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { TokenizerError } from "../errors.js";
import { Tokenizer } from "./index.js";

const root = fileURLToPath(new URL("../../test/fixtures/tokenizer-folders/", import.meta.url));
const expected = JSON.parse(readFileSync(`${root}expected.json`, "utf8")) as {
  texts: string[];
  rows: Record<string, { ids: number[][]; special: number[][]; surrounded: number[]; decoded: string[] }>;
};
const { texts } = expected;

describe.each(Object.keys(expected.rows))("%s", async (name) => {
  const { ids, special, surrounded, decoded } = expected.rows[name];
  const tokenizer = await Tokenizer.load(root + name);

  it("gives the ids that transformers gives", () => {
    for (const [i, text] of texts.entries()) expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids[i]);
    for (const [i, row] of special.entries()) expect([...tokenizer.encode(texts[texts.length - special.length + i], { allowedSpecial: "all" })]).toEqual(row);
    expect([...tokenizer.encode("hello", { addSpecialTokens: true })]).toEqual(surrounded);
  });

  it("gives the text that transformers gives", () => {
    for (const [i, text] of decoded.entries()) expect(tokenizer.decode(ids[i]), JSON.stringify(texts[i])).toBe(text);
  });

  it("is the same after being written and read", () => {
    const again = Tokenizer.fromJSON(JSON.parse(JSON.stringify(tokenizer.toJSON())));
    for (const text of texts) expect([...again.encode(text)]).toEqual([...tokenizer.encode(text)]);
  });
});

describe("what is wrong is named", () => {
  const changed = async (name: string, files: Record<string, string | undefined>, then: (folder: string) => Promise<void>): Promise<void> => {
    const folder = await mkdtemp(join(tmpdir(), "hornbook-files-"));
    try {
      await cp(root + name, folder, { recursive: true });
      for (const [file, text] of Object.entries(files)) await (text === undefined ? rm(join(folder, file)) : writeFile(join(folder, file), text));
      await then(folder);
    } finally {
      await rm(folder, { recursive: true });
    }
  };
  const heard = async (open: () => Promise<unknown>): Promise<string[]> => {
    const warnings: string[] = [];
    const listen = ({ name, message }: Error) => name === "HornbookWarning" && warnings.push(message);
    await new Promise((resolve) => setImmediate(resolve));
    process.on("warning", listen);
    await open();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", listen);
    return warnings;
  };

  it.each([
    ["gpt2", { "merges.txt": undefined }, /merges\.txt/],
    ["gpt2", { "merges.txt": "a b c\n" }, /model\.merges\[0\]/],
    ["gpt2", { "vocab.json": "[]" }, /vocab\.json/],
    ["gpt2", { "vocab.json": "{" }, /vocab\.json/],
    ["gpt2", { "vocab.json": '{"a": "b"}' }, /vocab\.json/],
    ["gpt2", { "tokenizer_config.json": '{"tokenizer_class": 5}' }, /tokenizer_config\.json.*tokenizer_class/],
    ["gpt2-map", { "added_tokens.json": '{"x": -1}' }, /added_tokens\.json/],
    ["gpt2-map", { "special_tokens_map.json": '{"bos_token": 7}' }, /special_tokens_map\.json.*bos_token/],
    ["llama", { "tokenizer_config.json": '{"tokenizer_class": "XLMRobertaTokenizer"}' }, /XLMRobertaTokenizer gives the pieces/],
    ["llama", { "tokenizer_config.json": '{"tokenizer_class": "NewTokenizer"}' }, /NewTokenizer/],
    ["llama", { "tokenizer.model": "no model" }, /tokenizer\.model/],
  ] as const)("%s with %j", async (name, files, message) => {
    await changed(name, files, async (folder) => {
      const error = await Tokenizer.load(folder).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(TokenizerError);
      expect((error as Error).message).toMatch(message);
    });
  });

  it("a class that is not known, and an added token that gets another id, are warnings", async () => {
    await changed("gpt2", { "tokenizer_config.json": '{"tokenizer_class": "NewTokenizer"}', "added_tokens.json": '{"<x>": 777}' }, async (folder) => {
      expect(await heard(() => Tokenizer.load(folder))).toEqual([expect.stringMatching(/NewTokenizer/), expect.stringMatching(/<x>.*777.*500/)]);
    });
  });
});
