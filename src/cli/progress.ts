/**
 * @file What a training run shows: on a terminal two live lines with a small loss curve, elsewhere a plain line now and then, with `--json` one
 * object a step. Samples and evaluations scroll by above the live lines.
 */

import pc from "picocolors";
import type { StepReport } from "../train/index.js";
import { bytes, compact, duration, printable, sparkline } from "./format.js";
import { LiveLines } from "./terminal.js";

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
  readonly #lines = new LiveLines(process.stdout);
  readonly #started = performance.now();
  #secondsPerToken = 0;
  #validation: number | undefined;
  #drawnAt = 0;
  #firstStep: number | undefined;

  constructor(private readonly options: ProgressOptions) {}

  update(report: StepReport): void {
    if (this.options.json) {
      console.log(JSON.stringify({ ...report, residentBytes: process.memoryUsage.rss() }));
      return;
    }
    const { step, validationLoss, bitsPerByte, sample } = report;
    this.#firstStep ??= step;
    this.#losses.push(report.loss);
    // The first steps touch fresh memory and say little about the rest. Times are averaged, not speeds: reports may come in pairs.
    const weight = this.#losses.length <= 3 ? 1 : 0.05;
    this.#secondsPerToken += weight * (1 / report.tokensPerSecond - this.#secondsPerToken);
    this.#validation = validationLoss ?? this.#validation;

    const isLast = step === this.options.steps;
    if (this.#live) {
      if (validationLoss !== undefined || sample !== undefined) this.#lines.clear();
      if (validationLoss !== undefined) {
        const perByte = bitsPerByte === undefined ? "" : pc.dim(`, ${bitsPerByte.toFixed(3)} bits per byte`);
        console.log(`${pc.bold(`step ${step}`)}  validation loss ${pc.bold(validationLoss.toFixed(4))}${perByte}`);
      }
    } else if (validationLoss !== undefined || isLast || step === this.#firstStep || step % Math.max(1, Math.round(this.options.steps / 40)) === 0) {
      console.log([...this.#line(report), this.#memory(report)].join("  "));
    }
    if (sample !== undefined) console.log(pc.dim(indent(sample)));
    if (this.#live && (isLast || performance.now() - this.#drawnAt > 100)) this.#draw(report);
    if (isLast) this.#lines.keep();
  }

  #line(report: StepReport): string[] {
    const { steps, flopsPerToken, matmulRate } = this.options;
    const done = report.step - (this.#firstStep ?? 1) + 1;
    const elapsed = (performance.now() - this.#started) / 1000;
    const speed = 1 / this.#secondsPerToken;
    return [
      `step ${String(report.step).padStart(String(steps).length)}/${steps}`,
      `loss ${report.loss.toFixed(4)}`,
      ...Object.entries(report.metrics ?? {}).map(([name, value]) => `${name} ${value.toPrecision(4)}`),
      ...(this.#validation === undefined ? [] : [`validation ${this.#validation.toFixed(4)}`]),
      ...(this.#live || report.bitsPerByte === undefined ? [] : [`${report.bitsPerByte.toFixed(3)} bits per byte`]),
      `${compact(speed)} tok/s`,
      `${((100 * speed * flopsPerToken) / matmulRate).toFixed(0)}% of matmul rate`,
      // The first step looks up and writes a sample: what it took says nothing of the rest.
      ...(report.step === steps ? [`${duration(elapsed)} in all`] : done === 1 ? [] : [`${duration((elapsed / done) * (steps - report.step))} left`]),
    ];
  }

  #memory(report: StepReport): string {
    return `${bytes(process.memoryUsage.rss())} (tensors at most ${bytes(report.peakBytes)})`;
  }

  #draw(report: StepReport): void {
    const { width } = this.#lines;
    const numbers = `${this.#losses[0].toFixed(2)} → ${report.loss.toFixed(2)}  ${this.#memory(report)}`;
    const curve = sparkline(this.#losses, Math.max(0, Math.min(48, width - numbers.length - 1)));
    this.#lines.show(fitting(this.#line(report), width), `${pc.cyan(curve)} ${numbers.slice(0, width - curve.length - 1)}`);
    this.#drawnAt = performance.now();
  }
}

/** As many parts as a line takes: one that wraps could not be drawn over. */
function fitting(parts: readonly string[], width: number): string {
  let line = "";
  for (const part of parts) if (line.length + 2 + part.length <= width) line += line === "" ? part : `  ${part}`;
  return line;
}

function indent(text: string): string {
  return printable(text.replaceAll("\r\n", "\n")).trimEnd().split("\n").map((line) => `  │ ${line}`).join("\n");
}
