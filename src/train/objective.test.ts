/** Training with objectives of all kinds: what they count, what they measure, and what several processes add up. */

import { afterEach, describe, expect, it } from "vitest";
import type { Batches, TokenBatch } from "../data/index.js";
import { Decoder, type ModelOptions } from "../model/index.js";
import { Random, Tensor } from "../tensor/index.js";
import { pretraining, train, type Objective, type StepReport, type StepSums, type TrainOptions, type TrainingData } from "./index.js";

const sizes: ModelOptions = { vocabSize: 23, hiddenSize: 16, numLayers: 2, numHeads: 2, contextLength: 12 };
const made: Decoder[] = [];
afterEach(() => {
  for (const model of made.splice(0)) model.dispose();
});
function makeModel(): Decoder {
  const model = new Decoder(sizes, { seed: 1 });
  made.push(model);
  return model;
}

/** Rows of random tokens with random masks, from hardly any target to all of them; row number i depends on i alone. */
class MaskedRows implements Batches<TokenBatch> {
  readonly fingerprint = "masked rows";
  #row = 0;

  /** Gives `batchSize` rows at a time, and skips `stride - batchSize` after them. */
  constructor(private readonly batchSize: number, private readonly stride = batchSize, first = 0) {
    this.#row = first;
  }
  get state() {
    return { row: this.#row };
  }
  restore(state: unknown): void {
    this.#row = (state as { row: number }).row;
  }
  tokens({ inputs }: TokenBatch): number {
    return inputs.length;
  }
  next(): Promise<TokenBatch> {
    const rows = Array.from({ length: this.batchSize }, (_, i) => maskedRow(this.#row + i));
    this.#row += this.stride;
    const joined = (key: "inputs" | "targets") => Int32Array.from(rows.flatMap((row) => row[key]));
    return Promise.resolve({ inputs: joined("inputs"), targets: joined("targets"), batchSize: this.batchSize, contextLength: 12 });
  }
}

function maskedRow(number: number): { inputs: number[]; targets: number[] } {
  const random = new Random(5, number);
  const inputs = Array.from({ length: 12 }, () => random.integer(23));
  const kept = [0.02, 0.1, 0.5, 1][random.integer(4)];
  return { inputs, targets: inputs.map((id) => (random.uniform() < kept ? (7 * id + 3) % 23 : -1)) };
}

const settings = { steps: 6, dtype: "f32", optimizer: { kind: "sgd" }, schedule: { kind: "constant", rate: 0.5 }, clip: 0.7 } as const;

async function run(model: Decoder, data: TrainingData<TokenBatch>, options: Partial<TrainOptions> & { objective?: Objective<TokenBatch> } = {}): Promise<StepReport[]> {
  const reports: StepReport[] = [];
  for await (const report of train(model, data, { ...settings, objective: pretraining, ...options })) reports.push(report);
  return reports;
}

/** The gradients of each step, taken from what is about to be clipped. */
function recorded(into: Map<string, number[]>[]): (sums: StepSums) => Promise<void> {
  return async ({ parameters, totals }) => {
    const [, count] = await totals.data();
    const entries = await Promise.all([...parameters].map(async ([name, { grad }]) => [name, Array.from(await grad!.data(), (value) => value / count)] as const));
    into.push(new Map(entries));
  };
}

const relative = (a: number, b: number) => Math.abs(a - b) / Math.max(Math.abs(b), 1e-12);
function distance(a: readonly number[], b: readonly number[]): number {
  return Math.hypot(...a.map((value, i) => value - b[i])) / Math.max(Math.hypot(...b), 1e-12);
}

describe("a step over batches that count differently", () => {
  it("is the same in 1 x 8, 2 x 4 and 8 x 1: losses to 1e-6, gradients to 1e-5", async () => {
    const runs = await Promise.all(
      [[1, 8], [2, 4], [8, 1]].map(async ([accumulation, batchSize]) => {
        const [model, gradients] = [makeModel(), [] as Map<string, number[]>[]];
        const plain = await run(model, { batches: new MaskedRows(batchSize) }, { accumulation });
        const weights = await Promise.all([...model.parameters().values()].map((parameter) => parameter.data()));
        await run(makeModel(), { batches: new MaskedRows(batchSize) }, { accumulation, reduceGradients: recorded(gradients) });
        return { plain, gradients, weights };
      }),
    );
    const [whole, ...parts] = runs;
    for (const { plain, gradients, weights } of parts) {
      plain.forEach(({ loss, gradNorm }, i) => {
        expect(relative(loss, whole.plain[i].loss)).toBeLessThan(1e-6);
        expect(relative(gradNorm, whole.plain[i].gradNorm)).toBeLessThan(1e-5);
      });
      gradients.forEach((step, i) => step.forEach((values, name) => expect(distance(values, whole.gradients[i].get(name)!), `${name} in step ${i + 1}`).toBeLessThan(1e-5)));
      weights.forEach((values, i) => expect(distance([...values], [...whole.weights[i]])).toBeLessThan(1e-5));
    }
  });

  it("weighs a batch with one target as one, not as much as a batch with six", async () => {
    const batch = (targets: number[]): TokenBatch => ({ inputs: Int32Array.of(1, 2, 3, 4, 5, 6), targets: Int32Array.from(targets), batchSize: 1, contextLength: 6 });
    const [six, one] = [batch([5, 4, 3, 2, 1, 0]), batch([-1, -1, 7, -1, -1, -1])];
    const of = (list: TokenBatch[]): TrainingData<TokenBatch> => {
      let at = 0;
      return { batches: { next: () => Promise.resolve(list[at++ % list.length]), state: null, restore: () => undefined, fingerprint: "", tokens: () => 6 } };
    };
    const [a] = await run(makeModel(), of([six]), { steps: 1 });
    const [b] = await run(makeModel(), of([one]), { steps: 1 });
    for (const order of [[six, one], [one, six]]) {
      const [both] = await run(makeModel(), of(order), { steps: 1, accumulation: 2 });
      expect(both.loss).toBeCloseTo((6 * a.loss + b.loss) / 7, 6);
    }
  });

  it("changes nothing, and is no error, where nothing counts at all", async () => {
    const model = makeModel();
    const before = await model.parameters().get("embed")!.data();
    const nothing: TokenBatch = { inputs: new Int32Array(6), targets: new Int32Array(6).fill(-1), batchSize: 1, contextLength: 6 };
    const batches: Batches<TokenBatch> = { next: () => Promise.resolve(nothing), state: null, restore: () => undefined, fingerprint: "", tokens: () => 6 };
    const [report] = await run(model, { batches }, { steps: 1, accumulation: 2 });
    expect(report).toMatchObject({ loss: 0, gradNorm: 0 });
    expect(await model.parameters().get("embed")!.data()).toEqual(before);
  });
});

it("several processes that add up their sums take the step of one with all batches", async () => {
  const whole = await run(makeModel(), { batches: new MaskedRows(4) }, { accumulation: 2 });
  // Two that wait for each other, with 4 rows of each 8.
  const waiting: { sums: StepSums; goOn: () => void }[] = [];
  const reduceGradients = (sums: StepSums) =>
    new Promise<void>((resolve, reject) => {
      waiting.push({ sums, goOn: resolve });
      if (waiting.length < 2) return;
      const both = waiting.splice(0);
      const tensors = both.map(({ sums: { parameters, totals } }) => [...[...parameters.values()].map(({ grad }) => grad!), totals]);
      Promise.all(tensors[0].map(async (a, i) => {
        const b = tensors[1][i];
        const sum = Float32Array.from(await a.data(), (value) => value);
        (await b.data()).forEach((value, j) => (sum[j] += value));
        for (const tensor of [a, b]) tensor.write(sum);
      })).then(() => both.forEach(({ goOn }) => goOn()), reject);
    });
  const [a, b] = await Promise.all([0, 4].map((first) => run(makeModel(), { batches: new MaskedRows(4, 8, first) }, { reduceGradients })));
  expect(a.map(({ loss, gradNorm }) => [loss, gradNorm])).toEqual(b.map(({ loss, gradNorm }) => [loss, gradNorm]));
  a.forEach(({ loss, gradNorm }, i) => {
    expect(relative(loss, whole[i].loss)).toBeLessThan(1e-6);
    expect(relative(gradNorm, whole[i].gradNorm)).toBeLessThan(1e-5);
  });
});

describe("an objective", () => {
  it("reports its metrics, each over what it counts", async () => {
    let batch = 0;
    const objective: Objective<TokenBatch> = (model, tokens, context) => {
      const { sum, count } = pretraining(model, tokens, context);
      const device = model.device;
      batch++;
      return { sum: sum.mul(2), count, metrics: { half: sum, batches: { sum: Tensor.full([], batch, { device }), count: 1 } } };
    };
    const [report] = await run(makeModel(), { batches: new MaskedRows(2), validation: () => [{ inputs: new Int32Array(4), targets: new Int32Array(4), batchSize: 1, contextLength: 4 }] }, { objective, steps: 1, accumulation: 3 });
    expect(report.metrics!.half).toBeCloseTo(report.loss / 2, 6);
    expect(report.metrics!.batches).toBe(2);
    expect(report.validationCount).toBe(4);
    expect(report.validationMetrics!.half).toBeCloseTo(report.validationLoss! / 2, 6);
    expect(report).not.toHaveProperty("bitsPerByte");
  });

  it("that gives no sum is refused by name", async () => {
    const objective: Objective<TokenBatch> = (model, { inputs }) => ({ sum: model.logits(Tensor.from(inputs, { shape: [1, inputs.length] })), count: 1 });
    await expect(run(makeModel(), { batches: new MaskedRows(1) }, { objective })).rejects.toMatchObject({ code: "bad-objective", message: expect.stringMatching(/sum is f32 \[1, 12, 23\]/) as string });
  });

  it("takes no settings that its batches do not have", async () => {
    for (const field of ["batchSize", "contextLength", "order"] as const) {
      await expect(run(makeModel(), { batches: new MaskedRows(1) }, { [field]: field === "order" ? "random" : 4 })).rejects.toMatchObject({ field, code: "bad-config" });
    }
  });
});

it("a frozen parameter stays as it is, and a model without any to train is refused", async () => {
  const model = makeModel();
  const frozen = [...model.parameters()].filter(([name]) => name.startsWith("blocks.0."));
  const before = await Promise.all(frozen.map(([, parameter]) => parameter.data()));
  for (const [, parameter] of frozen) parameter.requiresGrad = false;
  const reports = await run(model, { batches: new MaskedRows(4) }, { optimizer: { kind: "adamw" } });
  expect(reports.at(-1)!.loss).not.toBe(reports[0].loss);
  expect(await Promise.all(frozen.map(([, parameter]) => parameter.data()))).toEqual(before);
  for (const parameter of model.parameters().values()) parameter.requiresGrad = false;
  await expect(run(model, { batches: new MaskedRows(4) })).rejects.toMatchObject({ field: "model", message: expect.stringMatching(/nothing to train/) as string });
});
