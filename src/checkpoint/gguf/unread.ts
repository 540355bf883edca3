/**
 * @file What a GGUF file says beyond what was read of it. Of the keys of its architecture each was asked for, or bears on nothing, or is an error or a
 * warning; other keys (`general.*`, `quantize.*`, of those who made the file) say nothing of what the model computes.
 */

import { CheckpointError } from "../../errors.js";
import { brief, notActedOn } from "../families/index.js";
import type { GgufMetadata, GgufValue } from "./metadata.js";

/** Keys that bear on nothing here, without the architecture's name before them. */
const idle = new Set([
  // Where it comes from, how its rows lie (the families know), how it was trained.
  "tensor_data_layout", "rope.scaling.finetuned", "training.context_length", "vocab_size",
  // Of heads for other tasks, of drafts.
  "classifier.output_labels", "decoder_start_token_id",
]);

/** Keys by which llama.cpp computes something else for any architecture, and the value at which it does not; 0 and false never do. */
const decisive = new Map<string, { readonly neutral?: unknown; readonly why: string }>(Object.entries({
  expert_count: { why: "it has experts" },
  expert_used_count: { why: "it has experts" },
  expert_shared_count: { why: "it has experts" },
  "attention.causal": { neutral: true, why: "its positions see what follows them" },
  "attention.clamp_kqv": { why: "its queries, keys and values are clamped" },
  "attention.max_alibi_bias": { neutral: 8, why: "its positions are another ALiBi" },
  "attention.temperature_scale": { why: "its scores depend on the position" },
  "rope.dimension_sections": { why: "its positions have several parts" },
  "rope.scaling.alpha": { why: "its RoPE is scaled in another way" },
  embedding_length_per_layer_input: { why: "its layers have embeddings of their own" },
  nextn_predict_layers: { why: "it predicts several tokens at once" },
  num_loops: { why: "its layers run several times" },
  deepstack_mapping: { why: "its layers read images" },
}));

/**
 * The warnings for a file of which these keys were read.
 *
 * @throws CheckpointError `unsupported-config` for a key by which the model computes something else.
 */
export function unreadKeys(metadata: GgufMetadata, architecture: string, asked: ReadonlySet<string>): string[] {
  const named: string[] = [];
  for (const [name, { value }] of metadata.values) {
    const key = name.startsWith(`${architecture}.`) ? name.slice(architecture.length + 1) : undefined;
    if (key === undefined || asked.has(key) || idle.has(key)) continue;
    const said = decisive.get(key);
    if (isOff(value) && said?.neutral !== true) continue;
    if (said === undefined) named.push(`"${name}" (${shown(value)})`);
    else if (value !== said.neutral) throw new CheckpointError({ file: metadata.file, field: name }, `${shown(value)}: ${said.why}, and Hornbook has no such model.`, { code: "unsupported-config" });
  }
  return named.length === 0 ? [] : [notActedOn(metadata.file, named)];
}

function isOff(value: GgufValue["value"]): boolean {
  if (typeof value !== "object") return value === 0 || value === 0n || value === false || value === "";
  return [...(value as Iterable<unknown>)].every((one) => one === 0 || one === 0n);
}

function shown(value: GgufValue["value"]): string {
  return typeof value === "bigint" ? String(value) : brief(typeof value === "object" ? `a list of ${value.length}` : value);
}
