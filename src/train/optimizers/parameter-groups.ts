/** @file Which parameters an optimizer treats alike. */

import type { Tensor } from "../../tensor/index.js";
import type { NamedParameters } from "./optimizer.js";

export interface ParameterGroup {
  /** Whether weight decay acts on them. */
  readonly decays: boolean;
  /** Whether they are the matrices inside blocks, which Muon takes. */
  readonly isHiddenMatrix: boolean;
}

/** The one place that guesses what a parameter is: from its rank, and for Muon its name. */
export function parameterGroup(name: string, parameter: Tensor): ParameterGroup {
  return { decays: parameter.rank > 1, isHiddenMatrix: name.startsWith("blocks.") && parameter.rank === 2 };
}

/** The parameters that this is true of, and the others. */
export function partition(
  parameters: NamedParameters,
  choose: (group: ParameterGroup) => boolean,
): [Map<string, Tensor>, Map<string, Tensor>] {
  const [chosen, others] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
  for (const [name, parameter] of parameters) (choose(parameterGroup(name, parameter)) ? chosen : others).set(name, parameter);
  return [chosen, others];
}
