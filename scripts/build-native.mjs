/**
 * Builds the native half: the addon (executor, tokenizer, N-API surface) and one kernel library an instruction set, into build/.
 *
 *   node scripts/build-native.mjs                      the best instruction set of this machine (what installing runs)
 *   node scripts/build-native.mjs --isa supported      every one this machine can run (what the tests need)
 *   node scripts/build-native.mjs --isa avx2,portable  these
 *   ... --force                                        from scratch
 *   ... --target aarch64-macos                         for another machine, into build/aarch64-macos/, with zig (scripts/cross-build.mjs)
 *
 * It needs a C++20 compiler that takes GCC's options (g++, clang++, or `zig c++`; $CXX chooses) and nothing else: no Python, no header download.
 * Without one it says so and succeeds; Hornbook then runs on its reference device in TypeScript, slowly.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL("..", import.meta.url));
const native = join(root, "native");
const args = process.argv.slice(2);
const option = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
const force = args.includes("--force");
const wanted = option("--isa") ?? "best";
const target = option("--target");
const build = join(root, "build", target ?? "");
const system = target === undefined ? process.platform : target.includes("macos") ? "darwin" : target.includes("windows") ? "win32" : "linux";

const isaFlags = {
  portable: [],
  avx2: ["-mavx2", "-mfma", "-mf16c"],
  avx512: ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"],
  avx512bf16: ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-mavx512vnni"],
  amx: ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-mavx512vnni", "-mamx-tile", "-mamx-bf16", "-mamx-int8"],
  neon: [],
  // Not -march, which zig reads in a way of its own.
  neondot: ["-mcpu=generic+dotprod"],
  neonbf16: ["-mcpu=generic+dotprod+bf16+i8mm"],
};
// GCC 12 warns of its own AVX-512 headers (maybe-uninitialized). No contraction: a product and a sum are fused only where the code says so, which keeps the random numbers equal to those in TypeScript.
const common = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-unknown-warning-option", "-Wno-unknown-pragmas", "-Wno-psabi", "-Wno-maybe-uninitialized", "-Wno-uninitialized"];
// A kernel that runs out of memory is unwound by the executor (Context::scratch).
const kernelOnly = ["-fno-exceptions", "-fno-rtti", "-fasynchronous-unwind-tables"];
const library = { darwin: "dylib", win32: "dll" }[system] ?? "so";

const compiler = findCompiler();
if (compiler === undefined) {
  if (target !== undefined) throw new Error("building for another machine needs zig: `pip install ziglang`, or $ZIG names it");
  console.log("hornbook: no C++20 compiler found (tried $CXX, c++, g++, clang++), so the native kernels are not built.");
  console.log("hornbook: everything still works on the reference device in plain TypeScript, about a hundred times slower.");
  console.log("hornbook: install one (Debian: apt install g++; macOS: xcode-select --install) and run `npm run install` to change that.");
  process.exit(0);
}

try {
  await buildAddon();
  const supported = target === undefined ? require(join(build, "hornbook.node")).supportedIsas() : isasOf(target);
  const isas = wanted === "best" ? supported.slice(0, target === undefined ? 1 : undefined) : wanted === "supported" ? supported : wanted.split(",");
  for (const isa of isas) if (!(isa in isaFlags)) throw new Error(`unknown instruction set ${isa}; there are ${Object.keys(isaFlags).join(", ")}`);
  let built = await buildKernels(isas.filter((isa) => supportedByCompiler(isa)));
  if (wanted === "best" && built.length === 0) built = await buildKernels([supported.find((isa) => supportedByCompiler(isa))]);
  console.log(`hornbook: native kernels ready in ${relative(root, build)}/ (${built.join(", ")}).`);
} catch (error) {
  console.log(`hornbook: the native build failed${target === undefined ? ", so Hornbook will run on its slow reference device" : ` for ${target}`}.\n${error.message}`);
  process.exit(wanted === "best" && target === undefined ? 0 : 1);
}

function findCompiler() {
  if (target !== undefined) {
    const zig = findZig();
    return zig && [...zig, "c++", "-target", target];
  }
  for (const candidate of [process.env["CXX"], "c++", "g++", "clang++"]) {
    if (!candidate) continue;
    if (compiles(candidate.split(" "), ["-std=c++20"], "#include <atomic>\nint main() { std::atomic<int> a; a.wait(0); }\n")) return candidate.split(" ");
  }
  return undefined;
}

/** From a file, for zig never sees the end of its standard input. */
function compiles([command, ...rest], flags, program) {
  const source = join(build, "probe.cc");
  mkdirSync(build, { recursive: true });
  writeFileSync(source, program);
  return spawnSync(command, [...rest, ...flags, "-c", source, "-o", `${source}.o`]).status === 0;
}

/** $ZIG, or zig on the path, or PyPI's ziglang. */
function findZig() {
  const candidates = [process.env["ZIG"], "zig", "python3 -m ziglang"].filter(Boolean).map((candidate) => candidate.split(" "));
  return candidates.find(([command, ...rest]) => spawnSync(command, [...rest, "version"]).status === 0);
}

function isasOf(target) {
  const arm = target.startsWith("aarch64");
  return Object.keys(isaFlags).filter((isa) => isa === "portable" || isa.startsWith("neon") === arm);
}

function supportedByCompiler(isa) {
  return compiles(compiler, isaFlags[isa], "int x;");
}

async function buildAddon() {
  const include = require("node-api-headers").include_dir;
  const sources = ["executor", "tokenizer", "napi"].flatMap((room) => sourcesOf(join(native, room)));
  const objects = await compile(sources, "addon", [`-I${include}`, "-DNAPI_VERSION=8", "-pthread"]);
  const link = { darwin: () => ["-dynamiclib", "-undefined", "dynamic_lookup"], win32: () => ["-shared", ...windowsImports()], linux: () => ["-shared", "-ldl"] };
  await linkTo("hornbook.node", objects, [...(link[system] ?? link.linux)(), "-pthread"]);
}

async function buildKernels(isas) {
  for (const isa of isas) {
    const objects = await compile(sourcesOf(join(native, "kernels")), isa, [...kernelOnly, ...isaFlags[isa], `-DHORNBOOK_ISA_${isa.toUpperCase()}=1`]);
    await linkTo(`kernels-${isa}.${library}`, objects, system === "linux" ? ["-shared", "-Wl,-z,defs", "-lm"] : ["-shared"]);
  }
  return isas;
}

/** Node-API lives in the host executable; Windows wants an import library for it, made from the lists of the headers' package. */
function windowsImports() {
  const definitions = join(build, "node_api.def"), out = join(build, "node_api.lib");
  const names = Object.values(require("node-api-headers").def_paths).flatMap((path) => readFileSync(path, "utf8").match(/^napi_\w+|^node_api_\w+/gm));
  mkdirSync(build, { recursive: true });
  writeFileSync(definitions, ["NAME node.exe", "EXPORTS", ...names, ""].join("\n"));
  const tool = target === undefined ? ["dlltool"] : [...findZig(), "dlltool", "-m", "i386:x86-64"];
  const made = spawnSync(tool[0], [...tool.slice(1), "-d", definitions, "-l", out, "-D", "node.exe"], { stdio: "inherit" });
  if (made.status !== 0) throw new Error("an import library for Node-API could not be made: is there a dlltool?");
  return [out];
}

function sourcesOf(folder) {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".cc")).sort().map((name) => join(folder, name)) : [];
}

/** What the sources of a group may include: kernels know nothing of the rooms above them, so a change there does not compile them anew. */
function headers(group) {
  const known = group === "addon" ? [""] : ["kernels", "generated"];
  const paths = known.flatMap((room) => readdirSync(join(native, room), { recursive: true }).map((name) => join(native, room, name)));
  return paths.filter((path) => path.endsWith(".h")).sort().map((path) => readFileSync(path));
}

/** Compiles what changed; an object is named by the hash of all that went into it, so a stale one is never taken. */
async function compile(sources, group, flags) {
  const folder = join(build, "obj", group);
  mkdirSync(folder, { recursive: true });
  const shared = createHash("sha256").update([...compiler, ...common, ...flags].join(" "));
  for (const header of headers(group)) shared.update(header);
  const jobs = sources.map((source) => {
    const hash = shared.copy().update(readFileSync(source)).digest("hex").slice(0, 16);
    return { source, object: join(folder, `${basename(source, ".cc")}-${hash}.o`) };
  });
  const pending = jobs.filter(({ object }) => force || !existsSync(object));
  if (pending.length > 0) console.log(`hornbook: compiling ${pending.length} files for ${group}`);
  const worker = async () => {
    for (let job = pending.shift(); job !== undefined; job = pending.shift()) {
      await run([...common, ...flags, "-c", job.source, "-o", `${job.object}.tmp`]);
      renameSync(`${job.object}.tmp`, job.object);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return jobs.map(({ object }) => object);
}

async function linkTo(name, objects, flags) {
  const target = join(build, name);
  const stamp = `${target}.inputs`;
  const inputs = [...objects.map((o) => basename(o)), ...flags].join("\n");
  if (!force && existsSync(target) && existsSync(stamp) && readFileSync(stamp, "utf8") === inputs) return;
  // A fresh file swapped in: a process that has the old one mapped keeps it.
  await run([...objects, "-o", `${target}.tmp`, ...(system === "linux" && option("--target") ? ["-s"] : []), ...flags]);
  renameSync(`${target}.tmp`, target);
  writeFileSync(stamp, inputs);
}

function run(parameters) {
  return new Promise((resolve, reject) => {
    const child = spawn(compiler[0], [...compiler.slice(1), ...parameters], { stdio: ["ignore", "inherit", "pipe"] });
    let errors = "";
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code !== 0) return reject(new Error(errors || `${compiler[0]} exited with ${code}`));
      if (errors) process.stderr.write(errors);
      resolve();
    });
  });
}
