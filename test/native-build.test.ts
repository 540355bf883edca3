/**
 * scripts/build-native.mjs with a compiler that cannot build one part or another: what is taken instead, and what is said. The compiler is a stand-in that
 * copies what was really built (test/fixtures/native/compiler.sh), so what comes out is opened and run.
 */

import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findNative, nativeSearch } from "../src/native/find.js";
import { CpuDevice } from "../src/tensor/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const built = nativeSearch().found?.folder ?? "";
/** Of this machine, with kernels that were built; best first. */
const isas = CpuDevice.availableIsas();
let folder: string;
let builds = 0;

interface Built {
  readonly code: number;
  /** What was said, but for how far it is. */
  readonly said: string[];
  readonly out: string;
  readonly isas: string[];
  readonly failed: Record<string, string>;
}

async function build(failing: readonly string[], options: readonly string[] = [], env: NodeJS.ProcessEnv = {}, out = join(folder, String(builds++))): Promise<Built> {
  const { code = 0, stdout } = await promisify(execFile)(process.execPath, ["scripts/build-native.mjs", "--out", out, ...options], {
    cwd: root,
    env: { ...process.env, CXX: join(root, "test", "fixtures", "native", "compiler.sh"), BUILT: built, FAILING: failing.join(" ").toUpperCase(), ...env },
  }).catch((error: { code: number; stdout: string }) => error) as { code?: number; stdout: string };
  const files = await readdir(out);
  return {
    code,
    said: stdout.trim().split("\n").filter((line) => !line.startsWith("hornbook: compiling ")),
    out,
    isas: isas.filter((isa) => files.some((file) => file.startsWith(`kernels-${isa}.`) && !file.endsWith(".inputs"))),
    failed: (JSON.parse(await readFile(join(out, "report.json"), "utf8")) as { failed: Record<string, string> }).failed,
  };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-build-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(process.platform === "win32" || isas.length < 2)("a compiler that cannot build", () => {
  it.each(isas.slice(1).map((isa, i) => [isas.slice(0, i + 1), isa] as const))("%s: the best is then %s", async (failing, best) => {
    const { code, said, out, failed, isas: there } = await build(failing);
    expect(code).toBe(0);
    expect(there).toEqual([best]);
    expect(Object.keys(failed)).toEqual(failing);
    expect(said).toHaveLength(failing.length + 1);
    for (const [i, isa] of failing.entries()) expect(said[i]).toMatch(new RegExp(`^hornbook: ${isa} does not build with .*compiler.sh: native/kernels/attention\\.cc: bad register name \`%tmmt' \\(all of it in .*${isa}\\.log\\)$`));
    expect(said.at(-1)).toContain(`(${best}; without ${failing.join(", ")})`);
    expect(findNative([{ origin: "build", folder: out }]).found?.bestIsa()).toBe(best);
  });

  it.each(isas)("%s: the others are built", async (failing) => {
    const { code, said, isas: there, failed } = await build([failing], ["--isa", "supported"]);
    expect(code).toBe(0);
    expect(there).toEqual(isas.filter((isa) => isa !== failing));
    expect(Object.keys(failed)).toEqual([failing]);
    expect(said).toHaveLength(2);
  });

  it("any: there is nothing, which installing takes and nobody else", async () => {
    const every = nativeSearch().found!.addon.supportedIsas();
    const { code, said, out, isas: there } = await build(every);
    expect(code).toBe(0);
    expect(there).toEqual([]);
    expect(said.at(-1)).toContain("reference device");
    expect(findNative([{ origin: "build", folder: out }])).toMatchObject({ skipped: [{ path: out, reason: "it has no kernels for this processor" }] });
    for (const options of [["--required"], ["--isa", "supported"], ["--isa", "known"]]) expect((await build(every, options)).code).toBe(1);
  });

  it("the addon: installing goes on with the reference device", async () => {
    const { code, said, failed, isas: there } = await build(["addon"]);
    expect(code).toBe(0);
    expect(there).toEqual([]);
    expect(Object.keys(failed)).toEqual(["addon"]);
    expect(said).toHaveLength(2);
    expect(said[1]).toContain("reference device");
    expect((await build(["addon"], ["--required"])).code).toBe(1);
  });

  it("one that it is asked for by name, or that CI asks for: that is a failure, and the rest are built", async () => {
    const last = isas.at(-1)!;
    expect(await build([isas[0]], ["--isa", `${isas[0]},${last}`])).toMatchObject({ code: 1, isas: [last] });
    expect(await build([isas[0]], ["--isa", "known"], { UNKNOWN: "-mamx-tile" })).toMatchObject({ code: 1, isas: isas.slice(1).filter((isa) => isa !== "amx") });
  });

  it.runIf(isas.includes("avx2"))("what it does not know", async () => {
    const { code, said, isas: there } = await build([], ["--isa", "supported"], { UNKNOWN: "-mavx512f" });
    expect(code).toBe(0);
    expect(there).toEqual(isas.filter((isa) => !/avx512|amx/.test(isa)));
    expect(said[0]).toMatch(/does not build with .*: it does not know these instructions$/);
  });

  it("what it could build before: the old library does not stay", async () => {
    const { out, isas: there } = await build([], ["--isa", isas[0]]);
    expect(there).toEqual([isas[0]]);
    expect((await build([isas[0]], ["--isa", `${isas[0]},${isas[1]}`, "--force"], {}, out)).isas).toEqual([isas[1]]);
    // The next build that succeeds forgets what failed.
    expect(await build([], ["--isa", isas[0]], {}, out)).toMatchObject({ code: 0, failed: {}, isas: isas.slice(0, 2) });
  });
});

describe.skipIf(process.platform === "win32")("no compiler", () => {
  it("is said in three lines, with the remedy", async () => {
    const nowhere = { PATH: folder, CXX: "no-such-compiler" };
    const { code, said, failed } = await build([], [], nowhere);
    expect(code).toBe(0);
    expect(failed).toEqual({});
    expect(said[0]).toBe("hornbook: CXX=no-such-compiler does not compile C++20.");
    expect(said.slice(1)).toHaveLength(3);
    expect(said.at(-1)).toContain("npx hornbook build");
    expect((await build([], ["--required"], nowhere)).code).toBe(1);
    expect((await build([], ["--isa", "known"], nowhere)).code).toBe(1);
  });
});
