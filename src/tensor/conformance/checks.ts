/**
 * @file The checks of the conformance suite, apart from any test runner: each holds devices to the reference and tells what is wrong in words.
 * The suite (suite.ts) runs them under vitest on this machine; scripts/check-conformance.mjs runs them in plain Node, on machines and
 * emulators where there is no vitest.
 */

import { DeviceError } from "../../errors.js";
import { kernelNames, kernelSpec, type KernelName } from "../contract.js";
import type { Device } from "../device.js";
import { ReferenceDevice } from "../reference/device.js";
import { store, values, type HostView } from "../reference/view.js";
import { sameShape } from "../shape.js";
import { makeCase } from "./cases.js";
import type { Case } from "./generator.js";
import type { Outcome } from "./run.js";
import { describeCase, findBitDifference, findDifference, presentOperands, runCase } from "./run.js";
import { failingCases, specialCases } from "./special-cases.js";

/** A case and what the reference makes of it. */
export interface Truth {
  readonly test: Case;
  readonly expected: Outcome;
}

const reference = new ReferenceDevice();

/** The first `count` random cases of a kernel. */
export function truthsOf(kernel: KernelName, count: number): Promise<Truth[]> {
  return expectations(Array.from({ length: count }, (_, index) => makeCase(kernel, index)));
}

/** Cases at the edges of floating point, of many kernels. */
export function edgeTruths(): Promise<Truth[]> {
  return expectations(specialCases());
}

async function expectations(cases: Iterable<Case>): Promise<Truth[]> {
  const truths: Truth[] = [];
  for (const test of cases) truths.push({ test, expected: await runCase(reference, test) });
  return truths;
}

/** Where the device does not give what the reference gave. */
export async function findDisagreements(device: Device, truths: readonly Truth[]): Promise<string[]> {
  const reports: string[] = [];
  for (const [index, { test, expected }] of truths.entries()) {
    const difference = await runCase(device, test).then(
      (actual) => findDifference(test, expected, actual),
      (error: unknown) => `${test.kernel}: ${String(error)}`,
    );
    if (difference !== undefined) reports.push(`case ${index}: ${difference}`);
  }
  return reports;
}

/** Where the bits of the first `count` cases of each kernel depend on the number of threads. */
export async function findThreadDependence(deviceOf: (threads: number) => Device, count: number): Promise<string[]> {
  const reports: string[] = [];
  for (const kernel of kernelNames) {
    for (let index = 0; index < count; index++) {
      const test: Case = makeCase(kernel, index);
      const expected = await runCase(deviceOf(1), test);
      for (const threads of [2, 3, 7]) {
        const difference = findBitDifference(test, expected, await runCase(deviceOf(threads), test));
        if (difference !== undefined) reports.push(`${threads} threads, case ${index}: ${difference}`);
      }
    }
  }
  return reports;
}

/** Where an output that takes the memory of an operand, as the contract allows, gets other bits than one with memory of its own, in the first `count` cases of each kernel. */
export async function findAliasingErrors(device: Device, count: number): Promise<string[]> {
  const reports: string[] = [];
  for (const kernel of kernelNames) {
    const outputs = Object.entries(kernelSpec(kernel).operands).filter(([, { mayAlias = [] }]) => mayAlias.length > 0);
    for (const [output, { mayAlias = [] }] of outputs) {
      for (const name of mayAlias) {
        let tried = 0;
        for (let index = 0; index < count; index++) {
          const [test, apart] = [inPlace(makeCase(kernel, index), output, name, true), inPlace(makeCase(kernel, index), output, name, false)];
          if (test === undefined || apart === undefined) continue;
          tried++;
          const [shared, own] = [(await runCase(device, test))[output], (await runCase(device, apart))[output]];
          const [a, b] = [values(shared), values(own)];
          if (a.some((x, i) => !Object.is(x, b[i]))) reports.push(`${describeCase(test)}\n  ${output} in the memory of ${name}: bits differ from those in memory of its own`);
        }
        if (tried === 0) reports.push(`${kernel}: no case has ${output} in the memory of ${name}`);
      }
    }
  }
  return reports;
}

/** The case with an operand that lies as the output does: in its memory, or in some of its own. Undefined where they have not the same shape and dtype. */
function inPlace(test: Case, output: string, name: string, shares: boolean): Case | undefined {
  const operands = Object.fromEntries(presentOperands(test.operands)) as Record<string, HostView | undefined>;
  const [y, x] = [operands[output], operands[name]];
  if (y === undefined || x === undefined || y.dtype !== x.dtype || !sameShape(y.shape, x.shape)) return undefined;
  const numbers = values(x).slice();
  const place = { ...y, data: y.data.slice() };
  store(place, numbers);
  if (kernelSpec(test.kernel).operands[output].direction === "inout") store(y, numbers);
  return { ...test, operands: { ...operands, [name]: place, [output]: shares ? place : y } };
}

/** Where what lies outside a table is not rejected at the next wait, by an error that names it, or the device does not work again afterwards. */
export async function findMissedErrors(device: Device): Promise<string[]> {
  const reports: string[] = [];
  const [next] = (await truthsOf("softmax", 2)).slice(1);
  for (const { case: test, names } of failingCases()) {
    const error = await runCase(device, test).then(() => undefined, (thrown: unknown) => thrown);
    const named = error instanceof DeviceError && error.kernel === test.kernel && new RegExp(`(^|[^-\\d])${names}\\b.*777\\b`).test(error.message);
    if (!named) reports.push(`${test.kernel}: expected a DeviceError that names ${names}, got ${String(error)}`);
    reports.push(...(await findDisagreements(device, [next])).map((report) => `after an error of ${test.kernel}, ${report}`));
  }
  return reports;
}

/** The first few reports, and how many there are. */
export function summary(reports: readonly string[]): string {
  const shown = reports.slice(0, 3);
  const rest = reports.length > shown.length ? `\n... and ${reports.length - shown.length} more` : "";
  return `${reports.length} of the cases differ.\n\n${shown.join("\n\n")}${rest}`;
}
