/** @file `hornbook evaluate`: how well a model predicts a text, and how far its predictions are from another model's. */

import { Command, Option } from "commander";
import { readText } from "../../data/text.js";
import { ConfigError, UsageError } from "../../errors.js";
import { compareModels, type Divergence } from "../../evaluate/divergence.js";
import { likelihood, type Likelihood } from "../../evaluate/likelihood.js";
import { LanguageModel } from "../../language-model.js";
import type { FloatDType } from "../../tensor/index.js";
import type { Tokenizer } from "../../tokenizer/index.js";
import { table } from "../format.js";
import { interruptible } from "../interrupt.js";
import { checkReadable, requireTokenizer, tokenIds, wholeNumber } from "../options.js";
import { LiveLines } from "../terminal.js";

interface EvaluateFlags {
  against?: string;
  text?: string;
  ids?: number[];
  tokens?: number;
  context?: number;
  bos?: boolean;
  dtype: FloatDType;
  json?: boolean;
}

export function evaluateCommand(): Command {
  return new Command("evaluate")
    .description("Measure how well a model predicts a text: its likelihood, perplexity and bits per byte; or how far it is from another model.")
    .argument("<model>", "a model's folder or file, or a run's")
    .option("--against <model>", "measure the divergence from this one, taken as exact: what a quantisation loses")
    .option("--text <file>", "a text file")
    .option("--ids <1,2,3>", "token ids", tokenIds)
    .option("--tokens <n>", "take only the first n tokens", wholeNumber(1))
    .option("--context <n>", "tokens that a window holds (default: the model's context, at most 2048)", wholeNumber(1))
    .option("--bos", "begin each window with the token that begins a text (default for --text: where the model's tokenizer does)")
    .option("--no-bos", "begin no window with it")
    .addOption(new Option("--dtype <dtype>", "of the computation").choices(["f32", "bf16"]).default("f32"))
    .option("--json", "print {tokens, nll, loss, perplexity, bitsPerByte}: nll in nats in all, loss per token; with --against see below")
    .addHelpText(
      "after",
      `
Every token is predicted once, in windows that follow each other; all but the very
first where no window begins with a token of its own.

With --against OTHER, p being OTHER's predictions and q the model's: the mean over
tokens of KL(p || q) in nats with its spread, the share of tokens where both find
the same next token likeliest, both perplexities and their ratio, and how much the
probability of the true token moves; means with their standard errors. --json
prints {tokens, kl, sameTop1, perplexity, basePerplexity, perplexityRatio, deltaP}.

Examples:
  hornbook evaluate runs/start --text data/tinyshakespeare.txt
  hornbook evaluate my-model --ids 1,2,3,4 --json
  hornbook evaluate model-Q4_K_M.gguf --against model --text book.txt --context 512`,
    )
    .action(async (path: string, flags: EvaluateFlags) => {
      const { against, text, dtype, context: contextLength, json = false } = flags;
      if ((text === undefined) === (flags.ids === undefined)) throw new UsageError(text === undefined ? "Give --text or --ids." : "Give --text or --ids, not both.");
      if (text !== undefined) await checkReadable(text);
      const { signal, dispose } = interruptible();
      const progress = new LiveLines(process.stderr);
      try {
        const model = await LanguageModel.load(path, { signal });
        const base = against === undefined ? undefined : await LanguageModel.load(against, { signal });
        const { ids, bos } = await input(path, model, base, flags);
        const options = { dtype, bos, contextLength, signal, onProgress: (done: number, all: number) => progress.show(`${Math.floor((100 * done) / all)}% of ${all} tokens`) };
        const result = base === undefined ? await likelihood(model, ids, { ...options, tokenizer: model.tokenizer }) : await compareModels(model, base, ids, options);
        progress.clear();
        console.log(json ? JSON.stringify(result) : "kl" in result ? divergenceTable(result) : likelihoodTable(result));
      } finally {
        progress.clear();
        dispose();
      }
    });
}

/** The token ids to predict, and the one to begin windows with. */
async function input(path: string, model: LanguageModel, base: LanguageModel | undefined, { text, ids: given, tokens, bos: wanted }: EvaluateFlags): Promise<{ ids: ArrayLike<number>; bos: number | undefined }> {
  if (wanted === true && model.tokenizer?.bosId === undefined) throw new UsageError(`${path} has no token that begins a text.`, { hint: "Leave --bos out." });
  if (given !== undefined) return { ids: given.slice(0, tokens), bos: wanted === true ? model.tokenizer?.bosId : undefined };
  const tokenizer = requireTokenizer(path, model, "Give --ids.");
  const whole = await joined(readText(text!, tokenizer.needsValidText ? "error" : "replace"));
  const ids = tokenizer.encode(whole);
  if (base?.tokenizer !== undefined) checkSameIds(ids, base.tokenizer.encode(whole), tokenizer, base.tokenizer);
  return { ids: ids.subarray(0, tokens), bos: (wanted ?? tokenizer.addsBos) ? tokenizer.bosId : undefined };
}

/** Throws ConfigError `other-vocabulary` where two tokenizers read the text differently; how they are stored does not matter. */
function checkSameIds(ids: Int32Array, others: Int32Array, tokenizer: Tokenizer, other: Tokenizer): void {
  const at = ids.findIndex((id, i) => id !== others[i]);
  if (at < 0 && ids.length === others.length) return;
  const place = at < 0 ? Math.min(ids.length, others.length) : at;
  throw new ConfigError("tokenizer", `the models read this text differently: token ${place} is ${ids[place] ?? "none"} to the one and ${others[place] ?? "none"} to the other (vocabularies of ${tokenizer.vocabSize} and ${other.vocabSize}, ${tokenizer.fingerprint().slice(0, 8)} and ${other.fingerprint().slice(0, 8)}).`, {
    code: "other-vocabulary",
    hint: "Compare models with one tokenizer.",
  });
}

async function joined(parts: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const part of parts) text += part;
  return text;
}

function likelihoodTable(result: Likelihood): string {
  return table(Object.entries(result).map(([name, value]) => [name, value === null ? "-" : Number.isInteger(value) ? String(value) : (value as number).toFixed(4)]), [1]);
}

function divergenceTable({ tokens, kl, sameTop1, perplexity, basePerplexity, perplexityRatio, deltaP }: Divergence): string {
  const nats = (value: number): string => value.toFixed(6);
  const percent = (value: number): string => `${(100 * value).toFixed(3)}%`;
  return table(
    [
      ["tokens", String(tokens)],
      ["mean KL(against || model)", nats(kl.mean), `± ${nats(kl.standardError)} nats`],
      ["  median", nats(kl.median)],
      ["  90%", nats(kl.p90)],
      ["  99%", nats(kl.p99)],
      ["  most", nats(kl.max)],
      ["same top token", percent(sameTop1.mean), `± ${percent(sameTop1.standardError)}`],
      ["perplexity", perplexity.toFixed(4)],
      ["perplexity of against", basePerplexity.toFixed(4)],
      ["  ratio", perplexityRatio.mean.toFixed(5), `± ${perplexityRatio.standardError.toFixed(5)}`],
      ["probability of the true token, mean change", percent(deltaP.mean)],
      ["  root mean square", percent(deltaP.rms)],
    ],
    [1],
  );
}
