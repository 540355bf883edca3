/**
 * @file Runs a case on a device and holds what comes out against what the reference gave: every element of every output within its
 * tolerance, and every byte of an output's buffer that the view does not cover as it was.
 */

import type { Attributes, KernelName, Operands } from "../contract.js";
import { kernelSpec } from "../contract.js";
import type { BufferId, BufferView, Device } from "../device.js";
import { isFloat, rawArray } from "../dtype.js";
import type { HostView } from "../reference/view.js";
import { rowStarts, rowsOf, values } from "../reference/view.js";
import type { Case, Tolerance } from "./generator.js";
import { rounding } from "./generator.js";

/** What the outputs are after the launch. */
export type Outcome = Readonly<Record<string, HostView>>;

export function presentOperands(operands: object): [string, HostView][] {
  return Object.entries(operands as Record<string, HostView | undefined>).filter((entry): entry is [string, HostView] => entry[1] !== undefined);
}

/** Uploads, launches, reads back, frees. Rejects as the device does. */
export async function runCase<K extends KernelName>(device: Device, { kernel, operands, attributes }: Case<K>): Promise<Outcome> {
  const buffers = new Map<ArrayBuffer, BufferId>();
  const views: Record<string, BufferView> = {};
  for (const [name, { data, dtype, shape, strides, offset }] of presentOperands(operands)) {
    let buffer = buffers.get(data.buffer);
    if (buffer === undefined) {
      buffer = device.allocate(data.byteLength);
      buffers.set(data.buffer, buffer);
      device.write(buffer, 0, new Uint8Array(data.buffer, 0, data.byteLength));
    }
    views[name] = { buffer, dtype, shape, strides, offset };
  }
  device.launch(kernel, views as unknown as Operands<K, BufferView>, attributes);
  try {
    const outcome: Record<string, HostView> = {};
    for (const [name, view] of presentOperands(operands)) {
      if (kernelSpec(kernel).operands[name].direction === "in") continue;
      outcome[name] = { ...view, data: rawArray(view.dtype, await device.read(views[name].buffer, 0, view.data.byteLength)) };
    }
    return outcome;
  } finally {
    for (const buffer of buffers.values()) device.free(buffer);
  }
}

/** What is wrong with the outcome, in words; undefined when nothing is. */
export function findDifference(test: Case, expected: Outcome, actual: Outcome): string | undefined {
  for (const name of Object.keys(expected)) {
    const before = presentOperands(test.operands).find(([operand]) => operand === name)?.[1];
    const stray = before && findStray(before, actual[name]);
    if (stray !== undefined) return `${describeCase(test)}\n  ${name}: wrote outside its view, at element ${stray} of the buffer`;
    const worst = findWorst(values(expected[name]), values(actual[name]), toleranceOf(test, name, expected[name]));
    if (worst !== undefined) {
      const [i, e, a, allowed] = worst;
      const count = values(expected[name]).length;
      return `${describeCase(test)}\n  ${name}: worst at element ${i} of ${count} (index [${unravel(i, expected[name].shape).join(", ")}]): expected ${e}, got ${a}, off by ${Math.abs(a - e)}, allowed ${allowed}`;
    }
  }
  return undefined;
}

/** The position of a difference in bits between two outcomes of one case, in words; undefined when they are the same. */
export function findBitDifference(test: Case, first: Outcome, second: Outcome): string | undefined {
  for (const name of Object.keys(first)) {
    const [a, b] = [first[name], second[name]].map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    const at = a.findIndex((byte, i) => byte !== b[i]);
    if (at >= 0) return `${describeCase(test)}\n  ${name}: bits differ at byte ${at} of ${a.length}`;
  }
  return undefined;
}

interface Bounds {
  readonly relative: number;
  readonly absolute: number;
  readonly exact: boolean;
  /** Whether zero may stand for a number below the smallest normal one: the instructions that convert to bf16 flush, whatever the mode. */
  readonly flushes: boolean;
}

function toleranceOf({ tolerance }: Case, name: string, { dtype }: HostView): Bounds {
  const given: Tolerance = isFloat(dtype) ? (tolerance[name] ?? {}) : "exact";
  const flushes = dtype === "bf16";
  if (given === "exact" || !isFloat(dtype)) return { relative: 0, absolute: 0, exact: true, flushes };
  // In float32 only the last digits of denormal numbers are anyone's.
  return { relative: Math.max(given.relative ?? 0, rounding[dtype]), absolute: (given.absolute ?? 0) + 2 ** -140, exact: false, flushes };
}

/** The element that is furthest beyond its tolerance: its index, what was expected, what came, and what was allowed. */
function findWorst(expected: ArrayLike<number>, actual: ArrayLike<number>, { relative, absolute, exact, flushes }: Bounds): [number, number, number, number] | undefined {
  let worst: [number, number, number, number] | undefined;
  let excess = 1;
  for (let i = 0; i < expected.length; i++) {
    const e = expected[i];
    const a = actual[i];
    if (Object.is(e, a) || (!exact && e === a)) continue;
    if (flushes && a === 0 && Math.abs(e) < 2 ** -126) continue;
    const allowed = Number.isFinite(e) ? relative * Math.abs(e) + absolute : 0;
    const ratio = exact || !Number.isFinite(e) || !Number.isFinite(a) ? Infinity : Math.abs(a - e) / allowed;
    if (ratio > excess) {
      excess = ratio;
      worst = [i, e, a, allowed];
    }
  }
  return worst;
}

/** An element of the buffer that lies outside the view and has changed. */
function findStray(before: HostView, after: HostView): number | undefined {
  const covered = new Uint8Array(before.data.length);
  const { n } = rowsOf(before);
  const stride = before.strides.at(-1) ?? 1;
  for (const start of rowStarts(before)) for (let j = 0; j < n; j++) covered[start + j * stride] = 1;
  for (let i = 0; i < covered.length; i++) {
    if (covered[i] === 0 && !Object.is(before.data[i], after.data[i])) return i;
  }
  return undefined;
}

function unravel(i: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (const n of shape.toReversed()) {
    index.unshift(i % n);
    i = Math.floor(i / n);
  }
  return index;
}

export function describeCase({ kernel, operands, attributes }: { kernel: KernelName; operands: object; attributes: Attributes<KernelName> }): string {
  const lines = presentOperands(operands).map(
    ([name, { dtype, shape, strides, offset }]) => `  ${name}: ${dtype} [${shape.join(", ")}], strides [${strides.join(", ")}], offset ${offset}`,
  );
  return [`${kernel} ${JSON.stringify(attributes)}`, ...lines].join("\n");
}
