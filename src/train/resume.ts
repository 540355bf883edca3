/** @file Which run may go on from which checkpoint. */

import { ConfigError } from "../errors.js";
import type { TrainSettings } from "./settings.js";

/** All that decides what a step computes. (Weights of another shape are refused when they are read.) */
export type RunIdentity = TrainSettings & {
  readonly objective: string;
  readonly fingerprint: string;
  readonly dropout: number | undefined;
};

const identity = [
  "batchSize",
  "contextLength",
  "accumulation",
  "dtype",
  "optimizer",
  "schedule",
  "clip",
  "seed",
  "order",
  "dropout",
  "objective",
] as const;

/**
 * Throws ConfigError `other-run` for a setting that would make it another run. A resumed run may be longer, and may evaluate, sample and save
 * at other steps: none of that changes what a step computes.
 */
export function checkResumable(before: RunIdentity, now: RunIdentity): void {
  if (before.fingerprint !== now.fingerprint) {
    throw new ConfigError("data", "the run was started on other data (or another tokenizer), so it cannot go on with these.", {
      code: "other-run",
    });
  }
  for (const field of identity) {
    if (JSON.stringify(before[field]) !== JSON.stringify(now[field])) {
      throw new ConfigError(
        field,
        `the run was started with ${JSON.stringify(before[field])}, and ${JSON.stringify(now[field])} would make it another.`,
        {
          code: "other-run",
          hint: "Leave it as it was, or start a new run.",
        },
      );
    }
  }
}
