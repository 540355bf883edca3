import { describe, expect, it } from "vitest";
import { Tensor } from "../index.js";
import { CpuDevice } from "./device.js";
import { Profiler, formatProfile } from "./profile.js";

const vector = { dtype: "f32", shape: [1000], strides: [1], buffer: 0, offset: 0 } as const;

describe("Profiler", () => {
  it("cuts launches into phases by when they were queued, whenever they ran", () => {
    let times: number[] = [];
    const profiler = new Profiler(() => Float64Array.from(times));
    const step = (fills: number): void => {
      for (let i = 0; i < fills; i++) profiler.launched("fill", { y: vector }, { value: 0 });
      profiler.endPhase("step");
    };
    // Three steps are queued before the first has run. (began, ended, waited) of each launch, in seconds.
    step(1);
    step(2);
    step(2);
    times = [10, 11, 5, 11, 12, 0];
    expect(profiler.profile().map(({ name, count, seconds }) => [name, count, seconds])).toEqual([["first step", 1, 1], ["run", 1, 1]]);
    times = [13, 14, 1, 14, 15, 0, 17, 18, 0];
    const [first, rest, ...others] = profiler.profile();
    expect(others).toEqual([]);
    // Nothing is known of what came before the first launch.
    expect(first).toMatchObject({ name: "first step", count: 1, seconds: 1, waiting: 0 });
    expect(rest).toMatchObject({ name: "step", count: 2, seconds: 7, waiting: 1 });
    expect(rest.kernels.get("fill")).toEqual({ calls: 4, seconds: 4, flops: 0, bytes: 16000 });
    expect([...rest.launches.keys()]).toEqual(["fill f32[1000]"]);
  });

  it("leaves out phases in which nothing was launched", () => {
    const profiler = new Profiler(() => new Float64Array());
    profiler.endPhase("look");
    expect(profiler.profile()).toEqual([]);
  });

  it.skipIf(!CpuDevice.isAvailable())("of a device: every launch, with what it cost", async () => {
    const device = CpuDevice.create({ threads: 1, profile: true });
    const [a, b] = [3, 4].map((value) => Tensor.full([8, 8], value, { device }));
    for (let i = 0; i < 3; i++) {
      a.matmul(b).dispose();
      device.endPhase("product");
    }
    await device.synchronize();
    const profile = device.profile();
    expect(profile.map(({ name, count }) => [name, count])).toEqual([["first product", 1], ["product", 2]]);
    expect(profile[1].kernels.get("matmul")).toMatchObject({ calls: 2, flops: 2 * 2 * 8 ** 3 });
    const text = formatProfile(profile, device.description);
    expect(text).toMatch(/^product: .* the mean of 2\./m);
    expect(text).toMatch(/^matmul f32\[8,8\] f32\[8,8\] +1 /m);
  });

  it.skipIf(!CpuDevice.isAvailable())("stays in step with the queue when a launch fails", async () => {
    const device = CpuDevice.create({ threads: 1, profile: true });
    const table = Tensor.full([2, 2], 1, { device });
    const ids = Tensor.from(Int32Array.from([5]), { device });
    const y = Tensor.empty([1, 2], "f32", device);
    device.launch("embedding", { table, ids, y }, {});
    device.launch("fill", { y }, { value: 2 });
    await expect(device.synchronize()).rejects.toThrow("embedding");
    device.launch("fill", { y }, { value: 3 });
    await device.synchronize();
    expect([...device.profile()[0].kernels].map(([name, { calls }]) => [name, calls]).sort()).toEqual([["embedding", 1], ["fill", 3]]);
  });

  it.skipIf(!CpuDevice.isAvailable())("is empty where profiling is off", () => {
    expect(CpuDevice.create({ threads: 1, profile: false }).profile()).toEqual([]);
  });
});
