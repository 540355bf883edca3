/** @file `hornbook tokenizer`: learn a vocabulary, and turn text into ids and back. */

import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { Command, Option } from "commander";
import { resolveModelFolder } from "../../checkpoint/folder.js";
import { hubHint } from "../../checkpoint/hub/index.js";
import { Corpus } from "../../data/index.js";
import { DataError, TokenizerError, systemErrorCode } from "../../errors.js";
import { CharTokenizer, Tokenizer, endOfText, patternNames, type PatternName } from "../../tokenizer/index.js";
import { interruptible } from "../interrupt.js";
import { checkWritable, tokenIds, wholeNumber } from "../options.js";

export function tokenizerCommand(): Command {
  const command = new Command("tokenizer").description("Train a tokenizer, encode text, decode ids.");

  command
    .command("train")
    .description("Learn a byte-level BPE vocabulary from text, or take its characters.")
    .requiredOption("--data <path>", "a text file or folder")
    .requiredOption("--out <dir>", "the folder that tokenizer.json goes to")
    .option("--vocab-size <n>", "tokens in all, special ones included", wholeNumber(1), 4096)
    .addOption(new Option("--pattern <name>", "how text is cut before merging").choices([...patternNames]).default("gpt2"))
    .option("--special <token...>", "special tokens", [endOfText])
    .option("--characters", "one token a character, no merging")
    .option("--json", "print {vocabSize, path}")
    .addHelpText("after", "\nExamples:\n  hornbook tokenizer train --data books/ --vocab-size 8192 --out my-tokenizer\n  hornbook tokenizer train --data play.txt --characters --out my-tokenizer")
    .action(async (flags: { data: string; out: string; vocabSize: number; pattern: PatternName; special: string[]; characters?: boolean; json?: boolean }) => {
      await checkWritable(flags.out, "folder");
      const { signal, dispose } = interruptible();
      try {
        const corpus = await Corpus.fromText(flags.data);
        const tokenizer = flags.characters
          ? await CharTokenizer.fromText(corpus)
          : await Tokenizer.train(corpus, { vocabSize: flags.vocabSize, pattern: flags.pattern, specialTokens: flags.special, signal });
        await tokenizer.save(flags.out);
        console.log(flags.json ? JSON.stringify({ vocabSize: tokenizer.vocabSize, path: flags.out }) : `${tokenizer.vocabSize} tokens, saved in ${flags.out}`);
      } finally {
        dispose();
      }
    });

  command
    .command("encode")
    .description("Print the ids of a text.")
    .argument("<tokenizer>", "a tokenizer's or a model's folder, or its file")
    .argument("[text]", "the text; without it, standard input")
    .option("--special", "let the text contain special tokens")
    .option("--json", "print {ids, tokens}")
    .addHelpText("after", '\nExamples:\n  hornbook tokenizer encode my-tokenizer "Once upon a time"\n  cat play.txt | hornbook tokenizer encode my-tokenizer')
    .action(async (path: string, text: string | undefined, { special = false, json = false }: { special?: boolean; json?: boolean }) => {
      const tokenizer = await loadTokenizer(path);
      const ids = tokenizer.encode(text ?? standardInput(), special ? { allowedSpecial: "all" } : {});
      console.log(json ? JSON.stringify({ ids: Array.from(ids), tokens: Array.from(ids, (id) => tokenizer.tokenText(id)) }) : ids.join(","));
    });

  command
    .command("decode")
    .description("Print the text of ids.")
    .argument("<tokenizer>", "a tokenizer's or a model's folder, or its file")
    .argument("<ids>", "1,2,3", tokenIds)
    .option("--json", "print {text}")
    .addHelpText("after", "\nExamples:\n  hornbook tokenizer decode my-tokenizer 15496,995")
    .action(async (path: string, ids: number[], { json = false }: { json?: boolean }) => {
      const text = (await loadTokenizer(path)).decode(ids);
      console.log(json ? JSON.stringify({ text }) : text);
    });
  return command;
}

/** A tokenizer by its file or folder, a model's or a run's. Throws TokenizerError. */
async function loadTokenizer(path: string): Promise<Tokenizer> {
  await stat(path).catch(async (cause: unknown) => {
    if (systemErrorCode(cause) !== "ENOENT") return;
    throw new TokenizerError({ file: path }, "there is no such file or folder.", { code: "no-such-file", hint: (await hubHint(path)) ?? "Check the path.", cause });
  });
  return Tokenizer.load(await resolveModelFolder(path));
}

/** Throws DataError for bytes that are no text. */
function standardInput(): string {
  const bytes = readFileSync(0);
  if (!isUtf8(bytes)) throw new DataError({ file: "stdin" }, "the text is not UTF-8.", { code: "invalid-utf8", hint: "Convert it first, as with iconv." });
  return bytes.toString();
}
