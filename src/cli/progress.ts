/**
 * @file What a training run shows: on a terminal two live lines with a small loss curve, elsewhere a plain line now and then, with `--json` one
 * object a step. Samples and evaluations scroll by above the live lines.
 */

import pc from "picocolors";
import type { StepReport } from "../train/index.js";
import { bytes, compact, duration, sparkline } from "./format.js";

export interface ProgressOptions {
  readonly steps: number;
  readonly json: boolean;
  /** Floating-point operations of one token, and what the machine does in a second: gives the share of it that the run reaches. */
  readonly flopsPerToken: number;
  readonly matmulRate: number;
}

export class Progress {
  readonly #losses: number[] = [];
  readonly #live = process.stdout.isTTY;
  readonly #started = performance.now();
  #speed = 0;
  #validation: number | undefined;
  #shown = 0;
  #drawnAt = 0;
  #firstStep: number | undefined;

  constructor(private readonly options: ProgressOptions) {}

  update(report: StepReport): void {
    if (this.options.json) {
      console.log(JSON.stringify({ ...report, residentBytes: process.memoryUsage.rss() }));
      return;
    }
    this.#firstStep ??= report.step;
    this.#losses.push(report.loss);
    // The first steps touch fresh memory and say little about the rest.
    const weight = this.#losses.length <= 3 ? 1 : 0.05;
    this.#speed += weight * (report.tokensPerSecond - this.#speed);
    if (report.validationLoss !== undefined) this.#validation = report.validationLoss;

    const isLast = report.step === this.options.steps;
    if (report.validationLoss !== undefined || report.sample !== undefined) this.#clear();
    if (report.validationLoss !== undefined) {
      const perByte = report.bitsPerByte === undefined ? "" : pc.dim(`, ${report.bitsPerByte.toFixed(3)} bits per byte`);
      console.log(`${pc.bold(`step ${report.step}`)}  validation loss ${pc.bold(report.validationLoss.toFixed(4))}${perByte}${this.#live ? "" : `, ${this.#line(report)}`}`);
    } else if (!this.#live && (report.step === this.#firstStep || report.step % Math.max(1, Math.round(this.options.steps / 40)) === 0 || isLast)) {
      console.log(this.#line(report));
    }
    if (report.sample !== undefined) console.log(pc.dim(indent(report.sample)));
    if (this.#live && (isLast || performance.now() - this.#drawnAt > 100)) this.#draw(report);
    if (isLast) this.#shown = 0;
  }

  /** A line above the live ones. */
  say(text: string): void {
    if (this.options.json) return;
    this.#clear();
    console.log(text);
  }

  #line(report: StepReport): string {
    const { steps, flopsPerToken, matmulRate } = this.options;
    const done = report.step - (this.#firstStep ?? 1) + 1;
    const left = ((performance.now() - this.#started) / 1000 / done) * (steps - report.step);
    const share = (this.#speed * flopsPerToken) / matmulRate;
    return [
      `step ${String(report.step).padStart(String(steps).length)}/${steps}`,
      `loss ${report.loss.toFixed(4)}`,
      ...(this.#validation === undefined ? [] : [`validation ${this.#validation.toFixed(4)}`]),
      `${compact(this.#speed)} tok/s`,
      `${(100 * share).toFixed(0)}% of the matmul rate`,
      `${duration(left)} left`,
      `${bytes(process.memoryUsage.rss())} (peak of tensors ${bytes(report.peakBytes)})`,
    ].join("  ");
  }

  #draw(report: StepReport): void {
    this.#clear();
    const width = process.stdout.columns || 80;
    const curve = `${sparkline(this.#losses, Math.min(48, width - 24))} ${this.#losses[0].toFixed(2)} → ${report.loss.toFixed(2)}`;
    process.stdout.write(`${this.#line(report).slice(0, width - 1)}\n${pc.cyan(curve.slice(0, width - 1))}\n`);
    this.#shown = 2;
    this.#drawnAt = performance.now();
  }

  #clear(): void {
    if (this.#shown > 0) process.stdout.write(`\x1b[${this.#shown}A\x1b[0J`);
    this.#shown = 0;
  }
}

function indent(text: string): string {
  return text.trimEnd().split("\n").map((line) => `  │ ${line}`).join("\n");
}
