/** The training loop without a folder: what it learns, reports and refuses, and that nothing but the seed decides its bits. */

import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { Corpus, type TokenDataset } from "../data/index.js";
import { ConfigError, DataError } from "../errors.js";
import { likelihood } from "../evaluate/likelihood.js";
import { Decoder, type ModelOptions } from "../model/index.js";
import { CpuDevice, Random, Tensor, memory, noGrad, scope, type Device } from "../tensor/index.js";
import { CharTokenizer } from "../tokenizer/index.js";
import { TrainingError, train, type StepReport, type TrainOptions } from "./trainer.js";
import { learningRate, parseSchedule } from "./schedule.js";

let tokenizer: CharTokenizer;
let data: TokenDataset;
const words = ["the ", "cat ", "sat ", "on ", "a ", "mat.\n", "dog "];

beforeAll(async () => {
  const random = new Random(1, 0);
  const corpus = await Corpus.fromText({ text: Array.from({ length: 500 }, () => words[random.integer(words.length)]).join("") });
  tokenizer = await CharTokenizer.fromText(corpus);
  data = await corpus.tokenized(tokenizer, { cache: false, validation: 0.2 });
});

/** Disposed of after each test, so that the collector has nothing to find while another counts bytes. */
const made: Decoder[] = [];
afterEach(() => {
  for (const model of made.splice(0)) model.dispose();
});
function makeModel(options: Partial<ModelOptions> = {}, device?: Device): Decoder {
  const model = new Decoder({ vocabSize: tokenizer.vocabSize, hiddenSize: 16, numLayers: 2, numHeads: 2, contextLength: 8, ...options }, { seed: 1, ...(device && { device }) });
  made.push(model);
  return model;
}
const constant = (rate: number) => ({ kind: "constant", rate, warmup: 0 }) as const;

async function run(model: Decoder, options: TrainOptions): Promise<StepReport[]> {
  const reports: StepReport[] = [];
  for await (const report of train(model, data, options)) reports.push(report);
  return reports;
}
const weightsOf = async (model: Decoder) => new Map(await Promise.all([...model.parameters()].map(async ([name, parameter]) => [name, await parameter.data()] as const)));
const losses = (reports: readonly StepReport[]) => reports.map(({ loss }) => loss);
const rejection = (job: Promise<unknown>) => job.then(() => undefined, (error: unknown) => error);

describe("train", () => {
  it("learns, and says of each step what it should", async () => {
    const model = makeModel();
    const schedule = { kind: "cosine", rate: 1e-2, finalRate: 1e-3, warmup: 5 } as const;
    const reports = await run(model, { steps: 40, batchSize: 4, accumulation: 2, dtype: "f32", schedule, evaluateEvery: 15, evaluateTokens: 64, sampleEvery: 20, sampleTokens: 10, samplePrompt: "the", tokenizer });
    expect(reports.map(({ step }) => step)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    expect(reports[0].loss).toBeCloseTo(Math.log(tokenizer.vocabSize), 0);
    expect(reports[39].loss).toBeLessThan(reports[0].loss - 0.7);
    for (const [i, report] of reports.entries()) {
      expect(report.learningRate).toBe(learningRate(parseSchedule(schedule, 40), i, 40));
      expect(report.gradNorm).toBeGreaterThan(0);
      expect(report.tokens).toBe((i + 1) * 4 * 8 * 2);
      expect(report.seconds).toBeGreaterThan(0);
      expect(report.tokensPerSecond).toBeCloseTo(64 / report.seconds, 3);
      expect(report.peakBytes).toBeGreaterThan(model.numBytes);
      expect(report.saved).toBeUndefined();
    }
    expect(reports.filter(({ validationLoss }) => validationLoss !== undefined).map(({ step, validationCount }) => [step, validationCount])).toEqual([[1, 64], [15, 64], [30, 64], [40, data.validation!.length - 1]]);
    const last = reports[39];
    // One character is one byte here.
    expect(last.bitsPerByte).toBeCloseTo(last.validationLoss! / Math.LN2, 6);
    expect(reports.filter(({ sample }) => sample !== undefined).map(({ step, sample }) => [step, sample!.length])).toEqual([[1, 10], [20, 10], [40, 10]]);
  });

  it("looks at the whole validation split at the end, each token predicted once, from those before it in its window", async () => {
    const model = makeModel();
    const [report] = await run(model, { steps: 1, batchSize: 3, dtype: "f32" });
    const { validation } = data;
    const ids = Array.from(await validation!.read(0, validation!.length));
    const { vocabSize } = tokenizer;
    let nll = 0;
    for (let start = 0; start + 1 < ids.length; start += 8) {
      const inputs = ids.slice(start, Math.min(start + 8, ids.length - 1));
      const logits = noGrad(() => scope(() => model.logits(Tensor.from([inputs], { dtype: "i32" }))));
      const scores = Float64Array.from(await logits.data());
      inputs.forEach((_, t) => {
        const row = scores.subarray(t * vocabSize, (t + 1) * vocabSize);
        nll += Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0)) - row[ids[start + t + 1]];
      });
    }
    expect(report.validationCount).toBe(ids.length - 1);
    expect(report.validationLoss).toBeCloseTo(nll / (ids.length - 1), 4);
    const { tokens, nll: measured, perplexity, bitsPerByte } = await likelihood(model, ids, { tokenizer });
    expect(tokens).toBe(ids.length - 1);
    expect(measured / nll).toBeCloseTo(1, 5);
    expect(perplexity).toBeCloseTo(Math.exp(nll / tokens), 3);
    expect(bitsPerByte).toBeCloseTo(nll / tokens / Math.LN2, 4);
  });

  it("accumulated over two batches of four is the step of one of eight", async () => {
    const common = { steps: 5, dtype: "f32", order: "sequential", optimizer: { kind: "sgd", momentum: 0.9 }, schedule: constant(0.1) } as const;
    const [one, two] = [makeModel(), makeModel()];
    const whole = await run(one, { ...common, batchSize: 8 });
    const parts = await run(two, { ...common, batchSize: 4, accumulation: 2 });
    parts.forEach(({ loss, gradNorm, tokens }, i) => {
      expect(loss).toBeCloseTo(whole[i].loss, 5);
      expect(gradNorm).toBeCloseTo(whole[i].gradNorm, 4);
      expect(tokens).toBe(whole[i].tokens);
    });
    const [a, b] = [await weightsOf(one), await weightsOf(two)];
    for (const [name, weights] of a) weights.forEach((value, i) => expect(Math.abs(value - b.get(name)![i])).toBeLessThan(1e-5));
  });

  it.each(["f32", "bf16"] as const)("gives the same bits for the same seed, others for another (%s, with dropout)", async (dtype) => {
    const train = async (seed: number) => {
      const model = makeModel({ dropout: 0.1 });
      return { losses: losses(await run(model, { steps: 8, batchSize: 4, dtype, seed })), weights: await weightsOf(model) };
    };
    const first = await train(7);
    expect(await train(7)).toEqual(first);
    expect((await train(8)).weights).not.toEqual(first.weights);
  });

  it("computes the same bits when activations are computed again", async () => {
    const train = async (recompute: boolean) => {
      const model = makeModel({ dropout: 0.1 });
      await run(model, { steps: 6, batchSize: 4, dtype: "f32", recompute });
      return weightsOf(model);
    };
    expect(await train(true)).toEqual(await train(false));
  });

  it.runIf(CpuDevice.isAvailable()).each([
    ["f32", {}],
    ["bf16", {}],
    ["f32", { norm: "rmsnorm", position: "rope", feedForward: "swiglu", numKeyValueHeads: 1, bias: false, dropout: 0.1 }],
    ["bf16", { norm: "rmsnorm", position: "rope", feedForward: "swiglu", numKeyValueHeads: 1, bias: false, dropout: 0.1 }],
  ] as const)("gives the same bits with 1, 2 and 3 threads (%s, %j)", async (dtype, options) => {
    const train = async (threads: number) => {
      // Large enough that the work is shared out.
      const model = makeModel({ hiddenSize: 64, numHeads: 4, contextLength: 32, ...options }, CpuDevice.create({ threads }));
      return { losses: losses(await run(model, { steps: 4, batchSize: 8, dtype, optimizer: { kind: "muon" } })), weights: await weightsOf(model) };
    };
    const alone = await train(1);
    expect(await train(2)).toEqual(alone);
    expect(await train(3)).toEqual(alone);
  });

  it.each(["adamw", "muon", "sgd"] as const)("holds no more memory after many steps than after a few, and none at the end (%s)", async (kind) => {
    const model = makeModel();
    const before = memory.live;
    const live: number[] = [];
    for await (const { step } of train(model, data, { steps: 70, batchSize: 4, dtype: "bf16", optimizer: { kind }, evaluateEvery: 10 })) {
      live[step] = memory.live;
    }
    expect(new Set([12, 22, 32, 42, 52, 62].map((step) => live[step])).size).toBe(1);
    expect(memory.live).toBeLessThanOrEqual(before + model.numBytes / 2); // The copies in bf16 stay with the model.
  });

  it.each<Partial<ModelOptions>>([{}, { position: "rope" }, { position: "alibi" }, { position: "sinusoidal" }])("a model gives back all its memory: %j", async (options) => {
    const before = memory.live;
    const model = makeModel(options);
    await run(model, { steps: 2, batchSize: 2, dtype: "bf16" });
    model.dispose();
    expect(memory.live).toBe(before);
  });

  it("frees everything but the model when it is left by break", async () => {
    const model = makeModel();
    const before = memory.live;
    for await (const { step } of train(model, data, { steps: 50, batchSize: 4, dtype: "f32" })) if (step === 3) break;
    expect(memory.live).toBe(before);
  });

  it("stops when told to, with the signal's reason", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const seen: number[] = [];
    const job = (async () => {
      for await (const { step } of train(makeModel(), data, { steps: 50, batchSize: 4, signal: controller.signal })) {
        seen.push(step);
        if (step === 5) controller.abort(reason);
      }
    })();
    expect(await rejection(job)).toBe(reason);
    expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe("train stops", () => {
  it.each([NaN, Infinity])("at a loss or gradient that is no number, naming the step (weight %s)", async (bad) => {
    const model = makeModel();
    const seen: number[] = [];
    const job = (async () => {
      for await (const { step } of train(model, data, { steps: 50, batchSize: 4, dtype: "f32" })) {
        seen.push(step);
        // Step 4 is queued by now, so step 5 is the first to meet it.
        if (step === 3) model.blocks[0].feedForward!.parameters().values().next().value!.write(new Float32Array(16 * 64).fill(bad));
      }
    })();
    const error = await rejection(job);
    expect(error).toBeInstanceOf(TrainingError);
    expect(error).toMatchObject({ step: 5, code: "not-finite" });
    expect((error as Error).message).toMatch(/step 5 .*learning rate/);
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it("at a learning rate that blows it up", async () => {
    const job = run(makeModel(), { steps: 50, batchSize: 4, dtype: "f32", clip: 0, optimizer: { kind: "sgd" }, schedule: constant(1e20) });
    expect(await rejection(job)).toBeInstanceOf(TrainingError);
  });

  it.each<[string, Partial<TrainOptions>, unknown]>([
    ["contextLength", { contextLength: 9 }, { field: "contextLength", code: "bad-config" }],
    ["resume without out", { resume: true }, { field: "resume" }],
    ["a batch that fits no memory", { batchSize: 2 ** 40 }, { field: "batchSize", code: "not-enough-memory" }],
    ["steps", { steps: 0 }, { field: "steps" }],
    ["an unknown setting", { batchsize: 3 } as Partial<TrainOptions>, { field: "batchsize" }],
  ])("before it starts: %s", async (_, options, expected) => {
    const error = await rejection(run(makeModel(), { steps: 1, ...options }));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject(expected as object);
  });

  it("before it starts: text shorter than the context, a split without a token to predict, ids the model does not have", async () => {
    const corpus = await Corpus.fromText({ text: "the cat\n" });
    const short = await corpus.tokenized(tokenizer, { cache: false, validation: 0 });
    const first = (dataset: TokenDataset, model = makeModel()) => rejection(train(model, dataset, { steps: 1 }).next());
    const error = await first(short);
    expect(error).toBeInstanceOf(DataError);
    expect(error).toMatchObject({ code: "text-too-short" });
    expect((error as Error).message).toMatch(/8 tokens and needs at least 9/);
    const oneForValidation = await (await Corpus.fromText({ text: "the cat sat" })).tokenized(tokenizer, { cache: false, validation: 0.1 });
    expect(oneForValidation.validation!.length).toBe(2);
    const long = await (await Corpus.fromText({ text: "the cat sat" })).tokenized(tokenizer, { cache: false, validation: 0.01 });
    expect(await first(long)).toMatchObject({ code: "text-too-short" });
    expect(await first(data, makeModel({ vocabSize: 5 }))).toMatchObject({ field: "vocabSize" });
  });
});
