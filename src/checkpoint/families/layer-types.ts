/** @file Which layers see everything and which a sliding window, as transformers says it: a list, or in older files every how many layers one sees everything. */

import { z } from "zod";
import { CheckpointError } from "../../errors.js";
import type { TransformerConfig } from "../../model/index.js";
import type { ConfigFile } from "./family.js";

type LayerType = TransformerConfig["layerTypes"][number];
/** The first of each is the one written. */
const names = { full_attention: "full", sliding_attention: "sliding", attention: "full" } as const;

/** The list, where there is one. Throws CheckpointError `bad-config` for one that is not as long as the model. */
export function listedLayerTypes(json: ConfigFile, numLayers: number): LayerType[] | undefined {
  const listed = json.list("layer_types", z.enum(Object.keys(names) as (keyof typeof names)[]))?.map((name) => names[name]);
  if (listed !== undefined && listed.length !== numLayers) {
    throw new CheckpointError({ file: json.path, field: "layer_types" }, `it lists ${listed.length} layers, and the model has ${numLayers}.`, { code: "bad-config" });
  }
  return listed;
}

/** `pattern`: every how many layers one is full where the file does not say. */
export function readLayerTypes(json: ConfigFile, numLayers: number, pattern: number): LayerType[] {
  const listed = listedLayerTypes(json, numLayers);
  // transformers keeps the number beside the list that follows from it.
  if (listed !== undefined) json.skip("sliding_window_pattern", "_sliding_window_pattern");
  return listed ?? periodicLayers(numLayers, json.count("sliding_window_pattern", pattern));
}

/** The width of the window; null in the file is none. */
export function readWindow(json: ConfigFile): number {
  return json.isNull("sliding_window") ? 0 : json.count("sliding_window");
}

/** The last of every so many layers sees everything, the others a window; with a period of 0 all see a window. */
export function periodicLayers(numLayers: number, period: number): LayerType[] {
  return Array.from({ length: numLayers }, (_, i) => ((i + 1) % period === 0 ? "full" : "sliding"));
}

export function layerTypeNames({ layerTypes }: Pick<TransformerConfig, "layerTypes">): string[] {
  return layerTypes.map((type) => (type === "full" ? "full_attention" : "sliding_attention"));
}
