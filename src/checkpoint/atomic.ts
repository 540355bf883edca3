/**
 * @file Writing so that nothing saved is ever lost: whatever moment a process is killed, a disk fills up or the machine stops, what stood
 * before or what stands after is complete, never a mixture. Also the lock that keeps two runs out of one folder.
 *
 * A file: written beside its place as `.NAME.tmp-ID`, fsynced, renamed over the old one, the directory fsynced.
 *
 * A folder: no portable call exchanges two folders, so there are two renames:
 *   1. the new one is written to `.NAME.tmp-ID` and fsynced, files and directories;
 *   2. NAME becomes `.NAME.old`;
 *   3. the new one becomes NAME;
 *   4. `.NAME.old` is removed.
 * Killed between 2 and 3, NAME is absent and `.NAME.old` complete: readers ask `readableFolder`, which then names the latter, and the next
 * writer puts it back first. Temporaries of dead processes are removed by the next writer of the same name.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, cp, link, mkdir, open, readdir, readFile, realpath, rename, rm, stat, unlink, writeFile, type FileHandle } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { CheckpointError, HornbookError, systemErrorCode } from "../errors.js";

/**
 * Writes a file so that `path` holds either its old content or all of the new, and makes the folder it is in. A function as content
 * writes to the open file; where it throws, the old file stands and its error is handed on.
 *
 * @throws CheckpointError `disk-full` or `cannot-write`; the old file stands.
 */
export async function writeFileAtomically(path: string, content: string | Uint8Array | ((file: FileHandle) => Promise<void>)): Promise<void> {
  const target = await followLink(path);
  const folder = dirname(target);
  const temporary = await temporaryName(target);
  try {
    await mkdir(folder, { recursive: true });
    await removeLeftovers(target);
    const file = await open(temporary, "wx");
    try {
      if (typeof content === "function") await content(file);
      else await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
    await syncFolder(folder);
  } catch (error) {
    await tidy(() => rm(temporary, { force: true }));
    throw writeError(path, error);
  }
}

export interface WriteFolderOptions {
  /**
   * A file that marks a folder as one of the kind being written. An existing folder that is neither empty nor marked is someone's other
   * work, and is not replaced.
   */
  readonly marker: string;
  /** Whether an entry of the old folder belongs to what is being written, and so goes with it; all other entries are carried over. */
  readonly owns: (name: string) => boolean;
}

/**
 * Replaces a folder as a whole. `fill` writes the new content into the fresh folder it is given.
 *
 * @throws CheckpointError `disk-full`, `cannot-write`, or `not-a-checkpoint` (the folder holds something else); the old folder stands.
 */
export async function writeFolderAtomically(path: string, options: WriteFolderOptions, fill: (folder: string) => Promise<void>): Promise<void> {
  const target = await followLink(path);
  const old = oldName(target);
  const temporary = await temporaryName(target);
  try {
    await mkdir(dirname(target), { recursive: true });
    await putBack(target);
    await removeLeftovers(target);
    const standing = await entries(target);
    if (standing.length > 0 && !standing.includes(options.marker)) {
      throw new CheckpointError({ file: path }, `the folder holds other files and no ${options.marker}, so it is not overwritten.`, {
        code: "not-a-checkpoint",
        hint: "Name a new folder, or empty this one.",
      });
    }
    await mkdir(temporary);
    await fill(temporary);
    const written = new Set(await entries(temporary));
    for (const name of standing) {
      if (options.owns(name) || written.has(name)) continue;
      await cp(join(target, name), join(temporary, name), { recursive: true, mode: constants.COPYFILE_FICLONE, verbatimSymlinks: true });
    }
    await syncTree(temporary);
    if (standing.length > 0) await rename(target, old);
    await rename(temporary, target); // Where an empty folder stands, this replaces it.
    await syncFolder(dirname(target));
    await rm(old, { recursive: true, force: true });
  } catch (error) {
    await tidy(() => putBack(target));
    await tidy(() => rm(temporary, { recursive: true, force: true }));
    throw writeError(path, error);
  }
}

/** The path at which a folder written by `writeFolderAtomically` is to be read: its own, or, where a writer was killed between renames, the old one. */
export async function readableFolder(path: string): Promise<string> {
  const target = await followLink(path);
  return !(await exists(target)) && (await exists(oldName(target))) ? oldName(target) : path;
}

/** A held lock; `release` (or `await using`) gives it back. */
export interface FolderLock extends AsyncDisposable {
  release(): Promise<void>;
}

const lockSchema = z.object({ pid: z.int().positive(), host: z.string(), started: z.string(), id: z.string() });
type LockHolder = z.infer<typeof lockSchema>;

/**
 * Takes the lock of a run folder (`.hornbook.lock` in it; the folder is made if need be). The lock of a process that is gone is taken over.
 *
 * @throws CheckpointError `folder-in-use`, saying which process holds it.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const path = join(folder, ".hornbook.lock");
  const claim = await temporaryName(path);
  const mine: LockHolder = { pid: process.pid, host: hostname(), started: await processStart(process.pid), id: randomUUID() };
  try {
    await mkdir(folder, { recursive: true });
    await removeLeftovers(path);
    await writeFile(claim, JSON.stringify(mine), { flag: "wx" });
    await acquire(folder, claim, path);
    return heldLock(path, JSON.stringify(mine));
  } catch (error) {
    throw writeError(folder, error);
  } finally {
    await tidy(() => rm(claim, { force: true }));
  }
}

/**
 * Gives a complete file, the claim, the lock's name, so that nobody ever reads half a lock. A stale lock is removed only by who holds the
 * lock of that lock; without it, two who find it stale would each remove it, the second removing what the first had just taken.
 */
async function acquire(folder: string, claim: string, path: string): Promise<void> {
  for (;;) {
    if (await linkExclusively(claim, path)) return;
    const found = await readFile(path, "utf8").catch(absent);
    if (found === undefined) continue;
    const holder = parseLock(found);
    if (holder !== undefined && (await mayHold(holder))) throw inUse(folder, path, holder);
    const takeover = `${path}.takeover`;
    await acquire(folder, claim, takeover);
    try {
      if ((await readFile(path, "utf8").catch(absent)) === found) await unlink(path);
    } finally {
      await unlink(takeover);
    }
  }
}

function heldLock(path: string, mine: string): FolderLock {
  const release = async (): Promise<void> => {
    if ((await readFile(path, "utf8").catch(absent)) === mine) await rm(path, { force: true });
  };
  return { release, [Symbol.asyncDispose]: release };
}

function inUse(folder: string, path: string, holder: LockHolder): CheckpointError {
  const who = holder.pid === process.pid ? "this process" : `process ${holder.pid}${holder.host === hostname() ? "" : ` on ${holder.host}`}`;
  const hint = holder.host === hostname() ? "Wait for that run, stop it, or choose another folder." : `If that run is over, delete ${path}.`;
  return new CheckpointError({ file: folder }, `another run is using this folder (${who}).`, { code: "folder-in-use", hint });
}

function parseLock(text: string): LockHolder | undefined {
  try {
    return lockSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Whether the very process that took the lock still runs. Of another machine (or container) that cannot be known, so it counts as running. */
async function mayHold(holder: LockHolder): Promise<boolean> {
  return holder.host !== hostname() || (await isRunning(holder.pid, holder.started));
}

async function isRunning(pid: number, started: string): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemErrorCode(error) !== "EPERM") return false; // EPERM: someone else's process, but a process.
  }
  return (await processStart(pid)) === started;
}

/** When a process began, in the kernel's ticks: tells it from a later one with the same id. Empty where there is no /proc. */
async function processStart(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // Field 22; the second is the program's name in parentheses and may itself hold spaces.
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

async function linkExclusively(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to).catch((error: unknown) => {
      // Some file systems have no hard links.
      if (["EPERM", "ENOTSUP", "ENOSYS"].includes(systemErrorCode(error) ?? "")) return copyFile(from, to, constants.COPYFILE_EXCL);
      throw error;
    });
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** A name beside the target that nobody else has, and from which the next writer can tell whether its maker still runs. */
async function temporaryName(target: string): Promise<string> {
  return join(dirname(target), `.${basename(target)}.tmp-${process.pid}-${await processStart(process.pid)}-${randomUUID().slice(0, 8)}`);
}

function oldName(target: string): string {
  return join(dirname(target), `.${basename(target)}.old`);
}

/** Undoes a swap that stopped between its renames, or finishes one that stopped after them. */
async function putBack(target: string): Promise<void> {
  const old = oldName(target);
  if (!(await exists(old))) return;
  if (await exists(target)) await rm(old, { recursive: true, force: true });
  else await rename(old, target);
}

async function removeLeftovers(target: string): Promise<void> {
  const prefix = `.${basename(target)}.tmp-`;
  for (const name of await entries(dirname(target))) {
    const [, pid, started] = (name.startsWith(prefix) ? /^(\d+)-(\d*)-\w+$/.exec(name.slice(prefix.length)) : null) ?? [];
    if (pid === undefined || (await isRunning(Number(pid), started))) continue;
    await rm(join(dirname(target), name), { recursive: true, force: true });
  }
}

/** The real path, so that a link to a folder on another disk is written through, not replaced. */
async function followLink(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
}

async function entries(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(absent)) ?? [];
}

async function exists(path: string): Promise<boolean> {
  // ENOTDIR: a part of the path is a file, so there is nothing below it.
  return (await stat(path).catch((error: unknown) => (systemErrorCode(error) === "ENOTDIR" ? undefined : absent(error)))) !== undefined;
}

function absent(error: unknown): undefined {
  if (systemErrorCode(error) !== "ENOENT") throw error;
  return undefined;
}

/** Cleans up after a failure. Should that fail as well, the first error is the one to tell, and the next writer cleans up again. */
async function tidy(action: () => Promise<void>): Promise<void> {
  await action().catch(() => undefined);
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) await syncPath(path);
  }
  await syncFolder(folder);
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes renames within a folder last through a power cut. Windows cannot open a folder, and orders its renames itself. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform !== "win32") await syncPath(folder);
}

/** What the system said, as an error that says what to do; our own errors pass. */
export function writeError(path: string, error: unknown): unknown {
  const code = systemErrorCode(error);
  if (error instanceof HornbookError || code === undefined) return error;
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return new CheckpointError({ file: path }, "the disk is full; what was saved before still stands.", {
      code: "disk-full",
      hint: "Free some space, or choose a folder on another disk.",
      cause: error,
    });
  }
  return new CheckpointError({ file: path }, `cannot be written (${error instanceof Error ? error.message : code}).`, {
    code: "cannot-write",
    hint: "Check the path and its permissions.",
    cause: error,
  });
}
