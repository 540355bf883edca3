/** @file What this machine is called where native packages are concerned. */

import { readBinary } from "./binary.js";

/** The platforms for which there is a package `@hornbook/NAME`. */
export const packagedPlatforms = ["linux-x64-gnu", "linux-arm64-gnu", "linux-x64-musl", "linux-arm64-musl", "darwin-x64", "darwin-arm64", "win32-x64"] as const;

/** `linux-x64-gnu`, `darwin-arm64`, ...: the system, the processor, and on Linux the C library. There may be no package of that name. */
export function platformName(): string {
  const name = `${process.platform}-${process.arch}`;
  return process.platform === "linux" ? `${name}-${cLibrary()}` : name;
}

/** What kernel libraries end in. */
export const librarySuffix = process.platform === "darwin" ? "dylib" : process.platform === "win32" ? "dll" : "so";

/** Told by the loader that Node's own executable asks for; one that asks for none (a static one) counts as gnu. */
function cLibrary(): "gnu" | "musl" {
  try {
    return readBinary(process.execPath).interpreter?.includes("musl") === true ? "musl" : "gnu";
  } catch {
    return "gnu";
  }
}
