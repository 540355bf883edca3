/**
 * @file Our side of the training benchmarks, in a process of its own so that its memory is its own. It speaks the peers' protocol: arguments
 * describe the model; {"ready": true, flopsPerToken} says that it is warm; each line `run N` on stdin runs N steps, and one JSON line answers:
 * {tokensPerSecond, stepMs, peakRssBytes}.
 */

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Decoder } from "../src/model/index.js";
import { Tensor, backward, defaultDevice, scope, type FloatDType } from "../src/tensor/index.js";
import { Random } from "../src/tensor/random.js";
import { clipScale } from "../src/train/clip.js";
import { makeOptimizer, splitMatrices } from "../src/train/optimizers/index.js";

const { values } = parseArgs({
  options: {
    layers: { type: "string" }, heads: { type: "string" }, dims: { type: "string" }, context: { type: "string" },
    batch: { type: "string" }, vocab: { type: "string" }, dtype: { type: "string", default: "bf16" }, bias: { type: "boolean", default: false },
  },
});
const size = (name: "layers" | "heads" | "dims" | "context" | "batch" | "vocab") => Number(values[name]);
const [batch, context] = [size("batch"), size("context")];
const dtype = values.dtype as FloatDType;

const device = defaultDevice();
const model = new Decoder({
  vocabSize: size("vocab"), hiddenSize: size("dims"), numLayers: size("layers"), numHeads: size("heads"), contextLength: context,
  feedForward: "geluTanh", bias: values.bias,
});
const parameters = model.parameters();
if (dtype === "bf16") splitMatrices(parameters);
const optimizer = makeOptimizer({ kind: "adamw" }, parameters);
const random = new Random(1);

/** The loss of one step, once it is done; its read stands in the queue before the next step does. */
function queueStep(): Promise<number> {
  const loss = scope(() => {
    const tokens = () => Tensor.from(Int32Array.from({ length: batch * context }, () => random.integer(size("vocab"))), { shape: [batch, context] });
    const loss = model.loss(tokens(), tokens(), { dtype });
    backward(loss, undefined, { gradients: dtype });
    optimizer.step({ rate: 1e-4, gradScale: clipScale(parameters.values(), 1, model.device).scale });
    for (const parameter of parameters.values()) {
      parameter.grad?.dispose();
      parameter.grad = undefined;
    }
    return loss.detach();
  });
  const value = loss.item();
  loss.dispose();
  device.endPhase?.("step");
  return value;
}

for (let warmUp = 0; warmUp < 3; warmUp++) await queueStep();
console.log(JSON.stringify({ ready: true, parameters: model.numParameters, flopsPerToken: model.flopsPerToken(context) }));

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(" ");
  if (command !== "run") break;
  const steps = Number(count);
  const start = performance.now();
  let previous: Promise<number> | undefined;
  for (let step = 0; step < steps; step++) {
    // As in the training loop: the next step is queued while the one before runs.
    const loss = queueStep();
    await previous;
    previous = loss;
  }
  await previous;
  const seconds = (performance.now() - start) / 1000;
  console.log(JSON.stringify({ tokensPerSecond: (steps * batch * context) / seconds, stepMs: (1000 * seconds) / steps, peakRssBytes: process.resourceUsage().maxRSS * 1024 }));
}
