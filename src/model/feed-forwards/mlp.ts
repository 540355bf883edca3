/** @file The MLP (Vaswani et al. 2017, section 3.3): W2 activation(W1 x + b1) + b2. */

import { z } from "zod";
import type { Tensor } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { Linear } from "../linear.js";
import type { ActivationSize } from "../mixers/mixer.js";
import type { BuildPlace, PartKind } from "../specs.js";
import { FeedForward } from "./feed-forward.js";

const schema = z.strictObject({
  kind: z.literal("mlp"),
  /** Default: 4 hiddenSize. */
  intermediateSize: z.number().int().positive().optional(),
  activation: z.enum(["gelu", "geluTanh", "relu", "silu"]).default("gelu"),
  bias: z.boolean().default(true),
});

export type MlpSpec = Readonly<z.output<typeof schema> & { intermediateSize: number }>;

export class Mlp extends FeedForward {
  readonly up: Linear;
  readonly down: Linear;

  constructor(
    readonly spec: MlpSpec,
    { init, hiddenSize, std, residualStd }: BuildPlace,
  ) {
    super();
    const { intermediateSize, bias } = spec;
    this.up = new Linear(init, hiddenSize, intermediateSize, { bias, std });
    this.down = new Linear(init, intermediateSize, hiddenSize, { bias, std: residualStd });
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { activation } = this.spec;
    // The product and the activation are one kernel unless somebody wants to see what is between them.
    const inner = this.isTapped(context, "hook_pre")
      ? this.tap(context, "hook_pre", this.up.forward(x))[activation]()
      : this.up.forward(x, activation);
    return this.down.forward(this.tap(context, "hook_post", inner));
  }

  get activationSize(): ActivationSize {
    // The activation's output is computed again in the backward pass.
    return { live: 2 * this.spec.intermediateSize, kept: this.spec.intermediateSize };
  }
}

export const mlpKind: PartKind<MlpSpec, Mlp> = {
  kind: "mlp",
  schema,
  complete: (given: z.output<typeof schema>, { hiddenSize }) => ({ ...given, intermediateSize: given.intermediateSize ?? 4 * hiddenSize }),
  build: (spec, place) => new Mlp(spec, place),
};
