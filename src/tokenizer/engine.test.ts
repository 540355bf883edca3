import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteTokensOf } from "./bpe.js";
import { bytesInAlphabetOrder } from "./bytes.js";
import { BpeTokenizer, nativeEngine, patternNames, referenceEngine, type PatternName, type TokenizerEngine } from "./index.js";
import type { PackedTexts } from "./packed-texts.js";
import { pretokenize, safeCut } from "./pretokenize.js";

const fixture = (name: string): unknown => JSON.parse(readFileSync(new URL(`../../test/fixtures/tokenizer/${name}`, import.meta.url), "utf8"));
const digest = (lines: Iterable<string | number>): string => createHash("sha256").update([...lines].join("\n")).digest("hex");

const pieceCases = fixture("pieces.json") as [text: string, ...lengths: number[][]][];
const tieCases = fixture("ties.json") as { documents: string[]; specialTokens: string[]; vocabSize: number; minFrequency: number; merges: string[] }[];
const shakespeareCases = fixture("shakespeare.json") as {
  strings: string[];
  trained: Record<
    PatternName,
    { vocabSize: number; merges: { count: number; sha256: string; everyHundredth: string[] }; text: { count: number; sha256: string }; strings: number[][] }
  >;
};
const shakespeare = readFileSync(new URL("../../data/tinyshakespeare.txt", import.meta.url), "utf8");

const mergesOf = (tokenizer: BpeTokenizer): string[] => {
  const lines: string[] = [];
  for (let i = 0; i < tokenizer.merges.length; i += 3) lines.push(`${tokenizer.tokenText(tokenizer.merges[i])} ${tokenizer.tokenText(tokenizer.merges[i + 1])}`);
  return lines;
};

/** With every pair merged, every piece of the texts is one token: encoding shows where the pieces are. */
const piecesByTraining = async (engine: TokenizerEngine, pattern: PatternName, texts: string[]): Promise<string[][]> => {
  const tokenizer = await BpeTokenizer.train(texts, { vocabSize: 1_000_000, pattern, specialTokens: [], engine });
  return texts.map((text) => Array.from(tokenizer.encode(text), (id) => tokenizer.decode([id])));
};

const native = nativeEngine();
const engines = native === undefined ? [referenceEngine] : [referenceEngine, native];

describe("pretokenize", () => {
  it.each(patternNames)("cuts where the %s expression of Hugging Face does", (pattern) => {
    for (const [text, ...lengths] of pieceCases) {
      expect([...pretokenize(pattern, text)].map((piece) => piece.length), JSON.stringify(text)).toEqual(lengths[patternNames.indexOf(pattern)]);
    }
  });

  it.each(patternNames)("gives the pieces of the whole on both sides of a safe cut (%s)", (pattern) => {
    for (const [text] of pieceCases) {
      for (const { index } of text.matchAll(safeCut)) {
        expect([...pretokenize(pattern, text.slice(0, index)), ...pretokenize(pattern, text.slice(index))]).toEqual([...pretokenize(pattern, text)]);
      }
    }
  });
});

const packed = (texts: readonly string[], gap: number): PackedTexts => {
  const parts = texts.map((text) => Buffer.from(text));
  const starts = new Uint32Array(texts.length + 1);
  for (const [i, part] of parts.entries()) starts[i + 1] = starts[i] + part.length + gap;
  return { data: Buffer.concat(parts.flatMap((part) => [part, Buffer.alloc(gap, " ")])), starts, gap, length: texts.length, at: (i) => texts[i], [Symbol.iterator]: () => texts.values() };
};

describe.each(engines)("$name engine", (engine) => {
  it("finds the tokens of merges given as texts", () => {
    const tokens = ["a", "b", "ab", "\u0120", "\u0120ab", " ", " a", "\u{1f58b}", "", "a\u{1f58b}", "b"];
    const resolve = (merges: string[], gap = 0) => [...engine.resolveMerges(packed(merges, gap), packed(tokens, gap))];
    // "b" stands twice; a space may begin the left one.
    expect(resolve(["a b", "\u0120 ab", "  a", "a \u{1f58b}"])).toEqual([0, 10, 2, 3, 2, 4, 5, 0, 6, 0, 7, 9]);
    expect(resolve(["a b", "  a"], 8)).toEqual([0, 10, 2, 5, 0, 6]);
    expect(resolve([])).toEqual([]);
    for (const bad of ["a c", "c a", "b a", "ab", "a ", " a", " ", "", "a  b"]) expect(resolve(["a b", bad, "a b"]), bad).toEqual([0, 10, 2]);
  });

  it.each(patternNames)("cuts where the %s expression of Hugging Face does", async (pattern) => {
    const pieces = await piecesByTraining(engine, pattern, pieceCases.map(([text]) => text));
    for (const [i, [text, ...lengths]] of pieceCases.entries()) {
      expect(pieces[i].map((piece) => piece.length), JSON.stringify(text)).toEqual(lengths[patternNames.indexOf(pattern)]);
    }
  });

  it.each(patternNames)("cuts where the %s expression does, also where it looks at many bytes at once", async (pattern) => {
    const units = ["a", "B", "word", "'s", "'re", "'LL", "'", "''", " ", "  ", "\n", "\t", "7", "2024", ".", "--", "\u00e9", "\u00a0", "\u4e2d", "\ud83d\ude00"];
    const text = fc.array(fc.constantFrom(...units), { minLength: 30, maxLength: 120 }).map((parts) => parts.join(""));
    await fc.assert(
      fc.asyncProperty(text, async (text) => {
        expect((await piecesByTraining(engine, pattern, [text]))[0]).toEqual([...pretokenize(pattern, text)]);
      }),
      { numRuns: 50, seed: 5 },
    );
  });

  it("breaks ties, and repeats merges, as BpeTrainer does", async () => {
    for (const { documents, specialTokens, vocabSize, minFrequency, merges } of tieCases) {
      const tokenizer = await BpeTokenizer.train(documents, { vocabSize, specialTokens, minFrequency, engine });
      expect(mergesOf(tokenizer), JSON.stringify(documents)).toEqual(merges);
    }
  });

  it.each(patternNames)("learns and gives what Hugging Face does on Tiny Shakespeare (%s)", async (pattern) => {
    const expected = shakespeareCases.trained[pattern];
    const tokenizer = await BpeTokenizer.train(shakespeare, { vocabSize: expected.vocabSize, pattern, engine });
    const merges = mergesOf(tokenizer);
    expect(merges.filter((_, i) => i % 100 === 0)).toEqual(expected.merges.everyHundredth);
    expect([merges.length, digest(merges)]).toEqual([expected.merges.count, expected.merges.sha256]);

    const { tokens } = await tokenizer.encodeBatch([shakespeare], { threads: 2 });
    expect([tokens.length, digest(tokens)]).toEqual([expected.text.count, expected.text.sha256]);
    expect(shakespeareCases.strings.map((text) => [...tokenizer.encode(text)])).toEqual(expected.strings);
    expect(shakespeareCases.strings.map((text) => tokenizer.decode(tokenizer.encode(text)))).toEqual(shakespeareCases.strings);
  });

  it("keeps bytes that are not UTF-8", async () => {
    const tokenizer = await BpeTokenizer.train(shakespeare.slice(0, 50_000), { vocabSize: 500, engine });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(tokenizer.decodeBytes(tokenizer.encodeBytes(bytes))).toEqual(bytes);
      }),
      { seed: 1 },
    );
  });

  it("takes a piece that is a token whole where the model says so", () => {
    const letters = [...bytesInAlphabetOrder].map((byte) => Uint8Array.of(byte));
    const abc = Uint8Array.of(97, 98, 99);
    const vocabulary = { byteTokens: byteTokensOf(letters), merges: new Uint32Array() };
    const encode = (whole: boolean): number[] => [...engine.createEncoder({ ...vocabulary, wholePieces: whole ? [...letters, abc] : undefined }, "gpt2").encode("abc abcd")];
    expect(encode(true)).toEqual([256, 220, 64, 65, 66, 67]);
    expect(encode(false)).toEqual([64, 65, 66, 220, 64, 65, 66, 67]);
  });

  it("leaves out a byte that has no token, and merges what is then side by side", () => {
    const encoder = engine.createEncoder({ byteTokens: byteTokensOf([Uint8Array.of(97), Uint8Array.of(99)]), merges: Uint32Array.of(0, 1, 2) }, "gpt2");
    expect([...encoder.encode("aaa")]).toEqual([0, 0, 0]);
    expect([...encoder.encode("aabc bb a")]).toEqual([0, 2, 0]);
    expect([...encoder.encode(`${"b".repeat(50)}a${"b".repeat(50)}c`)]).toEqual([2]);
  });

  it("encodes a long piece in a moment", () => {
    const byteTokens = byteTokensOf(bytesInAlphabetOrder.map((byte) => Uint8Array.of(byte)));
    // 2, 4, 8 and so on to 64 of the letter a.
    const merges = Uint32Array.from([64, 64, 256, 256, 256, 257, 257, 257, 258, 258, 258, 259, 259, 259, 260, 260, 260, 261]);
    const encoder = engine.createEncoder({ byteTokens, merges }, "gpt2");
    const ids = encoder.encode("a".repeat(200_001));
    expect(ids.length).toBe(200_000 / 64 + 1);
    expect([...new Set(ids)]).toEqual([261, 64]);
  });

  it("tells its progress and stops when aborted", async () => {
    const aborted = AbortSignal.abort(new Error("enough"));
    await expect(BpeTokenizer.train(shakespeare, { vocabSize: 300, engine, signal: aborted })).rejects.toThrow("enough");
    const controller = new AbortController();
    const progress: number[] = [];
    const onProgress = (merges: number): void => {
      progress.push(merges);
      if (merges > 0) controller.abort(new Error("enough"));
    };
    // More merges than there is patience for: it ends by the signal alone.
    const training = BpeTokenizer.train("ab ".repeat(99) + shakespeare.replaceAll(" ", "x"), { vocabSize: 2 ** 20, engine, signal: controller.signal, onProgress });
    await expect(training).rejects.toThrow("enough");
    expect(progress.at(-1)).toBeGreaterThan(0);
  });
});

describe.skipIf(native === undefined)("native and reference engines", () => {
  // Letters that merge, every class of character, and lone surrogates.
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({ unit: fc.constantFrom("a", "b", "'", "s", "S", " ", "\n", "\r", "\u00a0", "1", "2", "!", "\u017f", "\u4e2d", "\ud83d\ude00", "\ud83d", "\u0301"), maxLength: 60 }),
  );
  const pattern = fc.constantFrom(...patternNames);

  it("learn the same merges and give the same ids", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 4 }), text, pattern, fc.integer({ min: 256, max: 340 }), async (documents, other, pattern, vocabSize) => {
        fc.pre(documents.some((document) => document !== ""));
        const options = { vocabSize, pattern, specialTokens: [] };
        const [one, two] = await Promise.all(engines.map((engine) => BpeTokenizer.train(documents, { ...options, engine })));
        expect(two.merges).toEqual(one.merges);
        for (const document of [...documents, other]) expect(two.encode(document)).toEqual(one.encode(document));
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it("agree on the class of every code point", () => {
    // Merges of a letter, a digit and a mark with any byte: they happen where the character that follows is of the same class.
    const letters = bytesInAlphabetOrder.map((byte) => Uint8Array.of(byte));
    const pairs = ["a", "1", "!"].flatMap((first) => letters.map(([byte]) => Uint8Array.of(first.charCodeAt(0), byte)));
    const idOf = (byte: number): number => bytesInAlphabetOrder.indexOf(byte);
    const merges = Uint32Array.from(pairs.flatMap(([first, second], i) => [idOf(first), idOf(second), 256 + i]));
    const encoders = engines.map((engine) => engine.createEncoder({ byteTokens: byteTokensOf(letters), merges }, "gpt2"));
    // The planes that have characters.
    for (const plane of [0, 1, 2, 3, 14]) {
      for (let start = 0x10000 * plane; start < 0x10000 * (plane + 1); start += 0x1000) {
        const points = Array.from({ length: 0x1000 }, (_, i) => String.fromCodePoint(start + i)).filter((point) => !/\p{Surrogate}/u.test(point));
        const text = points.map((point) => `a${point} 1${point} !${point} `).join("");
        const [one, two] = encoders.map((encoder) => Buffer.from(encoder.encode(text).buffer));
        expect(two.equals(one), `from U+${start.toString(16)}`).toBe(true);
      }
    }
  });

  it("agree on bytes that are not UTF-8", async () => {
    const [one, two] = await Promise.all(engines.map((engine) => BpeTokenizer.train(shakespeare.slice(0, 20_000), { vocabSize: 400, pattern: "cl100k", engine })));
    const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0x20, 0x0a, 0x61, 0xe2, 0x80, 0xa8, 0xc2, 0xa0, 0xf0, 0x9f, 0xed, 0xbf));
    await fc.assert(
      fc.asyncProperty(fc.array(byte, { maxLength: 80 }), async (list) => {
        const bytes = Uint8Array.from(list);
        expect(two.encodeBytes(bytes)).toEqual(one.encodeBytes(bytes));
        expect((await two.encodeBatch([bytes])).tokens).toEqual((await one.encodeBatch([bytes])).tokens);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it("do not depend on the number of threads or on how text is cut", async () => {
    const tokenizer = await BpeTokenizer.train(shakespeare, { vocabSize: 1000 });
    const mixed = (shakespeare + "\u4e2d\u6587\uff0c\u5b57\u3002\n".repeat(60_000)).repeat(2);
    const whole = tokenizer.encode(mixed);
    for (const threads of [1, 2, 5]) {
      const { tokens, ends } = await tokenizer.encodeBatch([mixed, "", "a"], { threads });
      expect(Buffer.from(Int32Array.from(tokens.subarray(0, ends[0])).buffer).equals(Buffer.from(whole.buffer))).toBe(true);
      expect([...ends]).toEqual([whole.length, whole.length, whole.length + 1]);
    }
  });
});
