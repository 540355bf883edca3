import { describe, expect, it } from "vitest";
import { kernelNames, kernelSpec, type Attributes, type KernelName, type Operands } from "./contract.js";
import { launchCost, type CostView } from "./cost.js";
import type { DType } from "./dtype.js";
import { denseStrides } from "./shape.js";

const view = (shape: readonly number[], dtype: DType = "f32", strides: readonly number[] = denseStrides(shape)): CostView => ({ shape, strides, dtype });
const plain = { activation: "none", accumulate: 0 } as const;
const whole = { scale: 1, causal: 0, window: 0, softcap: 0, p: 0, seedLow: 0, seedHigh: 0, stream: 0 } as const;

describe("launchCost", () => {
  it("of a product: 2 m n k, each operand once, the result twice where it is added to", () => {
    const operands = { a: view([3, 5], "bf16"), b: view([5, 7], "bf16"), c: view([3, 7]) };
    expect(launchCost("matmul", operands, plain)).toEqual({ flops: 2 * 3 * 5 * 7, bytes: 2 * (15 + 35) + 4 * 21 });
    expect(launchCost("matmul", operands, { ...plain, accumulate: 1 }).bytes).toBe(2 * (15 + 35) + 2 * 4 * 21);
    const wide = { ...operands, bias: view([7]), preActivation: view([3, 7], "bf16") };
    expect(launchCost("matmul", wide, plain).bytes).toBe(2 * (15 + 35) + 4 * 21 + 4 * 7 + 2 * 21);
  });

  it("of a batch of products: what is repeated by a stride of 0 lies in memory once, and is multiplied each time", () => {
    const operands = { a: view([4, 3, 5]), b: view([4, 5, 7], "f32", [0, 7, 1]), c: view([4, 3, 7]) };
    expect(launchCost("matmul", operands, plain)).toEqual({ flops: 4 * 2 * 3 * 5 * 7, bytes: 4 * (60 + 35 + 84) });
  });

  it("of a quantised product: the weights take the bytes of their blocks", () => {
    const operands = { a: view([1, 64]), w: view([10, 36], "u8"), c: view([1, 10]) };
    expect(launchCost("quantizedMatmul", operands, { format: "q4_0", layout: "rows", activation: "none" })).toEqual({ flops: 2 * 64 * 10, bytes: 256 + 360 + 40 });
  });

  it("of the best of a quantised product: the upper bits, where they lie apart", () => {
    const operands = { a: view([2, 64]), w: view([100, 68], "u8"), ids: view([2, 3], "i32"), scores: view([2, 3]) };
    const cost = (layout: "panels" | "split") => launchCost("quantizedBest", operands, { format: "q8_0", layout, choices: 100 });
    expect(cost("panels")).toEqual({ flops: 2 * 2 * 64 * 100, bytes: 4 * 128 + 6800 + 4 * 12 });
    expect(cost("panels").bytes - cost("split").bytes).toBe(2400);
  });

  it("of attention: only the pairs that are seen", () => {
    const operands = { q: view([2, 4, 3, 8]), k: view([2, 4, 1, 8]), v: view([2, 4, 1, 6]), out: view([2, 4, 3, 6]), logSumExp: view([2, 3, 4]) };
    const pairs = (attributes: typeof whole | { causal: number; window: number }) =>
      launchCost("attention", operands, { ...whole, ...attributes }).flops / (2 * 2 * 3 * (8 + 6));
    expect(pairs(whole)).toBe(16);
    expect(pairs({ causal: 1, window: 0 })).toBe(1 + 2 + 3 + 4);
    expect(pairs({ causal: 1, window: 2 })).toBe(1 + 2 + 2 + 2);
    // Scores, and the gradients of queries, keys, weights and values: five products for the two of the forward pass.
    const backward = { ...operands, dout: operands.out, dq: operands.q, dk: operands.k, dv: operands.v };
    expect(launchCost("attentionBackward", backward, whole).flops).toBe(2 * 2 * 3 * 16 * (3 * 8 + 2 * 6));
  });

  it("of attention over a cache: the keys that a query sees, and no more", () => {
    const operands = { q: view([1, 1, 2, 8]), k: view([1, 100, 2, 8]), v: view([1, 100, 2, 8]), out: view([1, 1, 2, 8]), logSumExp: view([1, 2, 1]) };
    const cost = (window: number) => launchCost("attention", operands, { ...whole, causal: 1, window });
    expect(cost(0)).toEqual({ flops: 2 * 2 * 100 * 16, bytes: 4 * (16 + 1600 + 1600 + 16 + 2) });
    expect(cost(10)).toEqual({ flops: 2 * 2 * 10 * 16, bytes: 4 * (16 + 160 + 160 + 16 + 2) });
  });

  it("of look-ups: the rows that are named, however large the table", () => {
    const bytes = (rows: number) => launchCost("embedding", { table: view([rows, 8], "bf16"), ids: view([5], "i32"), y: view([5, 8]) }, {}).bytes;
    expect(bytes(10)).toBe(2 * 40 + 4 * 5 + 4 * 40);
    expect(bytes(1000)).toBe(bytes(10));
  });

  it("of a convolution: a weight for each output, and twice as much for both gradients", () => {
    const [x, weight, y] = [view([2, 4, 10]), view([6, 2, 3]), view([2, 6, 10])];
    const attributes = { stride: 1, padding: 1, dilation: 1, groups: 2 };
    expect(launchCost("conv1d", { x, weight, y }, attributes).flops).toBe(2 * 120 * 6);
    expect(launchCost("conv1dBackward", { x, weight, dy: y, dx: x, dweight: weight }, attributes).flops).toBe(2 * 2 * 120 * 6);
    expect(launchCost("conv1dBackward", { x, weight, dy: y, dx: x }, attributes).flops).toBe(2 * 120 * 6);
  });

  it("knows every kernel: whatever it writes costs bytes", () => {
    for (const kernel of kernelNames) {
      const operands = Object.fromEntries(Object.entries(kernelSpec(kernel).operands).map(([name, { dtype }]) => [name, view([1, 2, 1, 2], dtype === "any" || dtype === "float" ? "f32" : dtype)]));
      const attributes = Object.fromEntries(Object.keys(kernelSpec(kernel).attributes).map((name) => [name, 1]));
      const cost = launchCost(kernel, operands as Operands<KernelName, CostView>, attributes as Attributes<KernelName>);
      expect(cost.bytes, kernel).toBeGreaterThan(0);
      expect(Number.isFinite(cost.flops), kernel).toBe(true);
    }
  });
});
