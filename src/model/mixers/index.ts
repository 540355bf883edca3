/** @file All mixers. To add one, write a file like `attention.ts` and list it here (or call `mixers.add` from outside). */

import { PartKinds } from "../specs.js";
import { attentionKind, type AttentionSpec } from "./attention.js";
import type { Mixer } from "./mixer.js";

/** The settings of each kind, by name; a mixer added from outside is declared here by augmenting this interface. */
export interface MixerSpecs {
  readonly attention: AttentionSpec;
}

export type MixerSpec = MixerSpecs[keyof MixerSpecs];

export const mixers = new PartKinds<MixerSpec, Mixer>("mixer", [attentionKind]);
