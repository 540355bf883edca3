/**
 * Makes the packages that are published, as files in build/packages/: `hornbook`, and `@hornbook/PLATFORM` with the native half for each platform.
 *
 *   npm run pack                                      all of them (some minutes the first time)
 *   npm run pack -- --platform linux-x64-gnu,host     of the platforms only these; `none` for none
 *   ... --local ISAS                                  this machine's platform with its own compiler instead of zig: `known` instruction sets, `supported`, ...
 *   ... --repository URL                              where the source is, which publishing with provenance needs
 *   ... --out DIR                                     elsewhere than build/packages/
 *
 * zig (PyPI's `ziglang`, $ZIG, or on the path) compiles for every platform, so what is published does not depend on the machine it is made on; the
 * same source and zig give the same bytes. What --local makes needs a C library as new as this machine's, and is for tests.
 *
 * `hornbook` names the platforms in its `optionalDependencies`, at its own version, and npm installs the one that fits. So nothing is compiled and no
 * script runs when it is installed. The manifest in the repository cannot name them: `npm ci` fails on a package that is not published yet.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { hostPlatform, platforms } from "./platforms.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { platform: { type: "string", default: Object.keys(platforms).join(",") }, local: { type: "string" }, repository: { type: "string" }, out: { type: "string", default: join(root, "build", "packages") } },
});
const out = resolve(values.out);
const source = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const chosen = values.platform === "none" ? [] : values.platform.split(",").map((name) => (name === "host" ? hostPlatform() : name));
for (const name of chosen) if (!(name in platforms)) fail(`there is no package for ${name ?? "this machine's platform"}; there are ${Object.keys(platforms).join(", ")}`);
if (values.local && (chosen.length !== 1 || chosen[0] !== hostPlatform())) fail("--local is for --platform host alone");

/** What all the packages say of themselves. */
const common = {
  version: source.version,
  license: source.license,
  author: source.author,
  ...(values.repository && { repository: { type: "git", url: values.repository } }),
  publishConfig: { access: "public", ...(values.repository && { provenance: true }) },
  engines: source.engines,
  // Yarn would leave it in a zip, from where no library can be opened and nothing compiled.
  preferUnplugged: true,
};

rmSync(out, { recursive: true, force: true });
for (const name of chosen) packPlatform(name);
packMain();

function packPlatform(name) {
  const { target, os, cpu, libc, words } = platforms[name];
  const built = values.local ? join(root, "build") : join(root, "build", target);
  run(process.execPath, values.local ? ["scripts/build-native.mjs", "--isa", values.local] : ["scripts/build-native.mjs", "--target", target]);
  const folder = stage(name, {
    name: `@hornbook/${name}`,
    description: `The native half of hornbook for ${words}`,
    ...common,
    type: "commonjs",
    main: "hornbook.node",
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
  });
  const libraries = readdirSync(built).filter((file) => /^kernels-\w+\.(so|dylib|dll)$/.test(file));
  for (const file of ["hornbook.node", ...libraries]) cpSync(join(built, file), join(folder, file));
  const list = libraries.map((file) => `\`${file}\``).join(", ");
  writeFileSync(join(folder, "README.md"), `# @hornbook/${name}

The native half of [hornbook](https://www.npmjs.com/package/hornbook) for ${words}: the addon \`hornbook.node\`, and the kernels for each instruction
set (${list}), of which the best that the processor has is chosen when it runs.

npm installs it with hornbook; nobody needs to install it by hand.
`);
  pack(folder);
}

function packMain() {
  const { scripts: _scripts, devDependencies: _devDependencies, files: _files, private: _private, ...published } = source;
  const optionalDependencies = Object.fromEntries(Object.keys(platforms).map((name) => [`@hornbook/${name}`, source.version]));
  const folder = stage("hornbook", { ...published, ...common, optionalDependencies });
  // Compiled anew, for dist/ may hold what has no source any more.
  run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.pack.json", "--outDir", join(folder, "dist")]);
  for (const path of ["README.md", "data", "native", "scripts/build-native.mjs"]) cpSync(join(root, path), join(folder, path), { recursive: true });
  rmSync(join(folder, "native", "test"), { recursive: true });
  pack(folder);
}

/** A folder for a package with its manifest and licences. */
function stage(name, manifest) {
  const folder = join(out, "stage", name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const file of ["LICENSE", "THIRD-PARTY-NOTICES.md"]) cpSync(join(root, file), join(folder, file));
  return folder;
}

function pack(folder) {
  const [{ filename, size, unpackedSize, entryCount }] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", out], folder));
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(`${relative(process.cwd(), join(out, filename))}: ${megabytes(size)}, unpacked ${megabytes(unpackedSize)} in ${entryCount} files`);
}

/** npm is a script for a shell on Windows, and a program of JavaScript everywhere. */
function npm(parameters, cwd) {
  const script = process.env["npm_execpath"];
  const [command, ...rest] = script?.endsWith(".js") ? [process.execPath, script] : ["npm"];
  const { status, stdout, error } = spawnSync(command, [...rest, ...parameters], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], shell: command === "npm" && process.platform === "win32" });
  if (status !== 0) fail(`npm ${parameters[0]} failed in ${cwd}${error ? `: ${error.message}` : ""}`);
  return stdout;
}

function run(command, parameters) {
  const { status } = spawnSync(command, parameters, { cwd: root, stdio: "inherit" });
  if (status !== 0) fail(`${parameters.join(" ")} failed`);
}

function fail(message) {
  console.error(`pack: ${message}`);
  process.exit(1);
}
