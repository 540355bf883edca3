import fc from "fast-check";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DataError } from "../errors.js";
import { joinPieces, readText, toLines, toPieces } from "./text.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-text-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

const inChunks = (text: string, size: number) => Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));

/** The pre-tokenization patterns of GPT-2 and cl100k, without the possessive quantifiers, which change no match. */
const patterns = {
  gpt2: /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu,
  cl100k: /'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/giu,
};

describe("pieces", () => {
  it("cut no word, run of spaces or pair in two, so that piece by piece gives the tokens of the whole", async () => {
    const words = fc.array(fc.constantFrom("word", "Ünï", "1234", "'s", ".", "!?", "\n", "\n\n", "\r\n", " ", "   ", "\t", "中文", "😀", "_", "\u00a0", "é́"), {
      minLength: 60_000,
      maxLength: 110_000,
      size: "max",
    });
    await fc.assert(
      fc.asyncProperty(words, async (parts) => {
        const text = parts.join("");
        const pieces = await collect(toPieces([text], "x"));
        expect(pieces.length > 1).toBe(text.length > 131072);
        expect(pieces.map((piece) => piece.text).join("") === text).toBe(true);
        for (const pattern of Object.values(patterns)) {
          const whole = text.match(pattern) ?? [];
          const cut = pieces.flatMap((piece) => piece.text.match(pattern) ?? []);
          expect(cut.length).toBe(whole.length);
          expect(cut.every((token, i) => token === whole[i])).toBe(true);
        }
      }),
      { seed: 1, numRuns: 8, endOnFailure: true }, // Shrinking texts this long would take longer than it helps.
    );
  });

  it("mark where documents begin and end, whatever way the text arrives", async () => {
    const separator = "<|end|>";
    const documents = ["one", "two ".repeat(100_000), "", "three😀", separator.slice(0, 4), "four".repeat(80_000)];
    const text = documents.join(separator) + separator;
    const expected = documents.filter((document) => document !== "");
    let pieces: unknown;
    for (const size of [1_000_003, 65_536, 4_999, 700]) {
      const chunks = inChunks(text, size);
      expect((await collect(joinPieces(toPieces(chunks, "x", separator)))).map((document) => document.text)).toEqual(expected);
      const now = await collect(toPieces(chunks, "x", separator));
      expect(now).toEqual((pieces ??= now)); // Where pieces are cut depends on the text alone.
      expect(now.filter((piece) => piece.first)).toHaveLength(expected.length);
      expect(now.filter((piece) => piece.last)).toHaveLength(expected.length);
      expect(now.every((piece) => piece.text !== "" && piece.text.length <= 131072)).toBe(true);
    }
  });

  it("never fall between the halves of a character, though no good place is near", async () => {
    for (const text of ["x" + "😀".repeat(200_000), "😀".repeat(200_000), "x".repeat(131073), "x".repeat(131072)]) {
      const pieces = await collect(toPieces([text], "x"));
      expect(pieces.map((piece) => piece.text).join("") === text).toBe(true);
      for (const piece of pieces) expect(Buffer.from(piece.text).toString() === piece.text).toBe(true);
      expect(pieces.at(-1)?.last).toBe(true);
    }
  });

  it("of nothing are none", async () => {
    expect(await collect(toPieces([], "x"))).toEqual([]);
    expect(await collect(toPieces(["", "|", "|"], "x", "|"))).toEqual([]);
  });
});

describe("readText", () => {
  it("decodes characters that chunks break in two, and drops a byte order mark", async () => {
    const file = join(folder, "a.txt");
    const text = "é中😀a".repeat(300_000);
    await writeFile(file, `\ufeff${text}`);
    for (const mode of ["replace", "error"] as const) expect((await collect(readText(file, mode))).join("") === text).toBe(true);
  });

  it.each<[what: string, before: string, bytes: number[], after: string]>([
    ["a stray byte at the start", "", [0xff], "abc"],
    ["Latin-1", "C", [0xe9], "sar"],
    ["a character cut short", "é中", [0xf0, 0x9f, 0x98], "x"],
    ["a character cut short by the end", "é中", [0xf0, 0x9f, 0x98], ""],
    ["a lone continuation", "abc", [0x80], "é"],
    ["an overlong form", "abc", [0xc0, 0x80], ""],
    ["a surrogate", "abc", [0xed, 0xa0, 0x80], ""],
    ["a bad byte after the first chunk", "é".repeat(600_000), [0xff], "abc"],
    ["a bad byte where chunks meet", "a".repeat((1 << 20) - 1), [0xc3, 0x28], "abc"],
  ])("finds %s, or replaces it", async (_, before, bytes, after) => {
    const file = join(folder, "a.txt");
    await writeFile(file, Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]));
    const strict = collect(readText(file, "error"));
    await expect(strict).rejects.toThrow(DataError);
    await expect(strict).rejects.toMatchObject({ code: "invalid-utf8", file, offset: Buffer.byteLength(before) });
    const replaced = (await collect(readText(file, "replace"))).join("");
    expect(replaced.startsWith(before) && replaced.endsWith(after) && replaced.includes("\ufffd")).toBe(true);
  });

  it("says when there is no file", async () => {
    await expect(collect(readText(join(folder, "none"), "replace"))).rejects.toMatchObject({ code: "no-such-file", file: join(folder, "none") });
    await expect(collect(readText(folder, "replace"))).rejects.toMatchObject({ code: "cannot-read" });
  });
});

it("lines are numbered from 1, with or without a last end", async () => {
  async function* chunks() {
    yield* ["a\nb", "b\n", "\nc"];
    await Promise.resolve();
  }
  expect(await collect(toLines(chunks()))).toEqual([
    { line: "a", number: 1 },
    { line: "bb", number: 2 },
    { line: "", number: 3 },
    { line: "c", number: 4 },
  ]);
});
