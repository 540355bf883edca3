import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigError, DataError, TokenizerError } from "../errors.js";
import { CharTokenizer, Tokenizer, UnknownCharacterError, endOfText, type BpeTokenizer } from "./index.js";

const shakespeare = readFileSync(new URL("../../data/tinyshakespeare.txt", import.meta.url), "utf8").slice(0, 100_000);
const addedFixture = JSON.parse(readFileSync(new URL("../../test/fixtures/tokenizer/added.json", import.meta.url), "utf8")) as {
  tokenizer: unknown;
  texts: [text: string, allowed: number[], plain: number[]][];
};

let folder: string;
let bpe: BpeTokenizer;
let char: CharTokenizer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-tokenizer-"));
  bpe = await Tokenizer.train(shakespeare, { vocabSize: 600 });
  char = await CharTokenizer.fromText(shakespeare + "é中😀");
});
afterAll(() => rm(folder, { recursive: true }));

const collect = async (parts: AsyncIterable<Uint16Array | Uint32Array>): Promise<number[]> => {
  const ids: number[] = [];
  for await (const part of parts) for (const id of part) ids.push(id);
  return ids;
};

describe("training text", () => {
  it("is a string, documents of two kinds, or what has documents", async () => {
    const documents = [shakespeare.slice(0, 5000), "", shakespeare.slice(5000, 9000)];
    async function* stream() {
      yield documents[0];
      await Promise.resolve();
      yield* documents.slice(1);
    }
    const sources = [documents, stream(), { documents: () => stream() }, documents.map((text) => ({ text, source: "x" }))];
    const trained = await Promise.all(sources.map((source) => Tokenizer.train(source, { vocabSize: 400 })));
    expect(new Set(trained.map((tokenizer) => tokenizer.fingerprint())).size).toBe(1);
    const whole = await Tokenizer.train(documents.join(""), { vocabSize: 400 });
    expect(whole.vocabSize).toBe(400);
  });

  it("must not be empty, and settings must be possible", async () => {
    await expect(Tokenizer.train("", { vocabSize: 300 })).rejects.toThrow(DataError);
    await expect(Tokenizer.train([], { vocabSize: 300 })).rejects.toMatchObject({ code: "empty-text" });
    await expect(CharTokenizer.fromText([""])).rejects.toMatchObject({ code: "empty-text" });
    await expect(Tokenizer.train("a", { vocabSize: 256 })).rejects.toThrow("vocabSize: 256 is not a whole number from 257");
    await expect(Tokenizer.train("a", { vocabSize: 300, specialTokens: ["<a>", "<a>"] })).rejects.toThrow("specialTokens[1]");
    await expect(Tokenizer.train("a", { vocabSize: 300, minFrequency: -1 })).rejects.toThrow(ConfigError);
    // Text could hold these as one token.
    for (const token of ["EOS", "", " ", "e", "...", " the"]) await expect(Tokenizer.train("a", { vocabSize: 300, specialTokens: [token] })).rejects.toThrow(ConfigError);
  });

  it("that is short gives a small vocabulary", async () => {
    const tokenizer = await Tokenizer.train("abab", { vocabSize: 1000 });
    expect(tokenizer.vocabSize).toBe(259);
    expect([...tokenizer.encode("abab")]).toEqual([258]);
  });
});

describe("special tokens", () => {
  it("cannot be smuggled in by text", () => {
    const text = `Speak.${endOfText}Speak.`;
    const eos = bpe.specialTokens.get(endOfText) ?? -1;
    expect([eos, bpe.eosId, bpe.bosId]).toEqual([0, 0, 0]);
    expect(bpe.encode(text)).not.toContain(eos);
    expect(bpe.decode(bpe.encode(text))).toBe(text);
    for (const allowedSpecial of ["all", [endOfText], new Set([endOfText])] as const) {
      expect(bpe.encode(text, { allowedSpecial })).toEqual(Int32Array.of(...bpe.encode("Speak."), eos, ...bpe.encode("Speak.")));
    }
    expect(bpe.encode(text, { allowedSpecial: [] })).toEqual(bpe.encode(text));
    expect(() => bpe.encode(text, { allowedSpecial: ["<|pad|>"] })).toThrow(expect.objectContaining({ name: "TokenizerError", code: "not-special" }));
    fc.assert(fc.property(fc.array(fc.constantFrom("<", "|", "endoftext", endOfText, ">", " ", "a")), (parts) => !bpe.encode(parts.join("")).includes(eos)), { seed: 1 });
  });

  it("are found as Hugging Face finds them, in strings, bytes and batches alike", async () => {
    const tokenizer = Tokenizer.fromJSON(addedFixture.tokenizer);
    for (const [text, allowed, plain] of addedFixture.texts) {
      expect([...tokenizer.encode(text, { allowedSpecial: "all" })], JSON.stringify(text)).toEqual(allowed);
      expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(plain);
      expect([...tokenizer.encodeBytes(Buffer.from(text))]).toEqual(plain);
    }
    const { tokens, ends } = await tokenizer.encodeBatch(
      addedFixture.texts.map(([text], i) => (i % 2 ? text : Buffer.from(text))),
      { allowedSpecial: "all" },
    );
    expect(addedFixture.texts.map((_, i) => [...tokens.subarray(ends[i - 1] ?? 0, ends[i])])).toEqual(addedFixture.texts.map(([, allowed]) => allowed));
    // Bytes that are no text stay what they are around an added token.
    expect([...tokenizer.decodeBytes(tokenizer.encodeBytes(Uint8Array.of(0xff, ...Buffer.from("apple"), 0xe4, 0xb8)))]).toEqual([0xff, ...Buffer.from("apple"), 0xe4, 0xb8]);
  });

  it("can be left out of decoding", () => {
    const ids = [0, ...bpe.encode("Speak."), 0];
    expect(bpe.decode(ids)).toBe(`${endOfText}Speak.${endOfText}`);
    expect(bpe.decode(ids, { skipSpecialTokens: true })).toBe("Speak.");
  });
});

describe("decoding", () => {
  it("in pieces gives what decoding at once gives, and never half a character", () => {
    const ids = fc.array(fc.integer({ min: 0, max: 599 }));
    const text = fc.string({ unit: "binary" }).map((text) => [...bpe.encode(text)]);
    fc.assert(
      fc.property(fc.oneof(ids, text), (ids) => {
        const stream = bpe.decodeStream();
        const parts = ids.map((id) => stream.push(id));
        expect(parts.join("") + stream.end()).toBe(bpe.decode(ids));
        expect(parts.filter((part) => /\p{Surrogate}/u.test(part))).toEqual([]);
      }),
      { seed: 1, numRuns: 300 },
    );
    const stream = bpe.decodeStream();
    expect(Array.from(bpe.encodeBytes(Buffer.from("\ufeffé😀")), (id) => stream.push(id))).toEqual(["", "", "\ufeff", "", "é", "", "", "", "😀"]);
    expect(stream.end()).toBe("");
    stream.push(bpe.encodeBytes(Uint8Array.of(0xf0))[0]);
    expect(stream.end()).toBe("\ufffd");
  });

  it("refuses ids that are none", () => {
    for (const id of [-1, 600, 0.5, NaN]) {
      expect(() => bpe.decode([id])).toThrow(`token id ${id} is outside the vocabulary of 600`);
      expect(() => bpe.decodeStream().push(id)).toThrow(TokenizerError);
      expect(() => char.tokenText(id)).toThrow(TokenizerError);
    }
  });

  it("knows tokens by name", () => {
    expect(bpe.idOf("Ġthe")).toBe(bpe.encode(" the")[0]);
    expect(bpe.tokenText(bpe.encode(" the")[0])).toBe("Ġthe");
    expect(bpe.idOf("absent")).toBeUndefined();
    expect(char.idOf("é")).toBe(char.encode("é")[0]);
  });
});

describe("character tokenizer", () => {
  it("has the characters of its text in code point order", async () => {
    const tokenizer = await CharTokenizer.fromText("héllo\n😀 中\uffff");
    expect(Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.tokenText(id))).toEqual(["\n", " ", "h", "l", "o", "é", "中", "\uffff", "😀"]);
    expect([...tokenizer.encode("hello😀".replace("e", "é"))]).toEqual([2, 5, 3, 3, 4, 8]);
    expect(tokenizer.decode(tokenizer.encode("héllo\n😀 中"))).toBe("héllo\n😀 中");
    expect(tokenizer.eosId).toBeUndefined();
  });

  it("names an unknown character and where it stands", async () => {
    const error = expect.objectContaining({ name: "UnknownCharacterError", character: "ß", index: 5, line: 2, code: "unknown-character" }) as unknown;
    expect(() => char.encode("😀a\nAß")).toThrow(error);
    expect(() => char.encode("😀a\nAß")).toThrow('the character "ß" (U+00DF) at index 5');
    expect(() => char.encode("a\ud83d")).toThrow(UnknownCharacterError);
    const long = "a".repeat(3_000_000);
    await expect(char.encodeBatch([`${long}\nß`])).rejects.toMatchObject({ index: 3_000_001, line: 2 });
    await expect(CharTokenizer.fromText("a\ud83d")).rejects.toThrow(UnknownCharacterError);
  });

  it("says where bytes are not UTF-8", () => {
    expect(() => char.encodeBytes(Uint8Array.of(97, 98, 0xe4, 0xb8, 97))).toThrow(expect.objectContaining({ name: "TokenizerError", code: "invalid-utf8", offset: 2 }));
  });

  it("encodes batches in parts, and special tokens where allowed", async () => {
    const tokenizer = await CharTokenizer.fromText("ab中", { specialTokens: [endOfText] });
    // A pair of surrogates where the string is cut for conversion.
    const document = "ab中".repeat(800_000);
    const pairs = await (await Tokenizer.train("x", { vocabSize: 257 })).encodeBatch([`a${"😀".repeat(600_000)}`]);
    expect([pairs.tokens.length, new Set(pairs.tokens).size]).toEqual([2_400_001, 5]);
    const { tokens, ends } = await tokenizer.encodeBatch([document, "", Buffer.from("中")]);
    expect([...ends]).toEqual([2_400_000, 2_400_000, 2_400_001]);
    expect(Buffer.from(tokens.subarray(0, 2_400_000).buffer, 0, 4_800_000).equals(Buffer.from(Uint16Array.from(tokenizer.encode(document)).buffer))).toBe(true);
    expect([...tokenizer.encode(`a${endOfText}b`, { allowedSpecial: "all" })]).toEqual([0, 3, 1]);
    expect(() => tokenizer.encode(endOfText)).toThrow(UnknownCharacterError);
  });
});

describe("encodeFile", () => {
  it("gives the tokens of the text, in bounded parts", async () => {
    const path = join(folder, "text.txt");
    // Longer than a block, with characters of several bytes where blocks end.
    const text = (shakespeare + "é中😀, ").repeat(175);
    await writeFile(path, text);
    const parts: number[] = [];
    const ids: number[] = [];
    for await (const part of bpe.encodeFile(path)) {
      parts.push(part.length);
      for (const id of part) ids.push(id);
    }
    expect(parts.length).toBeGreaterThan(1);
    const expected = bpe.encode(text);
    expect(ids.length).toBe(expected.length);
    expect(Buffer.from(Int32Array.from(ids).buffer).equals(Buffer.from(expected.buffer))).toBe(true);
  });

  it("finds special tokens where allowed, and takes an empty file", async () => {
    const path = join(folder, "special.txt");
    await writeFile(path, `a${endOfText}b`);
    expect(await collect(bpe.encodeFile(path, { allowedSpecial: "all" }))).toEqual([...bpe.encode("a"), 0, ...bpe.encode("b")]);
    await writeFile(path, "");
    expect(await collect(bpe.encodeFile(path))).toEqual([]);
    await expect(collect(bpe.encodeFile(join(folder, "absent")))).rejects.toMatchObject({ name: "DataError", file: join(folder, "absent"), code: "unreadable" });
  });
});

describe("saving and loading", () => {
  it("gives the same tokenizer back", async () => {
    const cl100k = await Tokenizer.train(shakespeare, { vocabSize: 500, pattern: "cl100k", specialTokens: [endOfText, "<|pad|>"] });
    const charSpecial = await CharTokenizer.fromText(shakespeare, { specialTokens: ["<|x|>"] });
    const text = shakespeare.slice(0, 5000);
    for (const tokenizer of [bpe, cl100k, char, charSpecial]) {
      const place = join(folder, "saved");
      await tokenizer.save(place);
      for (const path of [place, join(place, "tokenizer.json")]) {
        const loaded = await Tokenizer.load(path);
        expect(loaded.toJSON()).toEqual(tokenizer.toJSON());
        expect(loaded.fingerprint()).toBe(tokenizer.fingerprint());
        expect([loaded.eosId, loaded.bosId]).toEqual([tokenizer.eosId, tokenizer.bosId]);
        expect(loaded.encode(text, { allowedSpecial: "all" })).toEqual(tokenizer.encode(text, { allowedSpecial: "all" }));
      }
    }
    expect(new Set([bpe, cl100k, char, charSpecial].map((tokenizer) => tokenizer.fingerprint())).size).toBe(4);
  });

  it("reads the boundary tokens of a stranger's configuration", async () => {
    const place = join(folder, "config");
    await bpe.save(place);
    await writeFile(join(place, "tokenizer_config.json"), JSON.stringify({ eos_token: { content: "Ġthe", lstrip: false }, bos_token: null }));
    const loaded = await Tokenizer.load(place);
    expect([loaded.eosId, loaded.bosId]).toEqual([bpe.idOf("Ġthe"), undefined]);
    await writeFile(join(place, "tokenizer_config.json"), JSON.stringify({ eos_token: "<|absent|>" }));
    await expect(Tokenizer.load(place)).rejects.toMatchObject({ name: "TokenizerError", field: "eosToken" });
    await writeFile(join(place, "tokenizer_config.json"), JSON.stringify({ eos_token: 3 }));
    await expect(Tokenizer.load(place)).rejects.toMatchObject({ name: "TokenizerError", file: join(place, "tokenizer_config.json"), field: "eos_token" });
    await writeFile(join(place, "tokenizer.json"), "{");
    await expect(Tokenizer.load(place)).rejects.toMatchObject({ name: "TokenizerError", file: join(place, "tokenizer.json"), code: "bad-tokenizer" });
    await expect(Tokenizer.load(join(folder, "absent"))).rejects.toMatchObject({ name: "TokenizerError", code: "unreadable" });
  });

  it("leaves what was there when it cannot write", async () => {
    const place = join(folder, "file");
    await writeFile(place, "mine");
    await expect(bpe.save(place)).rejects.toThrow();
    expect(await readFile(place, "utf8")).toBe("mine");
  });
});
