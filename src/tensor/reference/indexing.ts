/** @file Indexing: reading and adding at places that another operand names. An index outside its axis is an error that names it. */

import type { Kernel } from "./view.js";
import { floats, rowsOf, store, values, valuesArray } from "./view.js";

function check(kind: string, index: number, limit: number, position: number): void {
  if (index < 0 || index >= limit) throw new RangeError(`${kind} ${index} at position ${position} is outside [0, ${limit}).`);
}

export const gather: Kernel<"gather"> = ({ x, index, y }) => {
  const { n } = rowsOf(x);
  const { rows, n: m } = rowsOf(index);
  const source = values(x);
  const indices = values(index);
  const result = valuesArray(y.dtype, rows * m);
  for (let i = 0; i < result.length; i++) {
    check("index", indices[i], n, i);
    result[i] = source[Math.floor(i / m) * n + indices[i]];
  }
  store(y, result);
};

export const scatterAdd: Kernel<"scatterAdd"> = ({ x, index, y }) => {
  const { n } = rowsOf(y);
  const { n: m } = rowsOf(x);
  const source = floats(x);
  const indices = values(index);
  const result = Float64Array.from(floats(y));
  for (let i = 0; i < source.length; i++) {
    check("index", indices[i], n, i);
    result[Math.floor(i / m) * n + indices[i]] += source[i];
  }
  store(y, result);
};

export const embedding: Kernel<"embedding"> = ({ table, ids, y }) => {
  const [rows, n] = table.shape;
  const source = values(table);
  const indices = values(ids);
  const result = valuesArray(y.dtype, indices.length * n);
  for (let i = 0; i < indices.length; i++) {
    check("id", indices[i], rows, i);
    for (let j = 0; j < n; j++) result[i * n + j] = source[indices[i] * n + j];
  }
  store(y, result);
};

export const embeddingBackward: Kernel<"embeddingBackward"> = ({ dy, ids, dtable }) => {
  const [rows, n] = dtable.shape;
  const gradient = floats(dy);
  const indices = values(ids);
  const result = Float64Array.from(floats(dtable));
  for (let i = 0; i < indices.length; i++) {
    check("id", indices[i], rows, i);
    for (let j = 0; j < n; j++) result[indices[i] * n + j] += gradient[i * n + j];
  }
  store(dtable, result);
};
