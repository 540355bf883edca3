/** @file What Hornbook runs on here: versions, device, instruction sets, and where the native half came from. */

import { readdirSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { buildReport, explainAbsence } from "./native/absence.js";
import { nativeSearch, packageRoot, packageVersion, type NativeOrigin, type SkippedNative } from "./native/find.js";
import { platformName } from "./native/platform.js";
import { CpuDevice, chosenDevice } from "./tensor/index.js";

export interface SystemInfo {
  /** Of Hornbook. */
  readonly version: string;
  readonly node: string;
  /** As native packages name it: `linux-x64-gnu`. */
  readonly platform: string;
  readonly processor: string;
  /** What new tensors go to. */
  readonly device: "cpu" | "reference";
  /** 1 on the reference device. */
  readonly threads: number;
  readonly instructionSets: {
    /** Those of this machine, best first; null where no addon can tell. */
    readonly supported: readonly string[] | null;
    /** Those with a kernel library in the native half. */
    readonly present: readonly string[];
    /** Null on the reference device. */
    readonly used: string | null;
    /** Those that did not build here, and why. */
    readonly failed: Readonly<Record<string, string>>;
  };
  /** Null where there is none. */
  readonly native: { readonly origin: NativeOrigin; readonly folder: string } | null;
  /** Native code that was found and could not be used. */
  readonly skipped: readonly SkippedNative[];
  /** Why there is no native half, and what to do about it; null where there is one. */
  readonly absence: { readonly reason: string; readonly remedy: string } | null;
}

/** Looks, and opens no device. Throws ConfigError when HORNBOOK_DEVICE names no device. */
export function systemInfo(): SystemInfo {
  const search = nativeSearch();
  const { found } = search;
  const device = chosenDevice() ?? (found === undefined ? "reference" : "cpu");
  const supported = found?.addon.supportedIsas() ?? null;
  // Each is opened, so that what is wrong with one is among what was skipped.
  for (const isa of supported ?? []) found?.kernels(isa);
  const files = found === undefined ? [] : readdirSync(found.folder).flatMap((name) => /^kernels-(\w+)\.(?:so|dylib|dll)$/.exec(name)?.[1] ?? []);
  return {
    version: packageVersion(),
    node: process.versions.node,
    platform: platformName(),
    processor: cpus()[0]?.model.trim() ?? "unknown",
    device,
    threads: device === "cpu" ? CpuDevice.defaultThreads() : 1,
    instructionSets: {
      supported,
      present: [...(supported ?? []).filter((isa) => files.includes(isa)), ...files.filter((isa) => supported?.includes(isa) !== true).sort()],
      used: device === "cpu" ? (CpuDevice.defaultIsa() ?? null) : null,
      failed: buildReport(found?.folder ?? join(packageRoot(), "build"))?.failed ?? {},
    },
    native: found === undefined ? null : { origin: found.origin, folder: found.folder },
    skipped: [...search.skipped],
    absence: found === undefined ? explainAbsence(search) : null,
  };
}
