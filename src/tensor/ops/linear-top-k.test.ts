/**
 * @file The best outputs of a layer are those that all of them, sorted, begin with: ids and numbers, to the last bit. Held to what the same device computes
 * in full, for which of two close numbers is the larger depends on its last digits.
 */

import { describe, expect, it } from "vitest";
import { CpuDevice, QuantizedTensor, Random, ReferenceDevice, Tensor, linear, linearTopK, scope, type Device, type FloatDType, type WrittenFormat } from "../index.js";

const devices: readonly Device[] = [new ReferenceDevice(), ...(CpuDevice.isAvailable() ? [CpuDevice.create({ threads: 2 })] : [])];

/** The first k of a row in sorted order. */
function sorted(row: Float32Array, k: number): number[] {
  const key = (x: number): number => (Number.isNaN(x) ? Infinity : x);
  return Array.from(row.keys()).sort((a, b) => (Number.isNaN(row[b]) ? 1 : 0) - (Number.isNaN(row[a]) ? 1 : 0) || (key(row[a]) === key(row[b]) ? 0 : key(row[b]) - key(row[a])) || a - b).slice(0, k);
}

async function expectBest(x: Tensor, weight: Tensor | QuantizedTensor, k: number, choices = weight.shape[0]): Promise<void> {
  const all = scope(() => linear(x, weight, undefined, { dtype: "f32" }));
  const best = linearTopK(x, weight, k, { choices });
  const [logits, values, indices] = [await all.data(), await best.values.data(), await best.indices.data()];
  for (let row = 0; row < x.shape[0]; row++) {
    const own = logits.slice(row * weight.shape[0], row * weight.shape[0] + Math.min(choices, weight.shape[0])) as Float32Array;
    const expected = sorted(own, k);
    expect(Array.from(indices.subarray(row * k, (row + 1) * k))).toEqual(expected);
    expect(Array.from(values.subarray(row * k, (row + 1) * k))).toEqual(expected.map((id) => own[id]));
  }
  for (const tensor of [all, best.values, best.indices]) tensor.dispose();
}

describe.each(devices)("linearTopK on $name", (device) => {
  const random = new Random(77);
  const normal = (rows: number, n: number, of: (row: number) => number = () => 1): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: rows * n }, (_, i) => of(Math.floor(i / n)) * random.normal());
  const tensor = (values: Float32Array<ArrayBuffer>, shape: [number, number], dtype: FloatDType = "f32"): Tensor =>
    scope(() => Tensor.from(values, { shape, device }).cast(dtype));

  it("gives what sorting all gives, of any weight and any number of rows", async () => {
    const weights: [WrittenFormat | "none", boolean][] = [["none", false], ["q8_0", true], ["q8_0", false], ["q4_k", false], ["q4_1", true], ["f16", false]];
    for (const [format, split] of weights) {
      for (const [m, n, k] of [[1, 200, 1], [3, 333, 20], [11, 77, 77]] as const) {
        const dense = tensor(normal(n, 256, (row) => 1 + (row % 7)), [n, 256]);
        const weight = format === "none" ? dense : QuantizedTensor.quantize(dense, format, { split });
        for (const dtype of ["f32", "bf16"] as const) {
          await expectBest(tensor(normal(m, 256), [m, 256], dtype), weight, k);
          await expectBest(tensor(normal(m, 256), [m, 256], dtype), weight, Math.min(k, 50), n - 27);
        }
        weight.dispose();
        dense.dispose();
      }
    }
  });

  it("finds them among many rows that differ in nothing but their lower bits, and among rows that are alike", async () => {
    const [n, k] = [1500, 64];
    const x = normal(5, k);
    // Codes along the first row of x, up to 7 of 127 less in places: what is best is decided by the bits that are read last.
    const close = Float32Array.from({ length: n * k }, (_, i) => {
      const row = Math.floor(i / k);
      return i % 32 === 0 ? 127 : Math.round(x[i % k] * 20) + (row % 3 === 0 ? random.integer(8) : (row * i) % 8 === 0 ? 1 : 0);
    });
    const weight = QuantizedTensor.quantize(tensor(close, [n, k]), "q8_0", { split: true });
    for (const count of [1, 2, 40, 256, n]) for (const rows of [1, 5]) await expectBest(tensor(x.slice(0, rows * k), [rows, k]), weight, count);
    weight.dispose();
    const same = QuantizedTensor.quantize(tensor(new Float32Array(n * k).fill(0.5), [n, k]), "q8_0", { split: true });
    const best = linearTopK(tensor(x.slice(0, k), [1, k]), same, 30);
    expect(Array.from(await best.indices.data())).toEqual(Array.from({ length: 30 }, (_, i) => i));
    same.dispose();
  });

  it("takes what is not a number for the best, and any size of numbers", async () => {
    const weight = QuantizedTensor.quantize(tensor(normal(100, 64), [100, 64]), "q8_0", { split: true });
    for (const size of [1e-37, 1e-30, 1e30, 1e37]) await expectBest(tensor(normal(2, 64, () => size), [2, 64]), weight, 10);
    const x = normal(3, 64);
    x[70] = NaN;
    x[130] = Infinity;
    await expectBest(tensor(x, [3, 64]), weight, 7);
    weight.dispose();
  });

  it("refuses more than there are", () => {
    const weight = QuantizedTensor.quantize(tensor(normal(10, 32), [10, 32]), "q8_0");
    const x = tensor(normal(1, 32), [1, 32]);
    for (const [k, choices] of [[11, 10], [4, 3], [-1, 10], [1.5, 10]]) expect(() => linearTopK(x, weight, k, { choices })).toThrow(RangeError);
    expect(() => linearTopK(tensor(normal(1, 16), [1, 16]), weight, 1)).toThrow("[..., in]");
  });
});
