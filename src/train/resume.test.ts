/** Runs in a folder: stopped and resumed to the same bits, what is refused, and what stands after a failure. */

import { cp, mkdir, mkdtemp, open, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Corpus, type TokenDataset } from "../data/index.js";
import { CheckpointError, ConfigError } from "../errors.js";
import { LanguageModel } from "../language-model.js";
import type { ModelOptions } from "../model/index.js";
import { Random } from "../tensor/index.js";
import { CharTokenizer } from "../tokenizer/index.js";
import { configOfRun, isRunComplete } from "./run-folder.js";
import { TrainingError, train, type StepReport, type TrainOptions } from "./trainer.js";
import { evaluateObjective } from "./evaluation.js";
import { pretraining } from "./pretraining.js";

let folder: string;
let tokenizer: CharTokenizer;
let data: TokenDataset;

beforeAll(async () => {
  const random = new Random(2, 0);
  const words = ["the ", "cat ", "sat ", "on ", "a ", "mat.\n", "dog "];
  const corpus = await Corpus.fromText({ text: Array.from({ length: 400 }, () => words[random.integer(words.length)]).join("") });
  tokenizer = await CharTokenizer.fromText(corpus);
  data = await corpus.tokenized(tokenizer, { cache: false, validation: 0.2 });
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-run-"));
});
const made: LanguageModel[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const model of made.splice(0)) model.dispose();
  await rm(folder, { recursive: true, force: true });
});

function makeModel(options: Partial<ModelOptions> = {}): LanguageModel {
  const model = new LanguageModel({ vocabSize: tokenizer.vocabSize, hiddenSize: 16, numLayers: 1, numHeads: 2, contextLength: 8, ...options }, { seed: 1 });
  made.push(model);
  return model;
}
const settings = { steps: 12, batchSize: 4, dtype: "f32", schedule: { kind: "constant", rate: 1e-2 }, evaluateEvery: 5, evaluateTokens: 64, saveEvery: 4 } as const;

/** Runs to the end, or until `stop` of a report is true, by break: nothing is saved then, as in a kill. */
async function run(out: string, options: Partial<TrainOptions> = {}, model = makeModel(), stop: (report: StepReport) => boolean = () => false): Promise<StepReport[]> {
  const reports: StepReport[] = [];
  for await (const report of train(model, data, { ...settings, out, ...options })) {
    reports.push(report);
    if (stop(report)) break;
  }
  return reports;
}
const rejection = (job: Promise<unknown>) => job.then(() => undefined, (error: unknown) => error);

/** All that `last` keeps, but for how often it was interrupted. */
async function checkpoint(out: string) {
  const read = (...path: string[]) => readFile(join(out, "last", ...path));
  return {
    weights: (await read("model.safetensors")).toString("base64"),
    optimizer: (await read("training", "optimizer.safetensors")).toString("base64"),
    ...(JSON.parse((await read("training", "state.json")).toString()) as { step: number; metricsBytes: number; bestValidationLoss: number }),
    metricsBytes: 0,
  };
}
async function metrics(out: string) {
  const lines = (await readFile(join(out, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as StepReport);
}
const numbers = ({ step, loss, gradNorm, learningRate, tokens, validationLoss }: StepReport) => ({ step, loss, gradNorm, learningRate, tokens, validationLoss });

describe("a run that is stopped", () => {
  it.each([
    ["f32", { kind: "adamw" }, 0],
    ["bf16", { kind: "adamw" }, 0.1],
    ["bf16", { kind: "muon" }, 0],
    ["f32", { kind: "sgd", momentum: 0.9 }, 0.1],
  ] as const)("and resumed again and again ends with the same bits as one never stopped (%s, %j, dropout %s)", async (dtype, optimizer, dropout) => {
    const whole = join(folder, "whole");
    const options = { dtype, optimizer, accumulation: 2, order: "shuffled-epochs", tokenizer } as const;
    const expected = (await run(whole, options, makeModel({ dropout }))).map(numbers);

    const out = join(folder, "stopped");
    const random = new Random(dtype.length, 3);
    let lives = 0;
    for (let done = false; !done && lives < 30; lives++) {
      const controller = new AbortController();
      const life = 1 + random.integer(4);
      let steps = 0;
      const error = await rejection(
        run(out, { ...options, resume: true, signal: controller.signal }, makeModel({ dropout }), () => {
          // Asked for in between, when the next step is queued and the loop waits, as Ctrl-C comes.
          if (++steps === life) queueMicrotask(() => controller.abort());
          return false;
        }),
      );
      if (error !== undefined) expect(error).toMatchObject({ name: "AbortError" });
      done = error === undefined;
    }
    expect(lives).toBeGreaterThan(2);
    expect(await checkpoint(out)).toEqual(await checkpoint(whole));
    expect((await metrics(out)).map(numbers)).toEqual(expected);
    expect((await metrics(whole)).map(numbers)).toEqual(expected);
  });

  it("saves, on an abort, once and at the step that it says", async () => {
    const whole = join(folder, "whole");
    await run(whole, { saveEvery: 0, evaluateEvery: 0 });
    for (const delay of [0, 1, 2, 3, 5, 8]) {
      const out = join(folder, `after-${delay}`);
      const controller = new AbortController();
      const saved: number[] = [];
      await rejection(
        run(out, { saveEvery: 0, evaluateEvery: 0, signal: controller.signal }, makeModel(), ({ step, saved: path }) => {
          if (path !== undefined) saved.push(step);
          if (step === 3) void (async () => {
            for (let i = 0; i < delay; i++) await Promise.resolve();
            controller.abort();
          })();
          return false;
        }),
      );
      expect(saved).toHaveLength(1);
      expect((await checkpoint(out)).step).toBe(saved[0]);
      await run(out, { saveEvery: 0, evaluateEvery: 0, resume: true });
      expect(await checkpoint(out)).toEqual(await checkpoint(whole));
    }
  });

  it("without saving (kill -9) loses only the steps since the last checkpoint, and metrics.jsonl keeps one line a step", async () => {
    const [whole, out] = [join(folder, "whole"), join(folder, "killed")];
    const expected = (await run(whole)).map(numbers);
    await run(out, { saveEvery: 0 }, makeModel(), ({ step }) => step === 3); // before any checkpoint
    expect(await configOfRun(out)).toBeUndefined();
    await run(out, { resume: true }, makeModel(), ({ step }) => step === 3); // after the one of step 1
    expect((await checkpoint(out)).step).toBe(1);
    await run(out, { resume: true }, makeModel(), ({ step }) => step === 7); // after the one of step 4
    expect((await metrics(out)).length).toBeGreaterThan(6);
    expect((await checkpoint(out)).step).toBe(4);
    expect(await isRunComplete(out)).toBe(false);
    const rest = await run(out, { resume: true });
    expect(rest[0].step).toBe(5);
    expect((await metrics(out)).map(numbers)).toEqual(expected);
    expect(await checkpoint(out)).toEqual(await checkpoint(whole));
    expect(await isRunComplete(out)).toBe(true);
    expect(await run(out, { resume: true })).toEqual([]);
  });

  it("may be made longer", async () => {
    const [whole, out] = [join(folder, "whole"), join(folder, "longer")];
    await run(whole);
    await run(out, { steps: 6 });
    expect((await run(out, { resume: true })).map(({ step }) => step)).toEqual([7, 8, 9, 10, 11, 12]);
    expect((await checkpoint(out)).weights).toBe((await checkpoint(whole)).weights);
  });

  it("loses no metrics when someone shortened their file", async () => {
    const out = join(folder, "run");
    await run(out, {}, makeModel(), ({ step }) => step === 5);
    await writeFile(join(out, "metrics.jsonl"), "");
    await run(out, { resume: true }, makeModel(), ({ step }) => step === 9);
    await run(out, { resume: true });
    expect((await metrics(out)).map(({ step }) => step)).toEqual([5, 6, 7, 8, 9, 10, 11, 12]);
  });
});

describe("best", () => {
  it("is the model with the lowest validation loss, also over a resumption", async () => {
    const out = join(folder, "run");
    const model = makeModel();
    // A rate that rises until it does harm.
    const options = { steps: 24, evaluateEvery: 2, saveEvery: 4, clip: 0, optimizer: { kind: "sgd" }, schedule: { kind: "constant", rate: 3, warmup: 20 } } as const;
    await run(out, options, model, ({ step }) => step === 10);
    await run(out, { ...options, resume: true });
    const all = await metrics(out);
    const lowest = all.filter(({ validationLoss }) => validationLoss !== undefined).sort((a, b) => a.validationLoss! - b.validationLoss!)[0];
    expect(lowest.step).toBeLessThan(24);
    const best = await LanguageModel.load(join(out, "best"));
    made.push(best);
    const windows = data.validation!.windows({ contextLength: 8, batchSize: 4 });
    expect((await evaluateObjective(best, pretraining, windows, { dtype: "f32", limit: settings.evaluateTokens })).loss).toBe(lowest.validationLoss);
    expect((await checkpoint(out)).bestValidationLoss).toBe(lowest.validationLoss);
    // The folder of the run stands for the best in it.
    const asked = await LanguageModel.load(out);
    made.push(asked);
    expect(await asked.parameters().get("embed")!.data()).toEqual(await best.parameters().get("embed")!.data());
  });
});

describe("a folder is refused", () => {
  it("when it holds a run already, unless it is to be resumed", async () => {
    const out = join(folder, "run");
    await run(out, { steps: 4 });
    const before = await checkpoint(out);
    const error = await rejection(run(out));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ code: "run-exists", file: out });
    expect((error as Error).message).toMatch(/4 steps.*--resume.*--out/s);
    expect(await checkpoint(out)).toEqual(before);
    expect(await metrics(out)).toHaveLength(4);
  });

  it("while another run is in it", async () => {
    const out = join(folder, "run");
    const first = train(makeModel(), data, { ...settings, out });
    await first.next();
    const error = await rejection(run(out, { resume: true }));
    expect(error).toMatchObject({ code: "folder-in-use", file: out });
    const rest = [];
    for await (const { step } of first) rest.push(step);
    expect(rest.at(-1)).toBe(12);
    expect(await run(out, { resume: true })).toEqual([]);
  });

  it("for other data, another model, or settings that would make it another run", async () => {
    const out = join(folder, "run");
    await run(out, { steps: 4, tokenizer });
    const before = await checkpoint(out);
    const refused = async (options: Partial<TrainOptions>, model = makeModel()) => {
      const error = await rejection(run(out, { resume: true, ...options }, model));
      expect(error).toBeInstanceOf(ConfigError);
      expect(error).toMatchObject({ code: "other-run" });
      return (error as ConfigError).field;
    };
    expect(await refused({ batchSize: 5 })).toBe("batchSize");
    expect(await refused({ contextLength: 4 })).toBe("contextLength");
    expect(await refused({ accumulation: 2 })).toBe("accumulation");
    expect(await refused({ dtype: "bf16" })).toBe("dtype");
    expect(await refused({ seed: 1 })).toBe("seed");
    expect(await refused({ clip: 2 })).toBe("clip");
    expect(await refused({ order: "sequential" })).toBe("order");
    expect(await refused({ optimizer: { kind: "sgd" } })).toBe("optimizer");
    expect(await refused({ schedule: { kind: "constant", rate: 1 } })).toBe("schedule");
    expect(await refused({}, makeModel({ dropout: 0.5 }))).toBe("dropout");
    expect(await rejection(run(out, { resume: true, contextLength: 8 }))).toBeUndefined();
    await rm(out, { recursive: true });
    await run(out, { steps: 4, tokenizer });

    const other = await (await Corpus.fromText({ text: "the cat sat on a mat.\n".repeat(20) })).tokenized(tokenizer, { cache: false });
    expect(await rejection(train(makeModel(), other, { ...settings, out, resume: true }).next())).toMatchObject({ code: "other-run", field: "data" });
    expect(await rejection(run(out, { resume: true }, makeModel({ numLayers: 2 })))).toMatchObject({ code: "other-model", field: "layers.1" });
    expect(await checkpoint(out)).toEqual(before);
  });

  it("when it is a file", async () => {
    await writeFile(join(folder, "file"), "");
    expect(await rejection(run(join(folder, "file")))).toBeInstanceOf(CheckpointError);
  });

  it("and left as it was when the settings cannot be", async () => {
    const out = join(folder, "run");
    expect(await rejection(run(out, { batchSize: 0 }))).toBeInstanceOf(ConfigError);
    expect(await rejection(run(out, { contextLength: 9 }))).toBeInstanceOf(ConfigError);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("the last checkpoint stands", () => {
  it("when the loss becomes no number, and the run can go on from it", async () => {
    const [whole, out] = [join(folder, "whole"), join(folder, "run")];
    await run(whole);
    const model = makeModel();
    const error = await rejection(
      run(out, {}, model, ({ step }) => {
        if (step === 5) model.parameters().get("embed")!.write(new Float32Array(model.embed.size).fill(NaN));
        return false;
      }),
    );
    expect(error).toBeInstanceOf(TrainingError);
    expect((await checkpoint(out)).step).toBe(4);
    await run(out, { resume: true });
    expect(await checkpoint(out)).toEqual(await checkpoint(whole));
  });

  it("when an update makes the weights overflow, though its loss was fine", async () => {
    const out = join(folder, "run");
    const options = { optimizer: { kind: "sgd" }, clip: 0, saveEvery: 1, evaluateEvery: 0, schedule: { kind: "wsd", rate: 1e30, warmup: 5, decay: 0 } } as const;
    const error = await rejection(run(out, options));
    expect(error).toMatchObject({ step: 1, code: "not-finite" });
    expect((error as Error).message).toMatch(/After step 1 .* not saved/);
    expect(await configOfRun(out)).toBeUndefined();
  });

  it.each([0, 1, 2, 3, 5, 8])("when the disk fills up while it is replaced (at write %i)", async (writes) => {
    const [whole, out] = [join(folder, "whole"), join(folder, "run")];
    await run(whole, { tokenizer });
    await run(out, { steps: 4, tokenizer, evaluateEvery: 0 });
    const before = await checkpoint(out);
    await fillDiskAfter(writes);
    const error = await rejection(run(out, { resume: true, tokenizer, steps: 5, evaluateEvery: 0 }));
    vi.restoreAllMocks();
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ code: "disk-full" });
    expect((error as Error).message).toMatch(/what was saved before still stands.*Free some space/s);
    expect(await checkpoint(out)).toEqual(before);
  });

  it("and says so when it was cut short or altered", async () => {
    const out = join(folder, "run");
    await run(out, { steps: 4 });
    const damaged = async (file: string, damage: (content: Buffer) => Buffer | string) => {
      const copy = join(folder, "damaged");
      await rm(copy, { recursive: true, force: true });
      await cp(out, copy, { recursive: true });
      const path = join(copy, "last", file);
      await writeFile(path, damage(await readFile(path)));
      const error = await rejection(run(copy, { resume: true }));
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message).toContain(file);
      return (error as CheckpointError).code;
    };
    const cut = (content: Buffer) => content.subarray(0, content.length - 10);
    const flip = (content: Buffer) => {
      content[content.length - 5] ^= 1;
      return content;
    };
    const state = join("training", "state.json");
    const optimizer = join("training", "optimizer.safetensors");
    expect(await damaged(state, cut)).toBe("bad-state");
    expect(await damaged(state, (content) => content.toString().replace('"step": 4', '"step": -4'))).toBe("bad-state");
    expect(await damaged(optimizer, cut)).toBe("bad-checkpoint");
    expect(await damaged(optimizer, flip)).toBe("bad-checkpoint");
    expect(await damaged("model.safetensors", cut)).toBe("bad-checkpoint");
    expect(await damaged("model.safetensors", flip)).toBe("bad-checkpoint");
    expect(await damaged("config.json", cut)).toBe("bad-config");
  });

  it("does not take an optimizer's state of another shape", async () => {
    const [out, other] = [join(folder, "run"), join(folder, "other")];
    await run(out, { steps: 4 });
    await mkdir(other);
    await run(other, { steps: 4, optimizer: { kind: "sgd", momentum: 0.5 } });
    await cp(join(other, "last", "training", "optimizer.safetensors"), join(out, "last", "training", "optimizer.safetensors"));
    expect(await rejection(run(out, { resume: true }))).toMatchObject({ code: "bad-optimizer-state", field: "m.embed" });
  });
});

/** Makes all writes to open files after the first so many fail, as a full disk does. */
async function fillDiskAfter(writes: number): Promise<void> {
  const handle = await open(join(folder, ".probe"), "w");
  const prototype = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  let left = writes;
  for (const method of ["write", "writev", "writeFile", "appendFile"] as const) {
    const original: unknown = Reflect.get(prototype, method);
    vi.spyOn(prototype, method).mockImplementation(function (this: unknown, ...args: unknown[]) {
      if (left-- > 0) return Reflect.apply(original as () => never, this, args) as never;
      return Promise.reject(Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" }));
    });
  }
}
