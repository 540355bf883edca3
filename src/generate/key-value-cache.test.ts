import { expect, it } from "vitest";
import { Tensor, dequantizeInt8, memory, scope, type Int8Rows } from "../tensor/index.js";
import type { CachedKeys } from "../model/context.js";
import { DenseKeyValueCache } from "./key-value-cache.js";

/** [batch, time, 2, 3], each element telling its row, position, head and place. */
const layer = {};
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
  const cache = new DenseKeyValueCache({ capacity: 4, maxLength: 9 });
  const add = async (batch: number, from: number, to: number) => {
    const views = scope(() => {
      const { k, v, keys } = cache.append(layer, block(batch, from, to), block(batch, from, to, -1)) as CachedKeys & { k: Tensor; v: Tensor };
      return { k: k.slice(1, 0, keys), v: v.slice(1, 0, keys) };
    });
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
  cache.truncate(4);
  expect(cache.length).toBe(4);
  expect((await add(2, 4, 6))[0].slice(24, 36)).toEqual((await whole(2, 6)).slice(24, 36));
  cache.dispose();
  expect(memory.live).toBe(before);
});

it("keeps 8-bit integers with a scale for each head and position, through growing and choosing", async () => {
  const before = memory.live;
  const cache = new DenseKeyValueCache({ dtype: "q8", capacity: 2, maxLength: 9 });
  const read = async (batch: number, from: number, to: number) => {
    const views = scope(() => {
      const { k, v, keys } = cache.append(layer, block(batch, from, to), block(batch, from, to, -1)) as CachedKeys & { k: Int8Rows; v: Int8Rows };
      return [dequantizeInt8(k).slice(1, 0, keys), dequantizeInt8(v).slice(1, 0, keys)];
    });
    const data = await Promise.all(views.map((view) => view.data()));
    views.forEach((view) => view.dispose());
    return data;
  };
  await read(3, 0, 2);
  const [k, v] = await read(3, 2, 5);
  const exact = block(3, 0, 5);
  const expected = await exact.data();
  exact.dispose();
  for (let i = 0; i < expected.length; i++) {
    // Half a step; the largest of a head's three numbers is its last.
    const step = expected[Math.floor(i / 3) * 3 + 2] / 127;
    expect(Math.abs(k[i] - expected[i])).toBeLessThanOrEqual(step / 2 + 1e-3);
    expect(v[i]).toBe(0 - k[i]);
  }
  cache.select([2, 0]);
  const [chosen] = await read(2, 5, 6);
  expect(chosen.slice(0, 30)).toEqual(k.slice(60, 90));
  expect(chosen.slice(36, 66)).toEqual(k.slice(0, 30));
  expect(cache.numBytes).toBe(2 * 2 * 9 * (6 + 2 * 4));
  cache.dispose();
  expect(memory.live).toBe(before);
});
