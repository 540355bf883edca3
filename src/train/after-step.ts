/** @file What follows a step besides the next one: evaluation, a sample, a line of metrics, a checkpoint, each where it is due. */

import type { Json } from "../data/index.js";
import { TokenizerError } from "../errors.js";
import { generateText } from "../generate/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { evaluateObjective } from "./evaluation.js";
import { identityOf } from "./objective.js";
import { TrainingError, type Run, type StepReport } from "./run.js";

export class AfterStep<Batch> {
  /** The lowest validation loss so far. */
  best = Infinity;

  constructor(private readonly run: Run<Batch>) {}

  /** Whether the weights of this step are read before the next step changes them, so that the next must not be queued yet. */
  isDue(step: number): boolean {
    const { settings, signal } = this.run;
    const { steps, evaluateEvery, saveEvery, sampleEvery } = settings;
    return step === steps || signal?.aborted === true || [evaluateEvery, saveEvery, sampleEvery].some((every) => isEvery(every, step));
  }

  #savesAfter(step: number): boolean {
    const { folder, settings, signal } = this.run;
    return folder !== undefined && (step === settings.steps || isEvery(settings.saveEvery, step) || signal?.aborted === true);
  }

  /**
   * Refuses to save weights that this step has ruined: its loss was that of the weights before the update.
   *
   * @param batch one that it learned from
   * @throws TrainingError
   */
  async checkWeights(step: number, batch: Batch): Promise<void> {
    if (!this.#savesAfter(step)) return;
    const { model, objective, settings } = this.run;
    const { loss, count } = await evaluateObjective(model, objective, [batch], { dtype: settings.dtype });
    if (count !== 0 && !Number.isFinite(loss))
      throw new TrainingError(step, `After step ${step} the loss is ${loss}, so its weights are not saved.`);
  }

  /** Completes the report of a step. `dataState`: where the batches stood after it. */
  async evaluateSampleAndSave(trained: StepReport, dataState: Json): Promise<StepReport> {
    const { model, folder, signal } = this.run;
    const { step } = trained;
    let report: StepReport = { ...trained, ...(await this.#evaluate(step)) };
    const cutShort = signal?.aborted === true && this.#evaluatesAfter(step);
    // An evaluation that an abort cut short is taken again when the run goes on.
    if (cutShort) report = trained;
    report = { ...report, ...(await this.#sample(step)) };
    if (folder !== undefined) {
      const { sample: _sample, ...numbers } = report;
      if (!cutShort) await folder.record(numbers);
      if (report.validationLoss !== undefined && report.validationLoss < this.best) {
        this.best = report.validationLoss;
        await folder.saveBest(this.#saved());
      }
      if (this.#savesAfter(step)) {
        await this.#save(trained, dataState, cutShort);
        report = { ...report, saved: `${folder.path}/last` };
      }
    }
    model.device.endPhase?.("look");
    return report;
  }

  #evaluatesAfter(step: number): boolean {
    const { data, settings } = this.run;
    return data.validation !== undefined && (step === settings.steps || isEvery(settings.evaluateEvery, step));
  }

  async #evaluate(step: number): Promise<Partial<StepReport>> {
    const { model, objective, data, settings, signal, bytesPerToken } = this.run;
    if (data.validation === undefined || !this.#evaluatesAfter(step)) return {};
    const isLast = step === settings.steps;
    const { loss, count, metrics } = await evaluateObjective(model, objective, data.validation(), {
      dtype: settings.dtype,
      signal,
      ...(!isLast && { limit: settings.evaluateTokens }),
    });
    return {
      validationLoss: loss,
      validationCount: count,
      ...(metrics && { validationMetrics: metrics }),
      ...(bytesPerToken !== undefined && { bitsPerByte: loss / Math.LN2 / bytesPerToken }),
    };
  }

  async #sample(step: number): Promise<Partial<StepReport>> {
    const { model, settings, tokenizer, signal } = this.run;
    if (tokenizer === undefined || !isEvery(settings.sampleEvery, step) || signal?.aborted === true) return {};
    const { sampleTokens: maxTokens, seed, dtype } = settings;
    const { text } = await generateText(model, {
      ...(await this.#samplePrompt(tokenizer)),
      tokenizer,
      maxTokens,
      temperature: 0.8,
      seed: seed + step,
      dtype,
      onContextFull: "slide",
    });
    return { sample: text };
  }

  /** What samples go on with: the settings' prompt, or the text's first token where the tokenizer cannot spell it (a text without newlines). */
  async #samplePrompt(tokenizer: Tokenizer): Promise<{ prompt: string } | { ids: ArrayLike<number> }> {
    const {
      settings: { samplePrompt: prompt },
      firstToken,
    } = this.run;
    try {
      tokenizer.encode(prompt);
      return { prompt };
    } catch (error) {
      if (!(error instanceof TokenizerError) || firstToken === undefined) throw error;
      return { ids: await firstToken() };
    }
  }

  async #save(trained: StepReport, dataState: Json, cutShort: boolean): Promise<void> {
    const { folder, settings, optimizer, objective, data } = this.run;
    await folder?.saveLast(this.#saved(), optimizer, {
      step: trained.step,
      tokens: trained.tokens,
      settings,
      objective: identityOf(objective),
      data: dataState,
      dataFingerprint: data.batches.fingerprint,
      bestValidationLoss: Number.isFinite(this.best) ? this.best : null,
      ...(cutShort && { unfinished: trained }),
    });
  }

  #saved() {
    const { model, tokenizer, saveWith } = this.run;
    return { ...saveWith, model, tokenizer };
  }
}

/**
 * After every so many steps, and after the first: that shows what training starts from, and a folder that cannot be written to, or an
 * evaluation that does not fit the memory, fails at once rather than in an hour.
 */
function isEvery(every: number, step: number): boolean {
  return every > 0 && (step === 1 || step % every === 0);
}
