/** @file Builds the optimizer that a run's settings name. */

import { z } from "zod";
import { parseSettings } from "../parse.js";
import { AdamW } from "./adamw.js";
import { Muon } from "./muon.js";
import type { NamedParameters, Optimizer, Update } from "./optimizer.js";
import { partition } from "./parameter-groups.js";
import { Sgd } from "./sgd.js";
import type { Tensor } from "../../tensor/index.js";

const beta = z.number().min(0).lt(1);
const decay = z.number().min(0);
const adamw = {
  beta1: beta.default(0.9),
  beta2: beta.default(0.95),
  eps: z.number().positive().default(1e-8),
  weightDecay: decay.default(0.1),
};

export const optimizerSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("adamw"), ...adamw }),
  /** Muon for the matrices inside blocks, AdamW for everything else. */
  z.strictObject({ kind: z.literal("muon"), momentum: beta.default(0.95), rateScale: z.number().positive().default(20), ...adamw }),
  z.strictObject({
    kind: z.literal("sgd"),
    momentum: beta.default(0),
    nesterov: z.boolean().default(false),
    weightDecay: decay.default(0),
  }),
]);
export type OptimizerOptions = z.input<typeof optimizerSchema>;

/** Throws ConfigError for settings that cannot be. */
export function makeOptimizer(options: OptimizerOptions, parameters: NamedParameters): Optimizer {
  const settings = parseSettings(optimizerSchema, options, "optimizer");
  switch (settings.kind) {
    case "adamw":
      return new AdamW(parameters, settings);
    case "sgd":
      return new Sgd(parameters, settings);
    case "muon": {
      const [matrices, others] = partition(parameters, ({ isHiddenMatrix }) => isHiddenMatrix);
      return new CompositeOptimizer([new Muon(matrices, settings), new AdamW(others, settings)]);
    }
  }
}

/** Several optimizers, each with its own parameters, as one. */
class CompositeOptimizer implements Optimizer {
  constructor(private readonly parts: readonly Optimizer[]) {}

  get steps(): number {
    return this.parts[0].steps;
  }
  set steps(steps: number) {
    for (const part of this.parts) part.steps = steps;
  }
  step(update: Update): void {
    for (const part of this.parts) part.step(update);
  }
  state(): Map<string, Tensor> {
    return new Map(this.parts.flatMap((part) => [...part.state()]));
  }
  dispose(): void {
    for (const part of this.parts) part.dispose();
  }
}

export type { NamedParameters, Optimizer, Update } from "./optimizer.js";
export { splitMatrices } from "./optimizer.js";
