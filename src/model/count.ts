/** @file What a model would be, without building its weights: parameters to count, sizes to estimate memory from. */

import type { ModelOptions } from "./config.js";
import { Decoder } from "./decoder.js";

/** Runs `body` with a model of this configuration that has no weights, and takes no memory for them. */
export function withoutWeights<T>(options: ModelOptions, body: (model: Decoder) => T): T {
  const model = new Decoder(options, { weights: "none" });
  try {
    return body(model);
  } finally {
    model.dispose();
  }
}

/** Number of parameters of such a model, tied ones counted once. */
export function countParameters(options: ModelOptions): number {
  return withoutWeights(options, ({ numParameters }) => numParameters);
}
