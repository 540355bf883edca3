/** @file What transformers calls the activations of an MLP. */

import type { TransformerConfig } from "../../model/index.js";
import type { ConfigFile } from "./family.js";

/** The first of each is the one written. */
const names = { geluTanh: ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"], gelu: ["gelu", "gelu_python"], relu: ["relu"], silu: ["silu", "swish"] } as const;
export type MlpActivation = keyof typeof names;

/** Throws CheckpointError for one that is not known here, naming those that are. */
export function readActivation(json: ConfigFile, field: string): MlpActivation {
  const name = json.text(field);
  const found = (Object.keys(names) as MlpActivation[]).find((ours) => (names[ours] as readonly string[]).includes(name));
  return found ?? json.unsupported(field, `it knows ${Object.values(names).flat().join(", ")}`);
}

/** Undefined for a feed-forward that is no MLP. */
export function activationName({ feedForward }: Pick<TransformerConfig, "feedForward">): string | undefined {
  return feedForward in names ? names[feedForward as MlpActivation][0] : undefined;
}
