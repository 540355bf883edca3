import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Corpus } from "../data/index.js";
import { LanguageModel } from "../language-model.js";
import { CharTokenizer } from "../tokenizer/index.js";
import { train } from "./index.js";

it("a quantised model is turned into f32 to be trained, and a warning says so", async () => {
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
    expect(model.parameters().size).toBeLessThan(fresh.parameters().size);
    const warnings: string[] = [];
    const listen = ({ name, message }: Error) => name === "HornbookWarning" && warnings.push(message);
    process.on("warning", listen);
    const losses: number[] = [];
    const data = (await Corpus.fromText({ text })).tokenized(tokenizer);
    for await (const { loss } of train(model, data, { steps: 30, batchSize: 4, contextLength: 16, schedule: { kind: "constant", rate: 1e-2 } })) losses.push(loss);
    process.off("warning", listen);
    expect([...model.parameters().keys()]).toEqual([...fresh.parameters().keys()]);
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]);
    expect(warnings).toEqual([expect.stringMatching(/quantised.*turned into f32/)]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
