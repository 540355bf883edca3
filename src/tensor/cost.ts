/**
 * @file What a launch must do at least: its floating-point operations and the bytes that it reads and writes, from its shapes alone. This is the one place
 * that knows, for the profile (GFLOP/s, GB/s) and for whoever holds a kernel against the machine.
 *
 * Operations are those of products, a multiplication and an addition counted as two, as is usual for rates; what is elementwise is bound by memory, and
 * has none. Bytes count each element of each operand once (what a stride of 0 repeats is one element), twice where it is read and written, so they are
 * what a perfect cache would leave; a kernel that rereads is slower than its figure, never faster. Look-ups touch only the rows that they name.
 */

import { kernelSpec, type Attributes, type KernelName, type Operands } from "./contract.js";
import type { BufferView } from "./device.js";
import { bytesPerElement } from "./dtype.js";

export interface Cost {
  readonly flops: number;
  readonly bytes: number;
}

/** What of a view bears on cost. */
export type CostView = Pick<BufferView, "dtype" | "shape" | "strides">;

interface Special<K extends KernelName> {
  readonly flops?: number;
  /** Elements touched of those operands of which that is not all, reads and writes together. */
  readonly touched?: { readonly [O in keyof Operands<K, CostView>]?: number };
}

const product = (numbers: readonly number[]): number => numbers.reduce((a, b) => a * b, 1);

/** Elements in memory: what is repeated counts once. */
function elements({ shape, strides }: CostView): number {
  return product(shape.map((size, axis) => (strides[axis] === 0 ? Math.min(size, 1) : size)));
}

interface Reach {
  readonly causal: number;
  readonly window: number;
}

/** Pairs of a query and a key that it sees, for one head of one batch row. */
function visiblePairs(queries: number, keys: number, { causal, window }: Reach): number {
  let pairs = 0;
  for (let i = 0; i < queries; i++) {
    const upTo = causal !== 0 ? Math.max(0, Math.min(keys, i + 1 + keys - queries)) : keys;
    pairs += window > 0 ? Math.min(upTo, window) : upTo;
  }
  return pairs;
}

/** Keys that at least one query sees. */
function visibleKeys(queries: number, keys: number, { causal, window }: Reach): number {
  return window > 0 ? Math.min(keys, causal !== 0 ? window + queries - 1 : window) : keys;
}

/** Products of attention: `forQueries` of them as wide as queries and keys, `forValues` as values. */
function attention(q: CostView, k: CostView, v: CostView, reach: Reach, [forQueries, forValues]: readonly [number, number]): { flops: number; touched: { k: number; v: number } } {
  const [batch, queries, heads, d] = q.shape;
  const [keys, dv] = [k.shape[1], v.shape[3]];
  const seen = keys === 0 ? 0 : visibleKeys(queries, keys, reach) / keys;
  return {
    flops: 2 * batch * heads * visiblePairs(queries, keys, reach) * (forQueries * d + forValues * dv),
    touched: { k: seen * elements(k), v: seen * elements(v) },
  };
}

function convolution(weight: CostView, y: CostView): number {
  return 2 * product(y.shape) * product(weight.shape.slice(1));
}

const specials: { readonly [K in KernelName]?: (operands: Operands<K, CostView>, attributes: Attributes<K>) => Special<K> } = {
  matmul: ({ a, c }, { accumulate }) => ({
    flops: 2 * product(c.shape) * a.shape[a.shape.length - 1],
    touched: { c: (accumulate !== 0 ? 2 : 1) * elements(c) },
  }),
  quantizedMatmul: ({ a, c }) => ({ flops: 2 * product(c.shape) * a.shape[1] }),
  // At least the upper bits, where they lie apart.
  quantizedBest: ({ a, w }, { layout, choices }) => ({ flops: 2 * a.shape[0] * a.shape[1] * Math.min(choices, w.shape[0]), touched: layout === "split" ? { w: (22 / 34) * elements(w) } : {} }),
  columnSum: ({ y }, { accumulate }) => ({ touched: { y: (accumulate !== 0 ? 2 : 1) * elements(y) } }),
  attention: ({ q, k, v }, reach) => attention(q, k, v, reach, [1, 1]),
  // The scores again, and the gradients of queries and keys; those of weights and values.
  attentionBackward: ({ q, k, v }, reach) => attention(q, k, v, reach, [3, 2]),
  attentionInt8: ({ q, k, v }, reach) => attention(q, k, v, reach, [1, 1]),
  conv1d: ({ weight, y }) => ({ flops: convolution(weight, y) }),
  conv1dBackward: ({ weight, dy, dx, dweight }) => ({ flops: ((dx === undefined ? 0 : 1) + (dweight === undefined ? 0 : 1)) * convolution(weight, dy) }),
  embedding: ({ y }) => ({ touched: { table: elements(y) } }),
  embeddingBackward: ({ dy }) => ({ touched: { dtable: 2 * elements(dy) } }),
  quantizedEmbedding: ({ table, ids }) => ({ touched: { table: elements(ids) * table.shape[1] } }),
  gather: ({ index }) => ({ touched: { x: elements(index) } }),
  scatterAdd: ({ index }) => ({ touched: { y: 2 * elements(index) } }),
  rope: ({ x, cos }) => ({ touched: Object.fromEntries(["cos", "sin"].map((table) => [table, x.shape[0] * x.shape[1] * cos.shape[1]])) }),
};

/** The cost of a launch with operands that the contract allows. */
export function launchCost<K extends KernelName>(kernel: K, operands: Operands<K, CostView>, attributes: Attributes<K>): Cost {
  const { flops = 0, touched = {} } = specials[kernel]?.(operands, attributes) ?? {};
  const views = operands as Readonly<Record<string, CostView | undefined>>;
  const touchedOf: Readonly<Record<string, number | undefined>> = touched;
  let bytes = 0;
  for (const [name, { direction }] of Object.entries(kernelSpec(kernel).operands)) {
    const view = views[name];
    if (view === undefined) continue;
    const count = touchedOf[name] ?? (direction === "inout" ? 2 : 1) * elements(view);
    bytes += count * bytesPerElement[view.dtype];
  }
  return { flops, bytes };
}
