import { describe, expect, it } from "vitest";
import { ShapeError } from "../errors.js";
import { fromFileOrder, groupedHeads, headOrder, toFileOrder } from "./row-order.js";

describe("the order of rows", () => {
  it("is one number for each row, by heads", () => {
    expect([...headOrder([2, 0, 1], 2)]).toEqual([4, 5, 0, 1, 2, 3]);
  });

  it("gathers queries, keys and values that a file interleaves by group", () => {
    // Two groups of two query heads: q q k v, q q k v.
    expect([...groupedHeads({ numHeads: 4, numKeyValueHeads: 2, headSize: 1 })]).toEqual([0, 1, 4, 5, 2, 6, 3, 7]);
    expect([...groupedHeads({ numHeads: 2, numKeyValueHeads: 2, headSize: 2 })]).toEqual([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
  });

  it("moves whole rows, and back", () => {
    const order = headOrder([1, 2, 0], 1);
    const values = Float32Array.of(1, 2, 3, 4, 5, 6);
    expect([...fromFileOrder(values, order)]).toEqual([3, 4, 5, 6, 1, 2]);
    expect([...toFileOrder(fromFileOrder(values, order), order)]).toEqual([...values]);
    expect([...fromFileOrder(Uint8Array.of(7, 8, 9), order)]).toEqual([8, 9, 7]);
    expect(() => fromFileOrder(Float32Array.of(1, 2), order)).toThrow(ShapeError);
  });
});
