/** @file One-dimensional convolution (cross-correlation, as neural networks have it), forward and backward. */

import type { Attributes, Operands } from "../contract.js";
import type { HostView, Kernel } from "./view.js";
import { floats, optionalFloats, store } from "./view.js";
import { elementsOf } from "../shape.js";

/**
 * Calls `visit` with the places in x, weight and y of every product of the convolution, in the order of the sum in the contract. Forward
 * and backward are one walk with another line in its middle: y += weight x, dx += weight dy, dweight += x dy.
 */
function walk(
  { x, weight, y }: Pick<Operands<"conv1d", HostView>, "x" | "weight" | "y">,
  { stride, padding, dilation, groups }: Attributes<"conv1d">,
  visit: (xAt: number, weightAt: number, yAt: number) => void,
): void {
  const [batch, channels, time] = x.shape;
  const [outChannels, groupChannels, kernel] = weight.shape;
  const outTime = y.shape[2];
  for (let b = 0; b < batch; b++) {
    for (let o = 0; o < outChannels; o++) {
      const group = Math.floor(o / (outChannels / groups));
      for (let i = 0; i < groupChannels; i++) {
        for (let j = 0; j < kernel; j++) {
          const xRow = (b * channels + group * groupChannels + i) * time;
          const weightAt = (o * groupChannels + i) * kernel + j;
          const yRow = (b * outChannels + o) * outTime;
          for (let t = 0; t < outTime; t++) {
            const from = t * stride + j * dilation - padding;
            if (from >= 0 && from < time) visit(xRow + from, weightAt, yRow + t);
          }
        }
      }
    }
  }
}

export const conv1d: Kernel<"conv1d"> = ({ x, weight, bias, y }, attributes) => {
  const [source, w] = [floats(x), floats(weight)];
  const offset = optionalFloats(bias);
  const [, outChannels, outTime] = y.shape;
  const sums = new Float64Array(elementsOf(y.shape));
  if (offset !== undefined) for (let i = 0; i < sums.length; i++) sums[i] = offset[Math.floor(i / outTime) % outChannels];
  walk({ x, weight, y }, attributes, (xAt, weightAt, yAt) => (sums[yAt] += w[weightAt] * source[xAt]));
  store(y, sums);
};

export const conv1dBackward: Kernel<"conv1dBackward"> = ({ x, weight, dy, dx, dweight }, attributes) => {
  const [source, w, gradient] = [floats(x), floats(weight), floats(dy)];
  const gx = new Float64Array(source.length);
  const gw = new Float64Array(w.length);
  walk({ x, weight, y: dy }, attributes, (xAt, weightAt, yAt) => {
    gx[xAt] += w[weightAt] * gradient[yAt];
    gw[weightAt] += source[xAt] * gradient[yAt];
  });
  if (dx !== undefined) store(dx, gx);
  if (dweight !== undefined) store(dweight, gw);
};
