/** @file Our side of the tokenizer benchmarks; the protocol is that of `peers/tokenizer.py`. */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Tokenizer } from "../src/tokenizer/index.js";

const { values } = parseArgs({ options: { text: { type: "string" }, tokenizer: { type: "string" }, vocab: { type: "string", default: "8192" } } });
const bytes = readFileSync(values.text!);
const text = bytes.toString("utf8");
const json: unknown = JSON.parse(readFileSync(values.tokenizer!, "utf8"));

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  // A fresh tokenizer has a cold cache; making it is not part of the figure, as with the peers.
  const tokenizer = Tokenizer.fromJSON(json);
  const start = performance.now();
  const tokens =
    line === "train"
      ? (await Tokenizer.train(text, { vocabSize: Number(values.vocab) })).vocabSize
      : line === "encode-parallel"
        ? (await tokenizer.encodeBatch([bytes])).tokens.length
        : tokenizer.encodeBytes(bytes).length;
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, tokens }));
}
