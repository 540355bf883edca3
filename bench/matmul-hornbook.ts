/**
 * @file Our side of the matmul benchmark. It speaks the protocol of `peers/matmul_torch.py`: each line `KIND DTYPE TOKENS IN OUT REPEATS` on stdin
 * is answered by {seconds} of one product, the mean of so many in a row. `forward` is x W^T, `dx` dy W, and `dw` dy^T x, which training has in f32.
 */

import { createInterface } from "node:readline";
import { Tensor, defaultDevice, scope, type FloatDType } from "../src/tensor/index.js";

const device = defaultDevice();
console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const [kind, dtype, ...sizes] = line.split(" ");
  const [tokens, inputs, outputs, repeats] = sizes.map(Number);
  const tensors = scope(() => {
    const random = (shape: number[], stream: number) => Tensor.randn(shape, { seedLow: 1, seedHigh: 0, stream }, { dtype: dtype as FloatDType });
    const [x, w, dy] = [random([tokens, inputs], 0), random([outputs, inputs], 1), random([tokens, outputs], 2)];
    const [a, b] = kind === "forward" ? [x, w.transpose()] : kind === "dx" ? [dy, w] : [dy.transpose(), x];
    return { a, b, c: Tensor.empty([a.shape[0], b.shape[1]], kind === "dw" ? "f32" : (dtype as FloatDType)) };
  });
  const run = async (count: number): Promise<number> => {
    await device.synchronize();
    const start = performance.now();
    for (let i = 0; i < count; i++) device.launch("matmul", tensors, { activation: "none", accumulate: 0 });
    await device.synchronize();
    return (performance.now() - start) / 1000 / count;
  };
  await run(1);
  console.log(JSON.stringify({ seconds: await run(repeats) }));
  for (const tensor of Object.values(tensors)) tensor.dispose();
}
