/**
 * @file Getting a model from the hub: which commit, which files of it, and each of them into the cache.
 *
 * The revision becomes a commit first, and everything after is of that commit, so a model that is being updated cannot arrive in two
 * halves. A commit that is in the cache needs no network; a branch is asked for, and where nobody answers the commit it was last seen at
 * counts. One pull at a time writes to a repository's folder, held by a lock; a second waits, and then finds the files there.
 *
 * Files come by plain HTTP from `resolve/`, which every hub, mirror and proxy speaks and which serves content kept in Xet storage too; Xet's own
 * protocol would save transfer only between versions of a file that is already here, and has no checksum of the whole.
 */

import { constants, createReadStream } from "node:fs";
import { copyFile, mkdir, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CheckpointError, HubError } from "../../errors.js";
import { lockFolder, writeError, writeFileAtomically, writeFolderAtomically, type FolderLock } from "../atomic.js";
import { RepoCache, defaultHubCache } from "./cache.js";
import { checkRepo, checkRevision, chooseFiles, isCommit, isSafePath, maxFiles, parseEntry, type HubFile } from "./files.js";
import type { HubClient, HubClientOptions } from "./client.js";

export interface PullOptions extends HubClientOptions {
  /** `ORG/NAME`. */
  readonly repo: string;
  /** One file of it, or a type of GGUF (`Q4_K_M`), or a word that only one GGUF's name has; by default all that the model needs. */
  readonly file?: string | undefined;
  /** A branch, a tag or a commit. Default `main`. */
  readonly revision?: string | undefined;
  /** Default `$HORNBOOK_CACHE/hub`. */
  readonly cacheFolder?: string | undefined;
  /** A folder that the files are copied to as well. */
  readonly out?: string | undefined;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

/** How far a pull is; bytes count what earlier attempts left. */
export interface PullProgress {
  /** The file at hand, and how much of it is there. */
  readonly file: string;
  readonly fileBytes: number;
  readonly fileSize: number;
  /** Of all files together. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** What has come through the network since the pull began, per second. */
  readonly bytesPerSecond: number;
  readonly secondsLeft: number;
}

export interface PulledModel {
  /** The folder of the model, or the file that was named; of one in several parts the first. */
  readonly path: string;
  readonly repo: string;
  readonly commit: string;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  /** Bytes that came through the network. */
  readonly downloadedBytes: number;
  /** Whether the hub could not be asked, and the revision is what the cache last knew. */
  readonly offline: boolean;
}

/**
 * Downloads a model from the Hugging Face Hub (or `hubUrl`), or finds it in the cache, and says where it lies.
 *
 * The environment counts as it does for the hub's own programs: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY and NO_PROXY.
 *
 * @throws HubError, its `code` one of `no-such-repository`, `no-such-revision`, `no-such-file`, `choose-file`, `missing-part`, `no-weights`, `pickle`, `gated`,
 * `unauthorized`, `forbidden`, `rate-limited`, `server-error`, `offline`, `proxy`, `certificate`, `download-cut`, `checksum`, `too-long`,
 * `unsafe-path`, `bad-response`, `disk-full`; UsageError for names that cannot be; CheckpointError `disk-full` or `cannot-write`; the signal's reason
 */
export async function pullModel(options: PullOptions): Promise<PulledModel> {
  const { repo, revision = "main", file: wanted, signal } = options;
  checkRepo(repo);
  checkRevision(revision);
  if (wanted !== undefined && !isSafePath(wanted)) throw new HubError(`${JSON.stringify(wanted)} is no file of a repository.`, { code: "no-such-file" });
  signal?.throwIfAborted();
  const cache = new RepoCache(options.cacheFolder ?? defaultHubCache(), repo);
  // Loaded when first needed: who never pulls has neither in memory.
  const { HubClient } = await import("./client.js");
  const client = new HubClient(options);
  try {
    const { commit, offline } = await findCommit(client, cache, repo, revision, options.onNotice);
    const files = chooseFiles(repo, await listFiles(client, cache, repo, commit, offline), wanted);
    const downloadedBytes = await fill(client, cache, commit, files, offline, options);
    if (revision !== commit && !offline && (await cache.commit(revision)) !== commit) await cache.setCommit(revision, commit);
    // A GGUF model is its file, or the first of its parts.
    const alone = wanted !== undefined || files.every(({ path }) => /\.gguf$/i.test(path));
    const path =
      options.out !== undefined ? await (alone ? copyFilesOut : copyFolderOut)(cache, files, options.out)
      : alone ? cache.snapshot(commit, files[0].path)
      : cache.snapshot(commit);
    return { path, repo, commit, files: files.map(({ path, size }) => ({ path, bytes: size })), downloadedBytes, offline };
  } finally {
    await client.close();
  }
}

async function findCommit(client: HubClient, cache: RepoCache, repo: string, revision: string, onNotice?: (text: string) => void): Promise<{ commit: string; offline: boolean }> {
  if (isCommit(revision)) return { commit: revision, offline: isOffline() };
  try {
    if (isOffline()) throw new HubError("HF_HUB_OFFLINE says not to use the network.", { code: "offline" });
    const { modelInfo } = await import("@huggingface/hub");
    const info = await understood(modelInfo({ name: repo, revision, additionalFields: ["sha"], hubUrl: client.hubUrl, fetch: client.fetchFor({ repo, revision }) }));
    if (typeof info.sha !== "string" || !isCommit(info.sha)) throw new HubError(`The hub names no commit for ${repo} at ${revision}.`, { code: "bad-response", hint: "Is HF_ENDPOINT a hub?" });
    return { commit: info.sha, offline: false };
  } catch (error) {
    if (!(error instanceof HubError && ["offline", "proxy"].includes(error.code))) throw error;
    const commit = await cache.commit(revision);
    if (commit === undefined) throw new HubError(`${error.message} ${repo} is not in the cache either.`, { code: error.code, cause: error });
    onNotice?.(`${error.message} Using ${repo} as it was last seen.`);
    return { commit, offline: true };
  }
}

async function listFiles(client: HubClient, cache: RepoCache, repo: string, commit: string, offline: boolean): Promise<HubFile[]> {
  const known = await cache.files(commit);
  if (known !== undefined) return known;
  if (offline) throw missingOffline(repo, "its list of files");
  const { listFiles: list } = await import("@huggingface/hub");
  const files = new Map<string, HubFile>();
  let entries = 0;
  const read = async (): Promise<void> => {
    for await (const entry of list({ repo, revision: commit, recursive: true, hubUrl: client.hubUrl, fetch: client.fetchFor({ repo, revision: commit }) })) {
      if (++entries > maxFiles) throw new HubError(`${repo} lists more than ${maxFiles} files, which no model has.`, { code: "bad-response" });
      const file = parseEntry(entry);
      if (file !== undefined) files.set(file.path, file);
    }
  };
  await understood(read());
  await cache.setFiles(commit, [...files.values()]);
  return [...files.values()];
}

/** What the hub's library stumbles over in an answer is the answer's fault. */
async function understood<T>(job: Promise<T>): Promise<T> {
  return job.catch((cause: unknown) => {
    if (cause instanceof SyntaxError || cause instanceof TypeError) throw new HubError("The hub's answer is not what a hub answers.", { code: "bad-response", hint: "Is HF_ENDPOINT a hub? A proxy's own page may have come instead.", cause });
    throw cause;
  });
}

/** Brings all files into the cache and shows them at the commit. Returns the bytes that came through the network. */
async function fill(client: HubClient, cache: RepoCache, commit: string, files: readonly HubFile[], offline: boolean, options: PullOptions): Promise<number> {
  const { repo, signal, onProgress, onNotice } = options;
  const missing: HubFile[] = [];
  for (const file of files) if (!(await cache.has(file))) missing.push(file);
  if (offline && missing.length > 0) throw missingOffline(repo, missing[0].path);
  // Nothing to write: no lock is taken, and the cache may be one that can only be read.
  if (missing.length === 0 && (await cache.shows(commit, files))) return 0;
  const { download } = await import("./download.js");
  await using _lock = await waitForLock(cache.folder, signal, onNotice);
  await writing(cache.folder, mkdir(join(cache.folder, "blobs"), { recursive: true }));
  await checkSpace(cache, files);
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  const started = performance.now();
  let downloaded = 0;
  let before = 0;
  for (const file of files) {
    if (!(await cache.has(file))) {
      const url = new URL(`${client.hubUrl}/${repo}/resolve/${commit}/${file.path.split("/").map(encodeURIComponent).join("/")}`);
      const onBytes = (have: number, arrived: number): void => {
        downloaded += arrived;
        const bytes = before + have;
        const bytesPerSecond = downloaded / ((performance.now() - started) / 1000);
        onProgress?.({ file: file.path, fileBytes: have, fileSize: file.size, bytes, totalBytes, bytesPerSecond, secondsLeft: (totalBytes - bytes) / bytesPerSecond });
      };
      await download({ client, url, subject: { repo, revision: commit, file: file.path }, file, target: cache.blob(file), signal, onBytes });
    }
    before += file.size;
  }
  for (const file of files) await writing(cache.folder, cache.show(commit, file));
  return downloaded;
}

/** The lock of the repository's folder, when whoever holds it is done. */
async function waitForLock(folder: string, signal: AbortSignal | undefined, onNotice?: (text: string) => void): Promise<FolderLock> {
  for (let told = false; ; told = true) {
    try {
      return await lockFolder(folder);
    } catch (error) {
      if (!(error instanceof CheckpointError && error.code === "folder-in-use")) throw error;
      if (!told) onNotice?.(`Waiting for another download of the same model. ${error.message}`);
      await sleep(100, undefined, signal && { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}

async function writing(path: string, job: Promise<unknown>): Promise<void> {
  await job.catch((error: unknown) => Promise.reject(writeError(path, error) as Error));
}

/** Throws HubError `disk-full` where what is missing does not fit, before any of it is fetched. */
async function checkSpace(cache: RepoCache, files: readonly HubFile[]): Promise<void> {
  let missing = 0;
  for (const file of files) if (!(await cache.has(file))) missing += Math.max(0, file.size - (await cache.partSize(file)));
  const disk = await statfs(cache.folder).catch(() => undefined);
  // Some network disks tell nothing.
  if (disk === undefined || disk.blocks === 0) return;
  const free = disk.bavail * disk.bsize;
  if (missing <= free) return;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
  throw new HubError(`${gigabytes(missing)} are to be downloaded, and the disk of ${cache.folder} has ${gigabytes(free)} free. Nothing was downloaded.`, {
    code: "disk-full",
    hint: "Free some space, or set HORNBOOK_CACHE to a folder on another disk.",
  });
}

function missingOffline(repo: string, what: string): HubError {
  return new HubError(`The hub cannot be reached, and the cache does not have ${what} of ${repo}.`, { code: "offline", hint: "Run the same command with a connection." });
}

/** HF_HUB_OFFLINE, as the hub's own programs read it. */
function isOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(process.env["HF_HUB_OFFLINE"] ?? "");
}

// ---- to a folder of the user's own, which is free to be changed: copies, that share their blocks where the disk can ----------

async function copyFilesOut(cache: RepoCache, files: readonly HubFile[], out: string): Promise<string> {
  const places = files.map((file) => join(out, basename(file.path)));
  for (const [i, file] of files.entries()) {
    await writeFileAtomically(places[i], async (handle) => {
      for await (const chunk of createReadStream(cache.blob(file))) await handle.write(chunk as Buffer);
    });
  }
  return places[0];
}

async function copyFolderOut(cache: RepoCache, files: readonly HubFile[], out: string): Promise<string> {
  const names = new Set(files.map((file) => file.path.split("/")[0]));
  await writeFolderAtomically(out, { marker: "config.json", owns: (name) => names.has(name) || /\.safetensors(\.index\.json)?$/.test(name) }, async (folder) => {
    for (const file of files) {
      await mkdir(dirname(join(folder, file.path)), { recursive: true });
      await copyFile(cache.blob(file), join(folder, file.path), constants.COPYFILE_FICLONE);
    }
  });
  return out;
}
