/**
 * @file RoPE (Su et al. 2021, section 3.2): pair i of a query or key at position p turns by the angle p / theta^(2i / width), so that their
 * product depends on how far apart they stand. Pairs are (i, i + width / 2), as Hugging Face stores them.
 */

import { Tensor, rope, type Device } from "../../tensor/index.js";
import { rotaryWidth, type ModelConfig } from "../config.js";
import type { ForwardContext } from "../context.js";
import { Module } from "../module.js";

export class Rotary extends Module {
  /** [contextLength, width / 2] each. */
  readonly cos: Tensor;
  readonly sin: Tensor;

  constructor(config: ModelConfig, device?: Device) {
    super();
    const pairs = rotaryWidth(config) / 2;
    const angles = Float64Array.from({ length: config.contextLength * pairs }, (_, i) => {
      const position = Math.floor(i / pairs);
      return position / config.ropeTheta ** ((i % pairs) / pairs);
    });
    const table = (f: (angle: number) => number) =>
      Tensor.from(angles.map(f), { shape: [config.contextLength, pairs], dtype: "f32", ...(device && { device }) });
    this.cos = table(Math.cos);
    this.sin = table(Math.sin);
  }

  /** x [batch, time, heads, headSize], turned by the position of each token. */
  rotate(x: Tensor, context: ForwardContext): Tensor {
    return rope(x, this.cos, this.sin, context.positions);
  }
}
