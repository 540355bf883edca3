/** @file No feed-forward: a layer that is its mixer alone, as in Mamba (Gu & Dao 2023, section 3.4). */

import { z } from "zod";
import type { PartKind } from "../specs.js";

const schema = z.strictObject({ kind: z.literal("none") });

export type NoFeedForwardSpec = Readonly<z.output<typeof schema>>;

export const noFeedForwardKind: PartKind<NoFeedForwardSpec, undefined> = { kind: "none", schema, build: () => undefined };
