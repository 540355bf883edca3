/** @file Which device new tensors go to: the CPU's native kernels where there are any, else the reference in TypeScript. */

import { ConfigError } from "../errors.js";
import { explainAbsence } from "../native/absence.js";
import { nativeSearch } from "../native/find.js";
import { CpuDevice } from "./cpu/device.js";
import type { Device } from "./device.js";
import { ReferenceDevice } from "./reference/device.js";

let current: Device | undefined;

/**
 * The device of tensors that name none. HORNBOOK_DEVICE chooses `cpu` or `reference`; otherwise it is the CPU's native kernels, and the reference where
 * there are none. The reference is some hundred times slower, so a warning of the process (code HORNBOOK_REFERENCE_DEVICE) then says why and what to
 * do. Another (HORNBOOK_NATIVE_SKIPPED) names what native code was found and could not be used.
 *
 * @throws ConfigError when HORNBOOK_DEVICE names no device; HornbookError when it asks for `cpu` and there are no native kernels.
 */
export function defaultDevice(): Device {
  current ??= openDefault();
  return current;
}

export function setDefaultDevice(device: Device): void {
  current = device;
}

/** The name that HORNBOOK_DEVICE gives, or undefined where it leaves the choice to us. */
export function chosenDevice(): "cpu" | "reference" | undefined {
  const name = process.env["HORNBOOK_DEVICE"] || undefined;
  if (name !== undefined && name !== "cpu" && name !== "reference") throw new ConfigError("HORNBOOK_DEVICE", `there is no device ${name}; there are cpu and reference.`);
  return name;
}

function openDefault(): Device {
  const chosen = chosenDevice();
  if (chosen === "reference") return new ReferenceDevice();
  if (chosen === undefined && !CpuDevice.isAvailable()) {
    const { reason, remedy } = explainAbsence(nativeSearch());
    warn("HORNBOOK_REFERENCE_DEVICE", `Everything runs on the reference device, in plain TypeScript and about a hundred times slower: ${reason}. ${remedy}`);
    return new ReferenceDevice();
  }
  const device = CpuDevice.create();
  for (const { path, reason } of nativeSearch().skipped) warn("HORNBOOK_NATIVE_SKIPPED", `${path} was skipped: ${reason}. The kernels for ${device.isa} in ${nativeSearch().found?.folder} are used.`);
  return device;
}

function warn(code: string, message: string): void {
  process.emitWarning(message, { type: "HornbookWarning", code });
}
