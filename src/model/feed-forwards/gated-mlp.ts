/** @file Gated units (Shazeer 2020): W2 (activation(Wg x + bg) * (W1 x + b1)) + b2. With SiLU it is SwiGLU, with GELU GEGLU. */

import { z } from "zod";
import { swiglu, type Tensor } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { FusedLinear, Linear } from "../linear.js";
import type { ActivationSize } from "../mixers/mixer.js";
import type { BuildPlace, PartKind } from "../specs.js";
import { FeedForward } from "./feed-forward.js";

const schema = z.strictObject({
  kind: z.literal("gated"),
  /** Default: two thirds of 4 hiddenSize, a multiple of 32, for there are three matrices instead of two. */
  intermediateSize: z.number().int().positive().optional(),
  activation: z.enum(["silu", "gelu", "geluTanh"]).default("silu"),
  bias: z.boolean().default(false),
});

export type GatedMlpSpec = Readonly<z.output<typeof schema> & { intermediateSize: number }>;

export class GatedMlp extends FeedForward {
  /** Gate and up in one product: [2 intermediateSize, hiddenSize]. */
  readonly gateUp: FusedLinear;
  readonly down: Linear;

  constructor(
    readonly spec: GatedMlpSpec,
    { init, hiddenSize, std, residualStd }: BuildPlace,
  ) {
    super();
    const { intermediateSize, bias } = spec;
    this.gateUp = new FusedLinear(init, hiddenSize, { gate: intermediateSize, up: intermediateSize }, { bias, std });
    this.down = new Linear(init, intermediateSize, hiddenSize, { bias, std: residualStd });
  }

  /** Taps: hook_pre is the gate before its activation, hook_pre_linear what it multiplies. */
  forward(x: Tensor, context: ForwardContext): Tensor {
    const { activation } = this.spec;
    let [gate, up] = this.gateUp.forward(x).split(2, -1);
    gate = this.tap(context, "hook_pre", gate);
    up = this.tap(context, "hook_pre_linear", up);
    const inner = activation === "silu" ? swiglu(gate, up) : gate[activation]().mul(up);
    return this.down.forward(this.tap(context, "hook_post", inner));
  }

  get activationSize(): ActivationSize {
    const size = 3 * this.spec.intermediateSize;
    return { live: size, kept: size };
  }
}

/** The width of a gated unit that has about as many parameters as an MLP of width 4 hiddenSize. */
export function gatedIntermediateSize(hiddenSize: number): number {
  return Math.ceil((8 * hiddenSize) / 3 / 32) * 32;
}

export const gatedMlpKind: PartKind<GatedMlpSpec, GatedMlp> = {
  kind: "gated",
  schema,
  complete: (given: z.output<typeof schema>, { hiddenSize }) => ({ ...given, intermediateSize: given.intermediateSize ?? gatedIntermediateSize(hiddenSize) }),
  build: (spec, place) => new GatedMlp(spec, place),
};
