import { expect, it } from "vitest";
import { Tensor, backward, memory, noGrad, scope } from "../../tensor/index.js";
import { Decoder, modelConfig } from "../index.js";
import { Rotary, RotaryTables } from "./rotary.js";

const config = modelConfig({ vocabSize: 7, hiddenSize: 8, numLayers: 2, numHeads: 2, contextLength: 100_000, position: "rope" });
const ids = Tensor.from([[1, 2, 3, 4]], { dtype: "i32" });

it("its tables grow with the longest sequence, in the middle of a step as well, and go with the model", async () => {
  const before = memory.live;
  const model = new Decoder(config);
  const at = (start: number) => ({ positions: Tensor.arange(4, { start, dtype: "i32" }).reshape([1, 4]), lengths: [start + 4] });
  const logits = async (start: number) => {
    const logits = scope(() => noGrad(() => model.logits(ids, at(start))));
    const values = await logits.data();
    logits.dispose();
    return values;
  };
  const near = await logits(0);
  const small = model.tensors().get("blocks.0.mixer.rotary.table.cos")!.shape;
  const far = await logits(3000);
  expect(small).toEqual([512, 2]);
  expect(model.tensors().get("blocks.0.mixer.rotary.table.cos")!.shape).toEqual([3004, 2]);
  // RoPE sees distances alone.
  near.forEach((logit, i) => expect(far[i]).toBeCloseTo(logit, 4));
  for (const recompute of [false, true]) scope(() => backward(model.loss(ids, ids, { ...at(recompute ? 9000 : 5000), recompute })));
  expect(model.tensors().get("blocks.0.mixer.rotary.table.cos")!.shape).toEqual([12016, 2]);
  model.dispose();
  expect(memory.live).toBe(before);
});

it("turns (i, i + half) or (2i, 2i + 1), by the angle of the position", async () => {
  const x = Tensor.from([1, 2, 3, 4], { shape: [1, 1, 1, 4] });
  const position = { positions: Tensor.from([[5]], { dtype: "i32" }), lengths: [6], dtype: "f32" } as const;
  const turned = async (interleaved: boolean) => new Rotary({ kind: "rope", theta: 10_000, scaling: { kind: "none" }, interleaved, fraction: 1 }, 4, new RotaryTables(100)).rotate(x, position).data();
  const [a, b] = [5, 5 / 10_000 ** 0.5];
  const turn = (x: number, y: number, angle: number) => [x * Math.cos(angle) - y * Math.sin(angle), y * Math.cos(angle) + x * Math.sin(angle)];
  const [[p, r], [q, s]] = [turn(1, 3, a), turn(2, 4, b)];
  const [halves, pairs] = [await turned(false), await turned(true)];
  [p, q, r, s].forEach((value, i) => expect(halves[i]).toBeCloseTo(value, 5));
  [...turn(1, 2, a), ...turn(3, 4, b)].forEach((value, i) => expect(pairs[i]).toBeCloseTo(value, 5));
});
