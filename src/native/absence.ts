/** @file Why there is no native half, and what to do about it: words for whoever runs on the reference device without having chosen it. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot, platformPackage, readManifest, type NativeSearch } from "./find.js";
import { platformName } from "./platform.js";

/** What scripts/build-native.mjs leaves beside what it built. */
export interface BuildReport {
  /** The compiler's version, or null where there was none. */
  readonly compiler: string | null;
  /** What did not build (`addon`, or an instruction set), and why. */
  readonly failed: Readonly<Record<string, string>>;
}

/** The report on the last build in a folder, or undefined where there was none. */
export function buildReport(folder: string): BuildReport | undefined {
  const path = join(folder, "report.json");
  if (!existsSync(path)) return undefined;
  try {
    const { compiler = null, failed = {} } = JSON.parse(readFileSync(path, "utf8")) as Partial<BuildReport>;
    return { compiler, failed };
  } catch {
    return undefined; // Cut short by a full disk; the next build writes it anew.
  }
}

/** `reason` goes on after a colon; `remedy` is a sentence. */
export function explainAbsence({ skipped }: NativeSearch): { readonly reason: string; readonly remedy: string } {
  if (process.env["HORNBOOK_NATIVE"] === "0") return { reason: "HORNBOOK_NATIVE=0 forbids native code", remedy: "Unset it to run natively." };
  const report = buildReport(join(packageRoot(), "build"));
  const published = readManifest(packageRoot()).optionalDependencies;
  const isPackaged = published !== undefined && platformPackage() in published;
  const build = `\`npx hornbook build\` compiles it, with a C++20 compiler (${compilerHint[process.platform] ?? "g++ or clang++"}).`;
  if (skipped.length > 0) {
    const [{ path, reason }] = skipped;
    const more = skipped.length === 1 ? "" : ` (\`hornbook info\` names ${skipped.length - 1} more)`;
    return { reason: `${path} was skipped: ${reason}${more}`, remedy: isPackaged ? `Install hornbook anew on this machine, or: ${build}` : build };
  }
  if (report?.compiler === null) return { reason: "no C++20 compiler was found when it was installed", remedy: build };
  const [failure] = Object.entries(report?.failed ?? {});
  if (failure !== undefined) return { reason: `the native half did not build (${failure.join(": ")})`, remedy: build };
  if (isPackaged) return { reason: `${platformPackage()} is not installed`, remedy: `Install hornbook anew on this machine, without --omit=optional, or: ${build}` };
  return { reason: published === undefined ? "the native half is not built" : `there is no package with a native half for ${platformName()}`, remedy: build };
}

const compilerHint: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  linux: "Debian: apt install g++; Alpine: apk add g++",
  darwin: "xcode-select --install",
  win32: "g++ or clang++, as from MSYS2",
};
