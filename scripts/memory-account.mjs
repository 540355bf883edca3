/**
 * Who holds the memory of a training step when it is at its height: tensors by the line of the library that made them, the device's own
 * share (free memory between tensors, kernels' scratch), and the rest of the process.
 *
 *     npm run build && node scripts/memory-account.mjs [gpt2 | 10m] [bf16 | f32]
 */
import { readFileSync } from "node:fs";
import { trainingStep } from "../dist/bench/training-step.js";
import { Decoder } from "../dist/src/model/index.js";
import { CpuDevice, memory } from "../dist/src/tensor/index.js";

const models = {
  gpt2: { vocabSize: 50257, hiddenSize: 768, numLayers: 12, numHeads: 12, contextLength: 256, feedForward: "geluTanh", bias: true, batch: 4 },
  "10m": { vocabSize: 65, hiddenSize: 384, numLayers: 6, numHeads: 6, contextLength: 256, feedForward: "geluTanh", bias: false, batch: 16 },
};
const [name = "gpt2", dtype = "bf16"] = process.argv.slice(2);
const { batch, ...config } = models[name];

/** What is live, by who made it; and the same when there was most of it in the last step. */
const live = new Map();
let atPeak = new Map();
const { allocate, free } = CpuDevice.prototype;
const sizes = new Map();
Error.stackTraceLimit = 30;
CpuDevice.prototype.allocate = function (bytes) {
  const id = allocate.call(this, bytes);
  const frames = new Error().stack.split("\n").flatMap((line) => /(\w[\w.#]*)? ?\(?file:.*\/dist\/src\/((?:tensor\/ops|model|train)\/[\w/-]+)\.js/.exec(line) ?? []);
  const makers = [];
  for (let i = 0; i < frames.length; i += 3) if (!/support$|module$|master$/.test(frames[i + 2]) && makers[makers.length - 1] !== frames[i + 2]) makers.push(frames[i + 2]);
  const backwards = new Error().stack.includes("runNode") ? "backward of " : "";
  const maker = backwards + (makers.slice(0, 2).join(" in ") || "other");
  sizes.set(id, [maker, bytes]);
  live.set(maker, (live.get(maker) ?? 0) + bytes);
  // The count is raised after this returns.
  if (memory.live + bytes >= memory.peak) atPeak = new Map(live);
  return id;
};
CpuDevice.prototype.free = function (id) {
  const [maker, bytes] = sizes.get(id);
  sizes.delete(id);
  live.set(maker, live.get(maker) - bytes);
  free.call(this, id);
};

const megabytes = (bytes) => (bytes / 1e6).toFixed(1).padStart(8);
const status = () => Object.fromEntries(["VmRSS", "VmHWM"].map((field) => [field, 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))[1])]));
const model = new Decoder(config);
await model.device.synchronize();
console.log(`${name} ${dtype}: before the model is trained ${megabytes(memory.live)} MB of tensors, resident ${megabytes(status().VmRSS)} MB`);
const queueStep = trainingStep(model, batch, dtype);
for (let step = 1; step <= 4; step++) {
  memory.peak = memory.live;
  await queueStep();
  console.log(`step ${step}: tensors ${megabytes(memory.peak)} MB at most, ${megabytes(memory.live)} MB after it; resident ${megabytes(status().VmRSS)} MB, at most ${megabytes(status().VmHWM)} MB`);
}
console.log("\nAt the height of the last step, MB:");
for (const [maker, bytes] of [...atPeak].sort((a, b) => b[1] - a[1])) if (bytes > 1e5) console.log(`${megabytes(bytes)}  ${maker}`);
