import { describe, expect, it } from "vitest";
import { DeviceError, ShapeError } from "../../errors.js";
import { Random } from "../random.js";
import { Tensor, append, attention, full, launch, quantizeInt8, zeros, type Int8Rows } from "../index.js";

const random = new Random(31);
const numbers = (shape: number[]): Tensor => Tensor.from(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()), { shape });
const i32 = (...values: number[]): Tensor => Tensor.from(values, { dtype: "i32" });
const [heads, d, slots, room] = [2, 8, 4, 12];

describe.each(["f32", "bf16", "int8"] as const)("slots of %s", (kind) => {
  const cache = (): Tensor | Int8Rows =>
    kind === "int8"
      ? { bytes: full([slots, room, heads, d], 7, { dtype: "u8" }), scale: full([slots, room, heads], NaN) }
      : full([slots, room, heads, d], NaN, { dtype: kind });
  const parts = (x: Tensor | Int8Rows): Tensor[] => (x instanceof Tensor ? [x] : [x.bytes, x.scale]);
  const read = (q: Tensor, k: Tensor | Int8Rows, lengths: Tensor, at: Tensor): Promise<ArrayLike<number>> => attention(q, k, k, { lengths, slots: at }).data();

  it("rows go to places of their own, and nothing else changes", async () => {
    const [x, y, whole] = [numbers([2, 3, heads, d]), cache(), cache()];
    const before = await Promise.all(parts(y).map((part) => part.data()));
    append(x, y, { at: i32(4, 0), slots: i32(3, 1) });
    // The same by plain writes of each row.
    for (const [row, slot, at] of [[0, 3, 4], [1, 1, 0]]) {
      const from = x.slice(0, row, row + 1);
      const views = parts(whole).map((part) => part.slice(0, slot, slot + 1).slice(1, at, at + 3));
      if (kind === "int8") quantizeInt8(from, { bytes: views[0], scale: views[1] });
      else launch("copy", { x: from, y: views[0] }, {});
    }
    for (const [i, part] of parts(y).entries()) {
      expect(await part.data()).toEqual(await parts(whole)[i].data());
      expect(await part.data()).not.toEqual(before[i]);
    }
  });

  it("a fork reads what its origin reads, and goes on alone", async () => {
    const k = cache();
    append(numbers([1, 7, heads, d]), k, { at: i32(0), slots: i32(2) });
    // The first 5 positions of slot 2 to slot 0.
    for (const part of parts(k)) launch("copy", { x: part.slice(0, 2, 3).slice(1, 0, 5), y: part.slice(0, 0, 1).slice(1, 0, 5) }, {});
    const q = numbers([1, 1, heads, d]);
    const origin = await read(q, k, i32(5), i32(2));
    expect(await read(q, k, i32(5), i32(0))).toEqual(origin);
    append(numbers([1, 1, heads, d]), k, { at: i32(5), slots: i32(0) });
    expect(await read(q, k, i32(6), i32(0))).not.toEqual(await read(q, k, i32(6), i32(2)));
    expect(await read(q, k, i32(5), i32(2))).toEqual(origin);
  });

  it("both may read one slot, each with its own length", async () => {
    const k = cache();
    append(numbers([1, 7, heads, d]), k, { at: i32(0), slots: i32(1) });
    const q = numbers([1, 1, heads, d]);
    const both = Array.from(await read(Tensor.from([...(await q.data()), ...(await q.data())], { shape: [2, 1, heads, d] }), k, i32(3, 7), i32(1, 1)));
    expect(both.slice(0, heads * d)).toEqual(Array.from(await read(q, k, i32(3), i32(1))));
    expect(both.slice(heads * d)).toEqual(Array.from(await read(q, k, i32(7), i32(1))));
  });
});

it("rejects what does not fit", async () => {
  const y = zeros([slots, room, heads, d]);
  expect(() => append(numbers([1, 2, heads, d + 1]), y, { at: i32(0) })).toThrow(ShapeError);
  expect(() => append(numbers([5, 2, heads, d]), y, { at: i32(0) })).toThrow(ShapeError);
  expect(() => append(numbers([2, 2, heads, d]), y, { at: i32(0, 0, 0) })).toThrow(ShapeError);
  expect(() => append(numbers([1, 2, heads, d]), y, { at: Tensor.from([0]) })).toThrow(/at must be i32/);
  append(numbers([1, 2, heads, d]), y, { at: i32(room - 1) });
  await expect(y.data()).rejects.toThrow(DeviceError);
  const q = numbers([1, 1, heads, d]);
  const learned = numbers([1, 3, heads, d]);
  learned.requiresGrad = true;
  expect(() => attention(q, learned, learned, { lengths: i32(2) })).toThrow(/no gradient with lengths/);
  expect(() => attention(q, y, y)).toThrow(ShapeError);
});
