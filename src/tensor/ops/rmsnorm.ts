/**
 * @file Root-mean-square normalisation (Zhang & Sennrich 2019): y = x rstd (weight + offset), rstd = 1 / sqrt(mean(x^2) + eps), over the
 * last axis. Gemma stores its weights around 0 and has an offset of 1.
 *
 * With z = x rstd and g = (weight + offset) dy: dx = rstd (g - z mean(g z)); dweight = sum of dy z over the rows. Whoever saved y
 * for the backward pass gets it made anew from x.
 */

import { launch } from "../launch.js";
import { record, willRecord } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkDType, checkFloat, checkRank, checkShapeIs, emptyLike, remakeable } from "./support.js";

/** x [..., n]; weight f32 [n], 1 where absent; y has x's dtype. Throws ShapeError when these do not fit. */
export function rmsNorm(x: Tensor, weight?: Tensor, { eps = 1e-5, offset = 0 }: { eps?: number; offset?: number } = {}): Tensor {
  checkFloat("rmsNorm", x);
  checkRank("rmsNorm", x, 1);
  checkDType("rmsNorm", "weight", weight, "f32");
  checkShapeIs("rmsNorm", "weight", weight, x.shape.slice(-1));
  const y = emptyLike(x);
  const rstd = emptyLike(x, x.shape.slice(0, -1), "f32");
  const normalize = (y: Tensor): void => launch("rmsNorm", { x, weight, y, rstd }, { eps, offset });
  normalize(y);
  const inputs = weight === undefined ? [x] : [x, weight];
  if (willRecord(inputs)) {
    remakeable(y, normalize);
    record("rmsNorm", y, inputs, [...inputs, rstd], (dy, needs, into) => {
      const dx = needs[0] ? emptyLike(x) : undefined;
      const dweight = weight !== undefined && needs[1] ? (into[1] ?? emptyLike(weight)) : undefined;
      launch("rmsNormBackward", { x, weight, rstd, dy, dx, dweight }, { offset, accumulateWeight: into[1] === undefined ? 0 : 1 });
      return [dx, dweight];
    });
  }
  rstd.dispose();
  return y;
}
