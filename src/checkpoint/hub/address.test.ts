/** Names and addresses of models on the hub, as people copy them. */

import { afterEach, describe, expect, it, vi } from "vitest";
import { UsageError } from "../../errors.js";
import { parseHubName } from "./address.js";

afterEach(() => vi.unstubAllEnvs());

describe("what a text names on the hub", () => {
  it.each<[string, string, string | undefined, string | undefined]>([
    ["org/name", "org/name", undefined, undefined],
    ["org/name:Q4_K_M", "org/name", "Q4_K_M", undefined],
    ["https://huggingface.co/org/name", "org/name", undefined, undefined],
    ["http://huggingface.co/org/name/", "org/name", undefined, undefined],
    ["https://www.huggingface.co/org/name?library=transformers#usage", "org/name", undefined, undefined],
    ["huggingface.co/org/name", "org/name", undefined, undefined],
    ["HTTPS://HuggingFace.co/org/Name", "org/Name", undefined, undefined],
    ["https://huggingface.co/gpt2", "gpt2", undefined, undefined],
    ["https://huggingface.co/org/name/tree/main", "org/name", undefined, "main"],
    ["https://huggingface.co/org/name/tree/v1.0", "org/name", undefined, "v1.0"],
    ["https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "org/name", undefined, "refs/pr/1"],
    ["https://huggingface.co/org/name/blob/refs/pr/1/a.gguf", "org/name", "a.gguf", "refs/pr/1"],
    ["https://huggingface.co/org/name/blob/main/model-Q4_K_M.gguf", "org/name", "model-Q4_K_M.gguf", "main"],
    ["https://huggingface.co/org/name/resolve/main/model.gguf?download=true", "org/name", "model.gguf", "main"],
    ["https://huggingface.co/org/name/resolve/main/BF16/model%20one.gguf", "org/name", "BF16/model one.gguf", "main"],
    ["https://huggingface.co/org/name/raw/main/config.json", "org/name", "config.json", "main"],
    ["https://huggingface.co/org/name/discussions/3", "org/name", undefined, undefined],
    ["https://huggingface.co/api/models/org/name", "org/name", undefined, undefined],
    ["hf.co/org/name:Q4_K_M", "org/name", "Q4_K_M", undefined],
    ["https://hf.co/org/name:Q4_K_M", "org/name", "Q4_K_M", undefined],
    ["hf://org/name", "org/name", undefined, undefined],
  ])("%s", (text, repo, file, revision) => {
    expect(parseHubName(text)).toEqual({ repo, file, revision });
  });

  it("takes addresses of the hub of HF_ENDPOINT, below its path as well", () => {
    expect(() => parseHubName("https://hf-mirror.com/org/name")).toThrow(/is no address on the hub, huggingface\.co\. Where hf-mirror\.com is a hub too, set HF_ENDPOINT=https:\/\/hf-mirror\.com;/);
    vi.stubEnv("HF_ENDPOINT", "https://hf-mirror.com");
    expect(parseHubName("https://hf-mirror.com/org/name/tree/dev")).toEqual({ repo: "org/name", file: undefined, revision: "dev" });
    expect(parseHubName("hf-mirror.com/org/name:Q8_0")).toMatchObject({ repo: "org/name", file: "Q8_0" });
    expect(parseHubName("https://huggingface.co/org/name")).toMatchObject({ repo: "org/name" });
    vi.stubEnv("HF_ENDPOINT", "http://localhost:8080/hub/");
    expect(parseHubName("http://localhost:8080/hub/org/name/blob/main/a.gguf")).toEqual({ repo: "org/name", file: "a.gguf", revision: "main" });
  });

  it.each<[string, RegExp]>([
    ["https://huggingface.co/", /names no model/],
    ["https://huggingface.co/datasets/org/name", /stands among the hub's datasets/],
    ["https://huggingface.co/spaces/org/name", /stands among the hub's spaces/],
    ["https://huggingface.co/org/name/tree/main/Q4_K_M", /is a folder within a model\. Name the model, org\/name, or a file of it/],
    ["https://huggingface.co/org/name/blob/main/%ff", /begins no character/],
    ["https://huggingface.co/org/name/blob/main/%2e%2e%2fsecret", /no file of a repository/],
    ["https://huggingface.co/org/name/blob/a%20b/x.gguf", /no branch, tag or commit/],
    ["https://huggingface.co/org/name/frobnicate/x", /there is no "frobnicate" of a model/],
    ["https://example.com/model.gguf", /is no address on the hub/],
    ["https://", /is no address/],
    ["a/b/c", /is no name of a model/],
  ])("refuses %s", (text, said) => {
    expect(() => parseHubName(text)).toThrow(UsageError);
    expect(() => parseHubName(text)).toThrow(said);
  });
});
