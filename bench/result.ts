/** @file What a benchmark found, and the table that puts all of it side by side: us, the best peer, the ratio, and our share of what the machine can do. */

import { table } from "../src/cli/format.js";
import type { MachineRates } from "./machine.js";

export interface Figure {
  readonly side: string;
  readonly value: number;
}

/** One line of the table: medians. */
export interface Result {
  readonly workload: string;
  readonly unit: "tok/s" | "MB/s" | "GFLOP/s";
  readonly ours: Figure;
  /** The fastest of the peers that ran. */
  readonly peer: Figure | undefined;
  /** Which of the machine's rates bounds it, and how much of that one unit (a token, ...) takes: operations or bytes. */
  readonly takes?: { readonly of: keyof MachineRates; readonly each: number } | undefined;
}

/** How a benchmark runs and speaks. */
export interface BenchOptions {
  /** Only sides whose name contains one of these; all where it is empty. */
  readonly only: readonly string[];
  readonly say: (text: string) => void;
}

export const chosen = (side: string, only: readonly string[]): boolean => only.length === 0 || only.some((part) => side.toLowerCase().includes(part.toLowerCase()));

/** The figure of the fastest; undefined of none. */
export const fastest = (figures: readonly Figure[]): Figure | undefined => figures.reduce<Figure | undefined>((best, figure) => (best !== undefined && best.value >= figure.value ? best : figure), undefined);

export const howToGetPython = "Python peers: pip install -r bench/peers/requirements.txt; HORNBOOK_BENCH_PYTHON names the Python that has them.";

const heads = ["workload", "Hornbook", "", "best peer", "", "ratio", "share of the machine"] as const;

const number = (value: number): string => (value >= 1000 ? value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",") : value.toFixed(value >= 100 ? 0 : 1));

function cells({ workload, unit, ours, peer, takes }: Result, rates: MachineRates): string[] {
  const share = takes === undefined ? "" : `${((100 * ours.value * takes.each) / rates[takes.of]).toFixed(0)}% of ${takes.of}`;
  const against = peer === undefined ? ["none ran", "", ""] : [`${number(peer.value)} ${unit}`, peer.side, `${(ours.value / peer.value).toFixed(2)}x`];
  return [workload, `${number(ours.value)} ${unit}`, ours.side.replace(/^Hornbook,? ?/, ""), ...against, share];
}

const describeRates = (rates: MachineRates): string =>
  `Our own largest products: bf16 ${(rates.bf16 / 1e9).toFixed(0)}, f32 ${(rates.f32 / 1e9).toFixed(0)}, int8 ${(rates.int8 / 1e9).toFixed(0)} GFLOP/s; memory (reading beyond the cache): ${(rates.memory / 1e9).toFixed(1)} GB/s.`;

export function resultTable(results: readonly Result[], rates: MachineRates): string {
  return `${table([heads, ...results.map((result) => cells(result, rates))], [1, 3, 5])}\n\n${describeRates(rates)}`;
}

export function resultMarkdown(results: readonly Result[], rates: MachineRates): string {
  const line = (row: readonly string[]): string => `| ${row.join(" | ")} |`;
  return [line(heads), "|---|--:|---|--:|---|--:|---|", ...results.map((result) => line(cells(result, rates))), "", describeRates(rates)].join("\n");
}
