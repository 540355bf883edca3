/** @file Which layers see everything and which a sliding window, as transformers says it: a list, or in older files every how many layers one sees everything. */

import { z } from "zod";
import type { TransformerConfig } from "../../model/index.js";
import type { ConfigFile } from "./family.js";

type LayerType = TransformerConfig["layerTypes"][number];
const names = { full_attention: "full", sliding_attention: "sliding" } as const;

/** The list, where there is one. */
export function listedLayerTypes(json: ConfigFile): LayerType[] | undefined {
  return json.list("layer_types", z.enum(["full_attention", "sliding_attention"]))?.map((name) => names[name]);
}

/** `pattern`: every how many layers one is full where the file does not say. */
export function readLayerTypes(json: ConfigFile, numLayers: number, pattern: number): LayerType[] {
  const period = json.count("sliding_window_pattern", pattern);
  return listedLayerTypes(json) ?? periodicLayers(numLayers, period);
}

/** The last of every so many layers sees everything, the others a window. */
export function periodicLayers(numLayers: number, period: number): LayerType[] {
  return Array.from({ length: numLayers }, (_, i) => ((i + 1) % period === 0 ? "full" : "sliding"));
}

export function layerTypeNames({ layerTypes }: Pick<TransformerConfig, "layerTypes">): string[] {
  return layerTypes.map((type) => (type === "full" ? "full_attention" : "sliding_attention"));
}
