/** @file All feed-forwards. To add one, write a file like `mlp.ts` and list it here (or call `feedForwards.add` from outside). */

import { PartKinds } from "../specs.js";
import type { FeedForward } from "./feed-forward.js";
import { gatedMlpKind, type GatedMlpSpec } from "./gated-mlp.js";
import { mlpKind, type MlpSpec } from "./mlp.js";
import { noFeedForwardKind, type NoFeedForwardSpec } from "./none.js";

/** The settings of each kind, by name; a feed-forward added from outside is declared here by augmenting this interface. */
export interface FeedForwardSpecs {
  readonly mlp: MlpSpec;
  readonly gated: GatedMlpSpec;
  readonly none: NoFeedForwardSpec;
}

export type FeedForwardSpec = FeedForwardSpecs[keyof FeedForwardSpecs];

export const feedForwards = new PartKinds<FeedForwardSpec, FeedForward | undefined>("feedForward", [mlpKind, gatedMlpKind, noFeedForwardKind]);
