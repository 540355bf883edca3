import { describe, expect, it } from "vitest";
import { CpuDevice, ReferenceDevice, Replay, Tensor, keep, launch, memory, scope, type Device } from "./index.js";

const devices: readonly Device[] = [new ReferenceDevice(), ...(CpuDevice.isAvailable() ? [CpuDevice.create({ threads: 2 })] : [])];

describe.each(devices)("a replay on $name", (device) => {
  const numbers = (values: number[]) => Tensor.from(values, { device });
  const records = device.record !== undefined;

  it("gives what the body would give for what its tensors hold by now", async () => {
    const before = memory.live;
    const [x, total] = [numbers([1, 2, 3]), numbers([0, 0, 0])];
    let bodies = 0;
    const replay = new Replay(device, () =>
      scope(() => {
        bodies++;
        const y = x.mul(2).add(1);
        launch("copy", { x: total.add(y), y: total }, {});
        return [y.mul(y)];
      }),
    );
    expect(await replay.run()[0].data()).toEqual(Float32Array.of(9, 25, 49));
    // What happens in between takes and gives back memory, and leaves the replay's alone.
    const between = Array.from({ length: 20 }, (_, i) => numbers([i, i, i]));
    x.write(Float32Array.of(0, -1, 5));
    expect(replay.ready).toBe(records);
    expect(await replay.run()[0].data()).toEqual(Float32Array.of(1, 1, 121));
    for (const [i, tensor] of between.entries()) {
      expect(await tensor.data()).toEqual(Float32Array.of(i, i, i));
      tensor.dispose();
    }
    expect(await replay.run()[0].data()).toEqual(Float32Array.of(1, 1, 121));
    expect(await total.data()).toEqual(Float32Array.of(5, 3, 29));
    expect(bodies).toBe(records ? 1 : 3);
    replay.dispose();
    for (const tensor of [x, total]) tensor.dispose();
    expect(memory.live).toBe(before);
  });

  it("runs the body again where a tensor that it used was freed, or numbers of its own came from JavaScript", async () => {
    let x = numbers([1]);
    let bodies = 0;
    const replay = new Replay(device, () =>
      scope(() => {
        bodies++;
        return [x.mul(3)];
      }),
    );
    await replay.run()[0].data();
    x.dispose();
    x = numbers([5]);
    expect(replay.ready).toBe(false);
    expect(await replay.run()[0].data()).toEqual(Float32Array.of(15));
    expect(bodies).toBe(2);

    let n = 0;
    const constants = new Replay(device, () => scope(() => [x.mul(numbers([++n]))]));
    for (const expected of [5, 10, 15]) expect(await constants.run()[0].data()).toEqual(Float32Array.of(expected));
    for (const owner of [replay, constants, x]) owner.dispose();
  });

  it("runs the body again where it freed what it had used itself", async () => {
    let x = numbers([1]);
    let bodies = 0;
    const replay = new Replay(device, () =>
      scope(() => {
        if (bodies++ === 0) {
          const before = x;
          x = keep(before.add(1));
          before.dispose();
        }
        return [x.mul(10)];
      }),
    );
    expect(await replay.run()[0].data()).toEqual(Float32Array.of(20));
    expect(replay.ready).toBe(false);
    expect(await replay.run()[0].data()).toEqual(Float32Array.of(20));
    expect(replay.ready).toBe(records);
    replay.dispose();
    x.dispose();
  });

  it("is as before when the body throws", async () => {
    const before = memory.live;
    const x = numbers([1]);
    let broken = true;
    const replay = new Replay(device, () =>
      scope(() => {
        const y = x.add(1);
        if (broken) throw new Error("no");
        return [y];
      }),
    );
    expect(() => replay.run()).toThrow("no");
    expect(replay.ready).toBe(false);
    broken = false;
    expect(await replay.run()[0].data()).toEqual(Float32Array.of(2));
    const kept = keep(x.mul(7));
    expect(await kept.data()).toEqual(Float32Array.of(7));
    for (const owner of [replay, x, kept]) owner.dispose();
    expect(memory.live).toBe(before);
  });
});
