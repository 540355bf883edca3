/**
 * @file The training loop. A step is queued as a whole (forward, backward, clip, update; see `step.ts`). While the device works on it, the
 * loop reads the next batch and queues the next step; it awaits only results. So the event loop stays free, and the device never waits for
 * JavaScript. Evaluation, samples and checkpoints, which read the weights between two steps, are in `after-step.ts`.
 */

import { TokenDataset, type Json } from "../data/index.js";
import { ConfigError } from "../errors.js";
import type { Decoder } from "../model/index.js";
import { memory } from "../tensor/index.js";
import { AfterStep } from "./after-step.js";
import { checkMemory } from "./machine.js";
import { identityOf, type Objective } from "./objective.js";
import { makeOptimizer, splitMatrices } from "./optimizers/index.js";
import { pretraining, tokenBatches } from "./pretraining.js";
import { checkResumable } from "./resume.js";
import { RunFolder, configOfRun } from "./run-folder.js";
import { TrainingError, type Run, type StepReport, type TrainOptions, type TrainingData } from "./run.js";
import { learningRate } from "./schedule.js";
import { trainSettings, type TrainSettings } from "./settings.js";
import { dropGradients, queueStep, type StepResult } from "./step.js";
import { trainableParameters } from "./trainable.js";

export { TrainingError, type StepReport, type StepSums, type TrainOptions, type TrainingData } from "./run.js";

/**
 * Trains a model in place, one report a step: on a dataset of tokens to predict the next one, or with an `objective` on the batches that it
 * takes. Only parameters that require a gradient change.
 *
 * @throws ConfigError for settings that cannot be or do not fit the memory, or a model whose weights are quantised; DataError when the text is
 * too short; CheckpointError when `out` holds another run; TrainingError when a loss is not finite. `break` ends the run without saving.
 */
export function train(
  model: Decoder,
  data: TokenDataset | Promise<TokenDataset>,
  options: TrainOptions,
): AsyncGenerator<StepReport, void, void>;
export function train<Batch>(
  model: Decoder,
  data: TrainingData<Batch>,
  options: TrainOptions<Batch> & { readonly objective: Objective<Batch> },
): AsyncGenerator<StepReport, void, void>;
export async function* train<Batch>(
  model: Decoder,
  source: TokenDataset | Promise<TokenDataset> | TrainingData<Batch>,
  options: TrainOptions<Batch>,
): AsyncGenerator<StepReport, void, void> {
  const { out, resume = false, objective, tokenizer, saveWith, reduceGradients, signal, ...input } = options;
  const given = await source;
  const ofTokens = given instanceof TokenDataset;
  const settings = ofTokens ? tokenSettings(model, given, input) : batchSettings(input);
  if (resume && out === undefined) throw new ConfigError("resume", "there is no folder to resume from.", { hint: "Give `out`." });
  // What can be refused is refused before the folder is touched.
  const parameters = trainableParameters(model);
  // The overloads see to it that a dataset of tokens meets an objective for its batches.
  const data = (ofTokens ? tokenBatches(given, settings as TokenSettings) : given) as TrainingData<Batch>;
  if (ofTokens) checkMemory(model, settings);

  const folder = out === undefined ? undefined : await RunFolder.open(out, { resume });
  // The bf16 copies are made before anything else is allocated, so that what comes gets the room of the whole weights.
  if (settings.dtype === "bf16") splitMatrices(parameters);
  const run: Run<Batch> = {
    model,
    data,
    settings,
    parameters,
    folder,
    tokenizer,
    saveWith,
    reduceGradients,
    signal,
    objective: objective ?? (pretraining as Objective<never> as Objective<Batch>),
    optimizer: makeOptimizer(settings.optimizer, parameters),
    firstToken: ofTokens ? () => given.train.read(0, 1) : undefined,
    bytesPerToken: ofTokens && objective === undefined ? given.validation?.bytesPerToken : undefined,
  };
  try {
    yield* new Trainer(run).steps();
  } finally {
    dropGradients(parameters.values());
    run.optimizer.dispose();
    await folder?.close();
  }
}

type TokenSettings = TrainSettings & { readonly contextLength: number };

/** The settings of a run on tokens, checked against the model and the data. */
function tokenSettings(model: Decoder, data: TokenDataset, input: Parameters<typeof trainSettings>[0]): TokenSettings {
  const { contextLength = model.config.contextLength } = input;
  const settings = { ...trainSettings({ ...input, contextLength }), contextLength };
  if (contextLength > model.config.contextLength) {
    throw new ConfigError("contextLength", `the model's context is ${model.config.contextLength} tokens, which ${contextLength} exceeds.`);
  }
  if (data.vocabSize > model.config.vocabSize) {
    throw new ConfigError("vocabSize", `the data have ${data.vocabSize} token ids and the model only ${model.config.vocabSize}.`);
  }
  return settings;
}

/** The settings of a run on batches of its own; throws ConfigError for those that only windows of tokens have. */
function batchSettings(input: Parameters<typeof trainSettings>[0]): TrainSettings {
  for (const field of ["batchSize", "contextLength", "order"] as const) {
    if (input[field] !== undefined)
      throw new ConfigError(field, "the batches are as `data.batches` makes them; this setting is for a dataset of tokens.");
  }
  return trainSettings(input);
}

/** A step that the device works on. */
interface Pending<Batch> {
  readonly step: number;
  readonly result: Promise<StepResult>;
  /** Where the data stood after it. */
  readonly dataState: Json;
  /** Tokens of this step, and of the run up to it. */
  readonly tokens: { readonly step: number; readonly run: number };
  /** The first of its batches. */
  readonly batch: Batch;
}

/** One run of `train`, from its first step or the one it was stopped at to its last. */
class Trainer<Batch> {
  readonly #after: AfterStep<Batch>;
  #tokens = 0;
  /** When the last step ended. */
  #lastTime = 0;
  #trimmedAt = 0;

  constructor(private readonly run: Run<Batch>) {
    this.#after = new AfterStep(run);
  }

  /** While the device works on one step the next is queued, unless something reads the weights between them. */
  async *steps(): AsyncGenerator<StepReport, void, void> {
    const { settings, signal, data } = this.run;
    const begin = await this.#begin();
    if (begin.unfinished !== undefined) {
      yield await this.#complete(begin.unfinished, data.batches.state);
      signal?.throwIfAborted();
    }
    let waiting: Pending<Batch> | undefined;
    for (let step = begin.step + 1; step <= settings.steps; step++) {
      const pending = await this.#queue(step);
      if (waiting !== undefined) yield await this.#finish(waiting, { atRest: false });
      waiting = pending;
      if (this.#after.isDue(step)) {
        waiting = undefined;
        yield await this.#finish(pending, { atRest: true });
        signal?.throwIfAborted();
      }
    }
  }

  /** Where the run stands: at step 0, or restored from its last checkpoint, whose evaluation may have been cut short. */
  async #begin(): Promise<{ readonly step: number; readonly unfinished?: StepReport | undefined }> {
    const { model, objective, data, settings, folder, optimizer, parameters } = this.run;
    const resumed = folder?.resumed;
    if (folder !== undefined && resumed !== undefined) {
      const before = {
        ...resumed.settings,
        objective: resumed.objective,
        fingerprint: resumed.dataFingerprint,
        dropout: (await configOfRun(folder.path))?.dropout,
      };
      checkResumable(before, {
        ...settings,
        objective: identityOf(objective),
        fingerprint: data.batches.fingerprint,
        dropout: model.config.dropout,
      });
      await folder.restore(model, optimizer);
      if (settings.dtype === "bf16") splitMatrices(parameters);
      data.batches.restore(resumed.data);
      this.#after.best = resumed.bestValidationLoss ?? Infinity;
      // A checkpoint of an earlier version does not say; all batches were alike then.
      this.#tokens = resumed.tokens ?? resumed.step * settings.batchSize * (settings.contextLength ?? 0) * settings.accumulation;
    }
    this.#lastTime = performance.now();
    memory.peak = memory.live;
    return { step: resumed?.step ?? 0, unfinished: resumed?.unfinished };
  }

  async #queue(step: number): Promise<Pending<Batch>> {
    const { data, settings } = this.run;
    const batches: Batch[] = [];
    for (let i = 0; i < settings.accumulation; i++) batches.push(await data.batches.next());
    const dataState = data.batches.state;
    const ofStep = batches.reduce((sum, batch) => sum + data.batches.tokens(batch), 0);
    this.#tokens += ofStep;
    const tokens = { step: ofStep, run: this.#tokens };
    const { result } = await queueStep(this.run, batches, { step, rate: learningRate(settings.schedule, step - 1, settings.steps) });
    return { step, result, dataState, tokens, batch: batches[0] };
  }

  /** Waits for a step and reports it. `atRest`: no later step is queued, so the weights are this step's, to be evaluated and saved. */
  async #finish({ step, result, dataState, tokens, batch }: Pending<Batch>, { atRest }: { atRest: boolean }): Promise<StepReport> {
    const { model, settings, folder } = this.run;
    const { loss, gradNorm, metrics } = await result;
    if (!Number.isFinite(loss)) throw new TrainingError(step, `The loss of step ${step} is ${loss}.`);
    if (!Number.isFinite(gradNorm))
      throw new TrainingError(step, `The gradient of step ${step} is not finite (its norm is ${gradNorm}, the loss ${loss}).`);
    const now = performance.now();
    const seconds = (now - this.#lastTime) / 1000;
    // What V8's compiler, evaluations and saves leave behind would stay in holes of the C library's heap.
    if (now - this.#trimmedAt > millisecondsBetweenTrims) {
      model.device.trim?.();
      this.#trimmedAt = now;
    }
    const report: StepReport = {
      step,
      loss,
      ...(metrics && { metrics }),
      gradNorm,
      learningRate: learningRate(settings.schedule, step - 1, settings.steps),
      tokens: tokens.run,
      seconds,
      tokensPerSecond: tokens.step / seconds,
      peakBytes: memory.peak,
    };
    if (atRest) {
      await this.#after.checkWeights(step, batch);
      return this.#complete(report, dataState);
    }
    await folder?.record(report);
    this.#lastTime = now;
    return report;
  }

  async #complete(report: StepReport, dataState: Json): Promise<StepReport> {
    const complete = await this.#after.evaluateSampleAndSave(report, dataState);
    // Evaluations and saves are not the next step's time.
    this.#lastTime = performance.now();
    return complete;
  }
}

const millisecondsBetweenTrims = 500;
