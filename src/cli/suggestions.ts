/**
 * @file What may have been meant by an option or a verb that there is none of. Commander finds misspelled ones; here are those that other programs
 * know by another name, and those that are no options here at all.
 */

import type { Command } from "commander";
import { transformerConfig } from "../model/index.js";
import { trainSettings } from "../train/index.js";

/** Our options, and what llama.cpp, transformers, nanoGPT, Ollama, vLLM and MLX call them. Names are compared without dashes. */
const optionNames: Readonly<Record<string, string>> = {
  "--version": "v",
  "--max-tokens": "n n-predict predict num-predict max-new-tokens max-length length num-tokens tokens max-completion-tokens",
  "--temperature": "t",
  "--prompt": "p text input",
  "--system": "sys system-prompt",
  "--stop": "r reverse-prompt stop-sequence stop-sequences stop-words stop-string",
  "--repetition-penalty": "repeat-penalty rep-pen",
  "--seed": "s random-seed rng-seed",
  "--context": "c ctx-size n-ctx num-ctx context-length context-size max-seq-len max-length max-model-len seq-len block-size",
  "--dtype": "precision torch-dtype compute-dtype",
  "--cache": "cache-type cache-type-k cache-type-v ctk ctv kv-cache kv-cache-dtype kv-bits",
  "--data": "f file text input dataset train-data train-file corpus",
  "--text": "f file data input dataset prompt",
  "--out": "o output output-dir out-dir outfile output-path local-dir save-dir",
  "--steps": "iters max-iters max-steps num-steps iterations num-iterations train-steps epochs num-train-epochs",
  "--lr": "learning-rate max-lr",
  "--batch-size": "b batch micro-batch-size per-device-train-batch-size",
  "--from": "m model finetune init-from base-model",
  "--resume": "continue restart resume-from resume-from-checkpoint",
  "--recipe": "c config model",
  "--format": "to type",
  "--quantize": "q quant quantization quantise outtype qtype ftype",
  "--revision": "branch commit tag",
  "--vocab-size": "n-vocab vocabulary",
  "--special": "special-tokens user-defined-symbols",
  "--against": "base reference compare kl-divergence kl-divergence-base",
};

/** Settings of a recipe by other names. */
const settingNames: Readonly<Record<string, string>> = {
  "schedule.warmup": "warmup warmup-steps warmup-iters",
  "optimizer.weightDecay": "weight-decay wd",
  accumulation: "grad-accum gradient-accumulation-steps",
  clip: "grad-clip max-grad-norm",
  evaluateEvery: "eval-interval eval-steps eval-every",
  saveEvery: "save-steps save-interval checkpoint-every",
  numLayers: "n-layer n-layers layers depth",
  numHeads: "n-head n-heads heads",
  hiddenSize: "n-embd dim d-model embedding-size",
};

const environment: Readonly<Record<string, string>> = {
  HORNBOOK_THREADS: "t threads num-threads",
  HORNBOOK_DEVICE: "device",
  HORNBOOK_CACHE: "cache-dir",
  HORNBOOK_DEBUG: "verbose debug",
  HF_TOKEN: "token hf-token",
  HF_ENDPOINT: "endpoint hub-url",
};

const modelNames = "m model model-path model-dir checkpoint ckpt hf hf-repo hf-file load";

const verbNames: Readonly<Record<string, string>> = {
  "generate MODEL --prompt TEXT": "run complete completion sample predict infer inference",
  "chat MODEL": "talk converse conversation cli",
  "train": "finetune pretrain fit",
  "export MODEL": "convert quantize quantise save gguf",
  "pull ORG/NAME": "download get fetch clone install",
  "evaluate MODEL": "eval perplexity ppl bench benchmark kl test",
  "info MODEL": "show inspect describe list ls print",
  "tokenizer encode": "tokenize encode",
  "tokenizer decode": "detokenize decode",
  "tokenizer train": "train-tokenizer",
};

/** `--top_p`, `--topP` and `--top-p` are one name. */
const plain = (name: string): string => name.replace(/=.*$/s, "").replace(/[-_.]/g, "").toLowerCase();
const named = (names: string, name: string): boolean => names.split(" ").some((other) => plain(other) === name);

/** A sentence on what an unknown option may have meant in this command; undefined where nothing is known. */
export function suggestOption(flag: string, command: Command): string | undefined {
  const name = plain(flag);
  const options = command.options.filter(({ hidden }) => !hidden).flatMap(({ long }) => long ?? []);
  // `--temp` for `--temperature`, where only one begins so.
  const begun = name.length < 3 ? [] : options.filter((option) => plain(option).startsWith(name));
  const meant = options.find((option) => plain(option) === name) ?? (begun.length === 1 ? begun[0] : options.find((option) => named(optionNames[option] ?? "", name)));
  if (meant !== undefined) return `(Did you mean ${meant}?)`;
  if (named(modelNames, name) && command.registeredArguments[0]?.name() === "model") return `(The model is named without an option: hornbook ${command.name()} MODEL)`;
  if (command.name() === "train") {
    const setting = recipeSettings().find((field) => plain(field) === name) ?? keyOf(settingNames, name);
    if (setting !== undefined) return `(That is the setting ${setting} of a recipe; --recipe takes the path to one of your own.)`;
  }
  const variable = keyOf(environment, name);
  return variable && `(That is set by the environment variable ${variable}.)`;
}

/** A sentence on what an unknown verb may have meant. */
export function suggestVerb(verb: string, command: Command, path: string): string | undefined {
  const begun = command.commands.map((other) => other.name()).filter((name) => name.startsWith(plain(verb)));
  if (begun.length === 1) return `(Did you mean ${path} ${begun[0]}?)`;
  const meant = keyOf(verbNames, plain(verb));
  return meant && `(Did you mean hornbook ${meant}?)`;
}

/** The settings of training and of a model, all of which a recipe can hold. */
const recipeSettings = (): string[] => Object.keys({ ...trainSettings({ steps: 1 }), ...transformerConfig({ vocabSize: 1, hiddenSize: 2, numLayers: 1, numHeads: 1, contextLength: 1 }) });

const keyOf = (names: Readonly<Record<string, string>>, name: string): string | undefined => Object.keys(names).find((key) => named(names[key], name));
