/**
 * @file Holds a gradient against finite differences: for random r, the derivative of sum(r * f(x)) by each element of each input, once by
 * backward(seed = r) and once as (L(x + h) - L(x - h)) / 2h. The sum is taken in float64 on the host, so that what remains of float32's
 * rounding is that of f itself.
 */

import { HornbookError } from "../errors.js";
import { Random } from "./random.js";
import { scope } from "./scope.js";
import { backward, noGrad } from "./tape.js";
import { Tensor } from "./tensor.js";

export interface GradcheckOptions {
  /** The step h; by default 1e-2, which balances the error of the difference, h^2, with that of rounding, 1e-7 / h. */
  readonly step?: number;
  /** A difference up to absolute + relative * |gradient| passes; by default 1e-3 and 1e-2. */
  readonly absolute?: number;
  readonly relative?: number;
}

/**
 * Checks the gradients of `f` by its dense f32 inputs. Rejects with HornbookError, naming the first element whose gradient is off, and when an
 * input got no gradient. `f` must give the same each time.
 */
export async function gradcheck(f: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[], options: GradcheckOptions = {}): Promise<void> {
  const { step = 1e-2, absolute = 1e-3, relative = 1e-2 } = options;
  const random = new Random(1);
  let weights: Float32Array<ArrayBuffer> | undefined;
  const loss = async (): Promise<number> => {
    const y = scope(() => noGrad(() => f(...inputs)));
    const values = await y.data();
    if (!inputs.includes(y)) y.dispose();
    weights ??= Float32Array.from(values, () => random.uniform() + 0.5);
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[i] * weights[i];
    return sum;
  };
  await loss();

  for (const input of inputs) input.requiresGrad = true;
  scope(() => {
    const y = f(...inputs);
    backward(y, Tensor.from(weights!, { shape: y.shape }));
  });
  for (const [which, input] of inputs.entries()) {
    if (input.grad === undefined) throw new HornbookError(`gradcheck: input ${which} got no gradient.`, { code: "gradient" });
    const gradient = await input.grad.data();
    const values = (await input.data()) as Float32Array<ArrayBuffer>;
    for (let i = 0; i < values.length; i++) {
      const original = values[i];
      const at = async (value: number): Promise<number> => {
        values[i] = value;
        input.write(values);
        return loss();
      };
      const [above, below] = [Math.fround(original + step), Math.fround(original - step)];
      const numeric = ((await at(above)) - (await at(below))) / (above - below);
      values[i] = original;
      input.write(values);
      if (!(Math.abs(gradient[i] - numeric) <= absolute + relative * Math.abs(numeric))) {
        const where = `element ${i} of input ${which} [${input.shape.join(", ")}]`;
        throw new HornbookError(`gradcheck: the gradient of ${where} is ${gradient[i]}, but differences say ${numeric}.`, { code: "gradient" });
      }
    }
    input.requiresGrad = false;
    input.grad.dispose();
    input.grad = undefined;
  }
}
