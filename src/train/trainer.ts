/**
 * @file The training loop. A step is queued as a whole (forward, backward, clip, update) and while the device works on it the next batch is
 * read and the next step queued; what is awaited is only its loss. So the event loop lives and the device never waits for JavaScript.
 */

import { ConfigError, HornbookError, TokenizerError } from "../errors.js";
import { generateText } from "../generate/index.js";
import type { Decoder } from "../model/index.js";
import { Tensor, backward, memory, scope } from "../tensor/index.js";
import { randomKey } from "../tensor/random.js";
import type { Tokenizer } from "../tokenizer/index.js";
import type { BatchSampler, SamplerState, TokenBatch, TokenDataset } from "../data/index.js";
import { clipScale } from "./clip.js";
import { checkMemory } from "./machine.js";
import { makeOptimizer, splitMatrices, type Optimizer } from "./optimizers/index.js";
import { RunFolder, configOfRun } from "./run-folder.js";
import { learningRate } from "./schedule.js";
import { trainSettings, type TrainSettings, type TrainSettingsInput } from "./settings.js";
import { validationLoss } from "./validation.js";

/** Training came upon a loss or gradient that is no number. The last checkpoint stands. */
export class TrainingError extends HornbookError {
  constructor(
    readonly step: number,
    message: string,
  ) {
    super(message, { code: "not-finite", hint: "A lower learning rate, a longer warm-up or clipping usually helps; the last checkpoint is as it was." });
  }
}

export type TrainOptions = TrainSettingsInput & {
  /** A folder for checkpoints and metrics; without one nothing is written. */
  readonly out?: string | undefined;
  /** Go on from the last checkpoint in `out`. */
  readonly resume?: boolean | undefined;
  /** For samples, and saved with the model. */
  readonly tokenizer?: Tokenizer | undefined;
  /** Stops after the current step, saves, and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
};

export interface StepReport {
  /** Steps done, counted from 1. */
  readonly step: number;
  /** Mean cross-entropy of the step's tokens before its update, in nats. */
  readonly loss: number;
  /** Norm of all gradients together, before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Tokens seen so far in this run. */
  readonly tokens: number;
  /** Seconds this step took, evaluations and saves apart. */
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** Of the validation split (or its first `evaluateTokens`; the last step's is of all of it), after this step's update. */
  readonly validationLoss?: number;
  readonly validationTokens?: number;
  /** The validation loss in bits per byte of text, which compares across tokenizers. */
  readonly bitsPerByte?: number;
  readonly sample?: string;
  /** The folder of the checkpoint saved after this step. */
  readonly saved?: string;
  /** Bytes of tensors: the most there were at once. */
  readonly peakBytes: number;
}

/**
 * Trains a model in place, one report a step. A quantised one is turned into f32 first, with a warning of the process that says so.
 *
 * @throws ConfigError for settings that cannot be or do not fit the memory; DataError when the text is too short; CheckpointError when `out` holds
 * another run; TrainingError when a loss is not finite. `break` ends the run without saving.
 */
export async function* train(model: Decoder, source: TokenDataset | Promise<TokenDataset>, options: TrainOptions): AsyncGenerator<StepReport, void, void> {
  const { out, resume = false, tokenizer, signal, ...input } = options;
  const { contextLength = model.config.contextLength } = input;
  const settings = { ...trainSettings({ ...input, contextLength }), contextLength };
  if (contextLength > model.config.contextLength) {
    throw new ConfigError("contextLength", `the model's context is ${model.config.contextLength} tokens, which ${contextLength} exceeds.`);
  }
  if (resume && out === undefined) throw new ConfigError("resume", "there is no folder to resume from.", { hint: "Give `out`." });
  const data = await source;
  if (data.vocabSize > model.config.vocabSize) {
    throw new ConfigError("vocabSize", `the data have ${data.vocabSize} token ids and the model only ${model.config.vocabSize}.`);
  }
  // What can be refused is refused before the folder is touched.
  const batches = data.batches({ batchSize: settings.batchSize, contextLength, seed: settings.seed, order: settings.order });
  data.validation?.requireTokens(2, "since each is predicted from those before it");
  if (model.dequantize() > 0) {
    process.emitWarning("The model's weights are quantised and cannot be trained as such: they were turned into f32, from which they were rounded.", "HornbookWarning");
  }
  checkMemory(model, settings);

  const folder = out === undefined ? undefined : await RunFolder.open(out, { resume });
  const run = new Run(model, data, batches, settings, folder, tokenizer, signal);
  try {
    yield* run.steps();
  } finally {
    run.dispose();
    await folder?.close();
  }
}

/** One run of `train`, from its first step or the one it was stopped at to its last. */
class Run {
  readonly #parameters: Map<string, Tensor>;
  readonly #optimizer: Optimizer;
  #best = Infinity;
  /** When the last step ended. */
  #lastTime = 0;
  #trimmedAt = 0;

  constructor(
    private readonly model: Decoder,
    private readonly data: TokenDataset,
    private readonly batches: BatchSampler,
    private readonly settings: TrainSettings & { readonly contextLength: number },
    private readonly folder: RunFolder | undefined,
    private readonly tokenizer: Tokenizer | undefined,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.#parameters = model.parameters();
    // Before there is anything else, so that what comes gets the room of the whole weights.
    if (settings.dtype === "bf16") splitMatrices(this.#parameters);
    this.#optimizer = makeOptimizer(settings.optimizer, this.#parameters);
  }

  dispose(): void {
    dropGradients(this.#parameters.values());
    this.#optimizer.dispose();
  }

  /** While the device works on one step the next is queued; unless something is to look at the weights between them. */
  async *steps(): AsyncGenerator<StepReport, void, void> {
    const { settings, signal } = this;
    const begin = await this.#begin();
    if (begin.unfinished !== undefined) {
      yield await this.#look(begin.unfinished, this.batches.state);
      signal?.throwIfAborted();
    }
    let waiting: Pending | undefined;
    for (let step = begin.step + 1; step <= settings.steps; step++) {
      const pending = await this.#queue(step);
      if (waiting !== undefined) yield await this.#finish(waiting, { atRest: false });
      waiting = pending;
      if (this.#needsRest(step)) {
        waiting = undefined;
        yield await this.#finish(pending, { atRest: true });
        signal?.throwIfAborted();
      }
    }
  }

  /** Where the run stands: at step 0, or restored from its last checkpoint, whose look may have been cut short. */
  async #begin(): Promise<{ readonly step: number; readonly unfinished?: StepReport | undefined }> {
    const { model, data, settings, folder } = this;
    const resumed = folder?.resumed;
    if (folder !== undefined && resumed !== undefined) {
      const before = { ...resumed.settings, fingerprint: resumed.dataFingerprint, dropout: (await configOfRun(folder.path))?.dropout };
      checkResumable(before, { ...settings, fingerprint: data.train.fingerprint, dropout: model.config.dropout });
      await folder.restore(model, this.#optimizer);
      if (settings.dtype === "bf16") splitMatrices(this.#parameters);
      this.batches.restore(resumed.data);
      this.#best = resumed.bestValidationLoss ?? Infinity;
    }
    this.#lastTime = performance.now();
    memory.peak = memory.live;
    return { step: resumed?.step ?? 0, unfinished: resumed?.unfinished };
  }

  async #queue(step: number): Promise<Pending> {
    const { model, batches, settings } = this;
    const micro: TokenBatch[] = [];
    for (let i = 0; i < settings.accumulation; i++) micro.push(await batches.next());
    const dataState = batches.state;
    const rate = learningRate(settings.schedule, step - 1, settings.steps);
    return { step, queued: queueStep(model, this.#optimizer, this.#parameters.values(), micro, { settings, rate, step }), dataState, batch: micro[0] };
  }

  /** Waits for a step and reports it. `atRest`: no later step is queued, so the weights are this step's, to be looked at and saved. */
  async #finish({ step, queued, dataState, batch }: Pending, { atRest }: { atRest: boolean }): Promise<StepReport> {
    const { model, settings } = this;
    const [loss, gradNorm] = await queued;
    if (!Number.isFinite(loss)) throw new TrainingError(step, `The loss of step ${step} is ${loss}.`);
    if (!Number.isFinite(gradNorm)) throw new TrainingError(step, `The gradient of step ${step} is not finite (its norm is ${gradNorm}, the loss ${loss}).`);
    const now = performance.now();
    const seconds = (now - this.#lastTime) / 1000;
    // What V8's compiler, and the looks up from the work, leave behind would stay in holes of the C library's heap.
    if (now - this.#trimmedAt > millisecondsBetweenTrims) {
      model.device.trim?.();
      this.#trimmedAt = now;
    }
    const stepTokens = settings.batchSize * settings.contextLength * settings.accumulation;
    const report: StepReport = {
      step, loss, gradNorm,
      learningRate: learningRate(settings.schedule, step - 1, settings.steps),
      tokens: step * stepTokens,
      seconds,
      tokensPerSecond: stepTokens / seconds,
      peakBytes: memory.peak,
    };
    if (!atRest) {
      await this.folder?.record(report);
      this.#lastTime = now;
      return report;
    }
    if (this.#savesAfter(step)) {
      // The loss was that of the weights before the update; those after it must be good as well, to be saved over the last ones.
      const { loss: next } = await validationLoss(model, [batch], { dtype: settings.dtype });
      if (!Number.isFinite(next)) throw new TrainingError(step, `After step ${step} the loss is ${next}, so its weights are not saved.`);
    }
    return this.#look(report, dataState);
  }

  /** Looks up from the work after a step: evaluates, samples, records and saves, each where it is due. */
  async #look(trained: StepReport, dataState: SamplerState): Promise<StepReport> {
    const { model, data, settings, folder, tokenizer, signal } = this;
    const { step } = trained;
    const isLast = step === settings.steps;
    let report = trained;
    let cutShort = false;
    if (data.validation !== undefined && (isLast || this.#isDue(settings.evaluateEvery, step))) {
      const windows = data.validation.windows({ contextLength: settings.contextLength, batchSize: settings.batchSize });
      const { loss, tokens } = await validationLoss(model, windows, { dtype: settings.dtype, signal, ...(!isLast && { limit: settings.evaluateTokens }) });
      cutShort = signal?.aborted === true;
      if (!cutShort) report = { ...report, validationLoss: loss, validationTokens: tokens, bitsPerByte: loss / Math.LN2 / data.validation.bytesPerToken };
    }
    if (tokenizer !== undefined && this.#isDue(settings.sampleEvery, step) && signal?.aborted !== true) {
      const { sampleTokens: maxTokens, seed, dtype } = settings;
      const { text } = await generateText(model, { ...(await this.#samplePrompt(tokenizer)), tokenizer, maxTokens, temperature: 0.8, seed: seed + step, dtype, onContextFull: "slide" });
      report = { ...report, sample: text };
    }
    if (folder !== undefined) {
      const { sample: _sample, ...numbers } = report;
      // A look that an abort cut short is taken again when the run goes on.
      if (!cutShort) await folder.record(numbers);
      if (report.validationLoss !== undefined && report.validationLoss < this.#best) {
        this.#best = report.validationLoss;
        await folder.saveBest(model, tokenizer);
      }
      if (this.#savesAfter(step)) {
        await folder.saveLast(model, tokenizer, this.#optimizer, {
          step, settings, data: dataState, bestValidationLoss: Number.isFinite(this.#best) ? this.#best : null, dataFingerprint: data.train.fingerprint,
          ...(cutShort && { unfinished: trained }),
        });
        report = { ...report, saved: `${folder.path}/last` };
      }
    }
    // Evaluations and saves are not the step's time.
    model.device.endPhase?.("look");
    this.#lastTime = performance.now();
    return report;
  }

  /** What samples go on with: the prompt of the settings, or the first token of the text where the tokenizer cannot spell that (a text without newline). */
  async #samplePrompt(tokenizer: Tokenizer): Promise<{ prompt: string } | { ids: ArrayLike<number> }> {
    const { samplePrompt: prompt } = this.settings;
    try {
      tokenizer.encode(prompt);
      return { prompt };
    } catch (error) {
      if (!(error instanceof TokenizerError)) throw error;
      return { ids: await this.data.train.read(0, 1) };
    }
  }

  /**
   * After every so many steps, and after the first: what it starts from is seen, and a folder that cannot be written to, or an evaluation that
   * does not fit the memory, is known at once rather than in an hour.
   */
  #isDue(every: number, step: number): boolean {
    return every > 0 && (step === 1 || step % every === 0);
  }

  #savesAfter(step: number): boolean {
    return this.folder !== undefined && (step === this.settings.steps || this.#isDue(this.settings.saveEvery, step) || this.signal?.aborted === true);
  }

  /** Whether something looks at the weights after this step, so that the next must not be queued before. */
  #needsRest(step: number): boolean {
    const { steps, evaluateEvery, saveEvery, sampleEvery } = this.settings;
    return step === steps || this.signal?.aborted === true || [evaluateEvery, saveEvery, sampleEvery].some((every) => this.#isDue(every, step));
  }
}

const millisecondsBetweenTrims = 500;

/** The loss and the gradient norm of a step, once the device is through with it. */
type Queued = Promise<readonly [loss: number, norm: number]>;

/** A step that the device works on, and where the data stood after it. */
interface Pending {
  readonly step: number;
  readonly queued: Queued;
  readonly dataState: SamplerState;
  /** The first of its batches. */
  readonly batch: TokenBatch;
}

/** Queues one step: the gradients of every micro-batch, averaged; then clip and update. */
function queueStep(
  model: Decoder,
  optimizer: Optimizer,
  parameters: Iterable<Tensor>,
  batches: readonly TokenBatch[],
  { settings, rate, step }: { settings: TrainSettings; rate: number; step: number },
): Queued {
  const { device } = model;
  const results = scope(() => {
    let loss: Tensor | undefined;
    batches.forEach(({ inputs, targets, batchSize, contextLength }, i) => {
      const shape = [batchSize, contextLength];
      const partial = model.loss(Tensor.from(inputs, { shape, device }), Tensor.from(targets, { shape, device }), {
        dtype: settings.dtype,
        recompute: settings.recompute,
        dropout: { seed: randomKey(settings.seed), step: step * batches.length + i },
      });
      // Sums over micro-batches are kept in f32.
      backward(partial, Tensor.full([], 1 / batches.length, { device }), { gradients: batches.length > 1 ? "f32" : settings.dtype });
      loss = loss === undefined ? partial.detach() : loss.add(partial.detach());
    });
    const all = [...parameters];
    const { norm, scale } = clipScale(all, settings.clip > 0 ? settings.clip : Infinity, device);
    optimizer.step({ rate, gradScale: scale });
    dropGradients(all);
    return [loss!.mul(1 / batches.length), norm];
  });
  // The reads take their place in the queue here, before the next step does.
  const values = Promise.all(results.map((result) => result.item()));
  for (const result of results) result.dispose();
  // Whoever waits for the step hears of its failure; until then it is not unhandled.
  values.catch(() => undefined);
  device.endPhase?.("step");
  return values as Promise<[number, number]>;
}

function dropGradients(parameters: Iterable<Tensor>): void {
  for (const parameter of parameters) {
    parameter.grad?.dispose();
    parameter.grad = undefined;
  }
}

/** All that decides what a step computes. (Weights of another shape are refused when they are read.) */
type RunIdentity = TrainSettings & { readonly fingerprint: string; readonly dropout: number | undefined };

/** What may differ between a run and its resumption: how long it is and when it looks up, nothing that changes what a step computes. */
function checkResumable(before: RunIdentity, now: RunIdentity): void {
  if (before.fingerprint !== now.fingerprint) {
    throw new ConfigError("data", "the run was started on other data (or another tokenizer), so it cannot go on with these.", { code: "other-run" });
  }
  for (const field of ["batchSize", "contextLength", "accumulation", "dtype", "optimizer", "schedule", "clip", "seed", "order", "dropout"] as const) {
    if (JSON.stringify(before[field]) !== JSON.stringify(now[field])) {
      throw new ConfigError(field, `the run was started with ${JSON.stringify(before[field])}, and ${JSON.stringify(now[field])} would make it another.`, {
        code: "other-run",
        hint: "Leave it as it was, or start a new run.",
      });
    }
  }
}
