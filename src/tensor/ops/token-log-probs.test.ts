/** `tokenLogProbs` and its neighbours against the open form, log softmax of all logits, with every kind of weight and both ways to the gradient. */

import { afterEach, describe, expect, it } from "vitest";
import { CpuDevice } from "../cpu/device.js";
import type { Device } from "../device.js";
import { defaultDevice, setDefaultDevice } from "../devices.js";
import type { FloatDType } from "../dtype.js";
import "../methods.js";
import { QuantizedTensor, type Weight } from "../quantized.js";
import { ReferenceDevice } from "../reference/device.js";
import { scope } from "../scope.js";
import { backward, noGrad } from "../tape.js";
import { memory, Tensor } from "../tensor.js";
import * as ops from "./index.js";

const before = defaultDevice();
afterEach(() => setDefaultDevice(before));

const devices: [string, () => Device][] = [["reference", () => new ReferenceDevice()]];
if (CpuDevice.isAvailable()) devices.push(["cpu", () => CpuDevice.create()]);

const [rows, hidden, vocab] = [24, 32, 45];
const normal = (shape: readonly number[], stream: number): Tensor => Tensor.randn(shape, { seedLow: 3, seedHigh: 0, stream });
const targets = (): Tensor => Tensor.from(Int32Array.from({ length: rows }, (_, i) => (i % 5 === 3 ? -1 : (i * 7) % vocab)), { shape: [4, rows / 4] });
/** What the gradient of each token's log-probability is to be. */
const upstream = (): Tensor => normal([4, rows / 4], 9);

function openForm(x: Tensor, weight: Weight, softcap: number, temperature: number): { logProbs: Tensor; entropy: Tensor } {
  const logits = ops.linear(x, weight, undefined, { dtype: "f32" });
  const all = (softcap === 0 ? logits : logits.div(softcap).tanh().mul(softcap)).div(temperature).logSoftmax();
  const ids = targets().unsqueeze(-1);
  const counts = ids.greaterEqual(0).cast("f32");
  return { logProbs: all.gather(ids.maximum(0)).mul(counts).squeeze(-1), entropy: all.exp().mul(all).sum(-1).neg() };
}

function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [square, length] = [0, 1e-12];
  for (let i = 0; i < b.length; i++) {
    square += (a[i] - b[i]) ** 2;
    length += b[i] ** 2;
  }
  return Math.sqrt(square / length);
}

describe.each(devices)("tokenLogProbs on the %s device", (_, makeDevice) => {
  const device = makeDevice();
  const kinds = ["f32", "bf16", "q8_0", "q4_0"] as const;
  const cases = kinds.flatMap((kind) => (["f32", "bf16"] as const).flatMap((dtype) => [undefined, 7, 100].map((chunkRows) => ({ kind, dtype, chunkRows }))));

  it.each(cases.filter(({ kind, dtype }) => kind !== "bf16" || dtype === "bf16"))("is the open form, with its gradients: %j", async ({ kind, dtype, chunkRows }) => {
    setDefaultDevice(device);
    for (const { softcap, temperature } of [{ softcap: 0, temperature: 1 }, { softcap: 3, temperature: 0.7 }]) {
      const results = [false, true].map((open) => {
        const x = Object.assign(normal([4, rows / 4, hidden], 1).cast(dtype).detach(), { requiresGrad: true });
        const table = normal([vocab, hidden], 2).mul(0.5).detach();
        const weight = kind === "f32" ? table : kind === "bf16" ? table.cast("bf16").detach() : QuantizedTensor.quantize(table, kind);
        if (weight instanceof Tensor) weight.requiresGrad = true;
        const { logProbs, entropy } = scope(() => {
          const result = open ? openForm(x, weight, softcap, temperature) : ops.tokenLogProbsAndEntropy(x, weight, targets(), { softcap, temperature, ...(chunkRows && { chunkRows }) });
          backward(result.logProbs, upstream());
          return result;
        });
        return [logProbs, entropy, x.grad!, ...(weight instanceof Tensor ? [weight.grad!] : [])];
      });
      const [fused, open] = await Promise.all(results.map((tensors) => Promise.all(tensors.map((tensor) => tensor.data()))));
      expect([...fused[0]].map((value) => value === 0)).toEqual([...(await targets().data())].map((target) => target < 0));
      const tolerance: Record<FloatDType, number[]> = { f32: [1e-5, 1e-5, 1e-4, 1e-4], bf16: [1e-5, 1e-5, 0.01, 0.01] };
      fused.forEach((values, i) => expect(distance(values, open[i]), `result ${i}, softcap ${softcap}`).toBeLessThan(tolerance[dtype][i]));
    }
  });

  it("gives the sum of the losses as their negative sum", async () => {
    setDefaultDevice(device);
    const [x, weight] = [normal([4, rows / 4, hidden], 1), normal([vocab, hidden], 2)];
    const { sum, count } = ops.linearCrossEntropy(x, weight, targets());
    const logProbs = ops.tokenLogProbs(x, weight, targets());
    expect(await count.item()).toBe((await targets().data()).filter((target) => target >= 0).length);
    expect((await sum.item()) / -(await logProbs.sum().item())).toBeCloseTo(1, 6);
  });

  it("a weight a token is the gradient a token of the log-probabilities", async () => {
    setDefaultDevice(device);
    const gradients = await Promise.all(
      [undefined, 5].flatMap((chunkRows) =>
        [false, true].map(async (weighted) => {
          const [x, weight] = [normal([4, rows / 4, hidden], 1), normal([vocab, hidden], 2)].map((tensor) => Object.assign(tensor, { requiresGrad: true }));
          const options = chunkRows === undefined ? {} : { chunkRows };
          scope(() => {
            if (weighted) backward(ops.linearCrossEntropy(x, weight, targets(), { weights: upstream(), ...options }).sum);
            else backward(ops.tokenLogProbs(x, weight, targets(), options), upstream().neg());
          });
          return [await x.grad!.data(), await weight.grad!.data()];
        }),
      ),
    );
    for (const [dx, dw] of gradients) {
      expect(distance(dx, gradients[0][0])).toBeLessThan(1e-6);
      expect(distance(dw, gradients[0][1])).toBeLessThan(1e-6);
    }
  });
});

it("neither pass over a vocabulary of 50,000 holds more than a chunk of logits", () => {
  if (!CpuDevice.isAvailable()) return;
  setDefaultDevice(CpuDevice.create());
  const [tokens, width, words] = [2048, 8, 50_000];
  const weight = Object.assign(Tensor.zeros([words, width]), { requiresGrad: true });
  const x = Object.assign(Tensor.zeros([tokens, width]), { requiresGrad: true });
  const ids = Tensor.zeros([tokens], { dtype: "i32" });
  const start = (memory.peak = memory.live);
  scope(() => backward(ops.tokenLogProbs(x, weight, ids), Tensor.ones([tokens])));
  // All logits would be 400 MB; a chunk is 64 MB.
  expect(memory.peak - start).toBeLessThan(100e6);
  expect(noGrad(() => x.grad!.shape)).toEqual(x.shape);
  for (const tensor of [weight, x, ids]) tensor.dispose();
});
