/**
 * Builds the native half: the addon (executor, tokenizer, N-API surface) and one kernel library an instruction set, into build/.
 *
 *   node scripts/build-native.mjs                      the best instruction set of this machine that builds (what installing in a clone runs)
 *   node scripts/build-native.mjs --isa supported      every one this machine can run (what the tests need)
 *   node scripts/build-native.mjs --isa known          every one the compiler knows, whether or not this machine can run it (what CI needs)
 *   node scripts/build-native.mjs --isa avx2,portable  these
 *   ... --force                                        from scratch
 *   ... --required                                     fails where nothing was built (what `hornbook build` needs)
 *   ... --out DIR                                      into another folder than build/
 *   ... --target aarch64-macos                         for another machine, into build/aarch64-macos/, with zig (scripts/cross-build.mjs)
 *
 * It needs a C++20 compiler that takes GCC's options (g++, clang++, or `zig c++`; $CXX chooses) and nothing else: no Python, no header download.
 * Without one, or where the addon does not build, it says so and succeeds; Hornbook then runs on its reference device in TypeScript, slowly.
 * An instruction set that does not build is passed over: by `best` for the next one, by `supported` unless none builds. `known`, a list and
 * `--target` fail where any fails. report.json, beside what was built, says what failed and why; what a compiler said in full is in NAME.log.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const native = join(root, "native");
const args = process.argv.slice(2);
const option = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
const force = args.includes("--force");
const wanted = option("--isa") ?? "best";
const target = option("--target");
const build = option("--out") === undefined ? join(root, "build", target ?? "") : resolve(option("--out"));
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

/** A path as one would type it here. */
const shown = (path) => (relative(process.cwd(), path).startsWith("..") ? path : relative(process.cwd(), path) || ".");
const say = (text) => console.log(`hornbook: ${text}`);
/** What a compiler said, in one line; the whole of it goes to a file. */
class BuildError extends Error {}

mkdirSync(build, { recursive: true });
const compiler = findCompiler();
/** Of an earlier build too: what failed and has not been built since. */
const report = readReport();
try {
  process.exitCode = (await buildAll()) ? 0 : 1;
} catch (error) {
  say(error.message);
  process.exitCode = 1;
}
writeFileSync(join(build, "report.json"), `${JSON.stringify(report, null, 2)}\n`);

/** Whether what was asked for is there, or may be absent. */
async function buildAll() {
  if (compiler === undefined) {
    if (target !== undefined) throw new Error("building for another machine needs zig: `pip install ziglang`, or $ZIG names it");
    say("no C++20 compiler was found (tried $CXX, c++, g++, clang++), so the native kernels are not built.");
    say("everything still works on the reference device, in plain TypeScript, about a hundred times slower.");
    say("to change that, install one (Debian: apt install g++; macOS: xcode-select --install) and run `npx hornbook build`.");
    return ["best", "supported"].includes(wanted) && !args.includes("--required");
  }
  let supported = [];
  const made = await attempt("addon", async () => {
    await buildAddon();
    supported = target === undefined ? createRequire(import.meta.url)(join(build, "hornbook.node")).supportedIsas() : isasOf(target);
  });
  if (!made) return nothing();
  const isas = { best: supported, supported, known: isasOf(target) }[target === undefined ? wanted : "known"] ?? wanted.split(",");
  for (const isa of isas) if (!(isa in isaFlags)) throw new Error(`unknown instruction set ${isa}; there are ${Object.keys(isaFlags).join(", ")}`);
  const built = [], failed = [];
  for (const isa of isas) {
    ((await attempt(isa, buildKernels)) ? built : failed).push(isa);
    if (built.length > 0 && wanted === "best" && target === undefined) break;
  }
  if (built.length === 0) return nothing();
  say(`native kernels ready in ${shown(build)}/ (${built.join(", ")}${failed.length > 0 ? `; without ${failed.join(", ")}` : ""}).`);
  return failed.length === 0 || (target === undefined && ["best", "supported"].includes(wanted));
}

/** Nothing can run natively: whether that may be. */
function nothing() {
  if (target === undefined) say("everything still works on the reference device, in plain TypeScript, about a hundred times slower.");
  return target === undefined && wanted === "best" && !args.includes("--required");
}

/** Runs `make(name)`, and tells whether it did. Where it fails, it says why, and nothing of an earlier build stays in its place. */
async function attempt(name, make) {
  const output = name === "addon" ? "hornbook.node" : `kernels-${name}.${library}`;
  const log = join(build, `${name}.log`);
  try {
    await make(name);
    delete report.failed[name];
    rmSync(log, { force: true });
    return true;
  } catch (error) {
    [report.failed[name]] = error.message.split("\n");
    if (error.cause) writeFileSync(log, error.cause);
    for (const path of [output, `${output}.inputs`]) rmSync(join(build, path), { force: true });
    say(`${name} does not build with ${compiler.join(" ")}: ${report.failed[name]}${error.cause ? ` (all of it in ${shown(log)})` : ""}`);
    return false;
  }
}

function readReport() {
  let failed = {};
  try {
    ({ failed = {} } = JSON.parse(readFileSync(join(build, "report.json"), "utf8")));
  } catch {
    // The first build here.
  }
  return { compiler: compiler === undefined ? null : versionOf(compiler), failed };
}

function findCompiler() {
  if (target !== undefined) {
    const zig = findZig();
    return zig && [...zig, "c++", "-target", target];
  }
  const chosen = process.env["CXX"];
  const works = (candidate) => compiles(candidate.split(" "), ["-std=c++20"], "#include <atomic>\nint main() { std::atomic<int> a; a.wait(0); }\n");
  const found = [chosen, "c++", "g++", "clang++"].find((candidate) => candidate && works(candidate));
  if (chosen && found !== chosen) say(`CXX=${chosen} does not compile C++20${found === undefined ? "" : `, so ${found} is taken`}.`);
  return found?.split(" ");
}

/** The first line that it says of itself, or its name. */
function versionOf([command, ...rest]) {
  return spawnSync(command, [...rest, "--version"], { encoding: "utf8" }).stdout?.split("\n")[0] || command;
}

/** From a file, for zig never sees the end of its standard input. */
function compiles([command, ...rest], flags, program) {
  const source = join(build, `probe-${process.pid}.cc`), object = `${source}.o`;
  writeFileSync(source, program);
  const { status } = spawnSync(command, [...rest, ...flags, "-c", source, "-o", object]);
  for (const path of [source, object]) rmSync(path, { force: true });
  return status === 0;
}

/** $ZIG, or zig on the path, or PyPI's ziglang. */
function findZig() {
  const candidates = [process.env["ZIG"], "zig", "python3 -m ziglang"].filter(Boolean).map((candidate) => candidate.split(" "));
  return candidates.find(([command, ...rest]) => spawnSync(command, [...rest, "version"]).status === 0);
}

/** Those of a target, or of this kind of machine, that the compiler knows, best first. */
function isasOf(target) {
  const family = target?.split("-")[0] ?? { x64: "x86_64", arm64: "aarch64" }[process.arch];
  const names = { x86_64: ["amx", "avx512bf16", "avx512", "avx2", "portable"], aarch64: ["neonbf16", "neondot", "neon", "portable"] }[family] ?? ["portable"];
  return names.filter((isa) => isKnown(isa));
}

function isKnown(isa) {
  return compiles(compiler, isaFlags[isa], "int x;");
}

async function buildAddon() {
  const include = nodeApi().include_dir;
  const sources = ["executor", "tokenizer", "napi"].flatMap((room) => sourcesOf(join(native, room)));
  const objects = await compile(sources, "addon", [`-I${include}`, "-DNAPI_VERSION=8", "-pthread"]);
  const link = { darwin: () => ["-dynamiclib", "-undefined", "dynamic_lookup"], win32: () => ["-shared", ...windowsImports()], linux: () => ["-shared", "-ldl"] };
  await linkTo("hornbook.node", objects, [...(link[system] ?? link.linux)(), "-pthread"]);
}

async function buildKernels(isa) {
  if (!isKnown(isa)) throw new BuildError("it does not know these instructions");
  const objects = await compile(sourcesOf(join(native, "kernels")), isa, [...kernelOnly, ...isaFlags[isa], `-DHORNBOOK_ISA_${isa.toUpperCase()}=1`]);
  await linkTo(`kernels-${isa}.${library}`, objects, system === "linux" ? ["-shared", "-Wl,-z,defs", "-lm"] : ["-shared"]);
}

function nodeApi() {
  try {
    return createRequire(import.meta.url)("node-api-headers");
  } catch {
    throw new BuildError("the package node-api-headers is not installed (npm install brings it)");
  }
}

/** Node-API lives in the host executable; Windows wants an import library for it, made from the lists of the headers' package. */
function windowsImports() {
  const definitions = join(build, "node_api.def"), out = join(build, "node_api.lib");
  const names = Object.values(nodeApi().def_paths).flatMap((path) => readFileSync(path, "utf8").match(/^napi_\w+|^node_api_\w+/gm));
  writeFileSync(definitions, ["NAME node.exe", "EXPORTS", ...names, ""].join("\n"));
  const tool = target === undefined ? ["dlltool"] : [...findZig(), "dlltool", "-m", "i386:x86-64"];
  const made = spawnSync(tool[0], [...tool.slice(1), "-d", definitions, "-l", out, "-D", "node.exe"], { stdio: "inherit" });
  if (made.status !== 0) throw new BuildError("an import library for Node-API could not be made: is there a dlltool?");
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
  const shared = createHash("sha256").update([report.compiler, ...compiler.slice(1), ...common, ...flags].join(" ").replaceAll(root, ""));
  for (const header of headers(group)) shared.update(header);
  const jobs = sources.map((source) => {
    const hash = shared.copy().update(readFileSync(source)).digest("hex").slice(0, 16);
    return { source, object: join(folder, `${basename(source, ".cc")}-${hash}.o`) };
  });
  const pending = jobs.filter(({ object }) => force || !existsSync(object));
  if (pending.length > 0) say(`compiling ${pending.length} files for ${group}`);
  const worker = async () => {
    for (let job = pending.shift(); job !== undefined; job = pending.shift()) {
      try {
        await run([...common, ...flags, "-c", job.source], job.object, job.source);
      } catch (error) {
        pending.length = 0; // One that fails is enough.
        throw error;
      }
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: availableParallelism() }, worker));
  for (const { status, reason } of workers) if (status === "rejected") throw reason;
  return jobs.map(({ object }) => object);
}

async function linkTo(name, objects, flags) {
  const output = join(build, name);
  const stamp = `${output}.inputs`;
  const inputs = [...objects.map((o) => basename(o)), ...flags].join("\n");
  if (!force && existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === inputs) return;
  await run([...objects, ...(system === "linux" && target !== undefined ? ["-s"] : []), ...flags], output, name);
  writeFileSync(stamp, inputs);
}

/** Runs the compiler. Its output is swapped in when it is whole: a process that has an older one mapped keeps that. */
function run(parameters, output, what) {
  const temporary = `${output}.${process.pid}.tmp`;
  return new Promise((resolve, reject) => {
    const child = spawn(compiler[0], [...compiler.slice(1), ...parameters, "-o", temporary], { stdio: ["ignore", "inherit", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk) => (said += chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code !== 0) {
        rmSync(temporary, { force: true });
        return reject(new BuildError(firstError(said || `error: it ended with ${signal ?? code}`, what), { cause: said }));
      }
      if (said) process.stderr.write(said);
      renameSync(temporary, output);
      resolve();
    });
  });
}

/** The first error that a compiler or linker said, with the place in our sources, or else what it was made from: a temporary file means nothing to anybody. */
function firstError(said, what) {
  const lines = said.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const line = lines.find((line) => /\berror:/i.test(line)) ?? lines.find((line) => /undefined|cannot|not found/.test(line)) ?? lines[0];
  const [, place, error] = /^(?:(.*?):\s*)?(?:fatal )?error:\s*(.*)$/i.exec(line) ?? [undefined, undefined, line];
  const ours = place !== undefined && resolve(place).startsWith(native) ? place : what;
  const reason = `${ours.startsWith(root) ? relative(root, ours) : ours}: ${error}`;
  return reason.length > 200 ? `${reason.slice(0, 199)}…` : reason;
}
