import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { TokenizerError } from "../errors.js";
import { CharTokenizer, Tokenizer } from "./index.js";

type Json = Record<string, unknown>;
let bpeJson: string;
let charJson: string;

beforeAll(async () => {
  bpeJson = JSON.stringify((await Tokenizer.train("abc abc abd", { vocabSize: 262 })).toJSON());
  charJson = JSON.stringify((await CharTokenizer.fromText("abc", { specialTokens: ["<|x|>"] })).toJSON());
});

/** The file with the value at a path replaced, or taken out where it is undefined. */
function changed(json: string, path: (string | number)[], value: unknown): unknown {
  const root = JSON.parse(json) as Json;
  let at = root as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Json;
  const last = path[path.length - 1];
  if (value === undefined) delete at[last];
  else at[last] = value;
  return root;
}

const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const nested = (depth: number): unknown => (depth === 0 ? { type: "NFC" } : { type: "Sequence", normalizers: [nested(depth - 1)] });
const template = (id: string, special: number): unknown => ({
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  special_tokens: { "<s>": { id: "<s>", ids: [special], tokens: ["<s>"] } },
});
const splitStep = (regex: string) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false });

describe("a hostile tokenizer.json", () => {
  const cases: [path: (string | number)[], value: unknown, field: string][] = [
    [["model"], undefined, "model"],
    [["model", "type"], "WordPiece", "model.unk_token"],
    [["model", "type"], "Markov", "model.type"],
    [["model", "type"], "Unigram", "model.vocab"],
    [["model", "vocab"], [], "model.vocab"],
    [["model", "vocab"], null, "model.vocab"],
    [["model", "vocab", "a"], "1", 'model.vocab["a"]'],
    [["model", "vocab", "a"], 1.5, 'model.vocab["a"]'],
    [["model", "vocab", "a"], -1, 'model.vocab["a"]'],
    [["model", "vocab", "b"], 65, 'model.vocab["b"]'],
    [["model", "vocab", "a"], 2 ** 31, 'model.vocab["a"]'],
    [["model", "vocab", "a"], 1e300, 'model.vocab["a"]'],
    [["model", "vocab", "ab"], undefined, "model.merges[0]"],
    [["model", "merges"], "a b", "model.merges"],
    [["model", "merges", 0], ["a", "missing"], "model.merges[0]"],
    [["model", "merges", 0], ["a"], "model.merges[0]"],
    [["model", "merges", 0], "abc", "model.merges[0]"],
    [["model", "merges", 0], "a b c", "model.merges[0]"],
    [["model", "merges", 0], ["a", 1], "model.merges[0]"],
    [["model", "merges", 0], null, "model.merges[0]"],
    [["model", "dropout"], 0.1, "model.dropout"],
    [["model", "unk_token"], "<unk>", "model.unk_token"],
    [["model", "byte_fallback"], 1, "model.byte_fallback"],
    [["model", "end_of_word_suffix"], 1, "model.end_of_word_suffix"],
    [["model", "ignore_merges"], "yes", "model.ignore_merges"],
    [["added_tokens", 0, "id"], 1, "added_tokens[0]"],
    [["added_tokens", 0, "id"], 2 ** 40, "added_tokens[0]"],
    [["added_tokens", 0, "id"], -1, "added_tokens[0].id"],
    [["added_tokens", 0, "content"], "", "added_tokens[0].content"],
    [["added_tokens", 0, "content"], "<|new|>", "added_tokens[0]"],
    [["added_tokens", 1], { id: 300, content: "<|endoftext|>" }, "added_tokens[1]"],
    [["added_tokens"], {}, "added_tokens"],
    [["truncation"], 5, "truncation"],
    [["normalizer"], { type: "BertNormalizer" }, "normalizer.clean_text"],
    [["normalizer"], { type: "Transliterate" }, "normalizer.type"],
    [["normalizer"], { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "Replace", pattern: { Regex: "(a" }, content: "" }] }, "normalizer.normalizers[1].pattern.Regex"],
    [["normalizer"], { type: "Precompiled", precompiled_charsmap: "AAAA" }, "normalizer.precompiled_charsmap"],
    [["normalizer"], { type: "Precompiled", precompiled_charsmap: "%" }, "normalizer.precompiled_charsmap"],
    [["normalizer"], nested(20), `normalizer${".normalizers[0]".repeat(9)}`],
    [["post_processor"], { type: "TemplateProcessing" }, "post_processor.single"],
    [["post_processor"], template("<s>", 5000), "post_processor"],
    [["post_processor"], template("missing", 0), "post_processor.special_tokens"],
    [["decoder", "type"], "WordPiece", "decoder.prefix"],
    [["pre_tokenizer"], { type: "UnicodeScripts" }, "pre_tokenizer.type"],
    [["pre_tokenizer"], { type: "Sequence", pretokenizers: [splitStep("(a+)+$"), byteLevel] }, "pre_tokenizer.pretokenizers[0].pattern.Regex"],
    [["pre_tokenizer"], splitStep("(?<x>a)\\k<x>"), "pre_tokenizer.pattern.Regex"],
    [["pre_tokenizer"], splitStep("a{9999}"), "pre_tokenizer.pattern.Regex"],
    [["pre_tokenizer"], { type: "Delimiter" }, "pre_tokenizer.type"],
  ];

  it.each(cases)("%j = %j is refused by name", (path, value, field) => {
    expect(() => Tokenizer.fromJSON(changed(bpeJson, path, value), { file: "x.json" })).toThrow(expect.objectContaining({ name: "TokenizerError", code: "bad-tokenizer", file: "x.json", field }));
  });

  const charCases: [path: (string | number)[], value: unknown, field: string][] = [
    [["model", "vocab", "a"], 1, 'model.vocab["b"]'],
    [["pre_tokenizer", "pattern", "Regex"], "(", "pre_tokenizer.pattern.Regex"],
    [["pre_tokenizer"], [], "pre_tokenizer"],
    [["decoder", "type"], "Braille", "decoder.type"],
    [["added_tokens", 0, "id"], 0, "added_tokens[0]"],
  ];

  it.each(charCases)("of characters: %j = %j is refused by name", (path, value, field) => {
    expect(() => Tokenizer.fromJSON(changed(charJson, path, value))).toThrow(expect.objectContaining({ name: "TokenizerError", field }));
  });

  it("of any other shape is refused too", () => {
    for (const value of [undefined, null, 1, "x", [], {}, { model: null }, { model: [] }]) expect(() => Tokenizer.fromJSON(value)).toThrow(TokenizerError);
  });

  it("mutated anywhere is read or refused, nothing else", () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 2 ** 53, NaN, "__proto__", "constructor", "a b", [], {}, null));
    fc.assert(
      fc.property(fc.boolean(), fc.infiniteStream(fc.nat()), value, (isBpe, choices, value) => {
        const json = JSON.parse(isBpe ? bpeJson : charJson) as Json;
        let at: Json = json;
        for (const choice of choices) {
          const keys = Object.keys(at);
          const key = keys[choice % keys.length];
          const next = at[key];
          if (typeof next !== "object" || next === null || Object.keys(next).length === 0 || choice % 7 === 0) {
            at[key] = value;
            break;
          }
          at = next as Json;
        }
        let tokenizer;
        try {
          tokenizer = Tokenizer.fromJSON(json);
        } catch (error) {
          expect(error).toBeInstanceOf(TokenizerError);
          return;
        }
        try {
          // Another pipeline may well give another text; a text it is, from ids that are tokens.
          expect(typeof tokenizer.decode(tokenizer.encode("abc abd"))).toBe("string");
        } catch (error) {
          // The letter that the change took away.
          expect(error).toBeInstanceOf(TokenizerError);
        }
      }),
      { seed: 1, numRuns: 1000 },
    );
  });
});

describe("what Hugging Face also writes", () => {
  it("is read: merges as strings, a model without its type, tokens that objects know", () => {
    const json = JSON.parse(bpeJson) as { model: { merges: unknown[]; type?: string; vocab: Json } };
    json.model.merges = json.model.merges.map((pair) => (pair as string[]).join(" "));
    delete json.model.type;
    expect(Tokenizer.fromJSON(json).toJSON()).toEqual(Tokenizer.fromJSON(JSON.parse(bpeJson)).toJSON());

    const odd = JSON.parse(bpeJson.replace('"vocab":{', '"vocab":{"__proto__":262,"constructor":263,')) as unknown;
    const tokenizer = Tokenizer.fromJSON(odd);
    expect([tokenizer.idOf("__proto__"), tokenizer.idOf("constructor"), tokenizer.idOf("toString")]).toEqual([262, 263, undefined]);
    expect(JSON.parse(JSON.stringify(tokenizer.toJSON()))).toEqual(odd);
  });
});

describe("parts that are absent, or not acted on", () => {
  const heard = async (open: () => void): Promise<string[]> => {
    const warnings: string[] = [];
    const listen = ({ name, message }: Error) => name === "HornbookWarning" && warnings.push(message);
    // Those of earlier tests come first.
    await new Promise((resolve) => setImmediate(resolve));
    process.on("warning", listen);
    open();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", listen);
    return warnings;
  };

  it.each(["normalizer", "pre_tokenizer", "post_processor", "decoder"])("without %s the part is none", (part) => {
    const whole = JSON.parse(bpeJson) as Json;
    const { [part]: _, ...rest } = whole;
    expect([...Tokenizer.fromJSON(rest).encode("ab ab")]).toEqual([...Tokenizer.fromJSON({ ...whole, [part]: null }).encode("ab ab")]);
  });

  it.each([
    ["truncation", { max_length: 1, direction: "Right", strategy: "LongestFirst", stride: 0 }],
    ["padding", { strategy: { Fixed: 16 }, direction: "Right", pad_to_multiple_of: null, pad_id: 0, pad_type_id: 0, pad_token: "x" }],
  ])("%s is not acted on, as in transformers, and a warning says so", async (part, value) => {
    const plain = Tokenizer.fromJSON(JSON.parse(bpeJson));
    let ids: Int32Array = Int32Array.of();
    expect(await heard(() => (ids = Tokenizer.fromJSON({ ...(JSON.parse(bpeJson) as Json), [part]: value }, { file: "x.json" }).encode("ab ab")))).toEqual([expect.stringMatching(`x.json: ${part}`)]);
    expect([...ids]).toEqual([...plain.encode("ab ab")]);
  });

  it.each([
    [["temperature"], "\"temperature\""],
    [["model", "beam"], "model: .*\"beam\""],
    [["decoder", "speed"], "decoder: .*\"speed\""],
    [["added_tokens", 0, "colour"], "added_tokens\\[0\\]: .*\"colour\""],
  ])("the unknown key %j is warned of by name", async (path, said) => {
    expect(await heard(() => Tokenizer.fromJSON(changed(bpeJson, path, 1)))).toEqual([expect.stringMatching(said)]);
  });
});
