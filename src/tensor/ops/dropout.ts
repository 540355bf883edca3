/**
 * @file Dropout (Srivastava et al. 2014), scaled while training: y = x / (1 - p) where a random number of the element is at least p, else 0.
 * The numbers are a function of the key and the place alone, so the backward pass draws them again instead of keeping a mask.
 */

import { launch } from "../launch.js";
import type { RandomKey } from "../random.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkFloat, emptyLike } from "./support.js";

/** x itself where p is 0. Throws RangeError unless 0 <= p < 1. */
export function dropout(x: Tensor, p: number, key: RandomKey): Tensor {
  checkFloat("dropout", x);
  checkProbability("dropout", p);
  if (p === 0) return x;
  const dropped = (of: Tensor): Tensor => {
    const y = emptyLike(of);
    launch("dropout", { x: of, y }, { p, ...key });
    return y;
  };
  return record("dropout", dropped(x), [x], [], (dy) => [dropped(dy)]);
}

export function checkProbability(op: string, p: number): void {
  if (!(p >= 0 && p < 1)) throw new RangeError(`${op}: a probability of dropping is at least 0 and below 1, not ${p}.`);
}
