import { expect, it } from "vitest";
import { Tensor, memory, scope } from "../tensor/index.js";
import { DenseKeyValueCache } from "./key-value-cache.js";

/** [batch, time, 2, 3], each element telling its row, position, head and place. */
const block = (batch: number, from: number, to: number, sign = 1) =>
  Tensor.from(
    Float32Array.from({ length: batch * (to - from) * 6 }, (_, i) => {
      const [row, position] = [Math.floor(i / 6 / (to - from)), from + (Math.floor(i / 6) % (to - from))];
      return sign * (row * 1000 + position * 10 + (i % 6));
    }),
    { shape: [batch, to - from, 2, 3] },
  );

it("returns all that was added, grows, keeps chosen rows, and frees everything", async () => {
  const before = memory.live;
  const cache = new DenseKeyValueCache(4, 9);
  const add = async (batch: number, from: number, to: number) => {
    const views = scope(() => cache.append(0, block(batch, from, to), block(batch, from, to, -1)));
    expect(views.k.shape).toEqual([batch, to, 2, 3]);
    const data = [await views.k.data(), await views.v.data()];
    views.k.dispose();
    views.v.dispose();
    return data;
  };
  const whole = async (batch: number, to: number, sign = 1) => {
    const tensor = block(batch, 0, to, sign);
    const data = await tensor.data();
    tensor.dispose();
    return data;
  };
  for (const [from, to] of [[0, 3], [3, 4], [4, 5], [5, 9]]) {
    expect(await add(3, from, to)).toEqual([await whole(3, to), await whole(3, to, -1)]);
    expect(cache.length).toBe(to);
  }
  expect(cache.numBytes).toBe(2 * 3 * 9 * 6 * 4);

  cache.select([2, 0]);
  const [k] = await add(2, 9, 10);
  const rows = await whole(3, 9);
  expect(k.slice(0, 54)).toEqual(rows.slice(108, 162));
  expect(k.slice(60, 114)).toEqual(rows.slice(0, 54));
  cache.dispose();
  expect(memory.live).toBe(before);
});
