/** Pulling against a hub on this machine: what is chosen, cuts and resuming, wrong and hostile answers, the cache, proxies, two at once. */

import { once } from "node:events";
import { existsSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, statfs, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HubServer, commitOf, refuse, sendRange, type StoredFile } from "../../../test/hub-server.js";
import { HubError } from "../../errors.js";
import { proxyFor } from "./client.js";
import { hubHint, parseRepo, pullModel, type PullOptions } from "./index.js";

vi.mock("node:fs/promises", async (original) => {
  const real = await original<{ statfs: typeof statfs }>();
  return { ...real, statfs: vi.fn(real.statfs) };
});

const repo = "org/small-model";
const weights = bytesOf(3_000_000);
const text = (path: string, content: string): StoredFile => ({ path, content: Buffer.from(content) });
const files: StoredFile[] = [
  text("README.md", "# A model"),
  text("config.json", '{"model_type": "llama"}'),
  text("tokenizer.json", "{}"),
  text("generation_config.json", ""),
  text("additional_chat_templates/tools.jinja", "{{ tools }}"),
  { path: "model.safetensors", content: weights, large: true },
  { path: "pytorch_model.bin", content: bytesOf(1000), large: true },
  { path: "onnx/model.onnx", content: bytesOf(1000), large: true },
];

let hub: HubServer;
let folder: string;
let notices: string[];

function bytesOf(length: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + length, 2654435761) >>> 0;
  return Buffer.from(words.buffer, 0, length);
}

const pull = (options: Partial<PullOptions> = {}) => pullModel({ repo, hubUrl: hub.url, cacheFolder: join(folder, "hub"), retryDelay: 1, onNotice: (notice) => notices.push(notice), ...options });

async function failure(job: Promise<unknown>): Promise<HubError> {
  const error: unknown = await job.then(() => undefined, (error: unknown) => error);
  expect(error).toBeInstanceOf(HubError);
  return error as HubError;
}

/** No name stands for anything but whole content. */
async function expectNothingHalf(): Promise<void> {
  const blobs = join(folder, "hub", "models--org--small-model", "blobs");
  for (const name of await readdir(blobs).catch(() => [])) {
    if (name.endsWith(".part")) continue;
    const content = await readFile(join(blobs, name));
    expect(files.some((file) => file.content.equals(content))).toBe(true);
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-pull-"));
  hub = await HubServer.start();
  hub.add(repo, files);
  notices = [];
  for (const name of ["HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"]) vi.stubEnv(name, "");
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
  await rm(folder, { recursive: true, force: true });
});

describe("a whole model", () => {
  it("brings what a model needs, in the hub's own layout, with progress", async () => {
    const progress: number[] = [];
    const pulled = await pull({ onProgress: ({ bytes, totalBytes }) => progress.push(bytes / totalBytes) });
    expect(pulled).toMatchObject({ repo, commit: commitOf("a"), offline: false, path: join(folder, "hub", "models--org--small-model", "snapshots", commitOf("a")) });
    expect((await readdir(pulled.path, { recursive: true })).sort()).toEqual(
      ["additional_chat_templates", "additional_chat_templates/tools.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"],
    );
    for (const { path } of pulled.files) expect((await readFile(join(pulled.path, path))).equals(files.find((file) => file.path === path)!.content)).toBe(true);
    expect((await lstat(join(pulled.path, "config.json"))).isSymbolicLink()).toBe(true);
    expect(await readlink(join(pulled.path, "additional_chat_templates/tools.jinja"))).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect(await readFile(join(folder, "hub", "models--org--small-model", "refs", "main"), "utf8")).toBe(commitOf("a"));
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);
    expect(pulled.downloadedBytes).toBe(pulled.files.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(hub.requests.some((request) => /pytorch|onnx|README/.test(request))).toBe(false);
  });

  it("asks for nothing twice", async () => {
    await pull();
    hub.requests.length = 0;
    expect(await pull()).toMatchObject({ downloadedBytes: 0, offline: false });
    expect(hub.requests).toEqual([`GET /api/models/${repo}/revision/main`]);
    expect(await pull({ revision: commitOf("a") })).toMatchObject({ downloadedBytes: 0 });
    expect(hub.requests).toHaveLength(1);
  });

  it("takes a new commit, and of it only what changed", async () => {
    const first = await pull();
    hub.add(repo, [...files.filter(({ path }) => path !== "config.json"), text("config.json", '{"model_type": "gpt2"}')], commitOf("b"));
    const second = await pull();
    expect(second.downloadedBytes).toBe(22);
    expect(await readFile(join(second.path, "config.json"), "utf8")).toContain("gpt2");
    expect(await readFile(join(first.path, "config.json"), "utf8")).toContain("llama");
    hub.add(repo, files, commitOf("c"), "refs/pr/1");
    expect(await pull({ revision: "refs/pr/1" })).toMatchObject({ commit: commitOf("c"), downloadedBytes: 0 });
  });

  it("takes all shards with their index, and reads a list of several pages", async () => {
    hub.pageSize = 2;
    const shards = [1, 2, 3].map((i) => ({ path: `model-0000${i}-of-00003.safetensors`, content: bytesOf(100 + i), large: true }));
    hub.add("org/sharded", [text("config.json", "{}"), text("model.safetensors.index.json", "{}"), ...shards, { path: "consolidated.safetensors", content: bytesOf(9) }]);
    const { path } = await pull({ repo: "org/sharded" });
    expect((await readdir(path)).sort()).toEqual(["config.json", ...shards.map(({ path }) => path), "model.safetensors.index.json"]);
    hub.add("org/own-name", [text("config.json", "{}"), { path: "weights.safetensors", content: bytesOf(9) }]);
    expect((await pull({ repo: "org/own-name" })).files.map(({ path }) => path)).toEqual(["config.json", "weights.safetensors"]);
  });

  it("copies to a folder of the user's own, which keeps its other files", async () => {
    const out = join(folder, "mine");
    expect((await pull({ out })).path).toBe(out);
    await writeFile(join(out, "notes.txt"), "mine");
    await writeFile(join(out, "config.json"), "changed");
    await pull({ out });
    expect(await readFile(join(out, "config.json"), "utf8")).toContain("llama");
    expect(await readFile(join(out, "notes.txt"), "utf8")).toBe("mine");
    expect((await lstat(join(out, "model.safetensors"))).isSymbolicLink()).toBe(false);
    await mkdir(join(folder, "other"));
    await writeFile(join(folder, "other", "thesis.doc"), "");
    await expect(pull({ out: join(folder, "other") })).rejects.toMatchObject({ code: "not-a-checkpoint" });
    expect((await pull({ file: "config.json", out: join(folder, "one") })).path).toBe(join(folder, "one", "config.json"));
  });
});

describe("one file", () => {
  const quants = ["Q4_K_M", "Q8_0"].map((type) => ({ path: `small-${type}.gguf`, content: bytesOf(500 + type.length), large: true }));

  it("is found by its name, or by a part that only one GGUF has", async () => {
    hub.add("org/small-GGUF", [text("README.md", "#"), ...quants]);
    const { path, files } = await pull({ repo: "org/small-GGUF", file: "small-Q8_0.gguf" });
    expect(path).toMatch(/snapshots\/a{40}\/small-Q8_0\.gguf$/);
    expect(files).toHaveLength(1);
    expect((await pull({ repo: "org/small-GGUF", file: "q4_k_m" })).path).toMatch(/small-Q4_K_M\.gguf$/);
    const error = await failure(pull({ repo: "org/small-GGUF", file: "Q5_K_M" }));
    expect(error).toMatchObject({ code: "no-such-file" });
    expect(error.message).toContain("small-Q4_K_M.gguf");
  });

  it("of a model in several comes with the others, and opens with them", async () => {
    const parts = [1, 2].map((n) => ({ path: `Q4_K_M/m-Q4_K_M-0000${n}-of-00002.gguf`, content: bytesOf(300 + n), large: true }));
    hub.add("org/parts-GGUF", [...parts.toReversed(), ...quants]);
    const { path, files } = await pull({ repo: "org/parts-GGUF", file: parts[1].path });
    expect(path).toMatch(/snapshots\/a{40}\/Q4_K_M\/m-Q4_K_M-00001-of-00002\.gguf$/);
    expect(files.map((file) => file.path)).toEqual(parts.map((part) => part.path));
    for (const { path: name, content } of parts) expect(await readFile(join(path, "../..", name))).toEqual(content);
    const out = join(folder, "copied");
    expect((await pull({ repo: "org/parts-GGUF", file: parts[0].path, out })).path).toBe(join(out, "m-Q4_K_M-00001-of-00002.gguf"));
    expect((await readdir(out)).sort()).toEqual(["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf"]);
    const error = await failure(pull({ repo: "org/parts-GGUF", file: "Q4_K_M" }));
    expect(error.code).toBe("choose-file");
    expect(error.message).toMatch(/small-Q4_K_M\.gguf[^]*m-Q4_K_M-00001|m-Q4_K_M-00001[^]*small-Q4_K_M\.gguf/);
  });

  it("must be named among several GGUFs, and need not be where there is one", async () => {
    hub.add("org/small-GGUF", quants);
    const error = await failure(pull({ repo: "org/small-GGUF" }));
    expect(error.code).toBe("choose-file");
    for (const word of ["hornbook pull org/small-GGUF:", "small-Q4_K_M.gguf", "small-Q8_0.gguf"]) expect(error.message).toContain(word);
    hub.add("org/single-GGUF", quants.slice(0, 1));
    expect((await pull({ repo: "org/single-GGUF" })).path).toMatch(/small-Q4_K_M\.gguf$/);
  });

  it("is no pickle, and a repository of pickles is refused with a word on why", async () => {
    expect((await failure(pull({ file: "pytorch_model.bin" }))).code).toBe("pickle");
    hub.add("org/pickles", [text("config.json", "{}"), { path: "pytorch_model.bin", content: bytesOf(10), large: true }]);
    const error = await failure(pull({ repo: "org/pickles" }));
    expect(error.code).toBe("pickle");
    expect(error.message).toMatch(/run any program/);
    hub.add("org/empty", [text("README.md", "#")]);
    expect((await failure(pull({ repo: "org/empty" }))).code).toBe("no-weights");
    expect(hub.requests.some((request) => request.includes("/resolve/"))).toBe(false);
  });
});

describe("a cut", () => {
  /** Sends `bytes` of an answer that promises all, and breaks off. */
  const cutAfter = (bytes: number, times: number) => {
    hub.intercept = (request, response) => {
      if (!request.url!.endsWith("model.safetensors") || request.url!.includes("/resolve/") || times-- <= 0) return false;
      const from = Number(/\d+/.exec(request.headers.range ?? "0")![0]);
      response.writeHead(from > 0 ? 206 : 200, { "content-length": weights.length - from, ...(from > 0 && { "content-range": `bytes ${from}-${weights.length - 1}/${weights.length}` }) });
      response.write(weights.subarray(from, from + bytes), () => response.destroy());
      return true;
    };
  };

  it("is gone on with in the same pull", async () => {
    cutAfter(400_000, 3);
    const { path, downloadedBytes } = await pull();
    expect((await readFile(join(path, "model.safetensors"))).equals(weights)).toBe(true);
    // What a broken socket still held may be lost, and is asked for again.
    expect(hub.requests.filter((request) => /storage:.*safetensors bytes=\d+-$/.test(request)).length).toBeGreaterThan(0);
    expect(downloadedBytes).toBeLessThan(weights.length + 100);
    expect(notices.join()).toMatch(/the connection broke at \d+ of 3000000 bytes.*Trying again/);
  });

  it("is gone on with in the next pull", async () => {
    cutAfter(1_000_000, 100);
    const error = await failure(pull({ retries: 0 }));
    expect(error.code).toBe("download-cut");
    expect(error.message).toMatch(/goes on from there/);
    await expectNothingHalf();
    hub.intercept = () => false;
    hub.requests.length = 0;
    const there = (await readdir(join(folder, "hub", "models--org--small-model", "blobs"))).find((name) => name.endsWith(".part"))!;
    const { size } = await stat(join(folder, "hub", "models--org--small-model", "blobs", there));
    expect(size).toBeGreaterThan(0);
    const pulled = await pull();
    expect(hub.requests.find((request) => request.startsWith("storage:"))).toMatch(new RegExp(`bytes=${size}-$`));
    expect(pulled.downloadedBytes).toBe(weights.length - size);
    expect((await readFile(join(pulled.path, "model.safetensors"))).equals(weights)).toBe(true);
  });

  it("by the user leaves what arrived, and rejects with the signal's reason", async () => {
    const controller = new AbortController();
    await expect(pull({ signal: controller.signal, onProgress: ({ file, fileBytes }) => file === "model.safetensors" && fileBytes > 0 && controller.abort() })).rejects.toMatchObject({ name: "AbortError" });
    await expectNothingHalf();
    expect((await pull()).downloadedBytes).toBeLessThan(weights.length);
    await expect(pull({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
  });

  it("is begun anew where the server knows no ranges", async () => {
    cutAfter(400_000, 1);
    const cut = hub.intercept;
    hub.intercept = (request, response) => {
      if (cut(request, response)) return true;
      delete request.headers.range;
      return false;
    };
    expect((await readFile(join((await pull()).path, "model.safetensors"))).equals(weights)).toBe(true);
  });

  it("where the range that comes is another than asked for does no harm", async () => {
    cutAfter(400_000, 1);
    const cut = hub.intercept;
    let wrong = 1;
    hub.intercept = (request, response) => {
      if (cut(request, response)) return true;
      if (request.headers.range !== undefined && wrong-- > 0) request.headers.range = "bytes=7-";
      return false;
    };
    expect((await readFile(join((await pull()).path, "model.safetensors"))).equals(weights)).toBe(true);
  });

  it("of a server that falls silent is noticed", async () => {
    let times = 1;
    hub.intercept = (request, response) => {
      if (!request.url!.endsWith("model.safetensors") || request.url!.includes("/resolve/") || times-- <= 0) return false;
      response.writeHead(200, { "content-length": weights.length });
      response.write(weights.subarray(0, 1000));
      return true;
    };
    expect((await readFile(join((await pull({ timeout: 200 })).path, "model.safetensors"))).equals(weights)).toBe(true);
    expect(notices).toHaveLength(1);
  });
});

describe("wrong content", () => {
  const altered = Buffer.from(weights);
  altered[12345] ^= 1;
  const sendInstead = (content: Buffer, times = Infinity) => {
    hub.intercept = (request, response) => {
      if (!request.url!.endsWith("model.safetensors") || request.url!.includes("/resolve/") || times-- <= 0) return false;
      sendRange(request, response, content);
      return true;
    };
  };

  it("is thrown away, in large and in small files", async () => {
    sendInstead(altered);
    expect((await failure(pull({ file: "model.safetensors" }))).code).toBe("checksum");
    hub.intercept = (request, response) => {
      if (!request.url!.includes("/cached/")) return false;
      response.end('{"model_type": "llamb"}');
      return true;
    };
    expect((await failure(pull({ file: "config.json" }))).code).toBe("checksum");
    expect(await readdir(join(folder, "hub", "models--org--small-model", "blobs"))).toEqual([]);
    hub.intercept = () => false;
    expect((await pull()).files).toHaveLength(5);
  });

  it("in a part from an earlier time is fetched anew", async () => {
    await pull();
    const blobs = join(folder, "hub", "models--org--small-model", "blobs");
    const [sha256] = (await readdir(blobs)).filter((name) => name.length === 64);
    await rm(join(blobs, sha256));
    await writeFile(join(blobs, `${sha256}.part`), altered.subarray(0, 100_000));
    expect((await readFile(join((await pull()).path, "model.safetensors"))).equals(weights)).toBe(true);
    await rm(join(blobs, sha256));
    await writeFile(join(blobs, `${sha256}.part`), Buffer.concat([weights, weights]));
    expect((await readFile(join((await pull()).path, "model.safetensors"))).equals(weights)).toBe(true);
  });

  it("that does not end is stopped at the length that was listed", async () => {
    hub.intercept = (request, response) => {
      if (!request.url!.endsWith("model.safetensors") || request.url!.includes("/resolve/")) return false;
      const more = (): void => void (!response.destroyed && response.write(weights, more));
      more();
      return true;
    };
    expect((await failure(pull())).code).toBe("too-long");
    const blobs = join(folder, "hub", "models--org--small-model", "blobs");
    for (const name of await readdir(blobs)) expect((await stat(join(blobs, name))).size).toBeLessThanOrEqual(weights.length);
  });

  it("that is shorter than listed is asked for again, and not without end", async () => {
    sendInstead(weights.subarray(0, 2_000_000));
    expect((await failure(pull({ retries: 2 }))).code).toBe("download-cut");
    expect(hub.requests.filter((request) => request.startsWith("storage:")).length).toBeLessThan(10);
  });
});

describe("a hostile list", () => {
  const entry = { type: "file", path: "config.json", size: 2, oid: commitOf("1") };

  it.each(["../config.json", "/etc/config.json", "a/../../b", "C:\\x", "a\\b", "a//b", "./a", "x\u001b[2J", "a/\u0000"])("with the path %j is refused", async (path) => {
    hub.listing = (entries) => [...entries, { ...entry, path }];
    expect((await failure(pull())).code).toBe("unsafe-path");
    expect(await readdir(folder)).toEqual([]);
  });

  it.each<[string, unknown]>([
    ["a size below zero", [{ ...entry, size: -1 }]],
    ["a size beyond counting", [{ ...entry, size: 1e300 }]],
    ["a checksum that is a path", [{ ...entry, oid: "../../../../etc/passwd" }]],
    ["no list", { error: "?" }],
    ["something else", [7]],
    ["more entries than a model has", Array.from({ length: 20_001 }, (_, i) => ({ ...entry, path: `f${i}` }))],
  ])("with %s is refused", async (_, answer) => {
    hub.listing = () => answer;
    hub.pageSize = 1e6;
    expect((await failure(pull())).code).toBe("bad-response");
  });

  it("that leads to another origin is not followed with the token", async () => {
    hub.intercept = (request, response) => {
      if (!request.url!.includes("/tree/")) return false;
      response.writeHead(200, { "content-type": "application/json", link: '<http://127.0.0.1:1/next>; rel="next"' }).end("[]");
      return true;
    };
    expect((await failure(pull({ token: "hf_secret" }))).code).toBe("bad-response");
  });

  it("or a page that is no JSON is told as such", async () => {
    hub.intercept = (_, response) => {
      response.end("<html>Log in to the hotel's network</html>");
      return true;
    };
    expect((await failure(pull())).code).toBe("bad-response");
  });
});

describe("a refusal", () => {
  const answer = (status: number, code?: string, only = /./) => {
    hub.intercept = (request, response) => {
      if (!only.test(request.url!)) return false;
      refuse(response, status, code);
      return true;
    };
  };

  it.each<[string, number, string | undefined, RegExp, string, RegExp]>([
    ["a gated model", 401, "GatedRepo", /resolve/, "gated", /Ask for access at .*org\/small-model in a browser.*HF_TOKEN/],
    ["a gated model for this account", 403, "GatedRepo", /resolve/, "gated", /access/],
    ["a model that is not", 401, "RepoNotFound", /api/, "no-such-repository", /no model org\/small-model, or it is private/],
    ["a model that is not, without a reason", 404, undefined, /api/, "no-such-repository", /Check the name/],
    ["a login that is wanted", 401, undefined, /api/, "no-such-repository", /private/],
    ["a forbidden one", 403, undefined, /api/, "forbidden", /403/],
    ["a revision that is not", 404, "RevisionNotFound", /api/, "no-such-revision", /no revision "main"/],
    ["a file that is gone", 404, "EntryNotFound", /resolve/, "no-such-file", /config\.json/],
    ["too many requests", 429, undefined, /api/, "rate-limited", /Wait/],
    ["a server in trouble", 503, undefined, /resolve/, "server-error", /503/],
    ["something else", 418, undefined, /api/, "bad-response", /418/],
  ])("%s", async (_, status, code, only, expected, words) => {
    answer(status, code, only);
    const error = await failure(pull({ retries: 1 }));
    expect(error).toMatchObject({ code: expected, status });
    expect(error.message).toMatch(words);
    expect(hub.requests.length).toBeLessThan(6);
    await expectNothingHalf();
  });

  it("of a token is told as such", async () => {
    answer(401);
    vi.stubEnv("HF_TOKEN", "hf_old");
    expect((await failure(pull())).code).toBe("unauthorized");
  });

  it("of the moment passes: the server says for how long", async () => {
    let trouble = 3;
    hub.intercept = (_, response) => {
      if (trouble-- <= 0) return false;
      response.writeHead([500, 429, 502][trouble], { "retry-after": "0" }).end();
      return true;
    };
    await pull({ retryDelay: 1e9 });
    expect(notices).toHaveLength(3);
  });

  it("is not written with what moves a cursor", async () => {
    hub.intercept = (_, response) => {
      response.writeHead(403, { "x-error-message": "no\u009b2J" }).end();
      return true;
    };
    expect((await failure(pull())).message).toMatch(/403: no 2J/);
  });

  it("for names that cannot be comes before any request", async () => {
    for (const name of ["..", "a/..", "a/b/c", "", "a/b?x", "/a", "a/.hidden", "https://x/y"]) await expect(pull({ repo: name })).rejects.toMatchObject({ code: "bad-name" });
    for (const revision of ["../main", "/x", "a b", ""]) await expect(pull({ revision })).rejects.toMatchObject({ code: "bad-name" });
    await expect(pull({ hubUrl: "file:///etc" })).rejects.toMatchObject({ code: "bad-address" });
    expect(hub.requests).toEqual([]);
    expect(parseRepo("org/name:sub/x.gguf")).toEqual({ repo: "org/name", file: "sub/x.gguf" });
    expect(() => parseRepo("org/name:../x")).toThrow(/no file/);
  });
});

describe("the token", () => {
  it("goes to the hub and not to its storage", async () => {
    vi.stubEnv("HF_TOKEN", "hf_secret");
    const seen = new Set<string | undefined>();
    hub.intercept = (request) => {
      if (!/^\/org\/small-model\/a{40}/.test(request.url!)) seen.add(request.headers.authorization);
      return false;
    };
    await pull();
    expect([...seen]).toEqual(["Bearer hf_secret"]);
    expect(hub.storageHeaders.length).toBeGreaterThan(0);
    for (const headers of hub.storageHeaders) expect(headers.authorization).toBeUndefined();
  });

  it("and HF_ENDPOINT come from the environment", async () => {
    vi.stubEnv("HF_ENDPOINT", `${hub.url}/`);
    expect((await pull({ hubUrl: undefined })).files).toHaveLength(5);
  });
});

describe("without a network", () => {
  let closed: string;
  beforeEach(async () => {
    const other = await HubServer.start();
    closed = other.url;
    await other.stop();
  });

  it("the cache answers, and says so", async () => {
    const { path } = await pull();
    expect(await pull({ hubUrl: closed })).toMatchObject({ path, offline: true, downloadedBytes: 0 });
    expect(notices.at(-1)).toMatch(/127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\).*as it was last seen/);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    hub.requests.length = 0;
    expect(await pull()).toMatchObject({ path, offline: true });
    expect(await pull({ revision: commitOf("a") })).toMatchObject({ path });
    expect(hub.requests).toEqual([]);
  });

  it("what the cache lacks is named", async () => {
    expect((await failure(pull({ hubUrl: closed }))).message).toMatch(/cannot be reached.*not in the cache either/);
    await pull({ file: "config.json" });
    const error = await failure(pull({ hubUrl: closed }));
    expect(error.code).toBe("offline");
    expect(error.message).toMatch(/does not have tokenizer\.json/);
    expect((await failure(pull({ hubUrl: closed, revision: commitOf("d") }))).code).toBe("offline");
  });
});

describe("a path that does not exist", () => {
  it("may be a name on the hub: how to pull it, or where it lies", async () => {
    vi.stubEnv("HORNBOOK_CACHE", folder);
    expect(await hubHint(repo)).toContain(`hornbook pull ${repo}`);
    expect(await hubHint(`${repo}:Q8_0`)).toContain(`hornbook pull ${repo}:Q8_0`);
    const { path } = await pull({ cacheFolder: undefined });
    expect(await hubHint(repo)).toContain(path);
    for (const other of ["my-model", "./my/model", "/a/b", "a/b/c", "models\\mine"]) expect(await hubHint(other)).toBeUndefined();
  });
});

describe("a proxy", () => {
  it("is used for what NO_PROXY does not name", async () => {
    const through: string[] = [];
    // Forwards plain requests by their absolute address, whatever the host's name, to the hub; opens tunnels to it.
    const proxy = createServer((request, response) => {
      const url = new URL(request.url!);
      through.push(`${url.host} ${request.headers["proxy-authorization"] ?? ""}`);
      void fetch(`${hub.url}${url.pathname}${url.search}`, { headers: { ...(request.headers.range !== undefined && { range: request.headers.range }) }, redirect: "manual" }).then(async (answer) => {
        const headers = [...answer.headers].filter(([name]) => !/^(transfer-encoding|connection|content-encoding|keep-alive)$/.test(name));
        response.writeHead(answer.status, Object.fromEntries(headers)).end(Buffer.from(await answer.arrayBuffer()));
      });
    }).on("connect", (request, socket) => {
      through.push(`CONNECT ${request.url!}`);
      const [host, port] = request.url!.split(":");
      if (host !== "127.0.0.1") return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      const far = connect(Number(port), host, () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
      far.pipe(socket).pipe(far);
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const at = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    try {
      vi.stubEnv("HTTP_PROXY", `http://user:word@${at}`);
      vi.stubEnv("NO_PROXY", "127.0.0.1");
      const { path } = await pull({ hubUrl: "http://hub.test" });
      expect((await readFile(join(path, "model.safetensors"))).equals(weights)).toBe(true);
      expect(new Set(through)).toEqual(new Set([`hub.test Basic ${Buffer.from("user:word").toString("base64")}`]));

      vi.stubEnv("HTTPS_PROXY", at);
      const error = await failure(pull({ hubUrl: "https://hub.test", repo: "org/other" }));
      expect(through.at(-1)).toBe("CONNECT hub.test:443");
      expect(error.code).toBe("proxy");
      expect(error.message).toMatch(/through the proxy 127\.0\.0\.1:\d+, and that refuses \(407\)/);
      vi.stubEnv("HTTPS_PROXY", "http://127.0.0.1:9");
      expect((await failure(pull({ hubUrl: "https://hub.test", repo: "org/other" }))).message).toMatch(/that cannot be reached \(ECONNREFUSED\)/);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  it.each<[string, Record<string, string>, string | undefined]>([
    ["https://huggingface.co", { HTTPS_PROXY: "http://p:1" }, "p:1"],
    ["https://huggingface.co", { https_proxy: "p:1", HTTPS_PROXY: "q:1" }, "p:1"],
    ["https://huggingface.co", { HTTP_PROXY: "http://p:1" }, undefined],
    ["https://huggingface.co", { ALL_PROXY: "http://p:1" }, "p:1"],
    ["https://huggingface.co", { HTTPS_PROXY: "http://p:1", NO_PROXY: "*" }, undefined],
    ["https://huggingface.co", { HTTPS_PROXY: "http://p:1", NO_PROXY: "face.co, localhost" }, "p:1"],
    ["https://cdn.huggingface.co", { HTTPS_PROXY: "http://p:1", NO_PROXY: "localhost,.huggingface.co" }, undefined],
    ["https://cdn.huggingface.co", { HTTPS_PROXY: "http://p:1", NO_PROXY: "huggingface.co:443" }, undefined],
    ["https://cdn.huggingface.co:8443", { HTTPS_PROXY: "http://p:1", NO_PROXY: "huggingface.co:443" }, "p:1"],
  ])("for %s with %j is %s", (url, variables, expected) => {
    for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
    expect(proxyFor(new URL(url))?.host).toBe(expected);
  });

  it("that is none is told", () => {
    vi.stubEnv("HTTPS_PROXY", "socks5://me:secret@p:1");
    expect(() => proxyFor(new URL("https://x.test"))).toThrow(/socks5:\/\/p:1/);
  });
});

describe("the disk", () => {
  it("is asked for its space before anything is fetched", async () => {
    vi.mocked(statfs).mockResolvedValueOnce({ blocks: 100, bavail: 1, bsize: 4096 } as never);
    const error = await failure(pull());
    expect(error.code).toBe("disk-full");
    expect(error.message).toMatch(/Nothing was downloaded.*HORNBOOK_CACHE/);
    expect(hub.requests.some((request) => request.includes("/resolve/"))).toBe(false);
    expect((await pull()).files).toHaveLength(5);
  });

  it.skipIf(!existsSync("/dev/full"))("that fills up on the way is told, and what was there stands", async () => {
    const { path } = await pull({ file: "config.json" });
    const blobs = join(folder, "hub", "models--org--small-model", "blobs");
    const { lfs } = (await (await fetch(`${hub.url}/api/models/${repo}/tree/${commitOf("a")}`)).json() as { path: string; lfs?: { oid: string } }[]).find(({ path }) => path === "model.safetensors")!;
    await symlink("/dev/full", join(blobs, `${lfs!.oid}.part`));
    await expect(pull()).rejects.toMatchObject({ code: "disk-full" });
    expect(await readFile(path, "utf8")).toContain("llama");
    await rm(join(blobs, `${lfs!.oid}.part`));
    expect((await pull()).files).toHaveLength(5);
  });

  it("where nothing may be written is told", async () => {
    await writeFile(join(folder, "hub"), "a file");
    await expect(pull()).rejects.toMatchObject({ code: "cannot-write" });
  });
});

describe("two at once", () => {
  it("wait for each other, and each file comes once", async () => {
    const results = await Promise.all([pull(), pull(), pull({ file: "model.safetensors" })]);
    for (const { path, files } of results) {
      expect((await readFile(files.length === 1 ? path : join(path, "model.safetensors"))).equals(weights)).toBe(true);
    }
    expect(hub.requests.filter((request) => request.startsWith("storage:"))).toHaveLength(1);
  });

  it("a lock that a killed process left does not hold", async () => {
    const place = join(folder, "hub", "models--org--small-model");
    await mkdir(place, { recursive: true });
    const { hostname } = await import("node:os");
    await writeFile(join(place, ".hornbook.lock"), JSON.stringify({ pid: 999_999_999, host: hostname(), started: "1", id: "x" }));
    expect((await pull()).files).toHaveLength(5);
  });
});
