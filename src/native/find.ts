/**
 * @file Finds the native half: the addon and the kernel libraries, which lie in one folder. Places are tried in order, and the first whose addon opens
 * and has kernels for this machine is taken:
 *
 *     $HORNBOOK_BUILD                                 what somebody chose
 *     build/ in the package                           built from source: in a clone, or by `hornbook build`
 *     ~/.cache/hornbook/native/VERSION-...            by `hornbook build`, where the package's folder cannot be written
 *     @hornbook/PLATFORM                              the package with the native half for a platform, which npm installs
 *
 * What lies in a place and cannot be used (for another machine, truncated, built from another version) is passed over, and noted with the reason.
 */

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { contractFingerprint } from "../tensor/contract.fingerprint.js";
import { isNativeAddon, type NativeAddon } from "./addon.js";
import { problemOfLibrary } from "./binary.js";
import { librarySuffix, packagedPlatforms, platformName } from "./platform.js";

export type NativeOrigin = "HORNBOOK_BUILD" | "build" | "cache" | "package";

/** Something native that lies here and cannot be used. */
export interface SkippedNative {
  readonly path: string;
  /** As in "PATH was skipped: REASON". */
  readonly reason: string;
}

export interface NativeSearch {
  /** What is used; absent where everything runs on the reference device. */
  readonly found?: NativeHalf;
  /** What was passed over, in the order in which it was met. Grows when further kernel libraries are opened. */
  readonly skipped: readonly SkippedNative[];
}

/** A place where the native half may be. */
export interface NativePlace {
  readonly origin: NativeOrigin;
  readonly folder: string;
}

/** The addon of one folder, and the kernel libraries beside it. */
export class NativeHalf {
  readonly origin: NativeOrigin;
  readonly folder: string;
  readonly addon: NativeAddon;
  readonly #opened = new Map<string, string | undefined>();
  readonly #skipped: SkippedNative[];

  constructor({ origin, folder }: NativePlace, addon: NativeAddon, skipped: SkippedNative[]) {
    this.origin = origin;
    this.folder = folder;
    this.addon = addon;
    this.#skipped = skipped;
  }

  /** The kernel library of an instruction set, or undefined where this machine has no such instructions, the library was not built, or cannot be used. */
  kernels(isa: string): string | undefined {
    if (!this.#opened.has(isa)) this.#opened.set(isa, this.#open(isa));
    return this.#opened.get(isa);
  }

  /** The best instruction set of this machine with kernels here. */
  bestIsa(): string | undefined {
    return this.addon.supportedIsas().find((isa) => this.kernels(isa) !== undefined);
  }

  #open(isa: string): string | undefined {
    const path = join(this.folder, `kernels-${isa}.${librarySuffix}`);
    if (!this.addon.supportedIsas().includes(isa) || !existsSync(path)) return undefined;
    const reason = problemOfLibrary(path) ?? this.addon.checkKernels(path);
    if (reason === undefined) return path;
    this.#skipped.push({ path, reason: withoutPath(reason, path) });
    return undefined;
  }
}

let search: NativeSearch | undefined;

/** What this process runs natively with. The search is made once, at the first call. */
export function nativeSearch(): NativeSearch {
  search ??= findNative();
  return search;
}

/** Looks in each place. `version` is what a platform's package must have. */
export function findNative(places: readonly NativePlace[] = nativePlaces(), version: string = packageVersion()): NativeSearch {
  const skipped: SkippedNative[] = [];
  if (process.env["HORNBOOK_NATIVE"] === "0") return { skipped };
  for (const place of places) {
    const { origin, folder } = place;
    const path = join(folder, "hornbook.node");
    if (!existsSync(path)) {
      if (origin === "HORNBOOK_BUILD") skipped.push({ path: folder, reason: "HORNBOOK_BUILD names it, and there is no hornbook.node in it" });
      if (origin === "package") skipped.push({ path: folder, reason: "there is no hornbook.node in it" });
      continue;
    }
    const problem = (origin === "package" ? problemOfPackage(folder, version) : undefined) ?? problemOfLibrary(path);
    const addon = problem ?? openAddon(path);
    if (typeof addon === "string") {
      skipped.push({ path: origin === "package" ? folder : path, reason: addon });
      continue;
    }
    const half = new NativeHalf(place, addon, skipped);
    if (half.bestIsa() !== undefined) return { found: half, skipped };
    if (!skipped.some(({ path }) => dirname(path) === folder)) skipped.push({ path: folder, reason: "it has no kernels for this processor" });
  }
  return { skipped };
}

/** The addon, or why it is none of ours. */
function openAddon(path: string): NativeAddon | string {
  try {
    const addon: unknown = createRequire(import.meta.url)(path);
    return isNativeAddon(addon) && addon.contractFingerprint() === contractFingerprint ? addon : "it was built from another version of Hornbook";
  } catch (error) {
    return withoutPath(error instanceof Error ? error.message.split("\n")[0] : String(error), path);
  }
}

/** What the system's loader or the addon says of a file, without the file's name, which stands before it already. */
function withoutPath(reason: string, path: string): string {
  return reason.replace(`${path}: `, "").replace(path, "it");
}

/** A package with the native half for another machine, or of another version. */
function problemOfPackage(folder: string, version: string): string | undefined {
  const { version: found = "unknown" } = readManifest(folder);
  return found === version || version === "unknown" ? undefined : `it is version ${found}, and hornbook is ${version}`;
}

/** In the order in which they are tried. */
export function nativePlaces(): NativePlace[] {
  const chosen = process.env["HORNBOOK_BUILD"];
  const platform = packageFolder(platformPackage());
  return [
    ...(chosen === undefined || chosen === "" ? [] : [{ origin: "HORNBOOK_BUILD", folder: resolve(chosen) } as const]),
    { origin: "build", folder: join(packageRoot(), "build") },
    { origin: "cache", folder: nativeCache() },
    // One for another platform is there when node_modules came from another machine.
    ...(platform === undefined ? packagedPlatforms.map((name) => packageFolder(`@hornbook/${name}`)) : [platform]).flatMap((folder) => (folder === undefined ? [] : [{ origin: "package", folder } as const])),
  ];
}

/** The package with this machine's native half, whether or not there is one. */
export function platformPackage(): string {
  return `@hornbook/${platformName()}`;
}

/** Where `hornbook build` builds when it cannot write to the package's folder. */
export function nativeCache(): string {
  const cache = process.env["HORNBOOK_CACHE"] ?? join(homedir(), ".cache", "hornbook");
  return join(cache, "native", `${packageVersion()}-${contractFingerprint}-${platformName()}`);
}

function packageFolder(name: string): string | undefined {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** Of the package in a folder; empty where there is none, or it cannot be read. */
export function readManifest(folder: string): Manifest {
  try {
    return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest | null) ?? {};
  } catch {
    return {};
  }
}

/** The folder of this package: the nearest with a package.json above this file, in src/ as in dist/src/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) break;
    folder = parent;
  }
  return folder;
}

/** `unknown` where a bundler has put this file into another package. */
export function packageVersion(): string {
  const { name, version } = readManifest(packageRoot());
  return (name === "hornbook" ? version : undefined) ?? "unknown";
}
