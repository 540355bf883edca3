/** @file Converting dtypes, and the copy of a master weight in the dtype that a model computes in. */

import { isFloat, type DType, type FloatDType } from "../dtype.js";
import { launch } from "../launch.js";
import { keep } from "../scope.js";
import { record } from "../tape.js";
import { Tensor } from "../tensor.js";
import { checkFloat, copied } from "./support.js";

/** The elements of x in another dtype; x itself where it has that already. Float to integer truncates, and has no gradient. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  const y = copied(x, dtype);
  if (!isFloat(x.dtype) || !isFloat(dtype)) return y;
  return record("cast", y, [x], [], (dy) => [copied(dy, x.dtype)]);
}

/**
 * A weight as matmuls read it: itself where it has the dtype, else its copy (`weight.shadow`), made anew when the weight has changed
 * since. Optimizers that write the copy along with the weight save that. The copy belongs to the weight; nothing is recorded.
 */
export function computeCopy(weight: Tensor, dtype: FloatDType): Tensor {
  checkFloat("computeCopy", weight);
  if (weight.dtype === dtype) return weight;
  const { version } = weight.storage;
  const shadow = weight.shadow?.tensor.dtype === dtype ? weight.shadow : undefined;
  if (shadow?.version === version) return shadow.tensor;
  if (shadow === undefined) weight.shadow?.tensor.dispose();
  const { tensor } = (weight.shadow = shadow ?? { tensor: keep(Tensor.empty(weight.shape, dtype, weight.device)), version });
  launch("copy", { x: weight, y: tensor }, {});
  weight.shadow.version = version;
  return tensor;
}
