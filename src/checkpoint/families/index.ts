/** @file All families. Of those that describe a configuration, the first is the one it is saved as. */

import type { Family } from "./family.js";
import { gpt2 } from "./gpt2.js";
import { inkling } from "./inkling.js";
import { llama } from "./llama.js";

export const families: readonly Family[] = [gpt2, llama, inkling];

export { ConfigFile, differences, type Family, type TensorPart, type TensorPlan } from "./family.js";
