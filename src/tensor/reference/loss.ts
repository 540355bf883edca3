/** @file The loss of a language model, with its gradient in the same pass. */

import { sumOfExponentials } from "./normalization.js";
import type { Kernel } from "./view.js";
import { floats, rowsOf, store, values } from "./view.js";

/** With p = softmax(logits): d loss / d logits_j = p_j (1 + 2 zLoss lse) - (1 - s) 1[j = target] - s / n. */
export const crossEntropy: Kernel<"crossEntropy"> = ({ logits, targets, loss, dlogits }, { ignoreIndex, labelSmoothing, zLoss }) => {
  const { rows, n } = rowsOf(logits);
  const source = floats(logits);
  const target = values(targets);
  const losses = new Float32Array(rows);
  const gradient = new Float32Array(source.length);
  for (let row = 0; row < rows; row++) {
    const wanted = target[row];
    if (wanted === ignoreIndex) continue;
    if (wanted < 0 || wanted >= n) throw new RangeError(`target ${wanted} at position ${row} is outside [0, ${n}) and is not ignoreIndex (${ignoreIndex}).`);
    const start = row * n;
    const { max, sum } = sumOfExponentials(source, start, start + n);
    const surprise = (i: number): number => max - source[i] + Math.log(sum);
    const lse = max + Math.log(sum);
    let value = (1 - labelSmoothing) * surprise(start + wanted) + zLoss * lse * lse;
    // A logit of -Infinity has no share in a loss without smoothing; 0 times its surprise would be NaN.
    if (labelSmoothing > 0) for (let i = start; i < start + n; i++) value += (labelSmoothing / n) * surprise(i);
    losses[row] = value;
    for (let i = start; i < start + n; i++) {
      gradient[i] =
        (Math.exp(source[i] - max) / sum) * (1 + 2 * zLoss * lse) - (i === start + wanted ? 1 - labelSmoothing : 0) - labelSmoothing / n;
    }
  }
  store(loss, losses);
  if (dlogits !== undefined) store(dlogits, gradient);
};
