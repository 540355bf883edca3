/** @file What ops make of their arguments before a kernel runs: axes, broadcasting, dtypes, defaults; and what they say when these do not fit. */

import { beforeAll, describe, expect, it } from "vitest";
import { DeviceError, HornbookError, ShapeError } from "../../errors.js";
import { setDefaultDevice } from "../devices.js";
import "../methods.js";
import { randomKey } from "../random.js";
import { ReferenceDevice } from "../reference/device.js";
import { scope } from "../scope.js";
import { memory, Tensor } from "../tensor.js";
import * as ops from "./index.js";

beforeAll(() => setDefaultDevice(new ReferenceDevice()));

const grid = (): Tensor => Tensor.arange(6, { dtype: "f32" }).reshape([2, 3]); // 0 1 2 / 3 4 5
const sumOf = ({ sum, count }: ops.LossSum): Tensor => (count.dispose(), sum);
const entropyOf = ({ logProbs, entropy }: { logProbs: Tensor; entropy: Tensor }): Tensor => (logProbs.dispose(), entropy);
const list = async (x: Tensor): Promise<number[]> => [...(await x.data())];

describe("views", () => {
  it("reshape fills in -1, and copies only where it must", async () => {
    const x = grid();
    expect(x.reshape([-1, 2]).shape).toEqual([3, 2]);
    expect(x.reshape([6]).storage).toBe(x.storage);
    const turned = x.transpose().reshape([6]);
    expect(turned.storage).not.toBe(x.storage);
    expect(await list(turned)).toEqual([0, 3, 1, 4, 2, 5]);
    // Part of each row: [2, 2] of rows of 3 can be seen as [2, 2, 1], not as [4].
    const part = x.slice(1, 1);
    expect(part.reshape([2, 1, 2, 1]).storage).toBe(x.storage);
    expect(part.reshape([4]).storage).not.toBe(x.storage);
    expect(() => x.reshape([4])).toThrow(ShapeError);
    expect(() => x.reshape([-1, 4])).toThrow(/reshape.*\[2, 3\] and \[-1, 4\]/);
  });

  it("slices as Python does", async () => {
    const x = Tensor.arange(6);
    expect(await list(x.slice(0, -4, -1))).toEqual([2, 3, 4]);
    expect(await list(x.slice(0, 1, undefined, 2))).toEqual([1, 3, 5]);
    expect(await list(x.slice(0, 4, 99))).toEqual([4, 5]);
    expect(x.slice(0, 4, 2).shape).toEqual([0]);
    expect(() => x.slice(0, 0, 3, -1)).toThrow(RangeError);
    expect(() => x.slice(1, 0)).toThrow(/axis 1 does not exist/);
  });

  it("squeeze, unsqueeze, expand, permute name what does not fit", () => {
    expect(grid().unsqueeze(-1).shape).toEqual([2, 3, 1]);
    expect(grid().unsqueeze(0).squeeze(0).shape).toEqual([2, 3]);
    expect(() => grid().squeeze(0)).toThrow(/squeeze.*\[2, 3\]/);
    expect(() => grid().expand([2, 4])).toThrow(ShapeError);
    expect(() => grid().expand([3])).toThrow(ShapeError);
    expect(() => grid().permute([0, 0])).toThrow(RangeError);
  });

  it("split, concat, stack and pad", async () => {
    const [a, b] = grid().split([1, 2], -1);
    expect([await list(a), await list(b)]).toEqual([[0, 3], [1, 2, 4, 5]]);
    expect(a.storage).toBe(b.storage);
    expect(await list(ops.concat([b, a], 1))).toEqual([1, 2, 0, 4, 5, 3]);
    expect(ops.stack([a, a, a], 1).shape).toEqual([2, 3, 1]);
    expect(await list(a.pad([[0, 1], [1, 0]], 9))).toEqual([9, 0, 9, 3, 9, 9]);
    expect(() => grid().split(2, 1)).toThrow(ShapeError);
    expect(() => ops.concat([a, Tensor.zeros([3, 1])], 1)).toThrow(/concat.*\[2, 1\] and \[3, 1\]/);
    expect(() => ops.concat([a, a.cast("i32")])).toThrow(/must be f32, not i32/);
  });
});

describe("dtypes", () => {
  it("the wider of two wins", () => {
    const of = (dtype: "f32" | "bf16" | "i32" | "u8"): Tensor => Tensor.ones([2], { dtype });
    expect(of("bf16").add(of("f32")).dtype).toBe("f32");
    expect(of("bf16").mul(of("i32")).dtype).toBe("bf16");
    expect(of("u8").add(of("u8")).dtype).toBe("i32");
    expect(of("i32").mul(0.5).dtype).toBe("f32");
    expect(of("i32").mul(2).dtype).toBe("i32");
    expect(of("f32").less(of("bf16")).dtype).toBe("u8");
    expect(ops.where(of("u8"), of("bf16"), of("f32")).dtype).toBe("f32");
  });

  it("a number meets bf16 without being rounded to it", async () => {
    const x = Tensor.full([1], 1000, { dtype: "bf16" });
    expect(await list(x.mul(0.1))).toEqual([100]); // the bf16 next to 0.1 would give 100.5
    expect(await list(x.less(1000.5))).toEqual([1]);
  });

  it("integers stay integers", async () => {
    const x = Tensor.from(Int32Array.of(-7, 7, 0));
    expect(await list(x.div(2))).toEqual([-3, 3, 0]);
    expect(await list(x.abs().sum())).toEqual([14]);
    expect((await x.max().item())).toBe(7);
    expect(() => x.exp()).toThrow(/exp: takes f32 or bf16, not i32/);
    expect(() => x.mean()).toThrow(/mean: takes f32 or bf16, not i32/);
  });
});

describe("reductions and order", () => {
  it("take axes from either end, and keep them when asked", async () => {
    expect(await list(grid().sum(0))).toEqual([3, 5, 7]);
    expect(await list(grid().mean(-1))).toEqual([1, 4]);
    expect(grid().sum([0, 1], { keepDims: true }).shape).toEqual([1, 1]);
    expect(grid().max().shape).toEqual([]);
    expect(await list(grid().variance(-1, { correction: 1 }))).toEqual([1, 1]);
    expect(() => grid().sum([0, -2])).toThrow(/named twice/);
    expect(() => Tensor.zeros([0]).max()).toThrow(ShapeError);
  });

  it("argmax, topK, sort, cumsum along any axis", async () => {
    const x = Tensor.from([[3, 1, 2], [0, 5, 4]]);
    expect(await list(x.argmax())).toEqual([0, 1]);
    expect(await list(x.argmin(0))).toEqual([1, 0, 0]);
    expect(x.argmax(1, { keepDims: true }).shape).toEqual([2, 1]);
    const { values, indices } = x.topK(2);
    expect([await list(values), await list(indices)]).toEqual([[3, 2, 5, 4], [0, 2, 1, 2]]);
    expect(await list(x.sort(0).values)).toEqual([0, 1, 2, 3, 5, 4]);
    expect(await list(x.cumsum(0))).toEqual([3, 1, 2, 3, 6, 6]);
    expect(() => x.topK(4)).toThrow(RangeError);
  });

  it("scatterAdd adds what the index names twice, twice, to a copy", async () => {
    const y = Tensor.zeros([1, 3]);
    const sum = y.scatterAdd(Tensor.from(Int32Array.of(2, 2), { shape: [1, 2] }), Tensor.from([[1, 10]]));
    expect([await list(y), await list(sum)]).toEqual([[0, 0, 0], [0, 0, 11]]);
  });
});

describe("losses", () => {
  const x = (): Tensor => Tensor.from([[0.5, 1], [-1, 2], [0.25, 0]]);
  const w = (): Tensor => Tensor.from([[1, 0], [0.5, -1], [2, 1], [0, 3]]);
  const targets = (): Tensor => Tensor.from(Int32Array.of(1, -1, 3));

  it("the fused loss is that of the logits, whatever the chunks", async () => {
    const logits = ops.linear(x(), w());
    const plain = await ops.crossEntropy(logits, targets(), { labelSmoothing: 0.1 }).item();
    const byHand = (await list(logits.logSoftmax().mul(-1))).filter((_, i) => i === 1 || i === 11);
    expect(await ops.crossEntropy(logits, targets()).item()).toBeCloseTo((byHand[0] + byHand[1]) / 2, 5);
    for (const chunkRows of [1, 2, 3]) {
      const { sum, count } = ops.linearCrossEntropy(x(), w(), targets(), { labelSmoothing: 0.1, chunkRows });
      expect(await sum.item()).toBeCloseTo(2 * plain, 5);
      expect(await count.item()).toBe(2);
      const weighted = ops.linearCrossEntropy(x(), w(), targets(), { weights: Tensor.from([3, 7, -0.5]), chunkRows });
      expect(await weighted.sum.item()).toBeCloseTo(3 * byHand[0] - 0.5 * byHand[1], 5);
      expect(await weighted.count.item()).toBe(2);
      const rows = await list(ops.tokenLogProbs(x(), w(), targets(), { chunkRows }));
      expect(rows).toEqual([-byHand[0], 0, -byHand[1]].map((value) => expect.closeTo(value, 5) as number));
    }
  });

  it("a bfloat16 gradient that overwrites the logits is that of the plain loss", async () => {
    const random = (seed: number, rows: number, columns: number) => Tensor.from(Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(seed + 7 * i)), { shape: [rows, columns], dtype: "bf16" });
    const ids = Tensor.from(Int32Array.of(3, 40, 0, -1, 17));
    const gradients = await Promise.all(
      [false, true].map(async (fused) => {
        const [h, weight] = [random(1, 5, 16), random(2, 41, 16)].map((tensor) => Object.assign(tensor, { requiresGrad: true }));
        const loss = fused ? ops.meanLoss(ops.linearCrossEntropy(h, weight, ids, { chunkRows: 2 })) : ops.crossEntropy(ops.linear(h, weight, undefined, { dtype: "f32" }), ids);
        loss.backward();
        return [...(await list(h.grad!)), ...(await list(weight.grad!))];
      }),
    );
    gradients[1].forEach((value, i) => expect(Math.abs(value - gradients[0][i])).toBeLessThan(0.01));
    expect(Math.max(...gradients[1])).toBeGreaterThan(0.1);
  });

  it("of nothing is 0, with a gradient of 0", async () => {
    const weight = Object.assign(w(), { requiresGrad: true });
    const loss = ops.meanLoss(ops.linearCrossEntropy(x(), weight, Tensor.full([3], -1, { dtype: "i32" })));
    loss.backward();
    expect(await loss.item()).toBe(0);
    expect(new Set(await list(weight.grad!))).toEqual(new Set([0]));
  });

  it("a target outside the classes is an error at the wait, which names it; the device works on", async () => {
    const { sum } = ops.linearCrossEntropy(x(), w(), Tensor.from(Int32Array.of(0, 4, 1)));
    await expect(sum.item()).rejects.toThrow(DeviceError);
    await expect(ops.embedding(w(), Tensor.from(Int32Array.of(7))).data()).rejects.toThrow(/embedding.*\[4, 2\].*7/);
    expect(await Tensor.ones([1]).item()).toBe(1);
  });

  it("options that cannot be are refused at the call", () => {
    expect(() => ops.crossEntropy(x(), Tensor.zeros([3], { dtype: "i32" }), { labelSmoothing: 2 })).toThrow(RangeError);
    expect(() => ops.crossEntropy(x(), Tensor.zeros([2], { dtype: "i32" }))).toThrow(/crossEntropy.*\[3, 2\] and \[2\]/);
    expect(() => ops.crossEntropy(x(), Tensor.zeros([3]))).toThrow(/targets must be i32, not f32/);
  });
});

describe("shapes that do not match are refused at the call, naming the op and the shapes", () => {
  const z = (...shape: number[]): Tensor => Tensor.zeros(shape);
  const ids = (...shape: number[]): Tensor => Tensor.zeros(shape, { dtype: "i32" });
  it.each<[string, () => unknown, RegExp]>([
    ["add", () => z(2, 3).add(z(2)), /add.*\[2, 3\] and \[2\]/],
    ["where", () => ops.where(Tensor.zeros([2], { dtype: "u8" }), z(3), 0), /where.*\[2\] and \[3\]/],
    ["matmul", () => z(2, 3).matmul(z(2, 3)), /matmul: The inner sizes 3 and 2 differ.*\[2, 3\] and \[2, 3\]/],
    ["matmul, batches", () => z(2, 2, 3).matmul(z(3, 3, 2)), /matmul.*\[2\] and \[3\]/],
    ["linear", () => ops.linear(z(2, 3), z(4, 2)), /linear.*\[2, 3\] and \[4, 2\]/],
    ["linear, bias", () => ops.linear(z(2, 3), z(4, 3), z(3)), /linear: the bias.*\[3\] and \[4\]/],
    ["embedding", () => ops.embedding(z(4), ids(2)), /embedding.*\[4\] and \[2\]/],
    ["layerNorm", () => ops.layerNorm(z(2, 3), z(2)), /layerNorm: weight.*\[2\] and \[3\]/],
    ["rmsNorm", () => ops.rmsNorm(z(2, 3), z(4)), /rmsNorm: weight.*\[4\] and \[3\]/],
    ["rope", () => ops.rope(z(1, 2, 1, 4), z(4, 3), z(4, 3), ids(2)), /rope.*\[1, 2, 1, 4\] and \[4, 3\]/],
    ["rope, positions", () => ops.rope(z(2, 2, 1, 4), z(4, 2), z(4, 2), ids(3, 2)), /rope.*\[2, 2, 1, 4\] and \[3, 2\]/],
    ["attention", () => ops.attention(z(1, 2, 3, 4), z(1, 2, 2, 4), z(1, 2, 2, 4)), /attention.*\[1, 2, 3, 4\] and \[1, 2, 2, 4\]/],
    ["swiglu", () => ops.swiglu(z(2), z(3)), /swiglu.*\[2\] and \[3\]/],
    ["conv1d", () => ops.conv1d(z(1, 4, 5), z(4, 4, 2), undefined, { groups: 2 }), /conv1d.*\[1, 4, 5\] and \[4, 4, 2\]/],
    ["gather", () => ops.gather(z(2, 3), ids(3, 1)), /gather.*\[2, 3\] and \[3, 1\]/],
    ["linearCrossEntropy", () => ops.linearCrossEntropy(z(2, 3), z(5, 3), ids(3)), /linearCrossEntropy.*\[2, 3\] and \[3\]/],
  ])("%s", (_, run, message) => {
    expect(run).toThrow(message);
    expect(run).toThrow(HornbookError);
  });
});

describe("gradients where there is no derivative", () => {
  const gradient = async (values: number[], run: (x: Tensor) => Tensor): Promise<number[]> => {
    const x = Object.assign(Tensor.from(values), { requiresGrad: true });
    run(x).sum().backward();
    return list(x.grad!);
  };
  it.each<[string, number[], (x: Tensor) => Tensor, number[]]>([
    ["maximum halves a tie", [1, 2], (x) => x.maximum(Tensor.from([1, 0])), [0.5, 1]],
    ["max shares among equals", [2, 2, 1, 2], (x) => x.max(), [1 / 3, 1 / 3, 0, 1 / 3].map(Math.fround)],
    ["prod past one zero", [0, 2, 3], (x) => x.prod(), [6, 0, 0]],
    ["prod past two zeros", [0, 0, 3], (x) => x.prod(), [0, 0, 0]],
    ["norm at 0", [0, 0], (x) => x.norm(), [0, 0]],
    ["relu and abs at 0", [0], (x) => x.relu().add(x.abs()), [0]],
    ["pow at 0", [0, 0], (x) => x.pow(Tensor.from([0, 2])), [0, 0]],
    ["where, beside a NaN", [-1, 4], (x) => ops.where(x.greater(0), x, NaN), [0, 1]],
    ["maskedFill", [1, 2], (x) => x.maskedFill(Tensor.from(Uint8Array.of(1, 0)), -Infinity).exp(), [0, Math.fround(Math.exp(2))]],
  ])("%s", async (_, values, run, expected) => {
    expect(await gradient(values, run)).toEqual(expected);
  });
});

describe("computeCopy", () => {
  it("is made once, and again when the weight has changed", async () => {
    const weight = Tensor.from([1, 2]);
    const copy = ops.computeCopy(weight, "bf16");
    expect(ops.computeCopy(weight, "bf16")).toBe(copy);
    weight.write(Float32Array.of(3, 4));
    const before = memory.live;
    expect(scope(() => ops.computeCopy(weight, "bf16"))).toBe(copy);
    expect(memory.live).toBe(before);
    expect(await list(copy)).toEqual([3, 4]);
    weight.dispose();
    expect(copy.alive).toBe(false);
  });
});

describe("memory", () => {
  it("an op leaves only its result behind", () => {
    const x = Tensor.randn([2, 3, 4], randomKey(1));
    const bf16 = x.cast("bf16");
    const weight = Tensor.randn([5, 4], randomKey(2));
    const targets = Tensor.zeros([2, 3], { dtype: "i32" });
    ops.computeCopy(weight, "bf16");
    const heads = x.reshape([2, 3, 1, 4]);
    const ones = Tensor.ones([2, 3]);
    const runs: (() => Tensor)[] = [
      () => x.add(1), () => bf16.mul(0.1), () => bf16.add(x), () => bf16.less(x), () => x.sum(1, { keepDims: true }), () => x.transpose(0, 2).sum(0),
      () => x.maskedFill(targets.unsqueeze(-1), 0), () => x.matmul(weight.transpose()), () => ops.linear(bf16, weight), () => ops.linear(x.transpose(0, 1), weight),
      () => ops.layerNorm(x), () => ops.rmsNorm(x), () => x.softmax(), () => ops.attention(heads, heads, heads), () => ops.embedding(weight, targets),
      () => ops.crossEntropy(x, targets), () => sumOf(ops.linearCrossEntropy(bf16, weight, targets, { weights: ones })), () => ops.tokenLogProbs(x, weight, targets, { softcap: 2 }),
      () => entropyOf(ops.tokenLogProbsAndEntropy(x, weight, targets)), () => ops.tokenLogProbs(bf16, weight, targets, { chunkRows: 2, temperature: 0.5 }),
      () => x.argmax(), () => x.cumsum(1), () => x.pad([[0, 0], [0, 0], [1, 1]]), () => Tensor.randn([3], randomKey(1), { dtype: "bf16" }),
    ];
    for (const run of runs) {
      scope(() => {
        const before = memory.live;
        const y = run();
        expect(memory.live - before, String(run)).toBe(y.storage.bytes);
      });
    }
  });
});
