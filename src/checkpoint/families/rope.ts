/**
 * @file RoPE in config.json: transformers 5 keeps its base, its scaling and the share of a head that it turns in `rope_parameters`, transformers 4
 * in `rope_theta`, `rope_scaling` and `partial_rotary_factor`.
 */

import type { ModelConfig, ModelOptions } from "../../model/index.js";
import type { ConfigFile } from "./family.js";

/** `theta` and `fraction`: of a file that says nothing. Throws CheckpointError for a scaling that is not known here. */
export function readRope(json: ConfigFile, { theta = 10_000, fraction = 1 } = {}): Pick<ModelOptions, "ropeTheta" | "ropeScaling" | "rotaryFraction"> {
  const parameters = json.has("rope_parameters") ? json.object("rope_parameters") : json.object("rope_scaling");
  const kind = parameters.text("rope_type", parameters.text("type", "default"));
  if (kind !== "default" && kind !== "linear") parameters.unsupported("rope_type", "it knows default, linear");
  return {
    ropeTheta: parameters.number("rope_theta", json.number("rope_theta", theta)),
    ropeScaling: kind === "linear" ? { kind, factor: parameters.number("factor") } : { kind: "none" },
    rotaryFraction: parameters.number("partial_rotary_factor", json.number("partial_rotary_factor", fraction)),
  };
}

/** For both. */
export function writeRope({ ropeTheta, ropeScaling, rotaryFraction }: ModelConfig): { rope_theta: number; rope_parameters: Record<string, unknown> } {
  const scaling = ropeScaling.kind === "linear" ? { rope_type: "linear", factor: ropeScaling.factor } : { rope_type: "default" };
  return { rope_theta: ropeTheta, rope_parameters: { rope_theta: ropeTheta, ...scaling, ...(rotaryFraction !== 1 && { partial_rotary_factor: rotaryFraction }) } };
}
