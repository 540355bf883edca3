/**
 * @file What this machine can do, measured by our own kernels in the run whose figures are held against it: products as large as the kernels like them,
 * and reading memory that no cache holds. On a shared machine rates come and go, so they are measured again between the workloads and the best counts.
 * They are measured in a process of their own: Linux hands the largest size a process ever had on to those it starts, whose memory is measured too.
 */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { measureMatmulRate } from "../src/train/machine.js";
import { QuantizedTensor, Tensor, defaultDevice, scope, type Device } from "../src/tensor/index.js";

/** Operations a second of each kind of product, and bytes a second. */
export interface MachineRates {
  readonly bf16: number;
  readonly f32: number;
  readonly int8: number;
  readonly memory: number;
}

const turns = 5;

async function bestRate(device: Device, amount: number, queue: () => void): Promise<number> {
  let best = 0;
  for (let turn = 0; turn < turns; turn++) {
    await device.synchronize();
    const start = performance.now();
    queue();
    await device.synchronize();
    best = Math.max(best, (1000 * amount) / (performance.now() - start));
  }
  return best;
}

/** 8-bit weights by activations that are rounded to 8 bits on the way, as in reading a prompt. */
async function int8Rate(device: Device): Promise<number> {
  const [m, n, k] = [512, 2048, 2048];
  const { a, w, c } = scope(() => ({
    a: Tensor.full([m, k], 0.5, { device }),
    w: QuantizedTensor.quantize(Tensor.full([n, k], 0.25, { device }), "q8_0"),
    c: Tensor.empty([m, n], "f32", device),
  }));
  const rate = await bestRate(device, 2 * m * n * k, () =>
    device.launch("quantizedMatmul", { a, w: w.segments[0].blocks, c }, { format: "q8_0", layout: w.segments[0].layout, activation: "none" }),
  );
  for (const x of [a, w, c]) x.dispose();
  return rate;
}

/** The sum of half a gigabyte, rows of it on every thread. */
async function readRate(device: Device): Promise<number> {
  const [rows, n] = [512, 1 << 18];
  const [x, y] = [Tensor.full([rows, n], 1, { device }), Tensor.empty([rows], "f32", device)];
  const rate = await bestRate(device, 4 * rows * n, () => device.launch("reduce", { x, y }, { op: "sum", reducedAxes: 1, correction: 0 }));
  for (const tensor of [x, y]) tensor.dispose();
  return rate;
}

/** The better of what is measured now and `before`. */
export async function measureRates(before?: MachineRates): Promise<MachineRates> {
  const { stdout } = await promisify(execFile)(process.execPath, [thisFile]);
  const now = JSON.parse(stdout) as MachineRates;
  const best = (key: keyof MachineRates): number => Math.max(now[key], before?.[key] ?? 0);
  return { bf16: best("bf16"), f32: best("f32"), int8: best("int8"), memory: best("memory") };
}

const thisFile = fileURLToPath(import.meta.url);
if (process.argv[1] === thisFile) {
  const device = defaultDevice();
  const rates: MachineRates = {
    bf16: await measureMatmulRate(device, "bf16"),
    f32: await measureMatmulRate(device, "f32"),
    int8: await int8Rate(device),
    memory: await readRate(device),
  };
  console.log(JSON.stringify(rates));
}
