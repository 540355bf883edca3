/** An objective from outside of `src/`: distillation, the cross-entropy of tokens as far as a teacher finds them probable. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Corpus, LanguageModel, Tensor, noGrad, train, type Objective, type StepReport, type TokenBatch } from "../src/index.js";
import { CharTokenizer } from "../src/tokenizer/index.js";

function distillation(teacher: LanguageModel, temperature: number): Objective<TokenBatch> {
  const objective: Objective<TokenBatch> = (model, { inputs, targets, batchSize, contextLength }, context) => {
    const [ids, next] = [inputs, targets].map((values) => Tensor.from(values, { shape: [batchSize, contextLength], device: model.device }));
    const weights = noGrad(() => teacher.head.tokenLogProbs(teacher.hidden(ids), next, { temperature }).exp());
    const { logProbs, entropy } = model.head.tokenLogProbsAndEntropy(model.hidden(ids, context), next);
    const metrics = { entropy: entropy.sum(), approval: { sum: weights.sum(), count: batchSize } };
    return { sum: logProbs.mul(weights).sum().neg(), count: weights.sum(), metrics };
  };
  return Object.assign(objective, { settings: { temperature } });
}

it("trains, reports its metrics, and resumes to the same bits", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hornbook-objective-"));
  try {
    const corpus = await Corpus.fromText({ text: "the cat sat on a mat. ".repeat(80) });
    const tokenizer = await CharTokenizer.fromText(corpus);
    const data = await corpus.tokenized(tokenizer, { cache: false, validation: 0.2 });
    const sizes = { vocabSize: tokenizer.vocabSize, hiddenSize: 16, numLayers: 1, numHeads: 2, contextLength: 16, dropout: 0.1 };
    const settings = { steps: 20, batchSize: 4, accumulation: 2, saveEvery: 5, schedule: { kind: "constant", rate: 3e-2 } } as const;
    const teacher = new LanguageModel(sizes, { seed: 2 });
    for await (const _ of train(teacher, data, settings));

    const run = async (name: string, { stopAt = Infinity, temperature = 2 } = {}) => {
      const options = { ...settings, out: join(folder, name), resume: true, objective: distillation(teacher, temperature) };
      const reports: StepReport[] = [];
      for await (const report of train(new LanguageModel(sizes, { seed: 1 }), data, options)) {
        if (reports.push(report) && report.step === stopAt) break;
      }
      return reports;
    };
    const reports = await run("whole");
    expect(reports[19].loss).toBeLessThan(reports[0].loss - 0.3);
    expect(reports[19].metrics!.entropy).toBeLessThan(reports[0].metrics!.entropy);
    expect(reports[19].validationMetrics!.approval).toBeGreaterThan(0);
    for (const stopAt of [3, 8, 12]) await run("stopped", { stopAt });
    await expect(run("stopped", { temperature: 1 })).rejects.toMatchObject({ code: "other-run", field: "objective" });
    await run("stopped");
    const read = (name: string, path: string) => readFile(join(folder, name, path));
    const state = (name: string) => Promise.all(["model", "training/optimizer"].map((file) => read(name, `last/${file}.safetensors`)));
    expect(await state("stopped")).toEqual(await state("whole"));
    const lines = (await read("stopped", "metrics.jsonl")).toString().trimEnd().split("\n");
    const numbers = ({ step, loss, metrics, tokens }: StepReport) => ({ step, loss, metrics, tokens });
    expect(lines.map((line) => numbers(JSON.parse(line) as StepReport))).toEqual(reports.map(numbers));
    const trained = await LanguageModel.load(join(folder, "stopped", "last"));
    expect((await trained.generateText("the", { tokenizer, maxTokens: 8, seed: 1 })).text).toHaveLength(8);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
