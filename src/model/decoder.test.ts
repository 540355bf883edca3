import { describe, expect, it } from "vitest";
import { ConfigError, ShapeError } from "../errors.js";
import { Random, Tensor, backward, memory, noGrad, scope } from "../tensor/index.js";
import { Decoder, ignoreIndex, modelConfig, type ForwardOptions, type ModelOptions, type Taps } from "./index.js";
import { alibiSlopes } from "./positions/alibi.js";

const sizes = { vocabSize: 13, hiddenSize: 12, numLayers: 1, numHeads: 2, contextLength: 8 };
const [batch, time] = [2, 7];
const random = new Random(1);
const tokens = Array.from({ length: batch }, () => Array.from({ length: time }, () => random.integer(13)));
const asIds = (rows: number[][]) => Tensor.from(rows, { dtype: "i32" });
const ids = asIds(tokens);
const targets = asIds(tokens.map((row) => [...row.slice(1), ignoreIndex]));

const logitsOf = async (model: Decoder, input: Tensor = ids, options: ForwardOptions = {}) => (await model.logits(input, options).data()) as Float32Array;
const apart = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let largest = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]) || (a[i] === b[i] ? 0 : NaN));
  return largest;
};

/** Weights large enough, and biases and gains different enough, that every part of the model shows in its logits. */
function shaken(model: Decoder): Decoder {
  const random = new Random(2);
  for (const [name, parameter] of model.parameters()) {
    const center = /[nN]orm.*weight/.test(name) ? 1 : 0;
    parameter.write(Float32Array.from({ length: parameter.size }, () => center + (random.uniform() - 0.5)));
  }
  return model;
}

/** Every combination of one value of each. */
function product<T extends Record<string, readonly unknown[]>>(choices: T): { [K in keyof T]: T[K][number] }[] {
  let combinations: Record<string, unknown>[] = [{}];
  for (const [key, values] of Object.entries(choices)) combinations = combinations.flatMap((one) => values.map((value) => ({ ...one, [key]: value })));
  return combinations as { [K in keyof T]: T[K][number] }[];
}

const positions = ["learned", "sinusoidal", "rope", "alibi", "none"] as const;
const norms = ["layernorm", "rmsnorm"] as const;
const placements = ["pre", "post"] as const;

describe.each(product({ position: positions, norm: norms, normPlacement: placements }))("$position, $norm, $normPlacement-norm", (base) => {
  const rest = { feedForward: ["geluTanh", "swiglu"], qkNorm: [false, true], numKeyValueHeads: [2, 1], slidingWindow: [0, 3], bias: [true, false], tieEmbeddings: [true, false] } as const;

  it("builds with everything else, begins near chance, and every parameter gets a gradient", async () => {
    for (const options of product(rest)) {
      const model = new Decoder({ ...sizes, ...base, ...options }, { seed: 5 });
      const loss = scope(() => {
        const loss = model.loss(ids, targets);
        backward(loss);
        return loss.detach();
      });
      expect(Math.abs((await loss.item()) - Math.log(13)), JSON.stringify(options)).toBeLessThan(0.3);
      for (const [name, parameter] of model.parameters()) {
        expect(parameter.grad?.shape, name).toEqual(parameter.shape);
        expect((await parameter.grad!.data()).every(Number.isFinite), name).toBe(true);
      }
    }
  });

  it("leaves nothing behind", () => {
    // Nothing is awaited from one look at the memory to the next, so the collector cannot free older things in between.
    for (const options of product({ ...rest, dtype: ["f32", "bf16"], recompute: [false, true] } as const)) {
      const { dtype, recompute, ...shape } = options;
      const before = memory.live;
      const model = new Decoder({ ...sizes, ...base, ...shape });
      // Tables of positions are made with the first use, and stay.
      scope(() => noGrad(() => model.hidden(ids))).dispose();
      const parameters = memory.live;
      scope(() => backward(model.loss(ids, targets, { dtype, recompute })));
      // A gradient each, and in bf16 a copy of the matrices.
      expect(memory.live - parameters, JSON.stringify(options)).toBeGreaterThanOrEqual(model.numBytes);
      expect(memory.live - parameters, JSON.stringify(options)).toBeLessThanOrEqual(model.numBytes * (dtype === "bf16" ? 1.5 : 1));
      model.dispose();
      expect(memory.live - before, JSON.stringify(options)).toBe(0);
    }
  });

  it("never looks ahead", async () => {
    const changed = asIds(tokens.map((row) => row.with(4, (row[4] + 1) % 13)));
    for (const options of product({ slidingWindow: [0, 3], numKeyValueHeads: [2, 1] } as const)) {
      const model = shaken(new Decoder({ ...sizes, ...base, ...options, numLayers: 2 }));
      const [a, b] = [await logitsOf(model), await logitsOf(model, changed)];
      for (let row = 0; row < batch; row++) {
        const at = (t: number) => [a, b].map((logits) => logits.subarray((row * time + t) * 13, (row * time + t + 1) * 13));
        for (let t = 0; t < 4; t++) expect(at(t)[0]).toEqual(at(t)[1]);
        expect(apart(...(at(4) as [Float32Array, Float32Array]))).toBeGreaterThan(1e-3);
      }
    }
  });

  it("gives the same numbers when someone listens to everything", async () => {
    for (const options of product({ feedForward: ["relu", "swiglu"], qkNorm: [false, true], numKeyValueHeads: [2, 1], slidingWindow: [0, 3] } as const)) {
      const model = shaken(new Decoder({ ...sizes, ...base, ...options, numLayers: 2 }));
      const { taps } = listener();
      expect(apart(await logitsOf(model, ids, { taps }), await logitsOf(model)), JSON.stringify(options)).toBeLessThan(1e-5);
    }
  });
});

function listener(): { taps: Taps; heard: Map<string, readonly number[]> } {
  const heard = new Map<string, readonly number[]>();
  const taps: Taps = {
    wants: () => true,
    on: (name, activation) => {
      heard.set(name, activation.shape);
      return undefined;
    },
  };
  return { taps, heard };
}

describe("taps", () => {
  it("are named as TransformerLens names them", async () => {
    const { taps, heard } = listener();
    await logitsOf(new Decoder(sizes), ids, { taps });
    const x = [2, 7, 12];
    const heads = [2, 7, 2, 6];
    expect(Object.fromEntries(heard)).toEqual({
      hook_embed: x, hook_pos_embed: x,
      "blocks.0.hook_resid_pre": x, "blocks.0.ln1.hook_scale": [2, 7, 1], "blocks.0.ln1.hook_normalized": x,
      "blocks.0.attn.hook_q": heads, "blocks.0.attn.hook_k": heads, "blocks.0.attn.hook_v": heads,
      "blocks.0.attn.hook_attn_scores": [2, 2, 7, 7], "blocks.0.attn.hook_pattern": [2, 2, 7, 7], "blocks.0.attn.hook_z": heads,
      "blocks.0.hook_attn_out": x, "blocks.0.hook_resid_mid": x, "blocks.0.ln2.hook_scale": [2, 7, 1], "blocks.0.ln2.hook_normalized": x,
      "blocks.0.mlp.hook_pre": [2, 7, 48], "blocks.0.mlp.hook_post": [2, 7, 48], "blocks.0.hook_mlp_out": x, "blocks.0.hook_resid_post": x,
      "ln_final.hook_scale": [2, 7, 1], "ln_final.hook_normalized": x,
    });
    const llama = listener();
    await logitsOf(new Decoder({ ...sizes, position: "rope", norm: "rmsnorm", feedForward: "swiglu", qkNorm: true, numKeyValueHeads: 1 }), ids, { taps: llama.taps });
    expect([...llama.heard.keys()].filter((name) => !heard.has(name))).toEqual([
      "blocks.0.attn.q_norm.hook_scale", "blocks.0.attn.q_norm.hook_normalized", "blocks.0.attn.k_norm.hook_scale", "blocks.0.attn.k_norm.hook_normalized",
      "blocks.0.attn.hook_rot_q", "blocks.0.attn.hook_rot_k", "blocks.0.mlp.hook_pre_linear",
    ]);
  });

  it("may change what the model goes on with, and gradients follow", async () => {
    const model = shaken(new Decoder({ ...sizes, numLayers: 2 }));
    const taps: Taps = { wants: (name) => name === "blocks.1.hook_attn_out", on: (_, activation) => activation.mul(0) };
    expect(apart(await logitsOf(model, ids, { taps }), await logitsOf(model))).toBeGreaterThan(1e-2);
    scope(() => backward(model.loss(ids, targets, { taps })));
    expect((await model.parameters().get("blocks.1.mixer.output.weight")!.grad!.data()).every((x) => x === 0)).toBe(true);
  });
});

describe("positions", () => {
  it("RoPE and ALiBi see only how far apart tokens are, the others where they are", async () => {
    const shifted = Tensor.arange(time, { start: 1 }).reshape([1, time]).expand([batch, time]);
    for (const position of positions) {
      const model = shaken(new Decoder({ ...sizes, position }));
      const difference = apart(await logitsOf(model), await logitsOf(model, ids, { positions: shifted }));
      if (position === "learned" || position === "sinusoidal") expect(difference).toBeGreaterThan(1e-2);
      else expect(difference).toBeLessThan(1e-5);
      // Without positions a token sees the tokens before it as a bag.
      const swapped = asIds(tokens.map((row) => [row[1], row[0], ...row.slice(2)]));
      const last = (logits: Float32Array) => logits.subarray(-13);
      const moved = apart(last(await logitsOf(model)), last(await logitsOf(model, swapped)));
      if (position === "none") expect(moved).toBeLessThan(1e-5);
      else expect(moved).toBeGreaterThan(1e-4);
    }
  });

  it("a sliding window hides what lies behind it", async () => {
    const model = shaken(new Decoder({ ...sizes, slidingWindow: 3 }));
    const changed = asIds(tokens.map((row) => row.with(0, (row[0] + 1) % 13)));
    const [a, b] = [await logitsOf(model), await logitsOf(model, changed)];
    expect(apart(a.subarray(2 * 13, 3 * 13), b.subarray(2 * 13, 3 * 13))).toBeGreaterThan(1e-3);
    expect(a.subarray(3 * 13, 7 * 13)).toEqual(b.subarray(3 * 13, 7 * 13));
  });

  it("ALiBi's slopes are the authors' for powers of two and between", () => {
    expect([...alibiSlopes(8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i));
    const expected = [2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3];
    [...alibiSlopes(6)].forEach((slope, i) => expect(slope).toBeCloseTo(expected[i], 7));
  });
});

describe("computing", () => {
  const variants: Partial<ModelOptions>[] = [{}, { position: "rope", norm: "rmsnorm", feedForward: "swiglu", numKeyValueHeads: 1, bias: false }];
  const gradients = async (model: Decoder, options: ForwardOptions) => {
    const loss = scope(() => {
      const loss = model.loss(ids, targets, options);
      backward(loss);
      return loss.detach();
    });
    const all = [await loss.data()];
    for (const parameter of model.parameters().values()) {
      all.push(await parameter.grad!.data());
      parameter.grad!.dispose();
      parameter.grad = undefined;
    }
    return all;
  };

  it.each(variants)("in bf16 is close to f32, with gradients: %o", async (options) => {
    const model = shaken(new Decoder({ ...sizes, ...options, numLayers: 2 }));
    const [exact, rounded] = [await gradients(model, {}), await gradients(model, { dtype: "bf16" })];
    exact.forEach((values, i) => {
      const norm = Math.hypot(...values);
      expect(Math.hypot(...values.map((value, j) => value - rounded[i][j]))).toBeLessThan(0.08 * norm + 1e-4);
    });
  });

  it.each(variants)("again in the backward pass gives the same bits: %o", async (options) => {
    const model = shaken(new Decoder({ ...sizes, ...options, numLayers: 2, dropout: 0.3 }));
    const dropout = { seed: { seedLow: 1, seedHigh: 2, stream: 0 }, step: 3 };
    for (const dtype of ["f32", "bf16"] as const) {
      const plain = await gradients(model, { dtype, dropout });
      expect(await gradients(model, { dtype, dropout, recompute: true })).toEqual(plain);
      expect(await gradients(model, { dtype, dropout: { ...dropout, step: 4 } })).not.toEqual(plain);
    }
  });

  it("the loss is the mean cross-entropy of the logits, where a target counts", async () => {
    const model = shaken(new Decoder(sizes));
    const logProbabilities = await model.logits(ids).logSoftmax(-1).data();
    let sum = 0;
    for (let row = 0; row < batch; row++) for (let t = 0; t + 1 < time; t++) sum -= logProbabilities[(row * time + t) * 13 + tokens[row][t + 1]];
    expect(await model.loss(ids, targets).item()).toBeCloseTo(sum / (batch * (time - 1)), 5);
  });

  it("logits are f32 in bf16 too, with gradients", async () => {
    const model = shaken(new Decoder(sizes));
    const weigh = Tensor.randn([batch, time, 13], { seedLow: 1, seedHigh: 1, stream: 1 });
    const gradients: ArrayLike<number>[] = [];
    for (const dtype of ["f32", "bf16"] as const) {
      const logits = model.logits(ids, { dtype });
      expect(logits.dtype).toBe("f32");
      backward(logits.mul(weigh).sum());
      const unembed = model.unembed as Tensor;
      gradients.push(await unembed.grad!.data());
      unembed.grad = undefined;
    }
    const [exact, rounded] = gradients.map((values) => Array.from(values));
    expect(Math.hypot(...exact.map((value, i) => value - rounded[i]))).toBeLessThan(0.03 * Math.hypot(...exact));
  });

  it("lastOnly gives the last position's logits", async () => {
    const model = shaken(new Decoder(sizes));
    const all = await logitsOf(model);
    const last = model.logits(ids, { lastOnly: true });
    expect(last.shape).toEqual([batch, 1, 13]);
    expect(apart(await last.data(), [...all.subarray(6 * 13, 7 * 13), ...all.subarray(13 * 13)])).toBeLessThan(1e-5);
  });

  it("dropout acts only while training", async () => {
    const model = shaken(new Decoder({ ...sizes, dropout: 0.5 }));
    const plain = shaken(new Decoder(sizes));
    expect(await logitsOf(model)).toEqual(await logitsOf(plain));
    expect(await logitsOf(model, ids, { dropout: { seed: { seedLow: 0, seedHigh: 0, stream: 0 }, step: 0 } })).not.toEqual(await logitsOf(plain));
  });
});

it("starts as GPT-2 does: the same weights for the same seed, smaller where they add to the residual stream", async () => {
  const options = { ...sizes, hiddenSize: 64, numLayers: 2 };
  const [a, b, c] = [1, 1, 2].map((seed) => new Decoder(options, { seed }).parameters());
  const std = async (name: string) => {
    const data = await a.get(name)!.data();
    return Math.hypot(...data) / Math.sqrt(data.length);
  };
  for (const [name, parameter] of a) expect(await parameter.data()).toEqual(await b.get(name)!.data());
  expect(await a.get("embed")!.data()).not.toEqual(await c.get("embed")!.data());
  expect(await std("blocks.0.mixer.queryKeyValue.weight")).toBeCloseTo(0.02, 3);
  expect(await std("blocks.1.feedForward.down.weight")).toBeCloseTo(0.01, 3);
  expect(await std("blocks.0.mixer.output.bias")).toBe(0);
});

it("counts its parameters, bytes and operations", () => {
  // nanoGPT's model for a CPU: 804,096 parameters, of which 8,192 are positions.
  const model = new Decoder({ vocabSize: 65, hiddenSize: 128, numLayers: 4, numHeads: 4, contextLength: 64, bias: false }, { weights: "none" });
  expect(model.numParameters).toBe(804_096);
  expect(model.numBytes).toBe(4 * 804_096);
  expect(model.flopsPerToken()).toBe(6 * (804_096 - 8_192) + 12 * 4 * 128 * 64);
});

describe("a configuration that cannot be", () => {
  const wrong: [string, Partial<Record<keyof ModelOptions, unknown>> & Record<string, unknown>][] = [
    ["numHeads", { numHeads: 5 }], ["numLayers", { numLayers: 0 }], ["hiddenSize", { hiddenSize: -4 }], ["vocabSize", { vocabSize: 1.5 }], ["contextLength", { contextLength: undefined }],
    ["dropout", { dropout: -0.1 }], ["dropout", { dropout: 1 }], ["numKeyValueHeads", { numHeads: 6, numKeyValueHeads: 4 }], ["norm", { norm: "batchnorm" }],
    ["rotaryFraction", { position: "rope", rotaryFraction: 0.1 }], ["normEps", { normEps: 0 }], ["slidingWindow", { slidingWindow: -1 }], ["nHeads", { nHeads: 2 }],
  ];
  it.each(wrong)("is refused, naming %s: %o", (field, options) => {
    const build = () => modelConfig({ ...sizes, ...options } as ModelOptions);
    expect(build).toThrow(ConfigError);
    expect(build).toThrow(expect.objectContaining({ field }));
  });

  it("as is input that does not fit", async () => {
    const model = new Decoder(sizes);
    expect(() => model.logits(asIds([[0, 1, 2, 3, 4, 5, 6, 7, 8]]))).toThrow(expect.objectContaining({ code: "context-exceeded" }));
    expect(() => model.logits(Tensor.from([1, 2], { dtype: "i32" }))).toThrow(ShapeError);
    await expect(logitsOf(model, asIds([[1, 13]]))).rejects.toMatchObject({ name: "DeviceError", kernel: "embedding" });
  });
});
