/** @file Tokenizing 11.8 MB of books, side by side with Hugging Face `tokenizers` and tiktoken: the same vocabulary, each with a cold cache. */

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { booksFolder } from "../src/data/builtin.js";
import { Tokenizer } from "../src/tokenizer/index.js";
import { table } from "../src/cli/format.js";
import { Peer, median, peerPython } from "./peer.js";

interface Timing {
  readonly seconds: number;
  readonly tokens: number;
}

const rounds = 5;

/** `encode` or `train`, in turns; prints medians in MB/s or seconds, and the ratio to each peer. */
export async function benchTokenizer(job: "encode" | "train"): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "inkling-bench-"));
  const peers: { name: string; peer: Peer; command: string }[] = [];
  try {
    const books = booksFolder();
    // Decoded and encoded again, so that every side reads valid UTF-8.
    const text = readdirSync(books).filter((file) => file.endsWith(".txt")).sort().map((file) => readFileSync(join(books, file), "utf8")).join("\n");
    const [textFile, tokenizerFile] = [join(folder, "books.txt"), join(folder, "tokenizer.json")];
    writeFileSync(textFile, text);
    writeFileSync(tokenizerFile, JSON.stringify((await Tokenizer.train(text, { vocabSize: 8192 })).toJSON()));
    const megabytes = Buffer.byteLength(text) / 1e6;

    const args = ["--text", textFile, "--tokenizer", tokenizerFile];
    const ours = fileURLToPath(new URL("tokenizer-inkling.js", import.meta.url));
    const theirs = fileURLToPath(new URL("../../bench/peers/tokenizer.py", import.meta.url));
    const inkling = () => new Peer("Inkling", process.execPath, [ours, ...args]);
    const python = (side: string) => new Peer(side, peerPython, [theirs, "--side", side, ...args]);
    const sides = [
      { name: "Inkling", peer: inkling(), command: job },
      ...(job === "encode" ? [{ name: "Inkling, all cores", peer: inkling(), command: "encode-parallel" }, { name: "tiktoken", peer: python("tiktoken"), command: job }] : []),
      { name: "Hugging Face tokenizers", peer: python("tokenizers"), command: job },
    ];
    for (const side of sides) {
      try {
        await side.peer.ready();
        peers.push(side);
      } catch (error) {
        console.log(`${(error as Error).message} Python peers: pip install -r bench/peers/requirements.txt; INKLING_BENCH_PYTHON names the Python that has them.`);
      }
    }
    const timings = new Map<string, Timing[]>(peers.map(({ name }) => [name, []]));
    for (let round = 0; round < rounds; round++) {
      for (const { name, peer, command } of peers) timings.get(name)!.push(await peer.ask<Timing>(command));
    }
    const medians = [...timings].map(([name, runs]) => ({ name, seconds: median(runs.map((run) => run.seconds)), tokens: runs[0].tokens }));
    console.log(`${job === "encode" ? "Encoding" : "Learning 8,192 tokens from"} ${megabytes.toFixed(1)} MB of books: medians of ${rounds} turns`);
    console.log(
      table(
        [
          ["", "seconds", "MB/s", "Inkling is faster by", job === "encode" ? "tokens" : "vocabulary"],
          ...medians.map(({ name, seconds, tokens }) => [name, seconds.toFixed(3), (megabytes / seconds).toFixed(1), `${(seconds / medians[0].seconds).toFixed(2)}x`, String(tokens)]),
        ],
        [1, 2, 3, 4],
      ),
    );
  } finally {
    for (const { peer } of peers) peer.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
