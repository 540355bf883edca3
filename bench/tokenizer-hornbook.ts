/** @file Our side of the tokenizer benchmarks; the protocol is that of `peers/tokenizer.py`. */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Tokenizer } from "../src/tokenizer/index.js";

const { values } = parseArgs({ options: { documents: { type: "string" }, tokenizer: { type: "string" }, vocab: { type: "string", default: "8192" } } });
const texts = JSON.parse(readFileSync(values.documents!, "utf8")) as string[];
const documents = texts.map((text) => Buffer.from(text));
const json: unknown = JSON.parse(readFileSync(values.tokenizer!, "utf8"));

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  // A fresh tokenizer has a cold cache; making it, which its first text does, is not part of the figure, as with the peers.
  const tokenizer = Tokenizer.fromJSON(json);
  tokenizer.encode("a");
  // What setting up has left to collect would be collected on the other core meanwhile.
  globalThis.gc?.();
  const start = performance.now();
  const tokens =
    line === "train"
      ? (await Tokenizer.train(texts, { vocabSize: Number(values.vocab) })).vocabSize
      : line === "encode-parallel"
        ? (await tokenizer.encodeBatch(documents)).tokens.length
        : documents.reduce((sum, document) => sum + tokenizer.encodeBytes(document).length, 0);
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, tokens }));
}
