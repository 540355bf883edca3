/** @file Scopes: who owns what, when memory goes, and what is said to those who use a tensor after that. */

import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { setDefaultDevice } from "./devices.js";
import { launch } from "./launch.js";
import "./methods.js";
import { remakeable } from "./ops/support.js";
import { ReferenceDevice } from "./reference/device.js";
import { currentScope, keep, ownerOf, scope } from "./scope.js";
import { memory, Tensor } from "./tensor.js";

let before = 0;
beforeAll(() => setDefaultDevice(new ReferenceDevice()));
beforeEach(() => { before = memory.live; });
afterEach(() => { expect(memory.live).toBe(before); });

describe("a scope", () => {
  it("frees what it made, save what it returns, in lists and objects too", () => {
    const result = scope(() => {
      const [a, b, c, d] = [1, 2, 3, 4].map((n) => Tensor.zeros([n]));
      expect(memory.live - before).toBe(4 * 10);
      expect(d.alive).toBe(true);
      return { a, list: [{ b }, 5, null], name: "c", more: [[c]] };
    });
    expect(memory.live - before).toBe(4 * 6);
    for (const tensor of [result.a, (result.list[0] as { b: Tensor }).b, result.more[0][0]]) tensor.dispose();
  });

  it("hands its result to the scope around it", () => {
    scope(() => {
      const x = scope(() => scope(() => Tensor.zeros([4])));
      expect(x.alive).toBe(true);
      expect(ownerOf(x)).toBe(currentScope());
    });
  });

  it("frees what it made when the body throws, and the one around it stays in force", () => {
    scope(() => {
      expect(() => scope(() => { Tensor.zeros([4]); throw new Error("no"); })).toThrow("no");
      expect(memory.live).toBe(before);
      expect(ownerOf(Tensor.zeros([1]))).toBe(currentScope());
    });
    expect(currentScope()).toBeUndefined();
  });

  it("refuses a body that waits", () => {
    expect(() => scope(() => Promise.resolve(Tensor.zeros([4])))).toThrow(/await outside/);
  });

  it("keeps the memory of a view whose tensor goes", async () => {
    const view = scope(() => Tensor.from([1, 2, 3, 4]).slice(0, 1, 3));
    expect([...(await view.data())]).toEqual([2, 3]);
    expect(memory.live - before).toBe(16);
    view.dispose();
  });

  it("lets memory rest that can be filled anew, unless it was written since or is returned", async () => {
    const make = () => {
      const x = Tensor.from([1, 2]).retain();
      remakeable(x, (y) => launch("fill", { y }, { value: 5 }));
      return x;
    };
    const made: Tensor[] = [];
    const returned = scope(() => {
      made.push(make(), make());
      made[1].write(Float32Array.of(7, 8));
      return make();
    });
    const all = [...made, returned];
    expect(all.map(({ storage }) => storage.resting)).toEqual([true, false, false]);
    expect(memory.live - before).toBe(16);
    expect(await Promise.all(all.map(async (x) => [...(await x.data())]))).toEqual([[5, 5], [7, 8], [1, 2]]);
    expect(memory.live - before).toBe(16);
    for (const x of [...all, returned]) x.release();
  });

  it("leaves alone what was made outside, and what was kept", () => {
    const outside = Tensor.zeros([2]);
    const kept: Tensor[] = [];
    scope(() => { kept.push(keep(Tensor.zeros([2]))); outside.add(1); });
    expect([outside.alive, kept[0].alive]).toEqual([true, true]);
    for (const tensor of [outside, ...kept]) tensor.dispose();
  });

  it("does not mind what was disposed of inside", () => {
    scope(() => {
      const x = Tensor.zeros([2]);
      x.dispose();
      x.dispose();
      expect(memory.live).toBe(before);
    });
  });
});

describe("a tensor that was given up", () => {
  it("says so even where another view keeps its memory", () => {
    const x = Tensor.zeros([2]);
    const view = x.slice(0, 1);
    x.dispose();
    expect(() => scope(() => x.neg())).toThrow(/was disposed of/);
    expect(view.alive).toBe(true);
    view.dispose();
  });

  it("says so when it is used", () => {
    const x = Tensor.zeros([2]);
    x.dispose();
    expect(x.alive).toBe(false);
    expect(() => scope(() => x.add(1))).toThrow(/was disposed of/);
    expect(() => x.write(new Float32Array(2))).toThrow(/was disposed of/);
    const y = scope(() => { const made = Tensor.zeros([2]); return { read: () => made.data() }; });
    return expect(y.read()).rejects.toThrow(/was disposed of/);
  });
});
