/**
 * gpt-tokenizer's side of the tokenizer benchmark, with GPT-2's vocabulary. The protocol is that of tokenizer.py; it has no threads and learns nothing.
 *
 *     npm install --prefix bench/peers && node bench/peers/gpt-tokenizer.mjs --documents FILE
 */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { clearMergeCache, encode } from "gpt-tokenizer/encoding/r50k_base";

const { values } = parseArgs({ options: { documents: { type: "string" }, tokenizer: { type: "string" } } });
const texts = JSON.parse(readFileSync(values.documents, "utf8"));
encode("a");
console.log(JSON.stringify({ ready: true }));
for await (const _ of createInterface({ input: process.stdin })) {
  clearMergeCache();
  const start = performance.now();
  let tokens = 0;
  for (const text of texts) tokens += encode(text).length;
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, tokens }));
}
