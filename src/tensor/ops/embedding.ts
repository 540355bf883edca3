/** @file Rows of a table: y[i] = table[ids[i]]; dtable[ids[i]] += dy[i], in the order of i, so that the bits do not depend on threads. */

import { ShapeError } from "../../errors.js";
import { isFloat, type FloatDType } from "../dtype.js";
import { launch } from "../launch.js";
import { QuantizedTensor, type Weight } from "../quantized.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { currentCopy } from "./master.js";
import { embedQuantized } from "./quantized.js";
import { checkDType, emptyLike, filled, reshaped } from "./support.js";

/**
 * table [rows, n], ids i32 of any shape; gives [...ids, n] in `dtype` (by default the table's, of a quantised one f32). An id outside the
 * table is a DeviceError at the next wait. Throws ShapeError when the table is not a matrix.
 */
export function embedding(table: Weight, ids: Tensor, { dtype }: { dtype?: FloatDType } = {}): Tensor {
  checkDType("embedding", "ids", ids, "i32");
  if (table instanceof QuantizedTensor) {
    const y = emptyLike(ids, [...ids.shape, table.shape[1]], dtype ?? "f32");
    const [flatIds, rows] = [reshaped(ids, [ids.size]), reshaped(y, [ids.size, table.shape[1]])];
    embedQuantized(table, flatIds, rows);
    flatIds.dispose();
    rows.dispose();
    return y;
  }
  if (table.rank !== 2) throw new ShapeError("embedding", [table.shape, ids.shape], "The table must be a matrix.");
  const y = emptyLike(table, [...ids.shape, table.shape[1]], isFloat(table.dtype) ? dtype : table.dtype);
  const [flatIds, rows] = [reshaped(ids, [ids.size]), reshaped(y, [ids.size, table.shape[1]])];
  // Its rounded copy has the same bits, and spares a table that lies in halves from being joined.
  const copy = isFloat(y.dtype) ? currentCopy(table, y.dtype) : undefined;
  launch("embedding", { table: copy ?? table, ids: flatIds, y: rows }, {});
  record("embedding", y, [table], [flatIds], (dy, _needs, [into]) => {
    const dtable = into ?? filled(table, 0, table.shape, "f32");
    launch("embeddingBackward", { dy: reshaped(dy, [flatIds.size, table.shape[1]]), ids: flatIds, dtable }, {});
    return [dtable];
  });
  flatIds.dispose();
  rows.dispose();
  return y;
}
