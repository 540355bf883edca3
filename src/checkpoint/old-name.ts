/** @file Until 0.2 the project was called Inkling. A file in its own form says so, and is refused: what its settings mean is no longer kept here. */

import { CheckpointError } from "../errors.js";

/** The key of GGUF metadata that held what its architecture could not say. */
export const oldGgufKey = "inkling.config";

/** Whether a config.json has settings of the old project's own. (`model_type: "inkling"` alone is another project's model.) */
export function isOldConfig(json: Readonly<Record<string, unknown>>): boolean {
  const { architectures } = json;
  return json["inkling"] !== undefined || (Array.isArray(architectures) && architectures.includes("InklingDecoder"));
}

export function oldNameError(file: string, field: string): CheckpointError {
  return new CheckpointError({ file, field }, "this model was saved before the project became Hornbook, in a form of its own that is no longer read.", {
    code: "old-form",
    hint: "Train it anew, or open it with the version that saved it (0.1).",
  });
}
