/** `hornbook pull` as a script meets it: what it says, how it fails, and that a model runs from where it lies in the cache. */

import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { main } from "../src/cli/main.js";
import { LanguageModel } from "../src/index.js";
import { HubServer, refuse, type StoredFile } from "./hub-server.js";

const repo = "org/tiny";
let hub: HubServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-pull-"));
  const model = new LanguageModel({ vocabSize: 31, hiddenSize: 16, numLayers: 2, numHeads: 2, contextLength: 12 }, { seed: 7 });
  await model.save(join(folder, "model"));
  model.dispose();
  const names = await readdir(join(folder, "model"));
  const files = await Promise.all(names.map(async (path): Promise<StoredFile> => ({ path, content: await readFile(join(folder, "model", path)), large: path.endsWith(".safetensors") })));
  hub = await HubServer.start();
  hub.add(repo, files);
  hub.add("org/tiny-GGUF", ["Q4_K_M", "Q8_0"].map((type) => ({ path: `tiny-${type}.gguf`, content: Buffer.from(type), large: true })));
  vi.stubEnv("HORNBOOK_CACHE", join(folder, "cache"));
  vi.stubEnv("HF_ENDPOINT", hub.url);
  for (const name of ["HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]) vi.stubEnv(name, "");
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
  await rm(folder, { recursive: true, force: true });
});

async function hornbook(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const said = { stdout: "", stderr: "" };
  const into = (stream: "stdout" | "stderr") => (text: unknown) => {
    said[stream] += stripVTControlCharacters(String(text));
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(into("stdout"));
  vi.spyOn(process.stderr, "write").mockImplementation(into("stderr"));
  vi.spyOn(console, "log").mockImplementation((text: unknown) => void into("stdout")(`${String(text)}\n`));
  vi.spyOn(console, "error").mockImplementation((text: unknown) => void into("stderr")(`${String(text)}\n`));
  try {
    const code = await main(args);
    return { code, ...said };
  } finally {
    vi.restoreAllMocks();
  }
}

it("says how it goes on stderr, and on stdout where the model is, which runs from there", async () => {
  const { code, stdout, stderr } = await hornbook("pull", repo);
  const path = join(folder, "cache", "hub", "models--org--tiny", "snapshots", "a".repeat(40));
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${path}\n` });
  expect(stderr).toMatch(/100% {2}.* kB of .* kB {2}.*\/s {2}model\.safetensors\n3 files, .* kB, at aaaaaaaaaaaa\n$/);
  const logits = (place: string) => hornbook("logits", place, "--ids", "1,2,3", "--all");
  const pulled = await logits(path);
  expect(pulled).toMatchObject({ code: 0, stderr: "" });
  expect(pulled.stdout).toBe((await logits(join(folder, "model"))).stdout);
});

it("--json prints one object; a second time everything is there", async () => {
  await hornbook("pull", repo);
  const { code, stdout, stderr } = await hornbook("pull", repo, "--json", "--out", join(folder, "out"));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({ path: join(folder, "out"), repo, commit: "a".repeat(40), downloadedBytes: 0, offline: false, files: [{ path: "config.json" }, { path: "generation_config.json" }, { path: "model.safetensors" }] });
});

it("is what other verbs name for a path that may be a model on the hub", async () => {
  expect((await hornbook("generate", "org/unknown", "--prompt", "a")).stderr).toMatch(/org\/unknown: there is no such file or folder\. .*`hornbook pull org\/unknown` downloads it/);
  await hornbook("pull", repo);
  expect((await hornbook("generate", repo, "--prompt", "a")).stderr).toContain(join(folder, "cache", "hub", "models--org--tiny", "snapshots", "a".repeat(40)));
});

it("takes ORG/NAME:FILE", async () => {
  const { stdout } = await hornbook("pull", "org/tiny-GGUF:Q8_0");
  expect(await readFile(stdout.trim(), "utf8")).toBe("Q8_0");
});

it("takes the address of the model's page or file, which elsewhere is an error that says so", async () => {
  expect(await readFile((await hornbook("pull", `${hub.url}/org/tiny-GGUF/blob/main/tiny-Q4_K_M.gguf?download=true`)).stdout.trim(), "utf8")).toBe("Q4_K_M");
  const page = `${hub.url}/${repo}/tree/main`;
  const { stdout } = await hornbook("pull", page);
  expect(stdout).toContain("models--org--tiny");
  expect((await hornbook("generate", page, "--prompt", "a")).stderr).toContain(`was pulled; it lies in ${stdout.trim()}`);
  expect((await hornbook("generate", "https://huggingface.co/org/unknown", "--prompt", "a")).stderr).toContain("`hornbook pull https://huggingface.co/org/unknown` downloads it");
  expect((await hornbook("info", "https://example.com/x.gguf")).stderr).toContain("download it, and name the file here");
  expect((await hornbook("pull", page, "--revision", "v1"))).toMatchObject({ code: 2, stderr: expect.stringContaining("names the revision main, and --revision v1") as string });
});

it.each<[string, number, string[], RegExp]>([
  ["a model that is not", 1, ["org/absent"], /^error: 127\.0\.0\.1:\d+ has no model org\/absent, or it is private\. Check the name;/],
  ["a revision that is not", 1, [repo, "--revision", "v9"], /no revision "v9"/],
  ["a file that is not", 1, [`${repo}:absent.gguf`], /no file "absent\.gguf"\. There are:\n {2}config\.json/],
  ["several GGUFs", 1, ["org/tiny-GGUF"], /Name one.*hornbook pull org\/tiny-GGUF:Q4_K_M/s],
  ["no name", 2, ["a/b/c"], /no name of a model/],
])("fails for %s", async (_, code, args, words) => {
  const run = await hornbook("pull", ...args);
  expect(run).toMatchObject({ code, stdout: "" });
  expect(run.stderr).toMatch(words);
  expect(run.stderr).not.toMatch(/\n\s+at /);
});

it("Ctrl-C ends it with 130", async () => {
  hub.add("org/slow", [{ path: "slow.gguf", content: Buffer.alloc(1 << 20), large: true }]);
  hub.intercept = (request, response) => {
    if (!/^\/org\/slow\/a/.test(request.url!)) return false;
    response.writeHead(200, { "content-length": 1 << 20 });
    response.write(Buffer.alloc(1000), () => setTimeout(() => process.emit("SIGINT"), 20));
    return true;
  };
  expect(await hornbook("pull", "org/slow")).toMatchObject({ code: 130, stdout: "" });
  hub.intercept = (_, response) => {
    refuse(response, 403, "GatedRepo");
    return true;
  };
  expect((await hornbook("pull", "org/slow")).stderr).toMatch(/org\/slow is gated.*HF_TOKEN/);
  hub.intercept = () => false;
  expect(await hornbook("pull", "org/slow")).toMatchObject({ code: 0 });
});
