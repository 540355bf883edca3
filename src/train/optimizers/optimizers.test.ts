/** Optimizers against their formulas, written out again in float64; what no formula says (singular values, what stays untouched) against its definition. */

import { describe, expect, it } from "vitest";
import { ConfigError } from "../../errors.js";
import { hiddenMatrix, setRole, table, vector } from "../../model/index.js";
import { CpuDevice, Random, ReferenceDevice, Tensor, computeCopy, type Device } from "../../tensor/index.js";
import { makeOptimizer, type OptimizerOptions } from "./index.js";
import { orthogonalize } from "./muon.js";

const devices: [string, () => Device][] = [["reference", () => new ReferenceDevice()]];
if (CpuDevice.isAvailable()) devices.push(["cpu", () => CpuDevice.create()]);

const gaussian = (seed: number, n: number) => {
  const random = new Random(seed, 0);
  return Array.from({ length: n }, () => Math.fround(random.normal()));
};
const expectClose = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) => {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) expect(Math.abs(actual[i] - expected[i])).toBeLessThanOrEqual(tolerance);
};

/** A matrix inside a block, a vector, and an embedding; steps with gradients that differ from step to step. */
const shapes: Record<string, number[]> = { "blocks.0.up.weight": [5, 3], "blocks.0.up.bias": [5], embed: [4, 3] };

function setUp(device: Device, options: OptimizerOptions) {
  const values = new Map(Object.entries(shapes).map(([name, shape], i) => [name, gaussian(100 + i, shape.reduce((a, b) => a * b))]));
  const role = { embed: table, "blocks.0.up.weight": hiddenMatrix, "blocks.0.up.bias": vector };
  const parameters = new Map([...values].map(([name, w]) => [name, setRole(Tensor.from(Float64Array.from(w), { shape: shapes[name], device }), role[name as keyof typeof role])]));
  const optimizer = makeOptimizer(options, parameters);
  const gradients = (step: number) => new Map([...values].map(([name, w], i) => [name, gaussian(1000 * step + i, w.length)]));
  const step = (gradient: Map<string, number[]>, rate: number, scale?: number) => {
    for (const [name, parameter] of parameters) {
      parameter.grad?.dispose();
      parameter.grad = Tensor.from(Float64Array.from(gradient.get(name)!), { shape: parameter.shape, device });
    }
    optimizer.step({ rate, ...(scale !== undefined && { gradScale: Tensor.from(scale, { shape: [], device }) }) });
  };
  return { values, parameters, optimizer, gradients, step };
}

describe.each(devices)("on the %s device", (_, makeDevice) => {
  const device = makeDevice();

  it.each([undefined, 0.5])("AdamW is the algorithm of the paper, and decays matrices alone (gradient scale %s)", async (scale) => {
    const [beta1, beta2, eps, weightDecay] = [0.9, 0.99, 1e-8, 0.1];
    const { values, parameters, optimizer, gradients, step } = setUp(device, { kind: "adamw", beta1, beta2, eps, weightDecay });
    const state = new Map([...values].map(([name, w]) => [name, { w: [...w], m: w.map(() => 0), v: w.map(() => 0) }]));
    for (let t = 1; t <= 6; t++) {
      const rate = 0.01 * t;
      const gradient = gradients(t);
      step(gradient, rate, scale);
      for (const [name, { w, m, v }] of state) {
        const decay = shapes[name].length > 1 ? weightDecay : 0;
        gradient.get(name)!.forEach((raw, i) => {
          const g = raw * (scale ?? 1);
          m[i] = beta1 * m[i] + (1 - beta1) * g;
          v[i] = beta2 * v[i] + (1 - beta2) * g * g;
          const [mHat, vHat] = [m[i] / (1 - beta1 ** t), v[i] / (1 - beta2 ** t)];
          w[i] = w[i] - rate * (mHat / (Math.sqrt(vHat) + eps) + decay * w[i]);
        });
      }
    }
    expect(optimizer.steps).toBe(6);
    for (const [name, { w, m }] of state) {
      expectClose(await parameters.get(name)!.data(), w, 2e-6);
      expectClose(await optimizer.state().get(`m.${name}`)!.data(), m, 2e-6);
    }
  });

  it.each([[0, false], [0.9, false], [0.9, true]])("SGD with momentum %s, Nesterov %s", async (momentum, nesterov) => {
    const weightDecay = 0.2;
    const { values, parameters, gradients, step } = setUp(device, { kind: "sgd", momentum, nesterov, weightDecay });
    const state = new Map([...values].map(([name, w]) => [name, { w: [...w], velocity: w.map(() => 0) }]));
    for (let t = 1; t <= 4; t++) {
      const gradient = gradients(t);
      step(gradient, 0.05);
      for (const [name, { w, velocity }] of state) {
        gradient.get(name)!.forEach((g, i) => {
          velocity[i] = momentum * velocity[i] + g;
          const direction = nesterov ? g + momentum * velocity[i] : velocity[i];
          w[i] -= 0.05 * (direction + (shapes[name].length > 1 ? weightDecay * w[i] : 0));
        });
      }
    }
    for (const [name, { w }] of state) expectClose(await parameters.get(name)!.data(), w, 2e-6);
  });

  it.each([[8, 8], [6, 20], [20, 6]])("Muon's iteration brings the singular values of a %i x %i matrix near 1, and keeps its directions", async (rows, columns) => {
    const g = Tensor.from(Float64Array.from(gaussian(rows, rows * columns)), { shape: [rows, columns], device });
    const x = Array.from(await orthogonalize(g).data());
    const singular = singularValues(x, rows, columns);
    expect(Math.min(...singular)).toBeGreaterThan(0.5);
    expect(Math.max(...singular)).toBeLessThan(1.3);
    // <G, UV^T> is the sum of G's singular values: no orthogonal matrix comes nearer to it.
    const given = Array.from(await g.data());
    const inner = given.reduce((sum, value, i) => sum + value * x[i], 0);
    const nuclear = singularValues(given, rows, columns).reduce((a, b) => a + b);
    expect(inner / nuclear).toBeGreaterThan(0.7);
    expect(inner / nuclear).toBeLessThan(1.2);
  });

  it("Muon takes the matrices of blocks: Nesterov momentum, decay, and a step along the orthogonalised; AdamW takes the rest", async () => {
    const name = "blocks.0.up.weight";
    const [momentum, weightDecay, rateScale, rate] = [0.95, 0.1, 20, 1e-3];
    const { values, parameters, optimizer, gradients, step } = setUp(device, { kind: "muon", momentum, weightDecay, rateScale });
    expect([...optimizer.state().keys()].sort()).toEqual(["m.blocks.0.up.bias", "m.embed", `muon.${name}`, "v.blocks.0.up.bias", "v.embed"]);
    const gradient = gradients(1);
    step(gradient, rate, 0.5);
    const g = gradient.get(name)!.map((value) => value / 2);
    const ahead = g.map((value) => (1 + momentum) * value);
    const direction = await orthogonalize(Tensor.from(Float64Array.from(ahead), { shape: shapes[name], device })).data();
    const expected = values.get(name)!.map((w, i) => w - rate * rateScale * (weightDecay * w + Math.sqrt(5 / 3) * direction[i]));
    expectClose(await parameters.get(name)!.data(), expected, 1e-3);
    expectClose(await optimizer.state().get(`muon.${name}`)!.data(), g, 1e-6);
  });

  it.each([{ kind: "adamw" }, { kind: "sgd", momentum: 0.9, weightDecay: 0.1 }, { kind: "muon" }] as const)("$kind changes nothing when the gradient's scale is not finite", async (options) => {
    const { parameters, optimizer, gradients, step } = setUp(device, options);
    step(gradients(1), 0.01, 1);
    const all = () => Promise.all([...parameters.values(), ...optimizer.state().values()].map(async (tensor) => Array.from(await tensor.data())));
    const before = await all();
    for (const bad of [NaN, Infinity]) {
      const gradient = gradients(2);
      gradient.get("blocks.0.up.weight")![3] = bad;
      gradient.get("embed")![0] = bad;
      step(gradient, 0.01, bad);
    }
    expect(await all()).toEqual(before);
    step(gradients(3), 0.01, 1);
    expect(await all()).not.toEqual(before);
  });

  it.each([{ kind: "adamw" }, { kind: "sgd", momentum: 0.9, weightDecay: 0.1 }] as const)("$kind gives the same bits in halves, which take no more room than a weight", async (options) => {
    const whole = setUp(device, options);
    const halved = setUp(device, options);
    const matrices = [...halved.parameters.values()].filter((parameter) => parameter.rank === 2);
    for (const parameter of matrices) computeCopy(parameter, "bf16");
    for (let t = 1; t <= 4; t++) {
      for (const { step, gradients } of [whole, halved]) step(gradients(t), 0.01, 0.5);
      expect(matrices.map(({ storage, shadow }) => [storage.resting, shadow?.remainder?.storage.bytes])).toEqual(matrices.map(({ size }) => [true, 2 * size]));
      // A weight that was written in between is taken apart anew.
      if (t === 2) for (const { parameters } of [whole, halved]) parameters.get("embed")!.write(Float32Array.from(gaussian(7, 12)));
      for (const [name, parameter] of halved.parameters) {
        expect(await parameter.data(), name).toEqual(await whole.parameters.get(name)!.data());
        if (t !== 2 && parameter.shadow !== undefined) expect(await parameter.shadow.tensor.raw(), name).toEqual(await parameter.cast("bf16").raw());
      }
    }
    halved.optimizer.dispose();
    for (const parameter of matrices) {
      expect(parameter.shadow?.remainder).toBeUndefined();
      expect(computeCopy(parameter, "bf16")).toBe(parameter.shadow?.tensor);
    }
  });

  it("leaves parameters without a gradient alone", async () => {
    const { parameters, optimizer, values } = setUp(device, { kind: "adamw" });
    const bias = parameters.get("blocks.0.up.bias")!;
    bias.grad = Tensor.ones([5], { device });
    optimizer.step({ rate: 0.01 });
    expect(Array.from(await parameters.get("embed")!.data())).toEqual(values.get("embed"));
    expect(Array.from(await bias.data())).not.toEqual(values.get("blocks.0.up.bias"));
  });
});

it.each([
  [{ kind: "adamw", beta1: 1 }, "optimizer.beta1"],
  [{ kind: "adamw", weightDecay: -1 }, "optimizer.weightDecay"],
  [{ kind: "muon", rateScale: 0 }, "optimizer.rateScale"],
  [{ kind: "sgd", nestrov: true }, "optimizer.nestrov"],
])("refuses %j, naming %s", (options, field) => {
  const make = () => makeOptimizer(options as OptimizerOptions, new Map());
  expect(make).toThrow(ConfigError);
  expect(make).toThrow(expect.objectContaining({ field }));
});

/** By one-sided Jacobi rotations: columns are turned until all are orthogonal; their lengths are the singular values. */
function singularValues(matrix: readonly number[], rows: number, columns: number): number[] {
  const tall = rows >= columns;
  const [n, m] = tall ? [columns, rows] : [rows, columns];
  const column = Array.from({ length: n }, (_, j) => Array.from({ length: m }, (_, i) => (tall ? matrix[i * columns + j] : matrix[j * columns + i])));
  const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const [a, b, c] = [dot(column[p], column[p]), dot(column[p], column[q]), dot(column[q], column[q])];
        if (Math.abs(b) < 1e-14) continue;
        const zeta = (c - a) / (2 * b);
        const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cos = 1 / Math.sqrt(1 + t * t);
        const sin = cos * t;
        [column[p], column[q]] = [column[p].map((x, i) => cos * x - sin * column[q][i]), column[q].map((x, i) => sin * column[p][i] + cos * x)];
      }
    }
  }
  return column.map((x) => Math.sqrt(dot(x, x)));
}
