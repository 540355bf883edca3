import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Corpus } from "../data/index.js";
import { LanguageModel } from "../language-model.js";
import { CharTokenizer } from "../tokenizer/index.js";
import { train } from "./index.js";

it("a quantised model is refused, and trains once it was turned into f32", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hornbook-quantised-"));
  try {
    const text = "the quick brown fox jumps over the lazy dog. ".repeat(40);
    const tokenizer = await CharTokenizer.fromText(text);
    const fresh = new LanguageModel(
      { vocabSize: tokenizer.vocabSize, hiddenSize: 32, numLayers: 1, numHeads: 2, contextLength: 16, norm: "rmsnorm", position: "rope", feedForward: "swiglu", bias: false },
      { seed: 1 },
    );
    await fresh.saveGguf(join(folder, "model.gguf"), { quantize: "q8_0", tokenizer });
    const model = await LanguageModel.load(join(folder, "model.gguf"));
    const data = (await Corpus.fromText({ text })).tokenized(tokenizer);
    const settings = { steps: 30, batchSize: 4, contextLength: 16, schedule: { kind: "constant", rate: 1e-2 } } as const;
    const paths = [...model.parameters().keys()];
    await expect(train(model, data, settings).next()).rejects.toMatchObject({ name: "ConfigError", code: "quantized-weights" });
    expect([...model.parameters().keys()]).toEqual(paths);

    model.dequantize();
    expect([...model.parameters().keys()]).toEqual([...fresh.parameters().keys()]);
    const losses: number[] = [];
    for await (const { loss } of train(model, data, settings)) losses.push(loss);
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
