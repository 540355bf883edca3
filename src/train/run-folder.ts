/**
 * @file A run on disk:
 *
 *   OUT/last/          the newest checkpoint: a Hugging Face folder, and beside it what only training needs:
 *     training/state.json               step, data position, settings, best validation loss
 *     training/optimizer.safetensors    the optimizer's state
 *   OUT/best/          the model with the lowest validation loss so far
 *   OUT/metrics.jsonl  one line a step
 *
 * A checkpoint is swapped in as a whole. Killed at any moment, the run goes on from `last` to the same bits as one that was never stopped.
 */

import { mkdir, open, readFile, writeFile, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { lockFolder, readableFolder, writeError, writeFolderAtomically, type FolderLock } from "../checkpoint/atomic.js";
import { readModelConfig } from "../checkpoint/folder.js";
import { loadWeights, writeModel, type ModelToSave } from "../checkpoint/model.js";
import { Safetensors, writeSafetensors } from "../checkpoint/safetensors.js";
import { CheckpointError, systemErrorCode } from "../errors.js";
import type { Decoder } from "../model/index.js";
import type { Tensor } from "../tensor/index.js";
import type { Optimizer } from "./optimizers/index.js";
import { trainSchema } from "./settings.js";

const stateSchema = z.strictObject({
  version: z.literal(1),
  /** Steps done. */
  step: z.number().int().min(0),
  settings: trainSchema,
  /** Tokens seen. */
  tokens: z.number().int().min(0).optional(),
  /** What is minimised, by name and settings. */
  objective: z.string().default("pretraining"),
  /** Where the batches stand; they check it themselves. */
  data: z.unknown(),
  bestValidationLoss: z.number().nullable(),
  /** Of metrics.jsonl at this checkpoint; what a killed run wrote after it is cut off. */
  metricsBytes: z.number().int().min(0),
  /** Of the data it was trained on, so that a run is not resumed on others. */
  dataFingerprint: z.string(),
  /** The report of this step, where an abort cut its evaluation short: it is finished first when the run goes on. */
  unfinished: z
    .strictObject({
      step: z.number(), loss: z.number(), gradNorm: z.number(), learningRate: z.number(), tokens: z.number(), seconds: z.number(), tokensPerSecond: z.number(),
      peakBytes: z.number(),
      // JSON has no NaN, which is what a metric is that nothing was counted of.
      metrics: z.record(z.string(), z.number().nullable().transform((value) => value ?? NaN)).optional(),
    })
    .optional(),
});
export type TrainingState = z.output<typeof stateSchema>;

export class RunFolder {
  private constructor(
    readonly path: string,
    private readonly lock: FolderLock,
    private readonly metrics: FileHandle,
    /** The checkpoint to go on from, when there is one. */
    readonly resumed: TrainingState | undefined,
    private metricsBytes: number,
  ) {}

  /**
   * Takes the folder for this run alone. With `resume`, its last checkpoint is read, or there is none and the run starts from the beginning.
   *
   * @throws CheckpointError when another run holds the folder, when it has a checkpoint and `resume` is not asked for, or when the state cannot be read.
   */
  static async open(path: string, { resume }: { resume: boolean }): Promise<RunFolder> {
    const lock = await lockFolder(path);
    try {
      const resumed = await readState(join(path, "last"));
      if (resumed !== undefined && !resume) {
        throw new CheckpointError({ file: path }, `a run with ${resumed.step} steps is here already.`, {
          code: "run-exists",
          hint: "Resume it (--resume), or name another folder (--out).",
        });
      }
      const metricsPath = join(path, "metrics.jsonl");
      const metrics = await open(metricsPath, "a");
      // Someone may have shortened it meanwhile; then all of it is kept.
      const bytes = Math.min(resumed?.metricsBytes ?? 0, (await metrics.stat()).size);
      await metrics.truncate(bytes);
      return new RunFolder(path, lock, metrics, resumed, bytes);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Appends one line to metrics.jsonl. Throws CheckpointError `disk-full` or `cannot-write`. */
  async record(values: object): Promise<void> {
    const line = `${JSON.stringify(values)}\n`;
    try {
      await this.metrics.appendFile(line);
    } catch (error) {
      throw writeError(join(this.path, "metrics.jsonl"), error);
    }
    this.metricsBytes += Buffer.byteLength(line);
  }

  /** Saves the model and all that training needs, as `last`. When it fails the previous checkpoint stands. */
  async saveLast(what: ModelToSave, optimizer: Optimizer, state: Omit<TrainingState, "version" | "metricsBytes">): Promise<void> {
    await this.metrics.sync();
    await writeFolderAtomically(join(this.path, "last"), { marker: "config.json", owns: () => true }, async (folder) => {
      await writeModel(folder, what);
      await mkdir(join(folder, "training"));
      await writeSafetensors(
        join(folder, "training", "optimizer.safetensors"),
        [...optimizer.state()].map(([name, tensor]) => ({ name, dtype: "F32" as const, shape: tensor.shape, data: () => bytesOf(tensor) })),
      );
      const complete: TrainingState = { version: 1, ...state, metricsBytes: this.metricsBytes };
      await writeFile(join(folder, "training", "state.json"), `${JSON.stringify(complete, null, 2)}\n`);
    });
  }

  /** Saves the model as `best`. */
  async saveBest(what: ModelToSave): Promise<void> {
    await writeFolderAtomically(join(this.path, "best"), { marker: "config.json", owns: () => true }, (folder) => writeModel(folder, what));
  }

  /** Fills a model and its optimizer from `last`. */
  async restore(model: Decoder, optimizer: Optimizer): Promise<void> {
    if (this.resumed === undefined) return;
    const folder = await readableFolder(join(this.path, "last"));
    await loadWeights(folder, model);
    const path = join(folder, "training", "optimizer.safetensors");
    await using file = await Safetensors.open(path);
    await file.verify();
    for (const [name, tensor] of optimizer.state()) {
      const stored = file.tensors.get(name);
      if (stored === undefined || stored.dtype !== "F32" || stored.shape.join() !== tensor.shape.join()) {
        throw new CheckpointError({ file: path, field: name }, `the optimizer's state is ${stored === undefined ? "missing" : `${stored.dtype} [${stored.shape.join(", ")}], not F32 [${tensor.shape.join(", ")}]`}.`, { code: "bad-optimizer-state" });
      }
      const bytes = await stored.read();
      tensor.write(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
    }
    optimizer.steps = this.resumed.step;
  }

  async close(): Promise<void> {
    await this.metrics.close();
    await this.lock.release();
  }
}

/** The model configuration that a run in this folder was started with, or undefined where there is no checkpoint. */
export async function configOfRun(path: string): Promise<Decoder["config"] | undefined> {
  const last = await readableFolder(join(path, "last"));
  return (await readState(last)) === undefined ? undefined : (await readModelConfig(last)).config;
}

async function readState(folder: string): Promise<TrainingState | undefined> {
  const path = join(await readableFolder(folder), "training", "state.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError({ file: path }, "the training state is no JSON; the file was truncated or altered.", { code: "bad-state", cause });
  }
  const parsed = stateSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new CheckpointError({ file: path, field: issue.path.join(".") }, `the training state is not valid: ${issue.message}.`, { code: "bad-state" });
  }
  return parsed.data;
}

async function bytesOf(tensor: Tensor): Promise<Uint8Array> {
  const raw = await tensor.raw();
  return new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength);
}

/** Whether the run in this folder has taken all the steps it was to take. */
export async function isRunComplete(path: string): Promise<boolean> {
  const state = await readState(await readableFolder(join(path, "last")));
  return state !== undefined && state.step >= state.settings.steps && state.unfinished === undefined;
}
