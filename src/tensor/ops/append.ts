/**
 * @file Writing new positions of several sequences into one buffer of slots, each sequence at a place of its own, as a cache of keys and values does at
 * every step. The places lie on the device, so that the same command serves every step. Not differentiable: for inference.
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { sameShape } from "../shape.js";
import { Tensor } from "../tensor.js";
import type { Int8Rows } from "./int8.js";
import { checkFloat, rowNumbers } from "./support.js";

/** Where the rows of a batch go. */
export interface RowPlaces {
  /** The position that the first of a row's new ones takes, i32 [batch], or [] for all rows. */
  readonly at: Tensor;
  /** The slot of each row, i32 [batch]; by default row b has slot b. */
  readonly slots?: Tensor | undefined;
}

/**
 * into[slots[b], at[b] + t] = x[b, t], for x [batch, time, ...rest] and `into` [slots, room, ...rest], in the dtype of `into` or as 8-bit integers with a
 * scale each (`quantizeInt8`). Two rows must not write the same place. Throws ShapeError where the shapes do not fit; places or a slot that `into` does
 * not have are a DeviceError at the next wait.
 */
export function append(x: Tensor, into: Tensor | Int8Rows, places: RowPlaces): void {
  const y = into instanceof Tensor ? into : into.bytes;
  if (x.rank < 2 || !sameShape(x.shape.slice(2), y.shape.slice(2)) || (places.slots === undefined && x.shape[0] > y.shape[0])) {
    throw new ShapeError("append", [x.shape, y.shape], "They must be [batch, time, ...rest] and [slots, room, ...rest].");
  }
  const at = rowNumbers("append", "at", places.at, x.shape[0])!;
  const slots = rowNumbers("append", "slots", places.slots, x.shape[0]);
  if (into instanceof Tensor) {
    launch("append", { x, y, at, slots }, {});
  } else {
    checkFloat("append", x);
    launch("quantizeInt8", { x, y, scale: into.scale, at, slots }, {});
  }
  if (at !== places.at) at.dispose();
  if (slots !== places.slots) slots?.dispose();
}
