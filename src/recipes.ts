/** @file Finding recipes by name or path, and making ready what one names: text, tokenizer, model. */

import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Corpus, builtinCorpus, type TokenDataset } from "./data/index.js";
import { DataError, UsageError } from "./errors.js";
import { LanguageModel } from "./language-model.js";
import { modelConfig } from "./model/index.js";
import { CharTokenizer, Tokenizer, endOfText } from "./tokenizer/index.js";
import { checkMemory, trainSettings } from "./train/index.js";
import { parseRecipe, type Recipe } from "./train/recipe.js";

/** The recipes that ship: recipes/ beside src/, both as source and as built. */
const recipesFolder = join(dirname(fileURLToPath(import.meta.url)), "..", "recipes");

export function recipeNames(): string[] {
  return readdirSync(recipesFolder)
    .flatMap((file) => /^([\w-]+)\.(?:ts|js)$/.exec(file.replace(/\.d\.ts$/, ""))?.[1] ?? [])
    .sort();
}

/**
 * A recipe that ships, by name, or a module with one as its default export, by path. Throws UsageError where there is none, ConfigError for one
 * that cannot be.
 */
export async function loadRecipe(nameOrPath: string): Promise<Recipe> {
  const isPath = /[./\\]/.test(nameOrPath);
  const path = isPath ? resolve(nameOrPath) : [".js", ".ts"].map((ending) => join(recipesFolder, nameOrPath + ending)).find((file) => existsSync(file));
  if (path === undefined || !existsSync(path)) {
    throw new UsageError(`There is no recipe ${JSON.stringify(nameOrPath)}.`, {
      code: "no-recipe",
      hint: `There are ${recipeNames().join(", ")}; your own is given by its path (./my-recipe.js).`,
    });
  }
  const module = (await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new UsageError(`${path} cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}.`, {
      code: "bad-recipe",
      hint: path.endsWith(".ts") ? "Compile it to JavaScript first." : "It is a JavaScript module (.js with \"type\": \"module\", or .mjs).",
      cause,
    });
  })) as { default?: unknown };
  if (module.default === undefined) throw new UsageError(`${path} exports no recipe.`, { code: "bad-recipe", hint: "Its default export is defineRecipe({ ... })." });
  return parseRecipe(module.default);
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
export async function prepareRecipe(recipe: Recipe, { text, tokenizer: given, seed = 0, signal }: PrepareOptions = {}): Promise<{ tokenizer: Tokenizer; data: TokenDataset; model: LanguageModel }> {
  const source = text ?? (typeof recipe.text === "string" ? undefined : recipe.text.path);
  const corpus = source === undefined ? await builtinCorpus(recipe.text as string) : await Corpus.fromText(source);
  const tokenizer = given ?? (await makeTokenizer(recipe, corpus, signal).catch((error: unknown) => {
    // It was given documents, and cannot know from where.
    throw error instanceof DataError && error.code === "empty-text" ? new DataError({ file: corpus.source }, "there is no text in it.", { code: "empty-text", hint: "Give a text to learn from.", cause: error }) : error;
  }));
  const data = await corpus.tokenized(tokenizer, { validation: recipe.validation, ...(signal && { signal }) });
  const config = modelConfig({ ...recipe.model, vocabSize: tokenizer.vocabSize });
  checkMemory({ config }, trainSettings(recipe.train), { built: false });
  const model = new LanguageModel(config, { seed, tokenizer });
  return { tokenizer, data, model };
}

async function makeTokenizer(recipe: Recipe, corpus: Corpus, signal?: AbortSignal): Promise<Tokenizer> {
  if (recipe.tokenizer.kind === "characters") return CharTokenizer.fromText(corpus);
  return Tokenizer.train(corpus, { vocabSize: recipe.tokenizer.vocabSize, specialTokens: [endOfText], ...(signal && { signal }) });
}
