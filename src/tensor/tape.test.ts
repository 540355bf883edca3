/** @file The tape: sums of gradients, shared memory, what is freed when, and what is said when the graph is misused. */

import { beforeAll, beforeEach, afterEach, describe, expect, it, vi } from "vitest";
import { setDefaultDevice } from "./devices.js";
import "./methods.js";
import * as ops from "./ops/index.js";
import { Random, randomKey } from "./random.js";
import { ReferenceDevice } from "./reference/device.js";
import { keep, scope } from "./scope.js";
import { gradEnabled, noGrad, recompute, record } from "./tape.js";
import { memory, Tensor } from "./tensor.js";

const device = new ReferenceDevice();
beforeAll(() => setDefaultDevice(device));

/** A leaf that requires a gradient. */
function leaf(values: number[] | number[][]): Tensor {
  return Object.assign(Tensor.from(values), { requiresGrad: true });
}

async function gradientOf(x: Tensor): Promise<number[]> {
  return [...((await x.grad?.data()) ?? [])];
}

describe("backward", () => {
  it("adds over every use of a tensor", async () => {
    const x = leaf([2, 3]);
    const y = x.mul(x).add(x).add(x); // x^2 + 2x
    y.sum().backward();
    expect(await gradientOf(x)).toEqual([6, 8]);
  });

  it("leaves the gradient of a weight as narrow as its product where that is asked for, and sums of others as they are", async () => {
    const [w, bias, x] = [leaf([[1, 2], [3, 4]]), leaf([0, 0]), Tensor.from([[1, 2.015625]], { dtype: "bf16" })];
    const run = () => ops.linear(x, w, bias).cast("f32").mul(1.01171875).sum();
    run().backward(undefined, { gradients: "bf16" });
    const [dw, dbias] = [w.grad!, bias.grad!];
    expect([dw.dtype, dbias.dtype]).toEqual(["bf16", "f32"]);
    [w.grad, bias.grad] = [undefined, undefined];
    run().backward();
    expect(w.grad!.dtype).toBe("f32");
    expect(await dw.raw()).toEqual(await w.grad!.cast("bf16").raw());
    expect(await dbias.data()).toEqual(await bias.grad!.data());
  });

  it("adds over two backward passes, in place", async () => {
    const x = leaf([1, 2]);
    x.mul(3).sum().backward();
    const first = x.grad;
    x.mul(x).sum().backward();
    expect(x.grad).toBe(first);
    expect(await gradientOf(x)).toEqual([5, 7]);
  });

  it("takes a seed, and starts from 1 without", async () => {
    const x = leaf([1, 2]);
    x.square().backward(Tensor.from([10, 100]));
    expect(await gradientOf(x)).toEqual([20, 400]);
    const z = leaf([5]);
    z.reshape([]).backward();
    expect(await gradientOf(z)).toEqual([1]);
  });

  it("gives a leaf memory of its own, however many others got the same gradient", async () => {
    const [a, b] = [leaf([1, 2]), leaf([3, 4])];
    const seed = Tensor.from([1, 1]);
    a.add(b).backward(seed);
    expect(a.grad!.storage).not.toBe(b.grad!.storage);
    expect(a.grad!.storage).not.toBe(seed.storage);
    a.mul(2).sum().backward();
    expect([await gradientOf(a), await gradientOf(b), [...(await seed.data())]]).toEqual([[3, 3], [1, 1], [1, 1]]);
  });

  it("does not write into a stretched gradient", async () => {
    const x = leaf([[1, 2], [3, 4]]);
    const y = x.mul(1);
    // The sum's half runs first, being newer; what it gives is one number seen four times.
    y.mul(y).sum().add(y.sum().mul(3)).backward();
    expect(await gradientOf(x)).toEqual([5, 7, 9, 11]);
  });

  it("keeps a diamond's branches apart", async () => {
    const x = leaf([1, -2, 3]);
    const h = x.mul(2);
    const y = h.add(h.relu()).add(h.reshape([3, 1]).reshape([3]));
    y.sum().backward();
    expect(await gradientOf(x)).toEqual([6, 4, 6]);
  });

  it("leaves tensors that require nothing alone", async () => {
    const [x, constant] = [leaf([1]), Tensor.from([4])];
    x.mul(constant).sum().backward();
    expect(constant.grad).toBeUndefined();
    expect(await gradientOf(x)).toEqual([4]);
    expect(() => constant.sum().backward()).toThrow(/does not depend on anything that requires a gradient/);
  });

  it("gives a leaf a gradient of its own dtype", () => {
    const x = Object.assign(Tensor.from([1, 2], { dtype: "bf16" }), { requiresGrad: true });
    x.mul(Tensor.from([1, 2])).sum().backward();
    expect(x.grad!.dtype).toBe("bf16");
  });

  it("says what is wrong with a seed, and with a root of many numbers", () => {
    const x = leaf([1, 2]);
    expect(() => x.mul(2).backward(Tensor.from([1]))).toThrow(/seed.*\[1\] and \[2\]/s);
    expect(() => x.mul(2).backward()).toThrow(/Only a single number/);
  });

  it("runs once: a used graph says so", () => {
    const x = leaf([1, 2]);
    const y = x.square().sum();
    y.backward();
    expect(() => y.backward()).toThrow(/graph through \w+ was used/);
  });

  it("notices a backward half whose gradient has another shape", () => {
    const x = leaf([1, 2]);
    const y = record("wrong", x.detach(), [x], [], () => [Tensor.zeros([3])]);
    expect(() => y.sum().backward()).toThrow(/another shape/);
  });

  it("gives back all memory when an op throws half-way", () => {
    const before = memory.live;
    scope(() => {
      const x = leaf([1, 2]);
      const y = record("broken", x.mul(2), [x], [x], () => { throw new Error("broken"); });
      expect(() => y.mul(2).sum().backward()).toThrow("broken");
    });
    expect(memory.live).toBe(before);
  });
});

describe("places", () => {
  it("take the gradients of a fused projection where they belong, without a copy", () => {
    const qkv = Object.assign(Tensor.randn([2, 3, 24], randomKey(1)), { requiresGrad: true });
    const table = Tensor.randn([3, 2], randomKey(2));
    const positions = Tensor.arange(3);
    const [q, k, v] = qkv.mul(1).split(3).map((part) => part.reshape([2, 3, 2, 4]));
    const turned = [q, k].map((x) => ops.rope(x, table, table, positions));
    const y = ops.attention(turned[0], turned[1], v);
    const launched = vi.spyOn(device, "launch");
    y.backward(Tensor.ones(y.shape));
    expect(launched.mock.calls.map(([kernel]) => kernel)).toEqual(["fill", "attentionBackward", "rope", "rope", "fill", "binary"]);
    launched.mockRestore();
  });
});

describe("noGrad", () => {
  it("records nothing inside, and restores what was before, also when the body throws", () => {
    const x = leaf([1]);
    expect(noGrad(() => x.mul(2).requiresGrad)).toBe(false);
    expect(() => noGrad(() => { throw new Error("no"); })).toThrow("no");
    expect(gradEnabled()).toBe(true);
    expect(x.mul(2).requiresGrad).toBe(true);
  });
});

/** A layer with parameters of its own, an input and an output of [2, 4]. */
function layer(): { weights: Tensor[]; run: (x: Tensor) => Tensor } {
  const random = new Random(3);
  const parameter = (shape: number[]): Tensor =>
    Object.assign(Tensor.from(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal()), { shape }), { requiresGrad: true });
  const weights = [parameter([8, 4]), parameter([8]), parameter([4, 8]), parameter([4])];
  const [w, b, v, scale] = weights;
  const run = (x: Tensor): Tensor => {
    const h = ops.linear(ops.rmsNorm(x, scale), w, b, { activation: "gelu" });
    return ops.dropout(ops.linear(h, v), 0.25, randomKey(5)).add(x);
  };
  return { weights, run };
}

describe("recompute", () => {
  const values = [[0.5, -1, 2, 0.25], [1, 1.5, -0.5, -2]];

  it("gives the same output and the same gradients as the plain body", async () => {
    const results: number[][][] = [];
    for (const recomputed of [false, true]) {
      const { weights, run } = layer();
      const x = leaf(values);
      const h = x.mul(1.5);
      const y = recomputed ? recompute(run, [h]) : run(h);
      const z = y.square().sum();
      z.backward();
      results.push([[await z.item()], ...(await Promise.all([x, ...weights].map(gradientOf)))]);
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[0].every((list) => list.length > 0 && list.some((value) => value !== 0))).toBe(true);
  });

  it("reaches parameters when no input requires a gradient", async () => {
    const { weights, run } = layer();
    recompute(run, [Tensor.from(values)]).sum().backward();
    expect((await Promise.all(weights.map(gradientOf))).map((list) => list.length)).toEqual([32, 8, 32, 4]);
  });

  it("nests, and takes a body that returns its input", async () => {
    const { weights, run } = layer();
    const x = leaf(values);
    const y = recompute((outer) => recompute((inner) => inner, [recompute(run, [outer])]), [x]);
    y.sum().backward();
    const plain = layer();
    const x2 = leaf(values);
    plain.run(x2).sum().backward();
    expect(await gradientOf(x)).toEqual(await gradientOf(x2));
    expect(await gradientOf(weights[0])).toEqual(await gradientOf(plain.weights[0]));
  });

  it("holds less between the passes than the plain body", () => {
    const held = (recomputed: boolean): number => {
      const { run } = layer();
      const x = leaf(values);
      const before = memory.live;
      return scope(() => {
        let y: Tensor = x;
        for (let i = 0; i < 4; i++) y = scope(() => (recomputed ? recompute(run, [y]) : run(y)));
        return memory.live - before;
      });
    };
    expect(held(true)).toBeLessThan(held(false) / 2);
  });
});

describe("memory", () => {
  let before = 0;
  beforeEach(() => { before = memory.live; });
  afterEach(() => { expect(memory.live).toBe(before); });

  it("is flat over training steps, with what the steps made gone", () => {
    const { weights, run } = layer();
    const step = (): void => {
      scope(() => {
        const x = Tensor.from([[0.5, -1, 2, 0.25], [1, 1.5, -0.5, -2]]);
        run(recompute(run, [run(x)])).square().sum().backward();
      });
      for (const weight of weights) {
        weight.grad!.dispose();
        weight.grad = undefined;
      }
    };
    step();
    const after = memory.live;
    step();
    expect(memory.live).toBe(after);
    for (const weight of weights) weight.dispose();
  });

  it("is flat when gradients were made in the forward pass", () => {
    const [weight, bias] = [Object.assign(Tensor.randn([5, 4], randomKey(1)), { requiresGrad: true }), leaf([0, 0, 0, 0, 0])];
    const targets = Tensor.from(Int32Array.of(1, 4, 0));
    const step = (): void => {
      scope(() => {
        const x = ops.embedding(weight, targets, { dtype: "bf16" });
        ops.linearCrossEntropy(x, weight, targets, { bias, chunkRows: 2 }).sum.backward();
      });
      for (const parameter of [weight, bias]) {
        parameter.grad!.dispose();
        parameter.grad = undefined;
      }
    };
    step();
    const after = memory.live;
    step();
    expect(memory.live).toBe(after);
    for (const tensor of [weight, bias, targets]) tensor.dispose();
  });

  it("is given back with its scope when nobody runs the backward pass", () => {
    scope(() => { leaf([1, 2]).exp().square(); });
  });

  it("falls while the backward pass goes", () => {
    scope(() => {
      const x = leaf(new Array<number>(1000).fill(0.5));
      const start = memory.live;
      const y = scope(() => {
        let h = x;
        for (let i = 0; i < 8; i++) h = h.exp().sin();
        return h;
      });
      const forward = memory.live - start;
      y.backward(Tensor.ones([1000]));
      // exp saves its output, which sin saves too as its input; of all that, the output, the seed and the gradient are left.
      expect(forward).toBe(9 * 4000);
      expect(memory.live - start).toBe(3 * 4000);
    });
  });

  it("of a leaf's gradient goes with the scope that made the leaf", () => {
    const x = scope(() => {
      const [mine, returned] = [leaf([1, 2]), leaf([3])];
      mine.mul(returned).sum().backward();
      expect(mine.grad!.alive).toBe(true);
      return returned.grad;
    });
    expect(x!.alive).toBe(true);
    x!.dispose();
  });

  it("of an offered place is given back, used or not", () => {
    scope(() => {
      const x = leaf([[1, 2, 3, 4], [5, 6, 7, 8]]);
      const [a, b] = ops.split(x.mul(1), 2);
      ops.swiglu(a, b).sum().backward();
      const [c] = ops.split(x.mul(1), 2);
      ops.swiglu(c, c).sum().backward();
    });
  });

  it("of what the tape saved outlives the scope of the forward pass", async () => {
    const x = leaf([1, 2]);
    const y = scope(() => x.exp().square().sum());
    y.backward();
    expect(await gradientOf(x)).toEqual([2 * Math.exp(1) ** 2, 2 * Math.exp(2) ** 2].map((value) => expect.closeTo(value, 3) as number));
    x.dispose();
    y.dispose();
  });

  it.each(["f32", "bf16"] as const)("of what is cheap to make again (%s) goes with its scope, and comes back the same for the backward pass", async (dtype) => {
    const leaves = (): [Tensor, Tensor, Tensor] => [leaf([[1, -2, 3], [0.5, 4, 1]]), leaf([[1, 2, 3], [-1, 0.5, 2]]), leaf([[2, 1], [1, -1], [0, 3]])];
    const run = ([x, up, down]: [Tensor, Tensor, Tensor]) => ops.linear(ops.linear(ops.layerNorm(x.cast(dtype)), up, undefined, { activation: "relu" }), down);
    const [plain, scoped] = [leaves(), leaves()];
    const finish = (y: Tensor) => y.cast("f32").square().sum().backward();
    scope(() => finish(run(plain)));
    const start = memory.live;
    const y = scope(() => run(scoped));
    // Numbers of the result and before the activation; means and deviations; the input and the weights where those are rounded.
    expect(memory.live - start).toBe(dtype === "f32" ? 4 * (6 + 4 + 4) : 2 * (6 + 4 + 6 + 12) + 16);
    scope(() => finish(y));
    for (const [i, each] of scoped.entries()) expect(await gradientOf(each)).toEqual(await gradientOf(plain[i]));
    for (const tensor of [y, ...plain, ...scoped]) tensor.dispose();
  });

  it("kept out of a scope belongs to the caller", () => {
    const x = scope(() => { const kept = keep(Tensor.zeros([4])); Tensor.zeros([100]); return [kept]; })[0];
    expect(x.alive).toBe(true);
    x.dispose();
  });
});
