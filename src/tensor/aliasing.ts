/**
 * @file Whether the operands of a launch share memory in a way that the contract allows: an output may lie where one of its `mayAlias` lies, element for
 * element, and apart from that touches no other operand. A bug in an op, so it is looked for in tests (`launch.ts`), not in every launch.
 */

import { kernelSpec, type KernelName } from "./contract.js";
import type { BufferView } from "./device.js";
import { bytesPerElement } from "./dtype.js";
import { elementsOf } from "./shape.js";

/** Beyond so many runs of bytes a view is not looked at. */
const mostRuns = 1 << 16;

/** The overlap that the contract does not allow, in words; undefined where there is none. */
export function findOverlap(kernel: KernelName, operands: Readonly<Record<string, BufferView | undefined>>): string | undefined {
  const specs = Object.entries(kernelSpec(kernel).operands);
  for (const [output, { direction, mayAlias = [] }] of specs) {
    const y = operands[output];
    if (y === undefined || direction === "in") continue;
    for (const [name] of specs) {
      const x = operands[name];
      if (x === undefined || name === output || x.buffer !== y.buffer) continue;
      if (mayAlias.includes(name) && liesAs(y, x)) continue;
      if (overlap(y, x)) return `${kernel}: ${output} overlaps ${name}, which the contract does not allow.`;
    }
  }
  return undefined;
}

/** Whether y lies where x lies: element on element, or, where its elements are narrower, each row beginning where that of x does. */
function liesAs(y: BufferView, x: BufferView): boolean {
  const [yBytes, xBytes] = [bytesPerElement[y.dtype], bytesPerElement[x.dtype]];
  if (yBytes > xBytes || y.offset * yBytes !== x.offset * xBytes || y.shape.length !== x.shape.length) return false;
  const inRow = (axis: number): boolean => axis === y.shape.length - 1;
  return y.shape.every((size, axis) => size === x.shape[axis] && (size === 1 || (inRow(axis) ? y.strides[axis] === x.strides[axis] : y.strides[axis] * yBytes === x.strides[axis] * xBytes)));
}

function overlap(a: BufferView, b: BufferView): boolean {
  const [first, second] = [runsOf(a), runsOf(b)];
  if (first === undefined || second === undefined) return false;
  let j = 0;
  for (const [begin, end] of first) {
    while (j < second.length && second[j][1] <= begin) j++;
    if (j < second.length && second[j][0] < end) return true;
  }
  return false;
}

/** The bytes of a view as runs [begin, end), in ascending order. */
function runsOf({ dtype, shape, strides, offset }: BufferView): [number, number][] | undefined {
  if (elementsOf(shape) === 0) return [];
  // The axes from the innermost in memory on; those that go on without a gap make a run.
  const axes = shape.map((size, axis) => ({ size, stride: strides[axis] })).filter(({ size, stride }) => size > 1 && stride !== 0);
  axes.sort((a, b) => a.stride - b.stride);
  let length = 1;
  while (axes.length > 0 && axes[0].stride === length) length *= axes.shift()!.size;
  if (axes.reduce((count, { size }) => count * size, 1) > mostRuns) return undefined;
  const starts = axes.reduceRight((all, { size, stride }) => all.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * stride)), [offset]);
  const bytes = bytesPerElement[dtype];
  return starts.sort((a, b) => a - b).map((start) => [start * bytes, (start + length) * bytes]);
}
