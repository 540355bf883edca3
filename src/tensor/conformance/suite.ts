/**
 * @file The conformance suite: what the reference device says is true, and every device is held to it, over random shapes, layouts, dtypes
 * and attributes, at the edges of floating point, in its errors, and in that its bits do not depend on threads.
 *
 * INKLING_CONFORMANCE_CASES sets the number of random cases a kernel (a long run finds what the usual one does not).
 */

import { afterAll, describe, expect, it } from "vitest";
import { DeviceError } from "../../errors.js";
import { kernelNames } from "../contract.js";
import type { Device } from "../device.js";
import { ReferenceDevice } from "../reference/device.js";
import { makeCase } from "./cases.js";
import type { Case } from "./generator.js";
import type { Outcome } from "./run.js";
import { findBitDifference, findDifference, runCase } from "./run.js";
import { failingCases, specialCases } from "./special-cases.js";

/** A device to be held to the reference. */
export interface Subject {
  readonly name: string;
  /** Called once for each number of threads. */
  create(threads: number): Device;
}

const casesPerKernel = Number(process.env["INKLING_CONFORMANCE_CASES"] ?? 40);
const timeout = 60_000 * Math.max(1, casesPerKernel / 40);
/** Reports stop here; the first tell enough. */
const maxReports = 3;

export function conformanceSuite(subjects: readonly Subject[]): void {
  const reference = new ReferenceDevice();
  const devices = new Map<string, Device>();
  const deviceOf = (subject: Subject, threads: number): Device => {
    const key = `${subject.name}/${threads}`;
    const device = devices.get(key) ?? subject.create(threads);
    devices.set(key, device);
    return device;
  };
  // One kernel's truths, kept from the first subject to the last.
  let truths: { readonly test: Case; readonly expected: Outcome }[] = [];
  afterAll(() => (truths = []));

  for (const kernel of kernelNames) {
    describe(kernel, () => {
      for (const [turn, subject] of subjects.entries()) {
        it(`agrees on ${subject.name}`, async () => {
          if (turn === 0 || truths[0]?.test.kernel !== kernel) {
            truths = [];
            for (let index = 0; index < casesPerKernel; index++) {
              const test: Case = makeCase(kernel, index);
              truths.push({ test, expected: await runCase(reference, test) });
            }
          }
          await compareAll(deviceOf(subject, 2), truths);
        }, timeout);
      }
    });
  }

  describe.each(subjects.map((subject) => [subject.name, subject] as const))("%s", (_, subject) => {
    it("agrees at the edges of floating point", async () => {
      const edge: typeof truths = [];
      for (const test of specialCases()) edge.push({ test, expected: await runCase(reference, test) });
      await compareAll(deviceOf(subject, 2), edge);
    });

    it("gives the same bits for any number of threads", async () => {
      const reports: string[] = [];
      for (const kernel of kernelNames) {
        for (let index = 0; index < casesPerKernel / 4; index++) {
          const test: Case = makeCase(kernel, index);
          const expected = await runCase(deviceOf(subject, 1), test);
          for (const threads of [2, 3, 7]) {
            const difference = findBitDifference(test, expected, await runCase(deviceOf(subject, threads), test));
            if (difference !== undefined) reports.push(`${threads} threads, case ${index}: ${difference}`);
          }
        }
      }
      throwReports(reports);
    }, timeout);

    it("rejects what is outside a table at the next wait, and works again", async () => {
      for (const device of [reference, deviceOf(subject, 2)]) {
        for (const failing of failingCases()) {
          const error = await runCase(device, failing.case).then(() => undefined, (thrown: unknown) => thrown);
          expect(error, failing.case.kernel).toBeInstanceOf(DeviceError);
          expect(error).toMatchObject({ kernel: failing.case.kernel, message: expect.stringMatching(new RegExp(`(^|[^-\\d])${failing.names}\\b.*777\\b`)) as string });
          const next: Case = makeCase("softmax", 1);
          expect(findDifference(next, await runCase(reference, next), await runCase(device, next))).toBeUndefined();
        }
      }
    });
  });
}

async function compareAll(device: Device, truths: readonly { readonly test: Case; readonly expected: Outcome }[]): Promise<void> {
  const reports: string[] = [];
  for (const [index, { test, expected }] of truths.entries()) {
    const difference = await runCase(device, test).then(
      (actual) => findDifference(test, expected, actual),
      (error: unknown) => `${test.kernel}: ${String(error)}`,
    );
    if (difference !== undefined) reports.push(`case ${index}: ${difference}`);
  }
  throwReports(reports);
}

function throwReports(reports: readonly string[]): void {
  if (reports.length === 0) return;
  const rest = reports.length > maxReports ? `\n... and ${reports.length - maxReports} more` : "";
  throw new Error(`${reports.length} of the cases differ.\n\n${reports.slice(0, maxReports).join("\n\n")}${rest}`);
}
