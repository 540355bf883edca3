/** @file Which parameters an optimizer treats alike. */

import { roleOf, vector, type ParameterRole } from "../../model/index.js";
import type { Tensor } from "../../tensor/index.js";
import type { NamedParameters } from "./optimizer.js";

/** The parameters that this is true of, and the others. */
export function partition(
  parameters: NamedParameters,
  choose: (role: ParameterRole) => boolean,
): [Map<string, Tensor>, Map<string, Tensor>] {
  const [chosen, others] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
  for (const [name, parameter] of parameters) (choose(roleOf(parameter) ?? vector) ? chosen : others).set(name, parameter);
  return [chosen, others];
}
