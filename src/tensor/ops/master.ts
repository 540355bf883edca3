/**
 * @file Master weights: float32, which optimizers change, with a copy in the dtype that a model computes in, which matmuls read.
 *
 * While bf16 training goes on, a weight lies in halves: the copy and, in as many bytes again, what rounding took from it (the kernel
 * `splitMaster`). The optimizers work on the halves, the float32 numbers themselves rest, and whoever reads them has them joined again to the
 * last bit. So the copy costs no memory, and a step moves fewer bytes.
 */

import type { FloatDType } from "../dtype.js";
import { launch } from "../launch.js";
import { keep } from "../scope.js";
import { Tensor } from "../tensor.js";
import { checkFloat } from "./support.js";

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
  // What the stale copy lacked says nothing any more.
  weight.shadow?.remainder?.dispose();
  if (shadow === undefined) weight.shadow?.tensor.dispose();
  else shadow.remainder = undefined;
  const { tensor } = (weight.shadow = shadow ?? { tensor: keep(Tensor.empty(weight.shape, dtype, weight.device)), version });
  launch("copy", { x: weight, y: tensor }, {});
  weight.shadow.version = version;
  return tensor;
}

/** The copy of a weight in this dtype, if there is one and it is up to date. */
export function currentCopy(weight: Tensor, dtype: FloatDType): Tensor | undefined {
  const { shadow } = weight;
  return shadow?.tensor.dtype === dtype && shadow.version === weight.storage.version ? shadow.tensor : undefined;
}

/** What an optimizer's kernel works on: the weight itself or its halves. */
export interface Master {
  readonly w?: Tensor;
  readonly shadow?: Tensor | undefined;
  readonly remainder?: Tensor | undefined;
}

/** Takes a float32 weight apart; it rests until it is read. Nothing to do where it lies in halves already. */
export function splitMaster(weight: Tensor): { readonly shadow: Tensor; readonly remainder: Tensor } {
  const { storage, device, shape } = weight;
  let shadow = weight.shadow?.tensor.dtype === "bf16" ? weight.shadow : undefined;
  if (shadow?.remainder === undefined || shadow.version !== storage.version) {
    if (shadow === undefined) weight.shadow?.tensor.dispose();
    const halves = {
      shadow: shadow?.tensor ?? keep(Tensor.empty(shape, "bf16", device)),
      remainder: shadow?.remainder ?? keep(Tensor.empty([...shape, 2], "u8", device)),
    };
    launch("splitMaster", { w: weight, ...halves }, {});
    weight.shadow = shadow = { tensor: halves.shadow, remainder: halves.remainder, version: storage.version };
    restInHalves(weight);
  }
  return { shadow: shadow.tensor, remainder: shadow.remainder! };
}

function restInHalves({ storage, dtype, shape, strides, offset, shadow: copy }: Tensor): void {
  const [shadow, remainder] = [copy!.tensor, copy!.remainder!];
  storage.makeableBy(() => {
    const w = new Tensor(storage, dtype, shape, strides, offset);
    launch("joinMaster", { shadow, remainder, w }, {});
    w.dispose();
  });
  storage.rest();
}

/** Calls `update` on a weight as an optimizer is to change it: in halves where it has a copy in bf16. */
export function updateMaster(weight: Tensor, update: (master: Master) => void): void {
  if (weight.shadow?.tensor.dtype !== "bf16") {
    update({ w: weight });
    return;
  }
  update(splitMaster(weight));
  const { storage, shadow } = weight;
  shadow.version = ++storage.version;
  storage.staysMakeable();
  storage.rest();
}

/** Puts a weight together again for good, with its copy beside it: its training is over. */
export function joinMaster(weight: Tensor): void {
  const { shadow, storage } = weight;
  if (shadow?.remainder === undefined) return;
  void weight.buffer;
  storage.makeableBy(undefined);
  shadow.remainder.dispose();
  shadow.remainder = undefined;
}
