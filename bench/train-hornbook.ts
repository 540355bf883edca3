/**
 * @file Our side of the training benchmarks, in a process of its own so that its memory is its own. It speaks the peers' protocol: arguments
 * describe the model; {"ready": true, flopsPerToken} says that it is warm; each line `run N` on stdin runs N steps, and one JSON line answers:
 * {tokensPerSecond, stepMs, peakRssBytes}.
 */

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Decoder } from "../src/model/index.js";
import type { FloatDType } from "../src/tensor/index.js";
import { trainingStep } from "./training-step.js";

const { values } = parseArgs({
  options: {
    layers: { type: "string" }, heads: { type: "string" }, dims: { type: "string" }, context: { type: "string" },
    batch: { type: "string" }, vocab: { type: "string" }, dtype: { type: "string", default: "bf16" }, bias: { type: "boolean", default: false },
  },
});
const size = (name: "layers" | "heads" | "dims" | "context" | "batch" | "vocab") => Number(values[name]);
const [batch, context] = [size("batch"), size("context")];
const model = new Decoder({
  vocabSize: size("vocab"), hiddenSize: size("dims"), numLayers: size("layers"), numHeads: size("heads"), contextLength: context,
  feedForward: "geluTanh", bias: values.bias,
});
const queueStep = trainingStep(model, batch, values.dtype as FloatDType);

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
