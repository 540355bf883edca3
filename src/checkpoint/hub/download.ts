/**
 * @file One file from the hub to the disk: arriving as `NAME.part`, which outlives a cut and is gone on with; checked against the hash that the
 * hub listed; and only then given its name. So a name never stands for half a file, or for a wrong one.
 */

import { createHash, type Hash } from "node:crypto";
import { open, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { HubError, systemErrorCode } from "../../errors.js";
import { writeError } from "../atomic.js";
import { bodyOf, type HubClient, type Subject } from "./client.js";
import type { HubFile } from "./files.js";

export interface Download {
  readonly client: HubClient;
  readonly url: URL;
  readonly subject: Subject;
  readonly file: HubFile;
  /** Where it goes; `target.part` until it is whole. */
  readonly target: string;
  readonly signal?: AbortSignal | undefined;
  /** How much of it is on disk by now, and how much of that came just now. */
  readonly onBytes: (have: number, arrived: number) => void;
}

/** A connection that brought this much news before it broke was a good one: the count of tries begins anew. */
const goodPart = 1 << 20;

/**
 * Downloads one file.
 *
 * @throws HubError what `HubClient.request` throws; `download-cut` (the part stays); `too-long`, `checksum` (the part is removed);
 * CheckpointError `disk-full` or `cannot-write`; the signal's reason (the part stays)
 */
export async function download(job: Download): Promise<void> {
  const part = `${job.target}.part`;
  try {
    const resumed = await fetchPart(job, part);
    if (!resumed.whole && !(resumed.before && (await fetchPart(job, part)).whole)) {
      throw new HubError(`${job.file.path} arrived altered: it is not the file whose checksum the hub lists (${job.file.hash}). It was thrown away.`, {
        code: "checksum",
        hint: "Try again; if it stays so, something between here and the hub changes what it passes on.",
      });
    }
    await rename(part, job.target);
  } catch (error) {
    throw isConnection(error) ? error : writeError(job.target, error);
  }
}

/** Brings the part to its full length. `whole`: its checksum is right, else it is removed; `before`: some of it was there from an earlier time. */
async function fetchPart(job: Download, part: string): Promise<{ whole: boolean; before: boolean }> {
  const { file, signal, client } = job;
  const before = (await stat(part).catch(() => undefined))?.size ?? 0;
  const handle = await open(part, before > 0 ? "r+" : "w");
  let whole = false;
  try {
    const state: State = { have: 0, hash: emptyHash(file) };
    if (before > file.size) await handle.truncate(0);
    else await rehash(handle, before, state, signal);
    job.onBytes(state.have, 0);
    for (let failures = 0, furthest = state.have; state.have < file.size; ) {
      try {
        await receive(job, handle, state);
      } catch (cause) {
        signal?.throwIfAborted();
        if (cause instanceof HubError || (systemErrorCode(cause) !== undefined && !isConnection(cause))) throw cause;
        failures = state.have - furthest >= goodPart ? 1 : failures + 1;
        furthest = Math.max(furthest, state.have);
        const error = new HubError(`${file.path}: the connection broke at ${state.have} of ${file.size} bytes.`, { code: "download-cut", cause });
        if (failures > client.retries) throw new HubError(error.message, { code: error.code, hint: "What arrived is kept: the same command goes on from there.", cause });
        await client.pause(failures, error.message);
      }
    }
    whole = state.hash.digest("hex") === file.hash;
    if (whole) await handle.sync();
  } finally {
    await handle.close();
  }
  if (!whole) await rm(part);
  return { whole, before: before > 0 };
}

interface State {
  have: number;
  hash: Hash;
}

/** One request for what is missing, to its end; returns or throws with `state` telling how much is there. */
async function receive(job: Download, handle: FileHandle, state: State): Promise<void> {
  const { file, signal } = job;
  // A compressed answer could not be gone on with in the middle.
  const headers = new Headers({ "accept-encoding": "identity", ...(state.have > 0 && { range: `bytes=${state.have}-` }) });
  const response = await job.client.request(job.url, job.subject, headers, true);
  const start = response.status === 206 ? rangeStart(response) : 0;
  if (start !== state.have) {
    // The server knows no ranges and begins anew, or answers with a range that was not asked for.
    await handle.truncate(0);
    Object.assign(state, { have: 0, hash: emptyHash(file) });
  }
  if (response.status === 416 || start !== state.have) {
    await response.body?.cancel();
    throw new Error(`the server cannot go on in the middle (${response.status})`);
  }
  for await (const chunk of bodyOf(response)) {
    signal?.throwIfAborted();
    if (state.have + chunk.length > file.size) {
      await handle.truncate(0);
      throw new HubError(`${file.path}: more arrives than the ${file.size} bytes that the hub lists. It was stopped.`, { code: "too-long", hint: "Is HF_ENDPOINT a hub, and is nothing in between?" });
    }
    for (let at = 0; at < chunk.length; ) at += (await handle.write(chunk, at, chunk.length - at, state.have + at)).bytesWritten;
    state.hash.update(chunk);
    state.have += chunk.length;
    job.onBytes(state.have, chunk.length);
  }
  if (state.have < file.size) throw new Error("the answer ended early");
}

function rangeStart(response: Response): number {
  return Number(/^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1] ?? NaN);
}

/** Git hashes a blob with its kind and length before it (`git hash-object`). */
function emptyHash({ hash, size }: HubFile): Hash {
  return hash.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

async function rehash(handle: FileHandle, bytes: number, state: State, signal: AbortSignal | undefined): Promise<void> {
  const piece = new Uint8Array(4 << 20);
  while (state.have < bytes) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(piece, 0, Math.min(piece.length, bytes - state.have), state.have);
    if (bytesRead === 0) break;
    state.hash.update(piece.subarray(0, bytesRead));
    state.have += bytesRead;
  }
}

/** Errors of sockets look like those of files. */
const isConnection = (error: unknown): boolean => /^E(CONN|PIPE|TIMEDOUT|HOSTUNREACH|NET)/.test(systemErrorCode(error) ?? "");
