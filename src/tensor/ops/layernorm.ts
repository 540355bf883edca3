/**
 * @file Layer normalisation (Ba et al. 2016): y = z weight + bias with z = (x - mean) rstd, rstd = 1 / sqrt(variance + eps), over the last
 * axis.
 *
 * With g = weight dy: dx = rstd (g - mean(g) - z mean(g z)); dweight = sum of dy z and dbias = sum of dy over the rows. The backward pass
 * makes z anew from x and the two numbers a row that the forward pass keeps, and so it does y for whoever saved that.
 */

import { launch } from "../launch.js";
import { record, willRecord } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkDType, checkFloat, checkRank, checkShapeIs, emptyLike, remakeable } from "./support.js";

/** x [..., n]; weight and bias f32 [n]; y has x's dtype. Throws ShapeError when these do not fit. */
export function layerNorm(x: Tensor, weight?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  checkFloat("layerNorm", x);
  checkRank("layerNorm", x, 1);
  for (const [name, parameter] of [["weight", weight], ["bias", bias]] as const) {
    checkDType("layerNorm", name, parameter, "f32");
    checkShapeIs("layerNorm", name, parameter, x.shape.slice(-1));
  }
  const y = emptyLike(x);
  const [mean, rstd] = [emptyLike(x, x.shape.slice(0, -1), "f32"), emptyLike(x, x.shape.slice(0, -1), "f32")];
  const normalize = (y: Tensor): void => launch("layerNorm", { x, weight, bias, y, mean, rstd }, { eps });
  normalize(y);
  const inputs = [x, weight, bias].filter((input) => input !== undefined);
  if (willRecord(inputs)) {
    const saved = [x, mean, rstd, ...[weight, bias].filter((parameter) => parameter !== undefined)];
    remakeable(y, normalize);
    record("layerNorm", y, inputs, saved, (dy, needs, into) => {
      const atWeight = weight === undefined ? -1 : 1;
      const atBias = bias === undefined ? -1 : inputs.length - 1;
      const dx = needs[0] ? emptyLike(x) : undefined;
      const dweight = weight !== undefined && needs[atWeight] ? (into[atWeight] ?? emptyLike(weight)) : undefined;
      const dbias = bias !== undefined && needs[atBias] ? (into[atBias] ?? emptyLike(bias)) : undefined;
      launch("layerNormBackward", { x, weight, mean, rstd, dy, dx, dweight, dbias }, {
        accumulateWeight: into[atWeight] === undefined ? 0 : 1,
        accumulateBias: into[atBias] === undefined ? 0 : 1,
      });
      return [dx, ...(weight === undefined ? [] : [dweight]), ...(bias === undefined ? [] : [dbias])];
    });
  }
  mean.dispose();
  rstd.dispose();
  return y;
}
