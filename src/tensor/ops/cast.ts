/** @file Converting dtypes. */

import { isFloat, type DType } from "../dtype.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { copied } from "./support.js";

/** The elements of x in another dtype; x itself where it has that already. Float to integer truncates, and has no gradient. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  const y = copied(x, dtype);
  if (!isFloat(x.dtype) || !isFloat(dtype)) return y;
  return record("cast", y, [x], [], (dy) => [copied(dy, x.dtype)]);
}
