/**
 * Holds our tokenizers against Hugging Face `tokenizers` on many random Unicode strings: ids, decoding, and that it opens our tokenizer.json.
 *
 *   npm run build && node scripts/reference/check-tokenizer.mjs [--count 10000] [--seed 7] [--python python3] [TOKENIZER.JSON ...]
 *
 * Without files it trains on Tiny Shakespeare: each pattern, and characters. Exits 1 where anything differs.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { CharTokenizer, Tokenizer, nativeEngine, patternNames, referenceEngine } = await import("../../dist/src/tokenizer/index.js");
const { values, positionals } = parseArgs({
  options: { count: { type: "string", default: "10000" }, seed: { type: "string", default: "7" }, python: { type: "string", default: "python3" } },
  allowPositionals: true,
});
const oracle = (args, input) => {
  const { status, stdout, stderr } = spawnSync(values.python, [fileURLToPath(new URL("tokenizer.py", import.meta.url)), ...args], { input, maxBuffer: 2 ** 30, encoding: "utf8" });
  if (status !== 0) throw new Error(stderr || `${values.python} failed`);
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
};

const folder = mkdtempSync(join(tmpdir(), "hornbook-check-"));
const tokenizers = [];
if (positionals.length > 0) {
  for (const path of positionals) tokenizers.push([path, JSON.parse(readFileSync(path, "utf8"))]);
} else {
  const shakespeare = readFileSync(new URL("../../data/tinyshakespeare.txt", import.meta.url), "utf8");
  for (const pattern of patternNames) tokenizers.push([pattern, (await Tokenizer.train(shakespeare, { vocabSize: 4096, pattern })).toJSON()]);
  tokenizers.push(["characters", (await CharTokenizer.fromText(`${shakespeare}中é😀\r\t\u00a0`)).toJSON()]);
}

const texts = oracle(["strings", values.count, values.seed]);
const engines = [referenceEngine, nativeEngine()].filter((engine) => engine !== undefined);
let failed = false;
for (const [name, json] of tokenizers) {
  const path = join(folder, "tokenizer.json");
  writeFileSync(path, JSON.stringify(Tokenizer.fromJSON(json).toJSON()));
  // Text that only has characters that the tokenizer knows, beside text that has others, which both must refuse.
  const known = new Set(Object.keys(json.model.vocab));
  const inputs = json.model.type === "WordLevel" ? texts.flatMap((text) => [text, [...text].filter((character) => known.has(character)).join("")]) : texts;
  const expected = oracle(["encode", path], inputs.map((text) => `${JSON.stringify(text)}\n`).join(""));
  for (const engine of json.model.type === "WordLevel" ? [referenceEngine] : engines) {
    const tokenizer = Tokenizer.fromJSON(json, { engine });
    const ours = inputs.map((text) => {
      try {
        const ids = tokenizer.encode(text);
        return [[...ids], tokenizer.decode(ids)];
      } catch (error) {
        if (error.code !== "unknown-character") throw error;
        return null;
      }
    });
    const different = inputs.filter((_, i) => JSON.stringify(ours[i]) !== JSON.stringify(expected[i]));
    const refused = ours.filter((result) => result === null).length;
    console.log(`${name}, ${json.model.type === "WordLevel" ? "characters" : engine.name}: ${inputs.length - different.length} of ${inputs.length} strings agree${refused > 0 ? ` (${refused} refused by both)` : ""}`);
    for (const text of different.slice(0, 3)) console.log(`  ${JSON.stringify(text)}`);
    failed ||= different.length > 0;
  }
}
rmSync(folder, { recursive: true });
process.exit(failed ? 1 : 0);
