/** @file `hornbook build`: compiles the native half from the sources in the package, where npm brought none that fits. */

import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { HornbookError } from "../../errors.js";
import { nativeCache, packageRoot } from "../../native/find.js";

export function buildCommand(): Command {
  return new Command("build")
    .description("Compile the native half on this machine, where no package has it ready-made. It needs a C++20 compiler (g++ or clang++; CXX names another) and takes some minutes.")
    .option("--isa <names>", "`best` of this machine, all `supported` by it, all `known` to the compiler, or names with commas between", "best")
    .option("--force", "compile everything anew")
    .addHelpText("after", "\nIt goes into the package's folder, or, where that cannot be written, into the cache\n(HORNBOOK_CACHE). `hornbook info` shows what is used.\n\nExamples:\n  hornbook build\n  hornbook build --isa supported\n  CXX=clang++ hornbook build")
    .action(({ isa, force = false }: { isa: string; force?: boolean }) => {
      const out = buildFolder();
      const { status, error } = spawnSync(process.execPath, [join(packageRoot(), "scripts", "build-native.mjs"), "--required", "--isa", isa, "--out", out, ...(force ? ["--force"] : [])], { stdio: "inherit" });
      if (status !== 0) throw new HornbookError(`The native half was not built in ${out}.`, { code: "build-failed", ...(error && { cause: error }) });
    });
}

/** The package's own, or one in the cache where the package's folder is not ours to write. */
function buildFolder(): string {
  const own = join(packageRoot(), "build");
  try {
    mkdirSync(own, { recursive: true });
    accessSync(own, constants.W_OK);
    return own;
  } catch {
    return nativeCache();
  }
}
