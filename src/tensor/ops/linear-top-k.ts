/**
 * @file The largest outputs of a linear layer, for whoever wants no others: a language model that takes its best token or one of the best few. Of a quantised weight
 * they are found without the other outputs ever lying in memory, and without reading all of it where its bits lie apart (`QuantizedTensorOptions.split`);
 * they are the same to the last bit.
 */

import { QuantizedTensor, type Weight } from "../quantized.js";
import { scope } from "../scope.js";
import { noGrad } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { linear } from "./linear.js";
import { topK, type Sorted } from "./order.js";
import { bestOfQuantized, checkQuantized } from "./quantized.js";
import { asRows } from "./support.js";
import { slice } from "./views.js";

export interface LinearTopKOptions {
  /** Outputs from here on do not count; by default all do. */
  readonly choices?: number;
}

/**
 * The k largest of each row of x W^T in f32, the largest first, and which they are (i32): x [..., in], W [out, in], both results [..., k]. NaN counts as the
 * largest, and equals rank by index. There is no gradient. Throws RangeError unless 0 <= k <= the number of choices, and ShapeError as `linear`.
 */
export function linearTopK(x: Tensor, weight: Weight, k: number, { choices = Infinity }: LinearTopKOptions = {}): Sorted {
  const most = Math.min(choices, weight.shape[0]);
  if (!Number.isInteger(k) || k < 0 || !(k <= most)) throw new RangeError(`linearTopK: k is a whole number from 0 to ${most}, not ${k}.`);
  const best = (): Sorted => {
    if (weight instanceof QuantizedTensor) {
      checkQuantized("linearTopK", x, weight, undefined);
      const found = bestOfQuantized(asRows(x), weight, k, most);
      const shape = [...x.shape.slice(0, -1), k];
      if (found !== undefined) return { values: found.values.reshape(shape), indices: found.indices.reshape(shape) };
    }
    return topK(slice(linear(x, weight, undefined, { dtype: "f32" }), -1, 0, most), k);
  };
  return noGrad(() => scope(best));
}
