/**
 * @file Whether a row of a batch gets the bits that it gets alone, from every kernel that generation uses. So sequences may join and leave a running batch,
 * in any slot, and nobody's text depends on who else is there.
 *
 * A subject makes a launch from a list of rows, each known by a number from which all that belongs to it follows; the first axis of its outputs is theirs.
 */

import { blockFormats, type BlockFormat } from "../block-formats.js";
import type { BlockLayout } from "../contract.js";
import type { Device } from "../device.js";
import { rawArray, type FloatDType } from "../dtype.js";
import { store, type HostView } from "../reference/view.js";
import { denseStrides, elementsOf } from "../shape.js";
import type { Case } from "./generator.js";
import { Generator } from "./generator.js";
import { randomBlocks } from "./quantized-cases.js";
import { runCase } from "./run.js";
import { floatTypes } from "./tensor-cases.js";

/** Of a batch: which rows, and what the buffers around them are like. */
interface Batch {
  readonly ids: readonly number[];
  /** Positions of room behind the longest row's keys, and slots beside those in use. */
  readonly room: number;
}

interface Subject {
  readonly name: string;
  /** Of the batches. */
  readonly sizes: readonly number[];
  make(batch: Batch): Case;
}

function dense(dtype: HostView["dtype"], shape: readonly number[], numbers?: ArrayLike<number>): HostView {
  const view: HostView = { data: rawArray(dtype, new ArrayBuffer(8 * Math.max(1, elementsOf(shape)))), dtype, shape, strides: denseStrides(shape), offset: 0 };
  if (numbers !== undefined) store(view, numbers);
  return view;
}

const made = new Map<string, number[]>();

/** Normal numbers of row `id`, of so many. `salt` tells the tensors of one row apart. */
function numbersOf(id: number, count: number, salt = 0): number[] {
  const key = `${id}/${salt}`;
  const known = made.get(key) ?? [];
  if (known.length >= count) return known.slice(0, count);
  const numbers = Array.from({ length: count }, new Generator(7000 + salt, id).normal());
  made.set(key, numbers);
  return numbers;
}

/** [ids, ...shape] of normal numbers. */
function rowsOf(ids: readonly number[], dtype: FloatDType, shape: readonly number[], salt = 0): HostView {
  return dense(dtype, [ids.length, ...shape], ids.flatMap((id) => numbersOf(id, elementsOf(shape), salt)));
}

function weight(dtype: FloatDType, shape: readonly number[]): HostView {
  return dense(dtype, shape, numbersOf(0, elementsOf(shape), 1));
}

function products(): Subject[] {
  const subjects: Subject[] = [];
  for (const dtype of floatTypes) {
    // A length of k beyond one part of a sum, and lengths that end within a vector.
    for (const [k, n] of [[64, 96], [257, 70], [5003, 33]]) {
      const w = weight(dtype, [n, k]);
      const transposed = { ...w, shape: [k, n], strides: [1, k] };
      const across = weight(dtype, [k, n]);
      for (const [layout, b] of [["as stored", transposed], ["transposed", across]] as const) {
        for (const out of floatTypes) {
          subjects.push({
            name: `matmul of ${dtype} into ${out}, k = ${k}, n = ${n}, weights ${layout}`, sizes: batchSizes,
            make: ({ ids }) => ({
              kernel: "matmul", operands: { a: rowsOf(ids, dtype, [k]), b, bias: weight("f32", [n]), c: dense(out, [ids.length, n]) },
              attributes: { activation: out === "bf16" ? "silu" : "none", accumulate: 0 }, tolerance: {},
            }),
          });
        }
      }
    }
  }
  for (const format of Object.keys(blockFormats) as BlockFormat[]) {
    for (const layout of ["rows", "panels", "split"] as const satisfies readonly BlockLayout[]) {
      if (layout === "split" && format !== "q8_0") continue;
      const [k, n] = [512, 70];
      const { w } = randomBlocks(new Generator(7100, 0), format, n, k, layout, () => 0.01);
      for (const dtype of floatTypes) {
        subjects.push({
          name: `quantizedMatmul of ${dtype} by ${format} in ${layout}`, sizes: fewSizes,
          make: ({ ids }) => ({
            kernel: "quantizedMatmul", operands: { a: rowsOf(ids, dtype, [k]), w, c: dense("f32", [ids.length, n]) },
            attributes: { format, layout, activation: "none" }, tolerance: {},
          }),
        });
      }
      subjects.push({
        name: `quantizedBest of ${format} in ${layout}`, sizes: fewSizes,
        make: ({ ids }) => ({
          kernel: "quantizedBest", operands: { a: rowsOf(ids, "f32", [k]), w, ids: dense("i32", [ids.length, 5]), scores: dense("f32", [ids.length, 5]) },
          attributes: { format, layout, choices: n }, tolerance: {},
        }),
      });
      subjects.push({
        name: `quantizedEmbedding of ${format} in ${layout}`, sizes: fewSizes,
        make: ({ ids }) => ({
          kernel: "quantizedEmbedding", operands: { table: w, ids: dense("i32", [ids.length], ids.map((id) => id % n)), y: dense("f32", [ids.length, k]) },
          attributes: { format, layout }, tolerance: {},
        }),
      });
    }
  }
  return subjects;
}

function rowKernels(): Subject[] {
  return floatTypes.flatMap((dtype) => {
    const n = 203;
    const [w, bias, table, angles] = [weight("f32", [n]), weight("f32", [n]), weight(dtype, [90, n]), weight("f32", [100, 16])];
    const x = (ids: readonly number[]): HostView => rowsOf(ids, dtype, [n]);
    const y = (ids: readonly number[]): HostView => dense(dtype, [ids.length, n]);
    const statistic = (ids: readonly number[]): HostView => dense("f32", [ids.length]);
    const subjects: [string, (ids: readonly number[]) => Case][] = [
      ["rmsNorm", (ids) => ({ kernel: "rmsNorm", operands: { x: x(ids), weight: w, y: y(ids), rstd: statistic(ids) }, attributes: { eps: 1e-5, offset: 0 }, tolerance: {} })],
      ["layerNorm", (ids) => ({ kernel: "layerNorm", operands: { x: x(ids), weight: w, bias, y: y(ids), mean: statistic(ids), rstd: statistic(ids) }, attributes: { eps: 1e-5 }, tolerance: {} })],
      ["softmax", (ids) => ({ kernel: "softmax", operands: { x: x(ids), y: y(ids) }, attributes: { log: 0 }, tolerance: {} })],
      ["swiglu", (ids) => ({ kernel: "swiglu", operands: { gate: x(ids), up: rowsOf(ids, dtype, [n], 2), y: y(ids) }, attributes: {}, tolerance: {} })],
      ["unary", (ids) => ({ kernel: "unary", operands: { x: x(ids), y: y(ids) }, attributes: { op: "geluTanh" }, tolerance: {} })],
      ["binary", (ids) => ({ kernel: "binary", operands: { a: x(ids), b: rowsOf(ids, dtype, [n], 2), y: y(ids) }, attributes: { op: "add" }, tolerance: {} })],
      ["embedding", (ids) => ({ kernel: "embedding", operands: { table, ids: dense("i32", [ids.length], ids), y: y(ids) }, attributes: {}, tolerance: {} })],
      ["topK", (ids) => ({ kernel: "topK", operands: { x: x(ids), values: dense(dtype, [ids.length, 7]), indices: dense("i32", [ids.length, 7]) }, attributes: { descending: 1 }, tolerance: {} })],
      ["rope", (ids) => ({
        kernel: "rope",
        operands: { x: rowsOf(ids, dtype, [1, 3, 40]), cos: angles, sin: angles, positions: dense("i32", [ids.length, 1], ids), y: dense(dtype, [ids.length, 1, 3, 40]) },
        attributes: { interleaved: 0, inverse: 0 }, tolerance: {},
      })],
    ];
    return subjects.map(([name, make]): Subject => ({ name: `${name} of ${dtype}`, sizes: fewSizes, make: ({ ids }) => make(ids) }));
  });
}

interface Heads {
  readonly heads: number;
  readonly keyHeads: number;
  readonly d: number;
  readonly dv: number;
  readonly queries: number;
  readonly options: { readonly window?: number; readonly softcap?: number; readonly slopes?: boolean };
}

/** Keys that row `id` has: from none to some blocks of the kernel's. */
const lengthOf = (id: number): number => (id % 11 === 0 ? id % 3 : (id * 97) % 400);

/** Keys or values of the rows, in slots of a larger buffer full of NaN, by heads as a cache keeps them. */
function cache(dtype: FloatDType, { ids, room }: Batch, slots: readonly number[], [keyHeads, d]: readonly [number, number], salt: number): HostView {
  const capacity = Math.max(...ids.map(lengthOf)) + room;
  const [count, width] = [Math.max(...slots) + 1, capacity * d];
  const numbers = new Float64Array(count * keyHeads * width).fill(NaN);
  for (const [row, id] of ids.entries()) {
    for (let head = 0; head < keyHeads; head++) numbers.set(numbersOf(100 * id + head, lengthOf(id) * d, salt), (slots[row] * keyHeads + head) * width);
  }
  return { ...dense(dtype, [count, keyHeads, capacity, d], numbers), shape: [count, capacity, keyHeads, d], strides: [keyHeads * width, d, width, 1] };
}

/** The same as bytes with a scale each. */
function int8(view: HostView): { bytes: HostView; scale: HostView } {
  const [count, capacity, keyHeads, d] = view.shape;
  const rows = view.data as Float32Array;
  const bytes = Array.from(rows, (x) => (Number.isNaN(x) ? 255 : Math.min(255, Math.max(1, Math.round(128 + 40 * x)))));
  const scales = Array.from({ length: rows.length / d }, (_, i) => (Number.isNaN(rows[i * d]) ? NaN : 0.01 + (i % capacity) / 1e5));
  return {
    bytes: { ...dense("u8", [count, keyHeads, capacity, d], bytes), shape: view.shape, strides: view.strides },
    scale: { ...dense("f32", [count, keyHeads, capacity], scales), shape: [count, capacity, keyHeads], strides: [keyHeads * capacity, 1, capacity] },
  };
}

function attentions(): Subject[] {
  const subjects: Subject[] = [];
  const ways = [{}, { window: 100 }, { softcap: 20 }, { slopes: true }];
  for (const [turn, queries] of [1, 2, 3, 40, 130].entries()) {
    for (const [i, options] of ways.entries()) {
      for (const [j, [heads, keyHeads, d, dv]] of [[3, 3, 16, 16], [6, 2, 64, 64], [4, 1, 40, 24]].entries()) {
        // Each way with one shape.
        if ((turn + i + j) % 3 > 0) continue;
        const shape: Heads = { heads, keyHeads, d, dv, queries, options };
        for (const q of floatTypes) {
          for (const kept of q === "f32" ? (["f32", "bf16", "int8"] as const) : (["bf16", "int8"] as const)) subjects.push(attention(shape, q, kept));
        }
      }
    }
  }
  return subjects;
}

function attention({ heads, keyHeads, d, dv, queries, options }: Heads, dtype: FloatDType, kept: FloatDType | "int8"): Subject {
  return {
    name: `attention of ${dtype} over ${kept}, ${heads} heads by ${keyHeads}, d = ${d}, ${queries} queries, ${JSON.stringify(options)}`,
    sizes: queries === 1 ? [2, 13, 33] : [2, 12],
    make(batch) {
      const { ids, room } = batch;
      // Slots from the last to the first, some unused.
      const numbers = ids.map((_, row) => (ids.length - 1 - row) * (room > 0 ? 2 : 1) + (room > 0 ? 1 : 0));
      const i32 = (values: readonly number[]): HostView => dense("i32", [ids.length], values);
      const common = {
        q: rowsOf(ids, dtype, [queries, heads, d]), lengths: i32(ids.map(lengthOf)), slots: i32(numbers),
        slopes: options.slopes ? dense("f32", [heads], Array.from({ length: heads }, (_, h) => 2 ** -(h + 2))) : undefined,
        out: dense(dtype, [ids.length, queries, heads, dv]),
      };
      const attributes = { scale: 1 / Math.sqrt(d), causal: 1, window: options.window ?? 0, softcap: options.softcap ?? 0 };
      const [k, v] = [cache(kept === "int8" ? "f32" : kept, batch, numbers, [keyHeads, d], 3), cache(kept === "int8" ? "f32" : kept, batch, numbers, [keyHeads, dv], 4)];
      if (kept !== "int8") {
        const operands = { ...common, k, v, logSumExp: dense("f32", [ids.length, heads, queries]) };
        return { kernel: "attention", operands, attributes: { ...attributes, p: 0, seedLow: 0, seedHigh: 0, stream: 0 }, tolerance: {} };
      }
      const [key, value] = [int8(k), int8(v)];
      return { kernel: "attentionInt8", operands: { ...common, k: key.bytes, kScale: key.scale, v: value.bytes, vScale: value.scale }, attributes, tolerance: {} };
    },
  };
}

/** The bytes of each row of each output. */
async function rowsOn(device: Device, test: Case): Promise<string[]> {
  const outcome = await runCase(device, test);
  return Object.values(outcome).reduce<string[]>((rows, { data, shape }) => {
    const bytes = Buffer.from(data.buffer, data.byteOffset);
    const width = elementsOf(shape.slice(1)) * data.BYTES_PER_ELEMENT;
    return Array.from({ length: shape[0] }, (_, row) => (rows[row] ?? "") + bytes.toString("latin1", row * width, (row + 1) * width));
  }, []);
}

/** For kernels with fewer of them. */
const fewSizes = [2, 3, 7, 8, 9, 17, 64, 70];

/** Sizes of batches: every path and remainder of the kernels, among them one row. */
const batchSizes = [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 24, 31, 32, 33, 48, 64, 70];

/** Where a row's bits depend on what else is in the batch: a report for each subject of which that is so. */
export async function findRowDependence(device: Device, wanted = (_: string): boolean => true): Promise<string[]> {
  const reports: string[] = [];
  for (const subject of [...products(), ...rowKernels(), ...attentions()]) {
    if (!wanted(subject.name)) continue;
    const alone = new Map<number, string>();
    const differs = new Set<number>();
    const g = new Generator(7200, 0);
    for (const size of subject.sizes) {
      const ids = Array.from({ length: size }, (_, i) => (i * 7 + g.integer(0, 6)) % 31);
      for (const id of ids) {
        if (!alone.has(id)) alone.set(id, (await rowsOn(device, subject.make({ ids: [id], room: 0 })))[0]);
      }
      const rows = await rowsOn(device, subject.make({ ids, room: g.integer(0, 200) }));
      if (rows.some((row, i) => row !== alone.get(ids[i]))) differs.add(size);
    }
    if (differs.size > 0) reports.push(`${subject.name}: rows in batches of ${[...differs].join(", ")} differ from those alone`);
  }
  return reports;
}
