/**
 * The long run of src/tokenizer/kinds.test.ts: every kind of tokenizer against the library that it comes from, on many random Unicode strings, with all
 * of SentencePiece's rules. Ids and decoded text must be equal, and what our own tokenizer.json makes of the same texts in Hugging Face.
 *
 *   npm run build && node scripts/reference/check-tokenizers.mjs [--count 10000] [--python python3] [--only NAME]
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { Tokenizer, readSentencePiece } = await import("../../dist/src/tokenizer/index.js");
const { values } = parseArgs({ options: { count: { type: "string", default: "10000" }, python: { type: "string", default: "python3" }, only: { type: "string" } } });
const folder = mkdtempSync(join(tmpdir(), "hornbook-check-"));
const python = (args, input) => {
  const { status, stdout, stderr } = spawnSync(values.python, [fileURLToPath(new URL("tokenizer_kinds.py", import.meta.url)), ...args], { input, maxBuffer: 2 ** 30, encoding: "utf8" });
  if (status !== 0) throw new Error(stderr || `${values.python} failed`);
  return stdout;
};
python(["fixtures", folder, values.count]);
const { texts, rows } = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
let failed = false;
for (const file of readdirSync(folder).filter((name) => name !== "expected.json")) {
  const name = file.replace(/\.(json|model)$/, "");
  if (values.only !== undefined && name !== values.only) continue;
  const bytes = readFileSync(join(folder, file));
  const isModel = file.endsWith(".model");
  const tokenizer = isModel ? readSentencePiece(bytes, { file }) : Tokenizer.fromJSON(JSON.parse(bytes.toString()), { file });
  const compared = texts.map((_, i) => i).filter((i) => rows[name][i] !== null);
  const ours = new Map(compared.map((i) => [i, [...tokenizer.encode(texts[i])]]));
  const differs = compared.filter((i) => String(ours.get(i)) !== String(rows[name][i][0]));
  const misread = compared.filter((i) => tokenizer.decode(rows[name][i][0]) !== rows[name][i][1]);
  let line = `${name}: ids ${compared.length - differs.length} of ${compared.length}, text ${compared.length - misread.length} of ${compared.length}`;
  if (!isModel) {
    const written = join(folder, "written-tokenizer.json");
    writeFileSync(written, JSON.stringify(tokenizer.toJSON()));
    const theirs = python(["encode", written], compared.map((i) => `${JSON.stringify(texts[i])}\n`).join("")).trimEnd().split("\n").map((row) => JSON.parse(row));
    const changed = compared.filter((i, k) => theirs[k] !== null && String(theirs[k][0]) !== String(ours.get(i)));
    line += `, by Hugging Face from our tokenizer.json ${compared.length - changed.length} of ${compared.length}`;
    failed ||= changed.length > 0;
    rmSync(written);
  }
  console.log(line);
  for (const i of [...differs, ...misread].slice(0, 3)) console.log(`  ${JSON.stringify(texts[i])}`);
  failed ||= differs.length + misread.length > 0;
}
rmSync(folder, { recursive: true });
process.exit(failed ? 1 : 0);
