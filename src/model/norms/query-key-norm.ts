/** @file Norms of queries and keys inside attention, before RoPE turns them (Dehghani et al. 2023, section 2.1). */

import { z } from "zod";
import { layerNorm, type Tensor } from "../../tensor/index.js";
import type { ForwardContext } from "../context.js";
import { setRole, vector, type Initializer } from "../parameter.js";
import { LayerNorm, RmsNorm, type Norm } from "./norm.js";

const eps = z.number().positive().default(1e-5);
const offset = z.number().default(0);

export const queryKeyNormSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("none") }),
  /** RMSNorm over each head, one weight for all heads (Qwen 3). */
  z.strictObject({ kind: z.literal("head"), eps, offset }),
  /** LayerNorm over each head, with a weight for each head and no bias (Cohere). */
  z.strictObject({ kind: z.literal("heads"), eps }),
  /** RMSNorm over all heads at once (OLMo 2). */
  z.strictObject({ kind: z.literal("whole"), eps, offset }),
]);

export type QueryKeyNormSpec = Readonly<z.output<typeof queryKeyNormSchema>>;

/** LayerNorm over each head of x [..., heads, headSize], with a weight for each head and no bias. */
class HeadsLayerNorm extends LayerNorm {
  constructor(init: Initializer, heads: number, headSize: number, eps: number) {
    super(init, [heads, headSize], eps, false);
    // With two dimensions it decays, as in nanoGPT and most trainers in PyTorch, though it is a gain.
    setRole(this.weight, { ...vector, decays: true });
  }

  protected override fused(x: Tensor): Tensor {
    return this.stretch(layerNorm(x, undefined, undefined, this.eps).cast("f32")).cast(x.dtype);
  }
}

/** RMSNorm over all heads of x [batch, time, heads, headSize] at once. */
class WholeRmsNorm extends RmsNorm {
  override forward(x: Tensor, context: ForwardContext): Tensor {
    return super.forward(x.reshape([...x.shape.slice(0, 2), -1]), context).reshape(x.shape);
  }
}

/** The norm of queries or keys [batch, time, heads, headSize]; undefined for the kind `none`. */
export function buildQueryKeyNorm(spec: QueryKeyNormSpec, init: Initializer, heads: number, headSize: number): Norm | undefined {
  switch (spec.kind) {
    case "none":
      return undefined;
    case "head":
      return new RmsNorm(init, headSize, spec.eps, spec.offset);
    case "heads":
      return new HeadsLayerNorm(init, heads, headSize, spec.eps);
    case "whole":
      return new WholeRmsNorm(init, heads * headSize, spec.eps, spec.offset);
  }
}
