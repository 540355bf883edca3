/**
 * @file A hub for tests: speaks the part of the Hugging Face Hub's protocol that downloads use, on this machine. Large files are redirected to
 * a second server of another origin, as to the hub's storage; small ones to an address of its own, relative, as the hub does.
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface StoredFile {
  readonly path: string;
  readonly content: Buffer;
  /** Whether it is in large-file storage. */
  readonly large?: boolean;
}

/** Answers a request in the hub's place, or returns false to let the hub answer. */
export type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean;

export const commitOf = (letter: string): string => letter.repeat(40);

export class HubServer {
  readonly #hub: Server;
  readonly #storage: Server;
  /** Repositories: revisions to commits, commits to files. */
  readonly repos = new Map<string, { refs: Record<string, string>; commits: Record<string, readonly StoredFile[]> }>();
  intercept: Intercept = () => false;
  /** `METHOD PATH` of every request, the storage's with `storage:` before the path, with its range. */
  readonly requests: string[] = [];
  readonly storageHeaders: IncomingMessage["headers"][] = [];
  /** Changes what the tree says. */
  listing: (entries: Record<string, unknown>[]) => unknown = (entries) => entries;
  /** Entries on one page of a tree. */
  pageSize = 1000;

  private constructor() {
    this.#hub = createServer((request, response) => this.#serve(request, response));
    this.#storage = createServer((request, response) => {
      this.storageHeaders.push(request.headers);
      this.requests.push(`storage:${request.url!}${request.headers.range === undefined ? "" : ` ${request.headers.range}`}`);
      if (this.intercept(request, response)) return;
      const [, repo, commit, path] = /^\/([^/]+\/[^/]+)\/([0-9a-f]{40})\/(.*)$/.exec(decodeURIComponent(request.url!))!;
      sendRange(request, response, this.file(repo, commit, path)!.content);
    });
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    for (const one of [server.#hub, server.#storage]) {
      one.listen(0, "127.0.0.1");
      await once(one, "listening");
    }
    return server;
  }

  get url(): string {
    return address(this.#hub);
  }

  get port(): number {
    return (this.#hub.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const one of [this.#hub, this.#storage]) {
      one.closeAllConnections();
      await new Promise((done) => one.close(done));
    }
  }

  add(repo: string, files: readonly StoredFile[], commit = commitOf("a"), revision = "main"): void {
    const { refs, commits } = this.repos.get(repo) ?? { refs: {}, commits: {} };
    this.repos.set(repo, { refs: { ...refs, [revision]: commit }, commits: { ...commits, [commit]: files } });
  }

  file(repo: string, commit: string, path: string): StoredFile | undefined {
    return this.repos.get(repo)?.commits[commit]?.find((file) => file.path === path);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, this.url);
    this.requests.push(`${request.method!} ${url.pathname}`);
    if (this.intercept(request, response)) return;
    const path = decodeURIComponent(url.pathname);
    const [, api, repo, kind, rest] = /^\/(api\/models\/)?([^/]+\/[^/]+)\/(revision|tree|resolve|cached)\/(.+)$/.exec(path) ?? [];
    const known = repo === undefined ? undefined : this.repos.get(repo);
    if (known === undefined) return refuse(response, 401, "RepoNotFound");
    if (api !== undefined && kind === "revision") {
      const commit = known.refs[rest];
      if (commit === undefined) return refuse(response, 404, "RevisionNotFound");
      return sendJson(response, { _id: "1", id: repo, sha: commit, private: false, gated: false, downloads: 1, likes: 0, lastModified: "2025-01-01T00:00:00.000Z" });
    }
    if (api !== undefined && kind === "tree") {
      const entries = (known.commits[rest] ?? []).map(({ path, content, large = false }) => ({
        type: "file",
        path,
        size: content.length,
        oid: large ? commitOf("0") : gitHash(content),
        ...(large && { lfs: { oid: createHash("sha256").update(content).digest("hex"), size: content.length, pointerSize: 134 }, xetHash: "f".repeat(64) }),
      }));
      const all = this.listing([{ type: "directory", path: "folder", size: 0, oid: commitOf("1") }, ...entries]);
      if (!Array.isArray(all)) return sendJson(response, all);
      const from = Number(url.searchParams.get("cursor") ?? 0);
      if (from + this.pageSize < all.length) {
        url.searchParams.set("cursor", String(from + this.pageSize));
        response.setHeader("link", `<${url.href}>; rel="next"`);
      }
      return sendJson(response, all.slice(from, from + this.pageSize));
    }
    const [, commit, name] = /^([0-9a-f]{40})\/(.+)$/.exec(rest) ?? [];
    const file = this.file(repo, commit, name);
    if (file === undefined) return refuse(response, 404, "EntryNotFound");
    if (kind === "cached") return sendRange(request, response, file.content);
    const location = file.large === true ? `${address(this.#storage)}/${repo}/${commit}/${encodeURI(name)}` : `/${repo}/cached/${commit}/${encodeURI(name)}`;
    response.writeHead(file.large === true ? 302 : 307, { location, "x-repo-commit": commit, "x-linked-size": file.content.length, "x-linked-etag": `"${createHash("sha256").update(file.content).digest("hex")}"` });
    response.end();
  }
}

/** Sends what the Range header asks for. */
export function sendRange(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  if (from > 0 && from >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  const part = content.subarray(from);
  response.writeHead(request.headers.range === undefined ? 200 : 206, {
    "content-length": part.length,
    "accept-ranges": "bytes",
    ...(request.headers.range !== undefined && { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` }),
  });
  response.end(part);
}

export function refuse(response: ServerResponse, status: number, code?: string): void {
  response.writeHead(status, { "content-type": "application/json", ...(code !== undefined && { "x-error-code": code }) });
  response.end(JSON.stringify({ error: "no" }));
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(value));
}

function address(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const gitHash = (content: Buffer): string => createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
