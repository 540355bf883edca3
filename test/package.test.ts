/**
 * @file The packages as they are published: made, installed from their files into an empty folder with neither network nor install scripts, and used
 * there as a stranger would. Takes about a minute; where there is no compiler, what needs the native half is skipped.
 */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packagedPlatforms } from "../src/native/platform.js";
import { readmeProgram, smallReadmeProgram } from "./readme-program.js";

const root = resolve(import.meta.dirname, "..");
const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
/** `npm test` builds it beforehand, where there is a compiler. */
const isBuilt = existsSync("build/hornbook.node");

let folder: string;
/** Where the packages are installed. */
let app: string;
let tarballs: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-package-"));
  app = join(folder, "app");
  const packages = join(folder, "packages");
  // The best instruction set of this machine, or all that were built; `npm run pack` takes every one.
  succeed(process.execPath, ["scripts/pack.mjs", "--out", packages, ...(isBuilt ? ["--platform", "host", "--local", "best"] : ["--platform", "none"])], root);
  tarballs = readdirSync(packages).filter((name) => name.endsWith(".tgz")).map((name) => join(packages, name));
  await mkdir(join(app, "books"), { recursive: true });
  await writeFile(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await writeFile(join(app, "books", "play.txt"), (await readFile("data/tinyshakespeare.txt", "utf8")).slice(0, 300_000));
  // What hornbook depends on comes from here, so that the network is not asked; the other platforms' packages are nowhere to be had, and that is no error.
  npm(["install", "--offline", "--ignore-scripts", "--install-links", "--no-audit", "--no-fund", "--no-package-lock", ...tarballs, ...dependencies()], app);
}, 600_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

test("the package has what runs, what compiles and what is read, and nothing else", async () => {
  const files = readdirSync(join(app, "node_modules", "hornbook"), { recursive: true, encoding: "utf8" }).map((path) => path.replaceAll("\\", "/"));
  for (const path of ["dist/src/index.js", "dist/src/index.d.ts", "dist/src/cli/bin.js", "dist/src/jinja/index.js", "dist/recipes/shakespeare-char.js", "data/tinyshakespeare.txt", "native/kernels/matmul.cc", "scripts/build-native.mjs", "README.md", "LICENSE", "THIRD-PARTY-NOTICES.md"]) {
    expect(files).toContain(path);
  }
  expect(files.filter((path) => /\.test\.|conformance|gradcheck|\.map$|tsbuildinfo|^native\/test|^bench|(?<!\.d)\.ts$|\.(?:node|so|dylib|dll)$/.test(path))).toEqual([]);
  const manifest = JSON.parse(await readFile(join(app, "node_modules/hornbook/package.json"), "utf8")) as Record<string, unknown>;
  expect(manifest).not.toHaveProperty("scripts");
  expect(manifest).not.toHaveProperty("devDependencies");
  expect(manifest["optionalDependencies"]).toMatchObject({ "@hornbook/linux-x64-gnu": version, "@hornbook/darwin-arm64": version, "@hornbook/win32-x64": version });
});

test("the platforms that packages are made for are those that are looked for", async () => {
  const { platforms } = (await import(pathToFileURL("scripts/platforms.mjs").href)) as { platforms: Record<string, { os: string; cpu: string; libc?: string }> };
  expect(Object.keys(platforms)).toEqual([...packagedPlatforms]);
  for (const [name, { os, cpu, libc }] of Object.entries(platforms)) expect(name).toBe([os, cpu, ...(libc ? [libc.replace("glibc", "gnu")] : [])].join("-"));
});

test("publint and attw find nothing", async () => {
  for (const path of tarballs) {
    const tarball = await readFile(path);
    const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(tarball).buffer }, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg)), path).toEqual([]);
  }
  // ESM is all there is: Node 20.19 and later can `require` it.
  succeed(process.execPath, [join(root, "node_modules/@arethetypeswrong/cli/dist/index.js"), "--profile", "esm-only", join(folder, "packages", `hornbook-${version}.tgz`)], app);
}, 300_000);

describe("strict programs compile against its types, those of its dependencies checked too", () => {
  test.each([
    ["on Node", { module: "NodeNext", moduleResolution: "NodeNext", lib: ["ES2023"], types: ["node"], typeRoots: [join(root, "node_modules/@types")] }],
    ["in a bundler, without Node's types", { module: "ESNext", moduleResolution: "Bundler", lib: ["ES2023", "DOM"], types: [] }],
  ])("%s", async (name, options) => {
    const project = join(app, name.split(" ")[1]);
    await mkdir(project);
    await cp("test/consumer/api.ts", join(project, "api.ts"));
    if (options.types.length > 0) await writeFile(join(project, "readme.ts"), await readmeProgram());
    const strict = {
      target: "ES2022", noEmit: true, strict: true, skipLibCheck: false, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noPropertyAccessFromIndexSignature: true,
      noUnusedLocals: true, noUnusedParameters: true, noImplicitOverride: true, noImplicitReturns: true, verbatimModuleSyntax: true, isolatedModules: true, declaration: true,
    };
    await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: { ...strict, ...options } }));
    succeed(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", project], project);
  }, 300_000);
});

test.skipIf(!isBuilt)("the README's program runs there, natively (skips where no native half was built)", async () => {
  const report = await runProgram();
  expect(report.stderr).toBe("");
  expect(report.device).toBe("cpu");
  expect(report.isa).toBe(report.supported[0]);
  expect(report.losses).toHaveLength(100);
  expect(report.losses.at(-1)).toBeLessThan(report.losses[0] - 0.5);
  const info = JSON.parse(npx(["hornbook", "info", "--json"]).stdout) as { native: { origin: string; folder: string } };
  expect(info.native.origin).toBe("package");
  expect(info.native.folder).toContain(join("node_modules", "@hornbook"));
}, 300_000);

test.skipIf(!isBuilt)("the command line runs there by npx (skips where no native half was built)", () => {
  expect(npx(["hornbook", "--version"]).stdout.trim()).toBe(version);
  npx(["hornbook", "train", "--recipe", "shakespeare-char", "--steps", "2", "--out", "run"]);
  expect(npx(["hornbook", "generate", "run", "--prompt", "O", "--max-tokens", "5", "--json"]).stdout).toContain('"text"');
}, 300_000);

test("without a platform's package it runs on the reference device, and says so once, with the remedy", async () => {
  await rename(join(app, "node_modules/@hornbook"), join(folder, "aside")).catch(() => undefined);
  const report = await runProgram(3);
  expect(report.device).toBe("reference");
  expect(report.stderr.match(/reference device/g)).toHaveLength(1);
  expect(report.stderr).toMatch(/npm install|hornbook build/);
}, 300_000);

/** Runs the README's program with small numbers in the folder, and tells what ran it. */
async function runProgram(steps = 100): Promise<{ device: string; isa: string; supported: string[]; losses: number[]; stderr: string }> {
  const program = (await smallReadmeProgram()).replace("steps: 100", `steps: ${steps}`);
  const said = 'import { tensor } from "hornbook";\nconst { name, isa } = tensor.defaultDevice();\nconsole.log(JSON.stringify({ device: name, isa, supported: tensor.CpuDevice.availableIsas() }));\n';
  await writeFile(join(app, "program.js"), ts.transpile(`${program}\nconsole.log();\n${said}`, { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }));
  await rm(join(app, "my-model"), { recursive: true, force: true });
  const { stdout, stderr } = succeed(process.execPath, ["program.js"], app);
  const losses = [...stdout.matchAll(/^\d+ (\d+\.\d+)$/gm)].map(([, loss]) => Number(loss));
  return { ...(JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as { device: string; isa: string; supported: string[] }), losses, stderr };
}

/** What a user of the package gets with it, from this repository's node_modules: hornbook's dependencies and theirs. */
function dependencies(): string[] {
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }> };
  return Object.entries(packages).filter(([path, { dev, optional, devOptional }]) => path !== "" && !dev && !optional && !devOptional).map(([path]) => join(root, path));
}

function npm(parameters: string[], cwd: string) {
  return succeed("npm", parameters, cwd);
}

function npx(parameters: string[]) {
  return succeed("npx", ["--offline", ...parameters], app);
}

/** Runs a program to its end, without our variables, and throws with all it said where it fails. */
function succeed(command: string, parameters: string[], cwd: string): { stdout: string; stderr: string } {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:HORNBOOK_|npm_|VITEST|NODE_)/.test(name)));
  const { status, stdout, stderr, error } = spawnSync(command, parameters, { cwd, encoding: "utf8", env: { ...env, HORNBOOK_CACHE: join(folder, "cache") }, shell: process.platform === "win32" && !command.endsWith(".exe") });
  if (status !== 0) throw new Error(`${command} ${parameters.join(" ")} ended with ${status}: ${error?.message ?? ""}\n${stdout}\n${stderr}`);
  return { stdout, stderr };
}
