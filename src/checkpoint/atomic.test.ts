import { spawn } from "node:child_process";
import { mkdir, mkdtemp, open, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { CheckpointError } from "../errors.js";
import { lockFolder, readableFolder, writeFileAtomically, writeFolderAtomically } from "./atomic.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-atomic-"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

const options = { marker: "config.json", owns: (name: string) => name.endsWith(".json") || name.endsWith(".bin") };
const fill = (version: string) => async (into: string) => {
  await writeFile(join(into, "config.json"), version);
  await mkdir(join(into, "parts"));
  await writeFile(join(into, "parts", "a.bin"), version);
};

/** Makes the n-th and all later writes to open files fail, as a full disk does. */
async function fillDiskAfter(writes: number): Promise<void> {
  const handle = await open(join(folder, ".probe"), "w");
  const prototype = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  await rm(join(folder, ".probe"));
  for (const method of ["write", "writeFile"] as const) {
    const original: unknown = Reflect.get(prototype, method);
    vi.spyOn(prototype, method).mockImplementation(function (this: unknown, ...args: unknown[]) {
      if (writes-- > 0) return Reflect.apply(original as () => never, this, args) as never;
      return Promise.reject(Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" }));
    });
  }
}

describe("writeFileAtomically", () => {
  it("writes and replaces, making folders, and leaves nothing else behind", async () => {
    const path = join(folder, "deep", "file.txt");
    await writeFileAtomically(path, "one");
    await writeFileAtomically(path, (file) => file.writeFile("two"));
    expect(await readFile(path, "utf8")).toBe("two");
    expect(await readdir(dirname(path))).toEqual(["file.txt"]);
  });

  it("writes through a link", async () => {
    await writeFile(join(folder, "real"), "one");
    await symlink(join(folder, "real"), join(folder, "link"));
    await writeFileAtomically(join(folder, "link"), "two");
    expect(await readFile(join(folder, "real"), "utf8")).toBe("two");
  });

  it("keeps the old file when the disk fills up, and says so", async () => {
    const path = join(folder, "file");
    await writeFileAtomically(path, "old");
    for (const writes of [0, 1, 2]) {
      await fillDiskAfter(writes);
      const job = writeFileAtomically(path, async (file) => {
        for (let i = 0; i < 3; i++) await file.write(Buffer.from("new"));
      });
      await expect(job).rejects.toThrow(CheckpointError);
      await expect(job).rejects.toMatchObject({ code: "disk-full", file: path });
      vi.restoreAllMocks();
      expect(await readFile(path, "utf8")).toBe("old");
      expect(await readdir(folder)).toEqual(["file"]);
    }
  });

  it("hands on an error of the content, and keeps the old file", async () => {
    const path = join(folder, "file");
    await writeFileAtomically(path, "old");
    await expect(writeFileAtomically(path, () => Promise.reject(new RangeError("no")))).rejects.toThrow(RangeError);
    expect(await readFile(path, "utf8")).toBe("old");
  });

  it("says when the place cannot be written", async () => {
    await writeFile(join(folder, "file"), "");
    await expect(writeFileAtomically(join(folder, "file", "below"), "x")).rejects.toMatchObject({ code: "cannot-write" });
  });
});

describe("writeFolderAtomically", () => {
  it("replaces what it owns and carries over the rest", async () => {
    const target = join(folder, "model");
    await writeFolderAtomically(target, options, async (into) => {
      await fill("one")(into);
      await writeFile(join(into, "stale.bin"), "");
    });
    await writeFile(join(target, "README.md"), "mine");
    await writeFolderAtomically(target, options, fill("two"));
    expect((await readdir(target)).sort()).toEqual(["README.md", "config.json", "parts"]);
    expect(await readFile(join(target, "parts", "a.bin"), "utf8")).toBe("two");
    expect(await readdir(folder)).toEqual(["model"]);
  });

  it("fills an empty folder, and refuses one that holds other work", async () => {
    const target = join(folder, "model");
    await mkdir(target);
    await writeFolderAtomically(target, options, fill("one"));
    const home = join(folder, "home");
    await mkdir(home);
    await writeFile(join(home, "thesis.tex"), "");
    await expect(writeFolderAtomically(home, options, fill("one"))).rejects.toMatchObject({ code: "not-a-checkpoint", file: home });
    expect(await readdir(home)).toEqual(["thesis.tex"]);
  });

  it("keeps the old folder when the disk fills up at any write", async () => {
    const target = join(folder, "model");
    await writeFolderAtomically(target, options, fill("old"));
    for (const writes of [0, 1, 2, 3]) {
      await fillDiskAfter(writes);
      const job = writeFolderAtomically(target, options, async (into) => {
        await writeFileAtomically(join(into, "config.json"), "new");
        await writeFileAtomically(join(into, "a.bin"), async (file) => {
          for (let i = 0; i < 3; i++) await file.write(Buffer.from("new"));
        });
      });
      await expect(job).rejects.toMatchObject({ code: "disk-full" });
      vi.restoreAllMocks();
      expect(await readFile(join(target, "config.json"), "utf8")).toBe("old");
      expect(await readdir(folder)).toEqual(["model"]);
    }
  });

  it("finds and puts back the old folder of a swap that stopped half way", async () => {
    const target = join(folder, "model");
    await fill("old")(await mkdir(join(folder, ".model.old"), { recursive: true }).then(() => join(folder, ".model.old")));
    await mkdir(join(folder, ".model.tmp-999999999-1-abcd"));
    expect(await readFile(join(await readableFolder(target), "config.json"), "utf8")).toBe("old");
    await expect(writeFolderAtomically(target, options, () => Promise.reject(new RangeError("no")))).rejects.toThrow(RangeError);
    expect(await readableFolder(target)).toBe(target);
    expect(await readFile(join(target, "config.json"), "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["model"]);
  });
});

describe("lockFolder", () => {
  it("refuses a second holder, naming the process, until released", async () => {
    const lock = await lockFolder(folder);
    await expect(lockFolder(folder)).rejects.toMatchObject({ code: "folder-in-use", file: folder });
    await expect(lockFolder(folder)).rejects.toThrow("this process");
    await lock.release();
    await using _second = await lockFolder(folder);
    expect(await readdir(folder)).toEqual([".hornbook.lock"]);
  });

  it("names another living process, and takes over from a dead one, a reused id and a torn file", async () => {
    const path = join(folder, ".hornbook.lock");
    const other = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)"]);
    const pid = other.pid!;
    const started = (await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ")")).split(") ")[1]?.split(" ")[19] ?? "";
    await writeFile(path, JSON.stringify({ pid, host: hostname(), started, id: "a" }));
    await expect(lockFolder(folder)).rejects.toThrow(`process ${pid}`);
    other.kill("SIGKILL");
    await new Promise((done) => other.once("exit", done));
    await (await lockFolder(folder)).release();

    if (process.platform === "linux") {
      await writeFile(path, JSON.stringify({ pid: process.pid, host: hostname(), started: "1", id: "a" }));
      await (await lockFolder(folder)).release();
    }
    await writeFile(path, '{"pid":');
    await (await lockFolder(folder)).release();
    expect(await readdir(folder)).toEqual([]);
  });

  it("leaves the lock of another machine alone and says how to remove it", async () => {
    await writeFile(join(folder, ".hornbook.lock"), JSON.stringify({ pid: 1, host: "elsewhere", started: "", id: "a" }));
    await expect(lockFolder(folder)).rejects.toThrow(/process 1 on elsewhere.*delete .*\.hornbook\.lock/);
  });

  it("lets one of many in", async () => {
    await writeFile(join(folder, ".hornbook.lock"), JSON.stringify({ pid: 999999999, host: hostname(), started: "1", id: "a" }));
    await writeFile(join(folder, ".hornbook.lock.takeover"), '{"torn');
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder)));
    expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
    expect(await readdir(folder)).toEqual([".hornbook.lock"]);
  });
});

describe("kill -9", () => {
  let compiled: string;
  beforeAll(async () => {
    compiled = await mkdtemp(join(tmpdir(), "hornbook-kill-"));
    for (const file of ["errors.ts", "checkpoint/atomic.ts"]) {
      const source = await readFile(fileURLToPath(new URL(`../${file}`, import.meta.url)), "utf8");
      const { outputText } = ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } });
      await writeFileInto(join(compiled, file.replace(".ts", ".js")), outputText);
    }
    await writeFile(join(compiled, "package.json"), '{"type":"module"}');
    // Its imports are looked up from where the file lies.
    await symlink(fileURLToPath(new URL("../../node_modules", import.meta.url)), join(compiled, "node_modules"));
  });
  afterAll(() => rm(compiled, { recursive: true, force: true }));

  const writeFileInto = async (path: string, text: string) => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  };

  /** Runs a writer that saves version after version; `dying` is code that ends it at a chosen system call. Gives the last version it reported. */
  function saveUntilKilled(target: string, dying: string, afterMilliseconds?: number): Promise<number> {
    const script = `
      import fsp from "node:fs/promises";
      import { syncBuiltinESMExports } from "node:module";
      import { join } from "node:path";
      ${dying}
      syncBuiltinESMExports();
      const { writeFolderAtomically } = await import(${JSON.stringify(pathToFileURL(join(compiled, "checkpoint", "atomic.js")).href)});
      let version = Number(process.argv[2]);
      for (;;) {
        version++;
        await writeFolderAtomically(process.argv[1], { marker: "config.json", owns: () => true }, async (into) => {
          await fsp.writeFile(join(into, "config.json"), String(version));
          await fsp.mkdir(join(into, "parts"));
          for (let i = 0; i < 4; i++) await fsp.writeFile(join(into, "parts", i + ".bin"), String(version).repeat(20000));
        });
        process.stdout.write(version + "\\n");
      }`;
    return new Promise((done, fail) => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script, target, String(lastVersion)], { stdio: ["ignore", "pipe", "inherit"] });
      let output = "";
      child.stdout.on("data", (data: Buffer) => {
        if (output === "" && afterMilliseconds !== undefined) setTimeout(() => child.kill("SIGKILL"), afterMilliseconds);
        output += data.toString();
      });
      child.once("exit", (_code, signal) => {
        if (signal !== "SIGKILL") fail(new Error(`the writer ended by itself (${String(signal)})`));
        else done(Number(output.trimEnd().split("\n").at(-1)) || lastVersion);
      });
    });
  }

  let lastVersion = 0;
  async function checkWhole(target: string, reported: number): Promise<void> {
    const place = await readableFolder(target);
    const version = Number(await readFile(join(place, "config.json"), "utf8"));
    expect(version === reported || version === reported + 1).toBe(true); // It may die between finishing and reporting.
    for (let i = 0; i < 4; i++) expect(await readFile(join(place, "parts", `${i}.bin`), "utf8")).toBe(String(version).repeat(20000));
    lastVersion = version;
  }

  it("around the renames, removals, opens and mkdirs of a save leaves the old or the new folder whole", async () => {
    const target = join(folder, "model");
    lastVersion = 0;
    await writeFolderAtomically(target, { marker: "config.json", owns: () => true }, async (into) => {
      await writeFile(join(into, "config.json"), "0");
      await mkdir(join(into, "parts"));
      for (let i = 0; i < 4; i++) await writeFile(join(into, "parts", `${i}.bin`), "0".repeat(20000));
    });
    for (const [call, count] of [["rename", 2], ["rm", 1], ["open", 3], ["mkdir", 3]] as const) {
      for (let n = 1; n <= count; n++) {
        for (const when of ["before", "after"]) {
          const dying = `
            const original = fsp.${call};
            let calls = 0;
            fsp.${call} = async (...args) => {
              calls++;
              if (calls === ${n} && "${when}" === "before") process.kill(process.pid, "SIGKILL");
              const result = await original(...args);
              if (calls === ${n} && "${when}" === "after") process.kill(process.pid, "SIGKILL");
              return result;
            };`;
          await checkWhole(target, await saveUntilKilled(target, dying));
        }
      }
    }
    await writeFolderAtomically(target, { marker: "config.json", owns: () => true }, (into) => writeFile(join(into, "config.json"), ""));
    expect(await readdir(folder)).toEqual(["model"]);
  });

  it("at random moments leaves the old or the new folder whole", async () => {
    const target = join(folder, "model");
    lastVersion = 0;
    for (let i = 0; i < 12; i++) await checkWhole(target, await saveUntilKilled(target, "", (i * 7) % 31));
  });
});
