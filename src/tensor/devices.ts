/** @file Which device new tensors go to: the CPU's native kernels where they could be built, else the reference in TypeScript. */

import { CpuDevice } from "./cpu/device.js";
import type { Device } from "./device.js";
import { ReferenceDevice } from "./reference/device.js";

let current: Device | undefined;

/**
 * The device of tensors that name none. `HORNBOOK_DEVICE=reference` chooses the plain TypeScript one; otherwise it is the CPU's native
 * kernels, and the reference where there is no addon.
 */
export function defaultDevice(): Device {
  current ??= process.env["HORNBOOK_DEVICE"] === "reference" || !CpuDevice.isAvailable() ? new ReferenceDevice() : CpuDevice.create();
  return current;
}

export function setDefaultDevice(device: Device): void {
  current = device;
}
