/** @file `hornbook tokenizer`: learn a vocabulary, and turn text into ids and back. */

import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { Corpus } from "../../data/index.js";
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
      await checkWritable(flags.out);
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
    .argument("<tokenizer>", "a folder with tokenizer.json, or the file")
    .argument("[text]", "the text; without it, standard input")
    .option("--special", "let the text contain special tokens")
    .option("--json", "print {ids, tokens}")
    .addHelpText("after", '\nExamples:\n  hornbook tokenizer encode my-tokenizer "Once upon a time"\n  cat play.txt | hornbook tokenizer encode my-tokenizer')
    .action(async (path: string, text: string | undefined, { special = false, json = false }: { special?: boolean; json?: boolean }) => {
      const tokenizer = await Tokenizer.load(path);
      const ids = tokenizer.encode(text ?? readFileSync(0, "utf8"), special ? { allowedSpecial: "all" } : {});
      console.log(json ? JSON.stringify({ ids: Array.from(ids), tokens: Array.from(ids, (id) => tokenizer.tokenText(id)) }) : ids.join(","));
    });

  command
    .command("decode")
    .description("Print the text of ids.")
    .argument("<tokenizer>", "a folder with tokenizer.json, or the file")
    .argument("<ids>", "1,2,3", tokenIds)
    .option("--json", "print {text}")
    .addHelpText("after", "\nExamples:\n  hornbook tokenizer decode my-tokenizer 15496,995")
    .action(async (path: string, ids: number[], { json = false }: { json?: boolean }) => {
      const text = (await Tokenizer.load(path)).decode(ids);
      console.log(json ? JSON.stringify({ text }) : text);
    });
  return command;
}
