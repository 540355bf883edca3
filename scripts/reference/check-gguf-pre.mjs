/**
 * The long run of src/tokenizer/gguf-pre.test.ts: every kind of pre-tokenizer, or the named ones, against llama.cpp on other texts.
 *
 *     npm run build && PYTHON=python3 node scripts/reference/check-gguf-pre.mjs LIB [COUNT [SEED [PRE...]]]
 *
 * LIB is llama.cpp's libllama.so; see scripts/reference/gguf_pre.py for what Python needs.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Gguf, gguf, GgufMetadata } from "../../dist/src/checkpoint/gguf/index.js";
import { preTokenizers } from "../../dist/src/tokenizer/gguf-pre.js";
import { tokenizerFromGguf } from "../../dist/src/tokenizer/index.js";

const [library, count = "2000", seed = "1", ...names] = process.argv.slice(2);
const script = fileURLToPath(new URL("gguf_pre.py", import.meta.url));
const file = await Gguf.open(fileURLToPath(new URL("../../test/fixtures/gguf-pre/vocab.gguf", import.meta.url)));
let failures = 0;
for (const pre of names.length > 0 ? names : Object.keys(preTokenizers)) {
  const lines = execFileSync(process.env.PYTHON ?? "python3", [script, "rows", library, pre, count, seed], { encoding: "utf8", maxBuffer: 2 ** 30 }).trim().split("\n");
  const changes = [["tokenizer.ggml.pre", gguf.string(pre)], ...(pre === "whitespace" ? [["tokenizer.ggml.model", gguf.string("whitespace")]] : [])];
  const tokenizer = tokenizerFromGguf(new GgufMetadata("vocab.gguf", new Map([...file.metadata.values, ...changes])));
  let different = 0;
  for (const [text, plain, special] of lines.map((line) => JSON.parse(line))) {
    const [ours, oursSpecial] = [tokenizer.encode(text).join(" "), tokenizer.encode(text, { allowedSpecial: "all" }).join(" ")];
    if (ours === plain.join(" ") && oursSpecial === special.join(" ")) continue;
    if (different++ < 3) console.log(JSON.stringify(text), "\n  ours ", ours, "\n  llama", plain.join(" "));
  }
  console.log(`${pre}: ${different} of ${lines.length} differ`);
  failures += different;
}
await file.close();
process.exitCode = failures > 0 ? 1 : 0;
