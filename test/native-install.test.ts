/**
 * Hornbook as somebody has it who installed it: the package in node_modules, with the native half in a package of its own, or with none that can be used.
 * What then runs, what is said, and that `hornbook build` mends it.
 */

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { nativeSearch, packageVersion } from "../src/native/find.js";
import { packagedPlatforms, platformName } from "../src/native/platform.js";
import type { SystemInfo } from "../src/system-info.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const native = nativeSearch().found;
const isa = native?.bestIsa() ?? "";
const scope = (): string => join(app, "node_modules", "@hornbook");
const ours = (): string => join(scope(), platformName());
let app: string;

/** Runs Node in the folder of an application that has hornbook among its packages. */
async function node(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HORNBOOK_") && !name.startsWith("NODE_")));
  const options = { cwd: app, env: { ...inherited, HORNBOOK_CACHE: join(app, "cache"), ...env } };
  const { code = 0, stdout, stderr } = await promisify(execFile)(process.execPath, args, options).catch((error: unknown) => error as { code: number; stdout: string; stderr: string }) as { code?: number; stdout: string; stderr: string };
  return { code, stdout, stderr };
}
const hornbook = (args: readonly string[], env?: NodeJS.ProcessEnv) => node([join("node_modules", "hornbook", "dist", "src", "cli", "bin.js"), ...args], env);
const info = async (env?: NodeJS.ProcessEnv) => JSON.parse((await hornbook(["info", "--json"], env)).stdout) as SystemInfo;
/** A program that uses tensors twice and says on which device. */
const program = `import { tensor } from "hornbook"; const [a, b] = [tensor.Tensor.zeros([2]), tensor.Tensor.zeros([2])]; await b.data(); console.log(a.device.name);`;
const library = (env?: NodeJS.ProcessEnv, ...options: string[]) => node([...options, "--input-type=module", "--eval", program], env);

/** The package with the native half of this machine. */
async function addPlatformPackage(version = packageVersion()): Promise<void> {
  await mkdir(ours(), { recursive: true });
  await writeFile(join(ours(), "package.json"), JSON.stringify({ name: `@hornbook/${platformName()}`, version }));
  for (const file of ["hornbook.node", kernels()]) await cp(join(native!.folder, file), join(ours(), file));
}
const kernels = () => native!.kernels(isa)!.slice(native!.folder.length + 1);

beforeAll(async () => {
  app = await mkdtemp(join(tmpdir(), "hornbook-app-"));
  const own = join(app, "node_modules", "hornbook");
  await mkdir(own, { recursive: true });
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { dependencies: Record<string, string> };
  const optionalDependencies = Object.fromEntries(packagedPlatforms.map((name) => [`@hornbook/${name}`, packageVersion()]));
  await writeFile(join(own, "package.json"), JSON.stringify({ ...manifest, optionalDependencies }));
  for (const part of ["dist/src", "dist/recipes", "native", "scripts/build-native.mjs"]) await cp(join(root, part), join(own, part), { recursive: true });
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(app, "node_modules", name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(root, "node_modules", name), link, "junction");
  }
});
beforeEach(() => rm(scope(), { recursive: true, force: true }));
afterAll(() => rm(app, { recursive: true, force: true }));

describe("without a native half", () => {
  it("a library's user is told once, why and what to do, and can silence it", async () => {
    const { stdout, stderr } = await library();
    expect(stdout).toBe("reference\n");
    expect(stderr.match(/HORNBOOK_REFERENCE_DEVICE/g)).toHaveLength(1);
    expect(stderr).toContain(`@hornbook/${platformName()} is not installed`);
    expect(stderr).toContain("npx hornbook build");
    expect(await library({}, "--no-warnings")).toEqual({ code: 0, stdout, stderr: "" });
  });

  it("nothing is said to whoever chose the reference device, and a device that there is not is an error", async () => {
    expect(await library({ HORNBOOK_DEVICE: "reference" })).toEqual({ code: 0, stdout: "reference\n", stderr: "" });
    expect((await library({ HORNBOOK_DEVICE: "gpu" })).stderr).toContain("there is no device gpu; there are cpu and reference");
    expect((await library({ HORNBOOK_DEVICE: "cpu" })).stderr).toMatch(/There are no native kernels: @hornbook\/.* is not installed/);
  });

  it("training and generating say it on stderr, once", async () => {
    await writeFile(join(app, "text.txt"), "To be, or not to be, that is the question.\n".repeat(40));
    const recipe = `export default { description: "tiny", text: { path: "text.txt" }, validation: 0.1, tokenizer: { kind: "characters" },
      model: { numLayers: 1, numHeads: 1, hiddenSize: 8, contextLength: 8 }, train: { steps: 1, batchSize: 1, evaluateTokens: 16 } };`;
    await writeFile(join(app, "recipe.mjs"), recipe);
    for (const args of [["train", "--recipe", "./recipe.mjs", "--out", "run"], ["generate", "run", "--prompt", "To", "--max-tokens", "2"]]) {
      const { code, stderr } = await hornbook(args);
      expect({ code, times: stderr.match(/about a hundred times slower/g)?.length }, stderr).toEqual({ code: 0, times: 1 });
      expect(stderr).toContain("npx hornbook build");
    }
  });

  it("hornbook info shows it", async () => {
    const shown = await info();
    expect(shown).toMatchObject({ version: packageVersion(), node: process.versions.node, device: "reference", threads: 1, native: null, skipped: [] });
    expect(shown.absence?.remedy).toContain("npx hornbook build");
    const { code, stdout } = await hornbook(["info"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^device +reference/m);
    expect(stdout).toContain(shown.absence!.reason);
  });

  it("one for another machine is named", async () => {
    const other = packagedPlatforms.find((name) => name !== platformName())!;
    await mkdir(join(scope(), other), { recursive: true });
    await writeFile(join(scope(), other, "package.json"), JSON.stringify({ name: `@hornbook/${other}`, version: packageVersion() }));
    await writeFile(join(scope(), other, "hornbook.node"), Buffer.from("cffaedfe".padEnd(200, "0"), "hex"));
    const { skipped, device } = await info();
    expect(device).toBe("reference");
    expect(skipped).toEqual([{ path: join(scope(), other), reason: expect.stringMatching(/^it is for /) as string }]);
  });
});

describe.skipIf(native === undefined || process.platform === "win32")("with the platform's package", () => {
  it("it runs natively and says nothing", async () => {
    await addPlatformPackage();
    expect(await library()).toEqual({ code: 0, stdout: "cpu\n", stderr: "" });
    expect(await info()).toMatchObject({ device: "cpu", native: { origin: "package", folder: ours() }, instructionSets: { used: isa, present: [isa] }, skipped: [], absence: null });
    expect((await hornbook(["info"])).stdout).toMatch(new RegExp(`^device +cpu \\(${isa}, \\d+ threads?\\)$`, "m"));
  });

  it("of another version, or truncated: it is named, and not used", async () => {
    await addPlatformPackage("0.0.1");
    expect((await info()).skipped).toEqual([{ path: ours(), reason: `it is version 0.0.1, and hornbook is ${packageVersion()}` }]);
    await addPlatformPackage();
    await truncate(join(ours(), "hornbook.node"), 50_000);
    expect((await info()).skipped).toEqual([{ path: ours(), reason: expect.stringMatching(/truncated/) as string }]);
    const { stdout, stderr } = await library();
    expect(stdout).toBe("reference\n");
    expect(stderr).toMatch(/was skipped: it is truncated: 50000 of/);
  });

  it("what HORNBOOK_BUILD names is taken before it, and where nothing is there, that is said", async () => {
    await addPlatformPackage();
    expect(await info({ HORNBOOK_BUILD: native!.folder })).toMatchObject({ native: { origin: "HORNBOOK_BUILD" }, skipped: [] });
    const { stdout, stderr } = await library({ HORNBOOK_BUILD: "elsewhere" });
    expect(stdout).toBe("cpu\n");
    expect(stderr).toMatch(/HORNBOOK_NATIVE_SKIPPED.*elsewhere was skipped/);
  });
});

describe.skipIf(native === undefined || process.platform === "win32")("hornbook build", () => {
  const compiler = { CXX: join(root, "test", "fixtures", "native", "compiler.sh"), BUILT: native?.folder };
  const own = () => join(app, "node_modules", "hornbook", "build");

  it("compiles into the package, which then runs natively", async () => {
    const { code, stdout, stderr } = await hornbook(["build"], compiler);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`(${isa})`);
    expect(await info()).toMatchObject({ device: "cpu", native: { origin: "build", folder: own() } });
    await rm(own(), { recursive: true });
  });

  it("goes into the cache where the package's folder cannot be written", async () => {
    await writeFile(own(), "a file, in which no folder can be made, even by root");
    const { code } = await hornbook(["build"], compiler);
    await rm(own());
    expect(code).toBe(0);
    expect((await info()).native).toMatchObject({ origin: "cache" });
    await rename(join(app, "cache"), join(app, "old-cache"));
  });

  it("fails with the compiler's reason where nothing can be built, and that reason is then the one that is told", async () => {
    const { code, stdout, stderr } = await hornbook(["build"], { ...compiler, FAILING: "ADDON" });
    expect(code).toBe(1);
    expect(stdout).toContain("bad register name");
    expect(stderr).toContain("was not built");
    expect((await library()).stderr).toMatch(/the native half did not build \(addon: .*bad register name/);
    await rm(own(), { recursive: true });
  });
});
