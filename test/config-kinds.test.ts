/**
 * Settings of config.json as people have them, over the tiny models of `fixtures/families`, against what transformers computes then
 * (scripts/reference/config_kinds.py); and what each family takes where nothing is said (scripts/reference/config_defaults.py).
 */

import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigFile, families } from "../src/checkpoint/families/index.js";
import { CheckpointError, LanguageModel } from "../src/index.js";
import { Tensor, noGrad, scope } from "../src/tensor/index.js";

interface Kind {
  family: string;
  name: string;
  set: Record<string, unknown>;
  remove: string[];
  /** After the last of the ids. */
  logits?: number[];
  refused?: string;
}

const fixtures = fileURLToPath(new URL("fixtures", import.meta.url));
const readJson = async <T>(...path: string[]) => JSON.parse(await readFile(join(fixtures, ...path), "utf8")) as T;
const kinds = await readJson<Kind[]>("config-kinds.json");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-kinds-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A folder with the fixture's weights and its configuration changed. */
async function changed({ family, set, remove }: Kind): Promise<string> {
  const config = { ...(await readJson<Record<string, unknown>>("families", family, "config.json")), ...set };
  const place = await mkdtemp(join(folder, "kind-"));
  await writeFile(join(place, "config.json"), JSON.stringify(Object.fromEntries(Object.entries(config).filter(([field]) => !remove.includes(field)))));
  await copyFile(join(fixtures, "families", family, "model.safetensors"), join(place, "model.safetensors"));
  return place;
}

describe("transformers' logits with", () => {
  it.each(kinds.filter(({ logits }) => logits !== undefined).map((kind) => [kind.family, kind.name, kind] as const))("%s: %s", async (_family, _name, kind) => {
    const { ids: [row] } = await readJson<{ ids: number[][] }>("families", kind.family, "expected.json");
    const model = await LanguageModel.load(await changed(kind));
    const tensor = noGrad(() => scope(() => model.logits(Tensor.from([row], { dtype: "i32", device: model.device }), { lastOnly: true })));
    const logits = [...(await tensor.data())];
    const apart = logits.reduce((most, value, i) => Math.max(most, Math.abs(value - kind.logits![i])), 0);
    expect(apart).toBeLessThan(1e-3);
    model.dispose();
  });
});

/** What is clear enough, though transformers stumbles over it. */
const understood = new Set(["yarn without its original context", "called su"]);

describe("refused, as transformers refuses it,", () => {
  it.each(kinds.filter(({ refused, name }) => refused !== undefined && !understood.has(name)).map((kind) => [kind.family, kind.name, kind] as const))("%s: %s", async (_family, _name, kind) => {
    await expect(LanguageModel.load(await changed(kind))).rejects.toBeInstanceOf(CheckpointError);
  });
});

describe("where nothing is said, what transformers' class takes:", async () => {
  const { defaults } = await readJson<{ defaults: Record<string, Record<string, unknown>> }>("config-defaults.json");
  /** Settings that bear on nothing here: a model that is not being trained, or is another than one that goes on with a text. */
  const idle = /^(bos|eos|pad)_token_id$|^initializer_range$|dropout|pdrop$|^use_cache$|^pretraining_tp$|^summary_|^slow_but_exact$|^reorder_and_upcast_attn$|^is_decoder$/;
  const renamed: Record<string, Record<string, string>> = { gpt_neox: { rope_theta: "rotary_emb_base", partial_rotary_factor: "rotary_pct" } };

  it("all families are there", () => {
    expect(new Set(Object.keys(defaults))).toEqual(new Set(families.map(({ modelType }) => modelType).filter((type) => type !== "hornbook")));
  });

  it.each(Object.keys(defaults))("%s", (modelType) => {
    const family = families.find((family) => family.modelType === modelType)!;
    for (const [field, value] of Object.entries(defaults[modelType])) {
      if (idle.test(field)) continue;
      expect([field, family.defaults?.[renamed[modelType]?.[field] ?? field] ?? null]).toEqual([field, value]);
    }
    // A configuration of nothing is one that can be read, with no field left to chance.
    const read = family.read(new ConfigFile("config.json", {}, family));
    expect(read).toMatchObject({ vocabSize: defaults[modelType].vocab_size });
  });
});
