/**
 * @file Where what comes from the hub lies: the layout that the hub's own programs use, so that they find it too (HF_HUB_CACHE names the
 * folder to them).
 *
 *     models--ORG--NAME/
 *       blobs/HASH                 each content once, named by its checksum: whole and checked, or not there
 *       blobs/HASH.part            what has arrived of one
 *       snapshots/COMMIT/FILE      the repository at a commit: links to blobs
 *       refs/REVISION              the commit that a branch or tag was last seen at
 *       listings/COMMIT.json       all files of the commit with sizes and checksums (ours; a commit never changes)
 *
 * The last two answer when there is no network. Nothing is ever changed in place, so whoever reads while another writes reads well.
 */

import { copyFile, link, mkdir, readFile, readlink, rename, rm, stat, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { writeFileAtomically } from "../atomic.js";
import { isCommit, parseFiles, type HubFile } from "./files.js";

/** `$HORNBOOK_CACHE/hub`, by default `~/.cache/hornbook/hub`. */
export function defaultHubCache(): string {
  return join(process.env["HORNBOOK_CACHE"] ?? join(homedir(), ".cache", "hornbook"), "hub");
}

export class RepoCache {
  readonly folder: string;

  constructor(cacheFolder: string, repo: string) {
    this.folder = join(cacheFolder, `models--${repo.replaceAll("/", "--")}`);
  }

  blob(file: HubFile): string {
    return join(this.folder, "blobs", file.hash);
  }

  snapshot(commit: string, path = "."): string {
    return join(this.folder, "snapshots", commit, path);
  }

  /** Whether the content is there. It has its name only since its checksum was right, so the size is enough to ask. */
  async has(file: HubFile): Promise<boolean> {
    return (await sizeOf(this.blob(file))) === file.size;
  }

  /** How much of a file is there from an attempt that was cut. */
  async partSize(file: HubFile): Promise<number> {
    return (await sizeOf(`${this.blob(file)}.part`)) ?? 0;
  }

  async commit(revision: string): Promise<string | undefined> {
    const text = (await readFile(join(this.folder, "refs", revision), "utf8").catch(() => "")).trim();
    return isCommit(text) ? text : undefined;
  }

  async setCommit(revision: string, commit: string): Promise<void> {
    await writeFileAtomically(join(this.folder, "refs", revision), commit);
  }

  async files(commit: string): Promise<HubFile[] | undefined> {
    return parseFiles(await readFile(join(this.folder, "listings", `${commit}.json`), "utf8").catch(() => ""));
  }

  async setFiles(commit: string, files: readonly HubFile[]): Promise<void> {
    await writeFileAtomically(join(this.folder, "listings", `${commit}.json`), JSON.stringify(files));
  }

  /** Whether all of these are to be seen at the commit. */
  async shows(commit: string, files: readonly HubFile[]): Promise<boolean> {
    for (const file of files) if ((await sizeOf(this.snapshot(commit, file.path))) !== file.size) return false;
    return true;
  }

  /** Shows a blob as a file of the commit. */
  async show(commit: string, file: HubFile): Promise<void> {
    const path = this.snapshot(commit, file.path);
    const target = relative(dirname(path), this.blob(file));
    if ((await readlink(path).catch(() => undefined)) === target) return;
    await mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.new`;
    await rm(temporary, { force: true });
    // Windows lets few users make symbolic links, and some disks know neither kind.
    await symlink(target, temporary).catch(() => link(this.blob(file), temporary)).catch(() => copyFile(this.blob(file), temporary));
    await rename(temporary, path);
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}
