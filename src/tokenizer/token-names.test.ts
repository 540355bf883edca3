import { describe, expect, it } from "vitest";
import { GgufStrings } from "../checkpoint/gguf/metadata.js";
import { BpeTokenizer, Tokenizer, tokenizerFromGguf, type TokenizerMetadata } from "./index.js";
import { TokenNames } from "./token-names.js";

describe("TokenNames", () => {
  it("says the same from a list and packed, of names of every kind", () => {
    // Among them a name that stands twice, an empty one, and bytes that are no UTF-8.
    const texts = ["a", "Ġ", "中", "🖋", "ab", "", "a", "\ufffd", Uint8Array.of(0xff), Uint8Array.of(0xe2, 0x82), Uint8Array.of(0xf0, 0x9f, 0x98), Uint8Array.of(0xc3), "�x"];
    const packed = TokenNames.packed(GgufStrings.from(texts));
    const list = TokenNames.of([...packed]);
    expect([...packed].slice(0, 8)).toEqual(["a", "Ġ", "中", "🖋", "ab", "[EMPTY_5]", "a", "\ufffd"]);
    for (const name of ["a", "Ġ", "中", "🖋", "ab", "[EMPTY_5]", "", "b", "�x"]) expect(packed.idOf(name), name).toBe(list.idOf(name));
    expect([packed.idOf("a"), packed.idOf("\ufffd"), packed.idOf("b")]).toEqual([6, 7, undefined]);
    expect([...packed.byName()]).toEqual([...list.byName()]);
    for (const id of [-1, 13, 1.5, NaN]) expect([packed.at(id), list.at(id)]).toEqual([undefined, undefined]);
  });

  it("changes names, also of single characters and past the end, and as many as there are", () => {
    const names = TokenNames.packed(GgufStrings.from(["a", "b"])).with(new Map([[1, "c"], [4, "<end>"]]));
    expect([...names]).toEqual(["a", "c", undefined, undefined, "<end>"]);
    expect([names.idOf("a"), names.idOf("b"), names.idOf("c"), names.idOf("<end>")]).toEqual([0, undefined, 1, 4]);
    const many = TokenNames.of([]).with(new Map(Array.from({ length: 200_000 }, (_, id) => [id, `<${id}>`])));
    expect([many.length, many.at(199_999)]).toEqual([200_000, "<199999>"]);
  });
});

describe("a byte-level tokenizer", () => {
  it("never makes a special token of its letters, also where pieces that are tokens are taken whole", async () => {
    const trained = await BpeTokenizer.train("a pad, a zqx", { vocabSize: 257 + 3, specialTokens: ["<ZQX>"] });
    const { model, ...json } = JSON.parse(JSON.stringify(trained).replaceAll("<ZQX>", "ZQX")) as { model: Record<string, unknown> };
    const tokenizer = Tokenizer.fromJSON({ ...json, model: { ...model, ignore_merges: true } });
    expect(tokenizer).toBeInstanceOf(BpeTokenizer);
    expect([...tokenizer.encode("ZQX")]).not.toContain(0);
    expect(tokenizer.decode(tokenizer.encode("ZQX"))).toBe("ZQX");
    expect([...tokenizer.encode("ZQX", { allowedSpecial: "all" })]).toEqual([0]);
  });

  it("in a GGUF file may have more added tokens than a call has arguments, and knows no token between two", () => {
    const bytes = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
    const tokens = [...bytes, ...Array.from({ length: 200_000 }, (_, i) => `<${i}>`)];
    const values: Record<string, unknown> = { model: "gpt2", pre: "gpt-2", tokens: GgufStrings.from(tokens), token_type: Int32Array.from(tokens, (_, id) => (id < 94 ? 1 : 3)), merges: GgufStrings.from([]) };
    const read = (key: string, fallback?: unknown): never => (values[key.replace("tokenizer.ggml.", "")] ?? fallback) as never;
    const metadata: TokenizerMetadata = { file: "x.gguf", values: new Map(), has: (key) => read(key) !== undefined, text: read, number: read, flag: read, strings: read, numbers: read };
    const tokenizer = tokenizerFromGguf(metadata);
    expect(tokenizer.vocabSize).toBe(200_094);
    expect([...tokenizer.encode("AB")]).toEqual([32, 33]);
    expect(() => tokenizer.decode([97.5])).toThrow(expect.objectContaining({ code: "token-id" }));
  });
});
