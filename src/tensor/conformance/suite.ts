/**
 * @file The conformance suite: what the reference device says is true, and every device is held to it, over random shapes, layouts, dtypes
 * and attributes, at the edges of floating point, in its errors, and in that its bits do not depend on threads.
 *
 * HORNBOOK_CONFORMANCE_CASES sets the number of random cases a kernel (a long run finds what the usual one does not).
 */

import { afterAll, describe, it } from "vitest";
import { kernelNames } from "../contract.js";
import type { Device } from "../device.js";
import { ReferenceDevice } from "../reference/device.js";
import { findRowDependence } from "./row-independence.js";
import { edgeTruths, findAliasingErrors, findDisagreements, findMissedErrors, findThreadDependence, summary, truthsOf, type Truth } from "./checks.js";

/** A device to be held to the reference. */
export interface Subject {
  readonly name: string;
  /** Called once for each number of threads. */
  create(threads: number): Device;
}

const casesPerKernel = Number(process.env["HORNBOOK_CONFORMANCE_CASES"] ?? 40);
const timeout = 60_000 * Math.max(1, casesPerKernel / 40);

export function conformanceSuite(subjects: readonly Subject[]): void {
  const devices = new Map<string, Device>();
  const deviceOf = (subject: Subject, threads: number): Device => {
    const key = `${subject.name}/${threads}`;
    const device = devices.get(key) ?? subject.create(threads);
    devices.set(key, device);
    return device;
  };
  // One kernel's truths, kept from the first subject to the last.
  let truths: Truth[] = [];
  afterAll(() => (truths = []));

  for (const kernel of kernelNames) {
    describe(kernel, () => {
      for (const [turn, subject] of subjects.entries()) {
        it(`agrees on ${subject.name}`, async () => {
          if (turn === 0 || truths[0]?.test.kernel !== kernel) truths = await truthsOf(kernel, casesPerKernel);
          expectNone(await findDisagreements(deviceOf(subject, 2), truths));
        }, timeout);
      }
    });
  }

  describe.each(subjects.map((subject) => [subject.name, subject] as const))("%s", (_, subject) => {
    it("agrees at the edges of floating point", async () => {
      expectNone(await findDisagreements(deviceOf(subject, 2), await edgeTruths()));
    });

    it("gives the same bits for any number of threads", async () => {
      expectNone(await findThreadDependence((threads) => deviceOf(subject, threads), casesPerKernel / 4));
    }, timeout);

    it("gives the same bits where an output takes the memory of an operand", async () => {
      for (const device of [new ReferenceDevice(), deviceOf(subject, 2)]) expectNone(await findAliasingErrors(device, casesPerKernel));
    }, timeout);

    it("gives a row the same bits in any batch", async () => {
      expectNone(await findRowDependence(deviceOf(subject, 2)));
    }, 4 * timeout);

    it("rejects what is outside a table at the next wait, and works again", async () => {
      for (const device of [new ReferenceDevice(), deviceOf(subject, 2)]) expectNone(await findMissedErrors(device));
    });
  });
}

function expectNone(reports: readonly string[]): void {
  if (reports.length > 0) throw new Error(summary(reports));
}
