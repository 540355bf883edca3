/**
 * @file Putting tensors together along an axis and taking them apart. The gradient of `concat` is views of dy. The gradient of `split` is one
 * tensor in which each part has its place: an op that can write the gradient of a part there does so at once, the rest is copied.
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { currentScope, keep } from "../scope.js";
import { normalizeAxis } from "../shape.js";
import { record, recordMany } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkDType, emptyLike, filled, narrowed } from "./support.js";
import { unsqueeze } from "./views.js";

/** One after the other along an axis; all other sizes and the dtypes must agree. Throws ShapeError. */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  if (tensors.length === 0) throw new RangeError("concat: there is nothing to put together.");
  const [first] = tensors;
  const at = normalizeAxis("concat", axis, first.rank);
  for (const tensor of tensors) {
    checkDType("concat", "a tensor", tensor, first.dtype);
    if (tensor.rank !== first.rank || tensor.shape.some((size, i) => i !== at && size !== first.shape[i])) {
      throw new ShapeError("concat", tensors.map(({ shape }) => shape), `All sizes but that of axis ${at} must agree.`);
    }
  }
  const sizes = tensors.map(({ shape }) => shape[at]);
  const y = emptyLike(first, first.shape.with(at, sizes.reduce((sum, size) => sum + size)));
  const starts = startsOf(sizes);
  tensors.forEach((x, i) => {
    const part = narrowed(y, at, starts[i], sizes[i]);
    launch("copy", { x, y: part }, {});
    part.dispose();
  });
  return record("concat", y, tensors, [], (dy) => sizes.map((size, i) => narrowed(dy, at, starts[i], size)));
}

/** Tensors of one shape as the slices of a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  return concat(tensors.map((tensor) => unsqueeze(tensor, axis)), axis);
}

/**
 * Parts along an axis, without copying: of these sizes, or, when `parts` is a number, so many equal ones. Throws ShapeError when they do not
 * add up to the axis.
 */
export function split(x: Tensor, parts: number | readonly number[], axis = -1): Tensor[] {
  const at = normalizeAxis("split", axis, x.rank);
  const sizes = typeof parts === "number" ? new Array<number>(parts).fill(x.shape[at] / parts) : parts;
  if (!sizes.every((size) => Number.isInteger(size) && size >= 0) || sizes.reduce((sum, size) => sum + size, 0) !== x.shape[at]) {
    throw new ShapeError("split", [x.shape], `[${sizes.join(", ")}] are not sizes that add up to axis ${at}.`);
  }
  const starts = startsOf(sizes);
  const outputs = sizes.map((size, i) => narrowed(x, at, starts[i], size));
  let dx: Tensor | undefined;
  const given = new Set<number>();
  const partOf = (i: number): Tensor => {
    dx ??= keep(x.node?.place?.(x) ?? emptyLike(x));
    return narrowed(dx, at, starts[i], sizes[i]);
  };
  recordMany("split", outputs, [x], [], (dys) => {
    dys.forEach((dy, i) => {
      if (dy !== undefined && dy.storage === dx?.storage && dy.offset === dx.offset + starts[i] * dx.strides[at]) return;
      const part = partOf(i);
      if (dy === undefined) launch("fill", { y: part }, { value: 0 });
      else launch("copy", { x: dy, y: part }, {});
    });
    if (dx !== undefined) currentScope()?.tensors.add(dx);
    return [dx];
  }, (output) => {
    const i = outputs.indexOf(output);
    // Once only: a second gradient of the same part has to be added, not written over the first.
    if (given.has(i)) return undefined;
    given.add(i);
    return partOf(i);
  });
  return outputs;
}

function startsOf(sizes: readonly number[]): number[] {
  let start = 0;
  return sizes.map((size) => (start += size) - size);
}

/** x inside a larger tensor of `value`: `widths[i]` = [before, after] on axis i. Throws RangeError on other than whole numbers from 0. */
export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value = 0): Tensor {
  if (widths.length !== x.rank || !widths.flat().every((width) => Number.isInteger(width) && width >= 0)) {
    throw new RangeError(`pad: [${widths.map((pair) => `[${pair.join(", ")}]`).join(", ")}] are not two whole numbers for each of the ${x.rank} axes.`);
  }
  const y = filled(x, value, x.shape.map((size, i) => size + widths[i][0] + widths[i][1]));
  const inside = (of: Tensor): Tensor => {
    const offset = widths.reduce((sum, [before], i) => sum + before * of.strides[i], of.offset);
    return of.view(x.shape, of.strides, x.size === 0 ? of.offset : offset);
  };
  const part = inside(y);
  launch("copy", { x, y: part }, {});
  part.dispose();
  return record("pad", y, [x], [], (dy) => [inside(dy)]);
}
