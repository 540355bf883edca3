/** @file All families. Of those that describe a configuration, the first is the one it is saved as. */

import { bloom } from "./bloom.js";
import { cohere, cohere2 } from "./cohere.js";
import { falcon } from "./falcon.js";
import { uniform, type Family } from "./family.js";
import { gemma2 } from "./gemma2.js";
import { gemma3 } from "./gemma3.js";
import { gptNeoX } from "./gpt-neox.js";
import { gpt2 } from "./gpt2.js";
import { granite } from "./granite.js";
import { hornbook } from "./hornbook.js";
import { llama } from "./llama.js";
import { ministral, mistral } from "./mistral.js";
import { olmo2 } from "./olmo2.js";
import { phi3 } from "./phi3.js";
import { qwen2 } from "./qwen2.js";
import { qwen3 } from "./qwen3.js";
import { smollm3 } from "./smollm3.js";

export const families: readonly Family[] = [
  ...[gpt2, llama, mistral, ministral, qwen2, qwen3, smollm3, granite, olmo2, phi3, gemma2, gemma3, cohere, cohere2, gptNeoX, falcon, bloom].map(uniform),
  hornbook,
];

/** The family of a config.json by its `model_type`, which a list of layers makes another for one of them; undefined for one that is not known. */
export function familyOf(modelType: string, json: Readonly<Record<string, unknown>>): Family | undefined {
  const wanted = modelType === mistral.modelType && "layer_types" in json ? ministral.modelType : modelType;
  return families.find((family) => family.modelType === wanted);
}

export { unreadSettings, notActedOn } from "./settings.js";
export { ConfigFile, brief, differences, idle, unsaidBy, uniform, type Family, type TensorPart, type TensorPlan } from "./family.js";
