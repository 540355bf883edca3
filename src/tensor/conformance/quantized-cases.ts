/** @file Random cases for the kernels on quantised weights: blocks of random bits, whose scales alone are held to what weights have. */

import { blockFormatNames, blockFormats, rowBytes, writtenFormats, type BlockFormat } from "../block-formats.js";
import { activations, blockLayouts, type BlockLayout } from "../contract.js";
import { toBfloat16, toFloat16 } from "../dtype.js";
import { dequantizeRow } from "../reference/blocks.js";
import { interleaveRows } from "../reference/interleave.js";
import type { HostView } from "../reference/view.js";
import type { Fill, Generator } from "./generator.js";
import { sumError } from "./generator.js";
import type { CaseMaker } from "./tensor-cases.js";
import { floatTypes } from "./tensor-cases.js";

/** Where the 16-bit scales of a block lie. */
const halves: Readonly<Partial<Record<BlockFormat, readonly number[]>>> = {
  f16: [0], q4_0: [0], q4_1: [0, 2], q5_0: [0], q5_1: [0, 2], q8_0: [0], q2_k: [80, 82], q3_k: [108], q4_k: [0, 2], q5_k: [0, 2], q6_k: [208],
  iq4_nl: [0], iq4_xs: [0],
};

/** Random rows of blocks; in every layout the numbers are those of `values`. */
export function randomBlocks(g: Generator, format: BlockFormat, rows: number, n: number, layout: BlockLayout, scale = weightScale(g)): { w: HostView; values: Float32Array } {
  const width = rowBytes(format, n);
  const { blockBytes } = blockFormats[format];
  const random = g.integers(0, 255);
  const bytes = Uint8Array.from({ length: rows * width }, random);
  const put = (at: number, bits: number): void => bytes.set([bits & 255, bits >> 8], at);
  for (let at = 0; at < bytes.length; at += blockBytes) {
    for (const offset of halves[format] ?? []) put(at + offset, toFloat16(scale()));
    if (format === "bf16") put(at, toBfloat16(scale()));
    if (format === "mxfp4") bytes[at] = g.pick([0, 1, 2, 118, 124, 126]);
  }
  const values = new Float32Array(rows * n);
  for (let row = 0; row < rows; row++) values.set(dequantizeRow(format, bytes, row * width, n), row * n);
  interleaveRows(format, layout, bytes, rows, width, false);
  let i = 0;
  return { w: g.tensor("u8", [rows, width], () => bytes[i++]), values };
}

const weightScale = (g: Generator): Fill => g.sprinkled(g.normal(0.05), [0, 2 ** -20, 6e-8], 0.05);

/** A layout that the format has. */
const layoutOf = (g: Generator, format: BlockFormat): BlockLayout => g.pick(blockLayouts.filter((layout) => layout !== "split" || format === "q8_0"));

/** A length of rows: whole blocks. */
function rowLength(g: Generator, format: BlockFormat): number {
  const { blockSize } = blockFormats[format];
  return blockSize === 1 ? g.size(100) : blockSize * g.integer(1, blockSize === 32 ? 9 : 3);
}

const rowCount = (g: Generator): number => (g.chance(0.5) ? g.pick([16, 32, 64]) + g.integer(-1, 1) : g.size(90));

const dequantize: CaseMaker<"dequantize"> = (g) => {
  const format = g.cycle(blockFormatNames);
  const layout = layoutOf(g, format);
  const [rows, n] = [rowCount(g), rowLength(g, format)];
  const { w } = randomBlocks(g, format, rows, n, layout);
  return { kernel: "dequantize", operands: { w, y: g.output(g.pick(floatTypes), [rows, n], "rows") }, attributes: { format, layout }, tolerance: { y: "exact" } };
};

const quantize: CaseMaker<"quantize"> = (g) => {
  const format = g.cycle(writtenFormats);
  const [rows, n] = [g.size(20), rowLength(g, format)];
  const spread = g.pick([1e-6, 0.02, 1, 300]);
  const fill = g.sprinkled(g.normal(spread, g.pick([0, 0, 2 * spread])), [0, 10 * spread, -8 * spread, 1e-40], g.pick([0, 0.05, 0.9]));
  return {
    kernel: "quantize",
    operands: { x: g.tensor(g.pick(floatTypes), [rows, n], fill, { layout: "rows" }), w: g.output("u8", [rows, rowBytes(format, n)]) },
    attributes: { format }, tolerance: {},
  };
};

const interleave: CaseMaker<"interleave"> = (g) => {
  const format = g.cycle(blockFormatNames);
  const w = g.tensor("u8", [format === "q8_0" && g.chance(0.3) ? g.integer(1000, 2100) : g.size(70), rowBytes(format, rowLength(g, format))], g.integers(0, 255), { output: true });
  return { kernel: "interleave", operands: { w }, attributes: { format, layout: layoutOf(g, format), inverse: g.integer(0, 1) }, tolerance: {} };
};

const quantizedMatmul: CaseMaker<"quantizedMatmul"> = (g) => {
  const format = g.cycle(blockFormatNames);
  const [dtype, out] = [g.pick(floatTypes), g.pick(floatTypes)];
  const layout = layoutOf(g, format);
  const activation = g.pick(activations);
  const [m, n, k] = [g.chance(0.1) ? g.integer(500, 1100) : g.size(60), rowCount(g), rowLength(g, format)];
  const { w, values } = randomBlocks(g, format, n, k, layout);
  const spread = g.pick([1, 1, 1e-3, 1e-35]);
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return {
    kernel: "quantizedMatmul",
    operands: {
      a: g.tensor(dtype, [m, k], g.sprinkled(g.normal(spread), [0, 20 * spread, NaN], g.pick([0, 0.001])), { layout: "rows" }), w,
      bias: g.chance(0.5) ? g.tensor("f32", [n], g.normal()) : undefined, c: g.output(out, [m, n], "rows"),
    },
    attributes: { format, layout, activation },
    tolerance: { c: { absolute: sumError(k * largest * spread + 4) } },
  };
};

/**
 * Which numbers are the largest is only certain where every device has the same, so here (nearly) nothing is rounded: scales are powers of two, and activations
 * whole numbers with 127 in each run. Equal products, which are then many, rank by their columns. What rounding does is in ops/linear-top-k.test.ts.
 */
const quantizedBest: CaseMaker<"quantizedBest"> = (g) => {
  const format = g.chance(0.5) ? "q8_0" : g.cycle(blockFormatNames);
  const layout = format === "q8_0" && g.chance(0.7) ? "split" : layoutOf(g, format);
  const [m, n, k] = [g.chance(0.8) ? g.integer(1, 9) : g.size(40), g.chance(0.1) ? g.integer(1000, 2100) : rowCount(g), Math.min(256, rowLength(g, format))];
  const scales = g.pick([[0], [2 ** -6], [2 ** -6, -(2 ** -6)], blockFormats[format].blockSize === 256 ? [2 ** -7] : [2 ** -5, -(2 ** -6), 2 ** -7, 0]]);
  const strange = layout === "split" && g.chance(0.2) ? [Infinity, -Infinity, NaN] : scales;
  const { w } = randomBlocks(g, format, n, k, layout, g.sprinkled(() => g.pick(scales), strange, 0.02));
  const [largest, wild] = [g.pick([127, 127, 127, 0]), g.chance(0.05) ? [NaN, Infinity, 127 * 2 ** 95] : [127]];
  const activations = g.sprinkled(() => g.integer(-largest, largest), wild, 0.01);
  let i = 0;
  const a = g.tensor(g.pick(floatTypes), [m, k], () => (i++ % 16 === 3 ? largest : activations()), { layout: "rows" });
  const choices = g.chance(0.5) ? n : g.integer(1, 2 * n);
  const most = Math.min(choices, n);
  const count = g.pick([1, 1, Math.min(most, g.integer(1, 20)), most]);
  return {
    kernel: "quantizedBest", operands: { a, w, ids: g.output("i32", [m, count]), scores: g.output("f32", [m, count]) },
    attributes: { format, layout, choices }, tolerance: {},
  };
};

const quantizedEmbedding: CaseMaker<"quantizedEmbedding"> = (g) => {
  const format = g.cycle(blockFormatNames);
  const layout = layoutOf(g, format);
  const [rows, n, m] = [rowCount(g), rowLength(g, format), g.size(50)];
  const { w: table } = randomBlocks(g, format, rows, n, layout);
  return {
    kernel: "quantizedEmbedding",
    operands: { table, ids: g.tensor("i32", [m], g.integers(0, rows - 1)), y: g.output(g.pick(floatTypes), [m, n]) },
    attributes: { format, layout }, tolerance: { y: "exact" },
  };
};

export const quantizedCases = { dequantize, quantize, interleave, quantizedMatmul, quantizedBest, quantizedEmbedding };
