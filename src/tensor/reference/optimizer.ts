/** @file Optimizer steps, in place on float32 master weights, whole or in halves. */

import type { HostView, Kernel } from "./view.js";
import { elements, floats, scalar, store } from "./view.js";

export const splitMaster: Kernel<"splitMaster"> = ({ w, shadow, remainder }) => {
  split(floats(w), shadow, remainder);
};

export const joinMaster: Kernel<"joinMaster"> = ({ shadow, remainder, w }) => {
  store(w, joined(shadow, remainder));
};

function split(w: Float32Array<ArrayBuffer>, shadow: HostView, remainder: HostView): void {
  store(shadow, w);
  const bits = new Uint32Array(w.buffer, w.byteOffset, w.length);
  const rounded = new Uint32Array(floats(shadow).buffer);
  for (let i = 0; i < w.length; i++) {
    const rest = Math.min((bits[i] - rounded[i]) | 0, 0x7fff);
    remainder.data[remainder.offset + 2 * i] = rest & 0xff;
    remainder.data[remainder.offset + 2 * i + 1] = (rest >> 8) & 0xff;
  }
}

function joined(shadow: HostView, remainder: HostView): Float32Array<ArrayBuffer> {
  const w = floats(shadow);
  const bits = new Uint32Array(w.buffer);
  for (let i = 0; i < w.length; i++) {
    const word = remainder.data[remainder.offset + 2 * i] | (remainder.data[remainder.offset + 2 * i + 1] << 8);
    bits[i] += (word << 16) >> 16;
  }
  return w;
}

interface Master {
  readonly w?: HostView | undefined;
  readonly shadow?: HostView | undefined;
  readonly remainder?: HostView | undefined;
}

/** The weights in an array of their own. */
function weightsOf({ w, shadow, remainder }: Master): Float32Array<ArrayBuffer> {
  return w === undefined ? joined(shadow!, remainder!) : floats(w).slice();
}

function storeWeights(weights: Float32Array<ArrayBuffer>, { w, shadow, remainder }: Master): void {
  if (w === undefined) split(weights, shadow!, remainder!);
  else store(w, weights);
}

export const adamw: Kernel<"adamw"> = (
  { gradient, m, v, gradScale, ...master },
  { rate, beta1, beta2, eps, weightDecay, correction1, correction2 },
) => {
  const scale = scalar(gradScale, 1);
  if (!Number.isFinite(scale)) return;
  const [weight, g, first, second] = [weightsOf(master), floats(gradient), floats(m).slice(), floats(v).slice()];
  for (let i = 0; i < elements(gradient); i++) {
    const slope = scale * g[i];
    const mean = beta1 * first[i] + (1 - beta1) * slope;
    const square = beta2 * second[i] + (1 - beta2) * slope * slope;
    weight[i] -= rate * (weightDecay * weight[i] + (mean * correction1) / (Math.sqrt(square * correction2) + eps));
    first[i] = mean;
    second[i] = square;
  }
  storeWeights(weight, master);
  store(m, first);
  store(v, second);
};

/** Without m the momentum has nothing to act on: the step is the gradient itself, Nesterov or not. */
export const sgd: Kernel<"sgd"> = ({ gradient, m, gradScale, ...master }, { rate, momentum, nesterov, weightDecay }) => {
  const scale = scalar(gradScale, 1);
  if (!Number.isFinite(scale)) return;
  const [weight, g] = [weightsOf(master), floats(gradient)];
  const velocity = m === undefined ? undefined : floats(m).slice();
  for (let i = 0; i < elements(gradient); i++) {
    let step = scale * g[i];
    if (velocity !== undefined) {
      const moved = momentum * velocity[i] + step;
      velocity[i] = moved;
      step = nesterov !== 0 ? step + momentum * moved : moved;
    }
    weight[i] -= rate * (weightDecay * weight[i] + step);
  }
  storeWeights(weight, master);
  if (m !== undefined && velocity !== undefined) store(m, velocity);
};
