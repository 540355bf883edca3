/** @file Quantised weights: what is lost, what is kept, and that they stand wherever a matrix of floats does. */

import { describe, expect, it } from "vitest";
import { ShapeError } from "../errors.js";
import { blockFormatNames, blockFormats, rowBytes, writtenFormats } from "./block-formats.js";
import { toFloat16, fromFloat16 } from "./dtype.js";
import { embedding, linear, linearCrossEntropy, matmul, meanLoss, memory, QuantizedTensor, scope, Tensor, type BlockRows } from "./index.js";

const normal = (shape: readonly number[], stream: number, std = 1): Tensor => Tensor.randn(shape, { seedLow: 7, seedHigh: 0, stream }, { std });

/** Root of the mean squared difference, relative to that of b. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const square = (x: ArrayLike<number>): number => Array.from(x).reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(Array.from(a, (value, i) => value - b[i])) / square(b));
}

describe("half precision", () => {
  it("goes to float and back through every number", () => {
    const changed = Array.from({ length: 65536 }, (_, bits) => bits).filter((bits) => !Object.is(fromFloat16(toFloat16(fromFloat16(bits))), fromFloat16(bits)));
    expect(changed).toEqual([]);
  });

  it("rounds to nearest, ties to even, up to infinity and down to nothing", () => {
    const cases = [[1 + 2 ** -11, 1], [1 + 3 * 2 ** -11, 1 + 2 ** -9], [65519.9, 65504], [65520, Infinity], [2 ** -25, 0], [1.01 * 2 ** -25, 2 ** -24], [-3 * 2 ** -25, -(2 ** -23)]];
    for (const [value, nearest] of cases) expect(fromFloat16(toFloat16(value))).toBe(nearest);
  });
});

describe("QuantizedTensor", () => {
  it("loses no more than its bits must", async () => {
    const x = normal([33, 512], 1);
    const exact = await x.data();
    // Of a normal distribution; each bit halves it, near enough.
    const bounds = { f16: 3e-4, bf16: 2.3e-3, q4_0: 0.082, q4_1: 0.075, q5_0: 0.042, q5_1: 0.038, q8_0: 6e-3, q4_k: 0.075, q5_k: 0.038, q6_k: 0.021 };
    for (const format of writtenFormats) {
      const w = QuantizedTensor.quantize(x, format);
      const lost = distance(await w.dequantize().data(), exact);
      expect(lost, format).toBeLessThan(bounds[format]);
      expect(lost, format).toBeGreaterThan(bounds[format] / 3);
      expect(w.numBytes).toBe(33 * rowBytes(format, 512));
      w.dispose();
    }
  });

  it("gives back the bytes it was made of, in every format", async () => {
    for (const format of blockFormatNames) {
      const bytes = Uint8Array.from({ length: 35 * 2 * blockFormats[format].blockBytes }, (_, i) => (i * 151 + (i >> 5) * 7) & 255);
      const w = new QuantizedTensor([{ format, blocks: Tensor.from(bytes, { shape: [35, 2 * blockFormats[format].blockBytes] }) }]);
      expect(await w.rows(0, 35)).toEqual(bytes);
      expect(await w.rows(17, 2)).toEqual(bytes.subarray(17 * w.segments[0].blocks.shape[1], 19 * w.segments[0].blocks.shape[1]));
      w.dispose();
    }
  });

  it("is the same with its bits apart: bytes, numbers, rows, products", async () => {
    // Groups of 1,024 rows, a smaller one, and rows beyond the last panel.
    for (const rows of [5, 48, 1024 + 16 * 3 + 7]) {
      const bytes = Uint8Array.from({ length: rows * 68 }, (_, i) => (i % 34 === 1 ? 0x2c : (i * 151 + (i >> 5) * 7 + (i >> 9)) & 255));
      const made = (split: boolean) => new QuantizedTensor([{ format: "q8_0", blocks: Tensor.from(bytes, { shape: [rows, 68] }) }], { split });
      const [whole, split] = [made(false), made(true)];
      expect([whole, split].map(({ segments }) => segments[0].layout)).toEqual(["panels", "split"]);
      expect(await split.rows(0, rows)).toEqual(bytes);
      expect(await split.dequantize().data()).toEqual(await whole.dequantize().data());
      const ids = Tensor.from([0, rows - 1, rows >> 1], { dtype: "i32" });
      expect(await embedding(split, ids).data()).toEqual(await embedding(whole, ids).data());
      for (const m of [1, 3, 8, 30]) expect(await linear(normal([m, 64], m), split).data()).toEqual(await linear(normal([m, 64], m), whole).data());
      for (const w of [whole, split]) w.dispose();
    }
  });

  it("has segments of several formats, and is multiplied, looked up and differentiated as its numbers are", async () => {
    const [a, b] = [normal([40, 256], 2), normal([19, 256], 3)];
    const [first, second] = [QuantizedTensor.quantize(a, "q4_k"), QuantizedTensor.quantize(b, "q6_k")];
    const part = async (of: QuantizedTensor, rows: number): Promise<BlockRows> => {
      const bytes = await of.rows(0, rows);
      return { format: of.formatOf(0, 1)!, blocks: Tensor.from(bytes, { shape: [rows, bytes.length / rows] }) };
    };
    const w = new QuantizedTensor([await part(first, 40), await part(second, 19)]);
    expect(w.shape).toEqual([59, 256]);
    expect(w.format).toBe("q4_k+q6_k");
    expect([w.formatOf(3, 30), w.formatOf(40, 19), w.formatOf(39, 2)]).toEqual(["q4_k", "q6_k", undefined]);
    expect(await w.rows(40, 19)).toEqual(await second.rows(0, 19));
    await expect(w.rows(0, 59)).rejects.toThrow("one and the same format");
    const dense = w.dequantize();
    const bias = normal([59], 4);
    for (const [m, activation] of [[1, "none"], [5, "gelu"], [70, "silu"]] as const) {
      const x = normal([m, 256], 5);
      const [actual, expected] = [linear(x, w, bias, { activation }), linear(x, dense, bias, { activation })];
      expect(distance(await actual.data(), await expected.data())).toBeLessThan(0.012);

      x.requiresGrad = true;
      const gradients: ArrayLike<number>[] = [];
      for (const weight of [w, dense]) {
        linear(x, weight, bias, { activation }).square().sum().backward();
        gradients.push(await x.grad!.data());
        x.grad = undefined;
      }
      expect(distance(gradients[0], gradients[1])).toBeLessThan(0.02);
    }
    const table = QuantizedTensor.quantize(a, "q5_0");
    const ids = Tensor.from([3, 39, 0, 3, 16], { dtype: "i32" });
    expect(await embedding(table, ids).data()).toEqual(await embedding(table.dequantize(), ids).data());
    expect(() => embedding(w, ids)).toThrow(ShapeError);
  });

  it("gives a row the same bits alone and among others", async () => {
    const w = QuantizedTensor.quantize(normal([48, 256], 6), "q4_1");
    const x = normal([100, 256], 7);
    const together = await linear(x, w).data();
    for (const row of [0, 7, 99]) expect(await linear(x.slice(0, row, row + 1), w).data()).toEqual(together.slice(row * 48, row * 48 + 48));
  });

  it("has a loss, with a gradient by the hidden states", async () => {
    const w = QuantizedTensor.quantize(normal([70, 64], 8), "q8_0");
    const dense = w.dequantize();
    const targets = Tensor.from([1, 69, -1, 5, 8, 8], { dtype: "i32" });
    const x = normal([6, 64], 9);
    x.requiresGrad = true;
    const [losses, gradients]: [number[], ArrayLike<number>[]] = [[], []];
    for (const weight of [w, dense]) {
      const loss = meanLoss(linearCrossEntropy(x, weight, targets));
      loss.backward();
      losses.push(await loss.item());
      gradients.push(await x.grad!.data());
      x.grad = undefined;
    }
    expect(Math.abs(losses[0] - losses[1])).toBeLessThan(0.01 * losses[1]);
    expect(distance(gradients[0], gradients[1])).toBeLessThan(0.03);
  });

  it("outlives the scope it was made in, and frees its memory when it is disposed of", () => {
    const before = memory.live;
    const w = scope(() => ({ w: QuantizedTensor.quantize(normal([32, 64], 10), "q4_0") })).w;
    expect(memory.live - before).toBe(w.numBytes);
    w.dispose();
    w.dispose();
    expect(memory.live).toBe(before);
    expect(() => w.dequantize()).toThrow("disposed");
  });

  it("says what does not fit", () => {
    expect(() => QuantizedTensor.quantize(normal([2, 100], 11), "q4_0")).toThrow("blocks of 32");
    expect(() => new QuantizedTensor([])).toThrow(ShapeError);
    expect(() => new QuantizedTensor([{ format: "q4_k", blocks: Tensor.from(new Uint8Array(90), { shape: [1, 90] }) }])).toThrow("144");
    const q4 = (): BlockRows => ({ format: "q4_0", blocks: Tensor.from(new Uint8Array(18), { shape: [1, 18] }) });
    expect(() => new QuantizedTensor([q4(), q4()])).toThrow("one segment");
    const w = QuantizedTensor.quantize(normal([2, 64], 12), "q4_0");
    expect(() => linear(normal([3, 32], 13), w)).toThrow(ShapeError);
    expect(() => matmul(normal([1, 2], 14), w as unknown as Tensor)).toThrow();
  });

  it("rejects what is not finite at the next wait", async () => {
    const w = QuantizedTensor.quantize(Tensor.from([[1, NaN, ...Array<number>(30).fill(0)]]), "q4_0");
    await expect(w.dequantize().data()).rejects.toThrow(/NaN|not finite/);
  });
});

describe("a deferred tensor", () => {
  it("takes memory with its first use", async () => {
    const before = memory.live;
    const unused = Tensor.deferred([1000, 1000]);
    expect(memory.live).toBe(before);
    unused.dispose();
    const used = Tensor.deferred([4]);
    used.write(Float32Array.of(1, 2, 3, 4));
    expect(memory.live).toBe(before + 16);
    expect(await used.data()).toEqual(Float32Array.of(1, 2, 3, 4));
    used.dispose();
    // By a kernel, too.
    const filled = Tensor.deferred([2, 2]);
    filled.fill(3);
    expect(await filled.data()).toEqual(Float32Array.of(3, 3, 3, 3));
    filled.dispose();
    expect(memory.live).toBe(before);
  });
});
