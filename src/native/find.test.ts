import { copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { contractFingerprint } from "../tensor/contract.fingerprint.js";
import { CpuDevice } from "../tensor/index.js";
import { explainAbsence } from "./absence.js";
import { problemOfLibrary, readBinary } from "./binary.js";
import { findNative, nativeCache, nativePlaces, nativeSearch, packageRoot, packageVersion, type NativeOrigin } from "./find.js";
import { librarySuffix, packagedPlatforms, platformName } from "./platform.js";

const built = nativeSearch().found?.folder ?? "";
const isas = CpuDevice.availableIsas();
const kernels = (isa: string): string => `kernels-${isa}.${librarySuffix}`;
const version = packageVersion();
let root: string;
let folders = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "hornbook-native-"));
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rm(root, { recursive: true, force: true }));

/** A folder with the native half of this machine, of these instruction sets. */
async function place(origin: NativeOrigin = "build", of: readonly string[] = isas.slice(0, 1), manifest?: object): Promise<{ origin: NativeOrigin; folder: string }> {
  const folder = join(root, String(folders++));
  await mkdir(folder);
  for (const file of ["hornbook.node", ...of.map(kernels)]) await copyFile(join(built, file), join(folder, file));
  if (manifest !== undefined) await writeFile(join(folder, "package.json"), JSON.stringify(manifest));
  return { origin, folder };
}

/** Puts other bytes in the place of the contract's fingerprint, as a library of another version has them. */
async function age(path: string): Promise<void> {
  const text = await readFile(path, "latin1");
  expect(text).toContain(contractFingerprint);
  await writeFile(path, text.replaceAll(contractFingerprint, "0".repeat(contractFingerprint.length)), "latin1");
}

describe.skipIf(built === "")("the search for the native half", () => {
  it("takes the first place that has one", async () => {
    const [one, two] = [await place(), await place("cache")];
    expect(findNative([{ origin: "build", folder: join(root, "nothing") }, one, two])).toMatchObject({ found: { origin: "build", folder: one.folder }, skipped: [] });
    expect(findNative([two, one]).found?.folder).toBe(two.folder);
  });

  it("looks where HORNBOOK_BUILD says first, then beside package.json, in the cache, and in the platform's package", () => {
    vi.stubEnv("HORNBOOK_BUILD", join(root, "mine"));
    vi.stubEnv("HORNBOOK_CACHE", join(root, "cache"));
    const places = nativePlaces();
    expect(places.slice(0, 3)).toEqual([
      { origin: "HORNBOOK_BUILD", folder: join(root, "mine") },
      { origin: "build", folder: join(packageRoot(), "build") },
      { origin: "cache", folder: join(root, "cache", "native", `${version}-${contractFingerprint}-${platformName()}`) },
    ]);
    expect(places[2].folder).toBe(nativeCache());
  });

  it("says that HORNBOOK_BUILD names nothing", async () => {
    const next = await place();
    const named = { origin: "HORNBOOK_BUILD", folder: join(root, "nothing") } as const;
    expect(findNative([named, next])).toMatchObject({ found: { folder: next.folder }, skipped: [{ path: named.folder, reason: expect.stringContaining("HORNBOOK_BUILD") as string }] });
  });

  it("passes over an addon that is truncated, anywhere", async () => {
    const next = await place();
    const { byteLength } = await readFile(join(built, "hornbook.node"));
    for (const length of [0, 3, 64, 200, 4096, byteLength >> 1, byteLength - 4096, byteLength - 1]) {
      const bad = await place();
      await truncate(join(bad.folder, "hornbook.node"), length);
      const { found, skipped } = findNative([bad, next]);
      expect(found?.folder, `${length} bytes`).toBe(next.folder);
      expect(skipped).toEqual([{ path: join(bad.folder, "hornbook.node"), reason: expect.stringMatching(/truncated/) as string }]);
    }
  });

  it("passes over what is no library, or for another processor", async () => {
    const text = await place();
    await writeFile(join(text.folder, "hornbook.node"), "version https://git-lfs.github.com/spec/v1");
    const other = await place();
    await writeFile(join(other.folder, "hornbook.node"), otherMachine());
    const { found, skipped } = findNative([text, other]);
    expect(found).toBeUndefined();
    expect(skipped.map(({ reason }) => reason)).toEqual(["it is not a native library", `it is for ${otherName}, and this machine is ${process.platform}-${process.arch}`]);
  });

  it("passes over an addon of another version, and one that is not ours", async () => {
    const [old, next] = [await place(), await place()];
    await age(join(old.folder, "hornbook.node"));
    const foreign = await place();
    await copyFile(join(built, kernels(isas[0])), join(foreign.folder, "hornbook.node")); // A library, but no addon.
    const { found, skipped } = findNative([old, foreign, next]);
    expect(found?.folder).toBe(next.folder);
    expect(skipped[0]).toEqual({ path: join(old.folder, "hornbook.node"), reason: "it was built from another version of Hornbook" });
    expect(skipped[1]).toEqual({ path: join(foreign.folder, "hornbook.node"), reason: expect.stringMatching(/^[^/]*regist|module/i) as string });
  });

  it("passes over a platform's package of another version", async () => {
    const stale = await place("package", undefined, { version: "0.0.1" });
    const right = await place("package", undefined, { version });
    const { found, skipped } = findNative([stale, right]);
    expect(found).toMatchObject({ origin: "package", folder: right.folder });
    expect(skipped).toEqual([{ path: stale.folder, reason: `it is version 0.0.1, and hornbook is ${version}` }]);
    await writeFile(join(stale.folder, "package.json"), "{");
    expect(findNative([stale]).skipped[0].reason).toContain("it is version unknown");
  });

  it.runIf(isas.length > 1)("takes the best kernels that open, and says what is wrong with better ones", async () => {
    const cut = await place("build", isas.slice(0, 2));
    await truncate(join(cut.folder, kernels(isas[0])), 100_000);
    const old = await place("build", isas.slice(0, 2));
    await age(join(old.folder, kernels(isas[0])));
    for (const [{ folder }, reason] of [[cut, /truncated: 100000 of/], [old, /^it was built from another version/]] as const) {
      const { found, skipped } = findNative([{ origin: "build", folder }]);
      expect(found?.bestIsa()).toBe(isas[1]);
      expect(skipped).toEqual([{ path: join(folder, kernels(isas[0])), reason: expect.stringMatching(reason) as string }]);
    }
  });

  it("passes over a folder without kernels for this machine", async () => {
    const bare = await place("build", []);
    const next = await place();
    expect(findNative([bare, next])).toMatchObject({ found: { folder: next.folder }, skipped: [{ path: bare.folder, reason: "it has no kernels for this processor" }] });
  });
});

describe("the words for what is missing", () => {
  it("name what was skipped, and the way out", () => {
    const said = explainAbsence({ skipped: [{ path: "/x/hornbook.node", reason: "it is truncated" }, { path: "/y", reason: "it is not a native library" }] });
    expect(said.reason).toBe("/x/hornbook.node was skipped: it is truncated (`hornbook info` names 1 more)");
    expect(said.remedy).toContain("npx hornbook build");
  });

  it("name HORNBOOK_NATIVE=0, with which nothing is looked for", () => {
    vi.stubEnv("HORNBOOK_NATIVE", "0");
    expect(findNative()).toEqual({ skipped: [] });
    expect(explainAbsence({ skipped: [] }).reason).toContain("HORNBOOK_NATIVE=0");
  });
});

describe("the head of a library", () => {
  const file = async (bytes: Uint8Array): Promise<string> => {
    const path = join(root, `library-${folders++}`);
    await writeFile(path, bytes);
    return path;
  };

  it.each([["Mach-O", machO(), { system: "darwin", arch: "arm64", byteLength: 0x5000 }], ["PE", pe(), { system: "win32", arch: "x64", byteLength: 0x700 }], ["ELF", elf(183), { system: "linux", arch: "arm64", byteLength: 0x900 }]])("of %s says whose it is, and how long it is", async (_, bytes, expected) => {
    expect(readBinary(await file(bytes))).toEqual(expected);
    for (const length of [5, 31, 63, 70]) expect(problemOfLibrary(await file(bytes.slice(0, length)))).toMatch(/truncated/);
  });

  it("of Node's own executable fits this machine", () => {
    expect(readBinary(process.execPath)).toMatchObject({ system: process.platform, arch: process.arch });
    if (process.platform === "linux") expect(platformName()).toMatch(/^linux-\w+-(gnu|musl)$/);
  });

  it.skipIf(built === "")("of what was built here ends where the file ends", async () => {
    for (const name of ["hornbook.node", ...isas.map(kernels)]) expect(readBinary(join(built, name)).byteLength).toBe((await readFile(join(built, name))).byteLength);
  });

  it("is not trusted: sizes that cannot be are truncation, not a crash", async () => {
    const bytes = elf(62);
    bytes.fill(0xff, 32, 48);
    expect(problemOfLibrary(await file(bytes))).toMatch(/truncated/);
  });
});

it("names every platform that has a package once", () => {
  expect(new Set(packagedPlatforms).size).toBe(7);
});

const otherName = process.arch === "arm64" ? "linux-x64" : "linux-arm64";
function otherMachine(): Uint8Array {
  return elf(process.arch === "arm64" ? 62 : 183);
}

/** An ELF header for a machine, a segment of 0x700 bytes at 0x100, and two section headers at 0x880. */
function elf(machine: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(0x900));
  view.setUint32(0, 0x7f454c46);
  view.setUint8(4, 2);
  view.setUint8(5, 1);
  view.setUint16(18, machine, true);
  for (const [offset, value] of [[32, 64], [40, 0x880], [64 + 8, 0x100], [64 + 32, 0x700]]) view.setBigUint64(offset, BigInt(value), true);
  for (const [offset, value] of [[54, 56], [56, 1], [58, 64], [60, 2]]) view.setUint16(offset, value, true);
  view.setUint32(64, 1, true);
  return new Uint8Array(view.buffer);
}

/** A Mach-O header for ARM64 with one segment command: 0x1000 bytes at 0x4000. */
function machO(): Uint8Array {
  const view = new DataView(new ArrayBuffer(0x5000));
  for (const [offset, value] of [[0, 0xfeedfacf], [4, 0x0100000c], [16, 1], [20, 72], [32, 0x19], [36, 72]]) view.setUint32(offset, value, true);
  view.setBigUint64(32 + 40, 0x4000n, true);
  view.setBigUint64(32 + 48, 0x1000n, true);
  return new Uint8Array(view.buffer);
}

/** A PE header for x64 at 0x40, with one section: 0x300 bytes at 0x400. */
function pe(): Uint8Array {
  const view = new DataView(new ArrayBuffer(0x700));
  view.setUint16(0, 0x4d5a);
  view.setUint32(60, 0x40, true);
  view.setUint32(0x40, 0x50450000);
  for (const [offset, value] of [[4, 0x8664], [6, 1], [20, 0]]) view.setUint16(0x40 + offset, value, true);
  view.setUint32(0x58 + 16, 0x300, true);
  view.setUint32(0x58 + 20, 0x400, true);
  return new Uint8Array(view.buffer);
}
