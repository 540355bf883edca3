/** Models in several GGUF files: written, opened by any of them, and refused where they do not belong together. scripts/reference/check_split.py reads them with gguf-py. */

import { copyFile, mkdtemp, readdir, rename, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LanguageModel } from "../../language-model.js";
import { exportModel } from "../../export-model.js";
import { Gguf } from "./gguf.js";
import { splitName } from "./split.js";

let folder: string;
let model: LanguageModel;
const sizes = { vocabSize: 40, hiddenSize: 32, numLayers: 3, numHeads: 2, contextLength: 16, norm: "rmsnorm", position: "rope", feedForward: "swiglu", bias: false } as const;
const part = (n: number) => join(folder, `m-0000${n}-of-00003.gguf`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-split-"));
  model = new LanguageModel(sizes, { seed: 3 });
  const { files } = await model.saveGguf(join(folder, "m.gguf"), { maxShardBytes: 70_000 });
  expect(files).toEqual([1, 2, 3].map(part));
  await model.saveGguf(join(folder, "whole.gguf"));
});
afterAll(async () => {
  model.dispose();
  await rm(folder, { recursive: true });
});

const weightsOf = async (path: string) => {
  const loaded = await LanguageModel.load(path);
  const weights = await Promise.all([...loaded.parameters()].map(async ([name, tensor]) => [name, await tensor.data()]));
  loaded.dispose();
  return weights;
};

describe("a model in several files", () => {
  it("is the same model, whichever of them is named", async () => {
    const whole = await weightsOf(join(folder, "whole.gguf"));
    for (const n of [1, 2, 3]) expect(await weightsOf(part(n))).toEqual(whole);
    await using file = await Gguf.open(part(2));
    expect(file.files).toEqual([1, 2, 3].map(part));
    expect(["split.no", "split.count", "split.tensors.count"].map((key) => file.metadata.values.get(key))).toEqual([
      { type: "uint16", value: 0 }, { type: "uint16", value: 3 }, { type: "int32", value: file.tensors.size },
    ]);
  });

  it("becomes one file again, and another number of files", async () => {
    const one = await exportModel(part(1), { format: "gguf", out: join(folder, "one.gguf") });
    await using file = await Gguf.open(one.path);
    expect([...file.metadata.values.keys()].filter((key) => key.startsWith("split."))).toEqual([]);
    const two = await exportModel(part(1), { format: "gguf", out: join(folder, "two.gguf"), maxShardBytes: 110_000 });
    expect(two.path).toBe(join(folder, "two-00001-of-00002.gguf"));
    expect(await weightsOf(two.path)).toEqual(await weightsOf(one.path));
    const hf = await exportModel(part(1), { format: "hf", out: join(folder, "hf"), maxShardBytes: 70_000 });
    expect((await readdir(hf.path)).filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name)).length).toBeGreaterThan(1);
    expect(await weightsOf(hf.path)).toEqual(await weightsOf(one.path));
  });
});

describe("parts are refused", () => {
  const copied = async () => {
    const place = await mkdtemp(join(folder, "parts-"));
    for (const n of [1, 2, 3]) await copyFile(part(n), join(place, `m-0000${n}-of-00003.gguf`));
    return { place, of: (n: number) => join(place, `m-0000${n}-of-00003.gguf`) };
  };

  it("where one is missing, by its name", async () => {
    const { of } = await copied();
    await rm(of(3));
    await expect(Gguf.open(of(1))).rejects.toMatchObject({ code: "no-such-file", file: of(3), message: expect.stringContaining("lies in 3 files") as string });
  });

  it("of different models, in another order, or under other names", async () => {
    const { of } = await copied();
    const other = new LanguageModel({ ...sizes, numLayers: 4 }, { seed: 4 });
    const { files } = await other.saveGguf(join(folder, "other.gguf"), { maxShardBytes: 90_000 });
    other.dispose();
    expect(files).toHaveLength(3);
    await copyFile(files[1], of(2));
    await expect(Gguf.open(of(1))).rejects.toMatchObject({ code: "bad-checkpoint", file: of(2), field: "split.tensors.count" });
    await copyFile(part(3), of(2));
    await expect(Gguf.open(of(1))).rejects.toMatchObject({ code: "bad-checkpoint", file: of(2), field: "split.no" });
    await rename(of(1), join(of(1), "..", "renamed.gguf"));
    await expect(Gguf.open(join(of(1), "..", "renamed.gguf"))).rejects.toMatchObject({ code: "bad-checkpoint", field: "split.count", message: expect.stringContaining("one of 3 files") as string });
  });

  it("where one is cut short, and nothing stays open", async () => {
    const { of } = await copied();
    await truncate(of(2), 200);
    await expect(Gguf.open(of(1))).rejects.toMatchObject({ code: "bad-checkpoint", file: of(2) });
  });
});

it("knows names of parts", () => {
  expect(splitName("a/Q4_K_M/m-00002-of-00010.gguf")).toEqual({ prefix: "a/Q4_K_M/m", part: 2, count: 10 });
  for (const name of ["m.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-1-of-2.gguf"]) expect(splitName(name)).toBeUndefined();
});
