/** @file Finding recipes by name or path, and making ready what one names: text, tokenizer, model. */

import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Corpus, builtinCorpus, type TokenDataset } from "./data/index.js";
import { ConfigError, DataError, UsageError } from "./errors.js";
import { LanguageModel, type LoadModelOptions } from "./language-model.js";
import { modelConfig } from "./model/index.js";
import { CharTokenizer, Tokenizer, endOfText } from "./tokenizer/index.js";
import { checkMemory, trainSettings, trainableParameters } from "./train/index.js";
import { parseRecipe, type Recipe } from "./train/recipe.js";

/** The recipes that ship: recipes/ beside src/, both as source and as built. */
const recipesFolder = join(dirname(fileURLToPath(import.meta.url)), "..", "recipes");

export function recipeNames(): string[] {
  return readdirSync(recipesFolder)
    .flatMap((file) => /^([\w-]+)\.(?:ts|js)$/.exec(file.replace(/\.d\.ts$/, ""))?.[1] ?? [])
    .sort();
}

/**
 * A recipe that ships, by name, or a module with one as its default export, by path. Throws UsageError where there is none, ConfigError for
 * one that cannot be.
 */
export async function loadRecipe(nameOrPath: string): Promise<Recipe> {
  const isPath = /[./\\]/.test(nameOrPath);
  const path = isPath
    ? resolve(nameOrPath)
    : [".js", ".ts"].map((ending) => join(recipesFolder, nameOrPath + ending)).find((file) => existsSync(file));
  if (path === undefined || !existsSync(path)) {
    throw new UsageError(`There is no recipe ${JSON.stringify(nameOrPath)}.`, {
      code: "no-recipe",
      hint: `There are ${recipeNames().join(", ")}; your own is given by its path (./my-recipe.js).`,
    });
  }
  const module = (await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new UsageError(`${path} cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}.`, {
      code: "bad-recipe",
      hint: path.endsWith(".ts") ? "Compile it to JavaScript first." : 'It is a JavaScript module (.js with "type": "module", or .mjs).',
      cause,
    });
  })) as { default?: unknown };
  if (module.default === undefined)
    throw new UsageError(`${path} exports no recipe.`, { code: "bad-recipe", hint: "Its default export is defineRecipe({ ... })." });
  return parseRecipe(module.default);
}

export interface Prepared {
  readonly tokenizer: Tokenizer;
  readonly data: TokenDataset;
  readonly model: LanguageModel;
}

export interface PrepareOptions {
  /** Text in place of the recipe's: a file or a folder. */
  readonly text?: string | undefined;
  /** A tokenizer in place of a new one, for a run that goes on. */
  readonly tokenizer?: Tokenizer | undefined;
  /** Decides the initial weights. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Reads the text, makes (or takes) the tokenizer, tokenizes, and builds the model with random weights. */
export async function prepareRecipe(recipe: Recipe, { text, tokenizer: given, seed = 0, signal }: PrepareOptions = {}): Promise<Prepared> {
  const corpus = await corpusOf(recipe.text, text);
  const tokenizer =
    given ??
    (await makeTokenizer(recipe, corpus, signal).catch((error: unknown) => {
      // It was given documents, and cannot know from where.
      throw error instanceof DataError && error.code === "empty-text"
        ? new DataError({ file: corpus.source }, "there is no text in it.", {
            code: "empty-text",
            hint: "Give a text to learn from.",
            cause: error,
          })
        : error;
    }));
  const data = await corpus.tokenized(tokenizer, { validation: recipe.validation, ...(signal && { signal }) });
  const config = modelConfig({ ...recipe.model, vocabSize: tokenizer.vocabSize });
  checkMemory({ config }, trainSettings(recipe.train), { built: false });
  const model = new LanguageModel(config, { seed, tokenizer });
  return { tokenizer, data, model };
}

/** How a trained model is trained on where no recipe says it: a tenth of the usual rate, so that it keeps what it knows. */
export const continuedTraining = {
  validation: 0.1,
  train: { steps: 1000, batchSize: 4, schedule: { kind: "cosine", rate: 1e-4, finalRate: 1e-5, warmup: 20 } },
} as const satisfies Pick<Recipe, "validation" | "train">;

export interface ContinueOptions extends Pick<LoadModelOptions, "device" | "dequantize" | "signal"> {
  readonly text: Recipe["text"];
  /** The share of the text, at its end, that is kept for validation. Default 0.1. */
  readonly validation?: number;
}

/**
 * Makes a trained model ready to be trained on: loads it (see `LanguageModel.load`), and tokenizes the text with its tokenizer.
 *
 * @throws ConfigError where it has no tokenizer; `quantized-weights` where its weights are quantised and `dequantize` is not set.
 */
export async function prepareTrained(
  path: string,
  { text, validation = continuedTraining.validation, signal, ...load }: ContinueOptions,
): Promise<Prepared> {
  const model = await LanguageModel.load(path, { ...load, signal });
  try {
    trainableParameters(model);
    const { tokenizer } = model;
    if (tokenizer === undefined)
      throw new ConfigError("tokenizer", `${path} has none, so a text cannot be turned into its tokens.`, {
        hint: "Put its tokenizer beside it.",
      });
    const data = await (await corpusOf(text)).tokenized(tokenizer, { validation, ...(signal && { signal }) });
    return { model, tokenizer, data };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A text that ships, or what is read from a path. */
function corpusOf(text: Recipe["text"], path = typeof text === "string" ? undefined : text.path): Promise<Corpus> {
  return path === undefined ? builtinCorpus(text as string) : Corpus.fromText(path);
}

async function makeTokenizer(recipe: Recipe, corpus: Corpus, signal?: AbortSignal): Promise<Tokenizer> {
  if (recipe.tokenizer.kind === "characters") return CharTokenizer.fromText(corpus);
  return Tokenizer.train(corpus, { vocabSize: recipe.tokenizer.vocabSize, specialTokens: [endOfText], ...(signal && { signal }) });
}
