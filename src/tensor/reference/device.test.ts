import { describe, expect, it } from "vitest";
import { DeviceError } from "../../errors.js";
import type { BufferView } from "../device.js";
import { ReferenceDevice } from "./device.js";

function upload(device: ReferenceDevice, values: Float32Array | Int32Array, shape = [values.length]): BufferView {
  const buffer = device.allocate(values.byteLength);
  device.write(buffer, 0, new Uint8Array(values.buffer));
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  return { buffer, dtype: values instanceof Float32Array ? "f32" : "i32", shape, strides, offset: 0 };
}

async function download(device: ReferenceDevice, view: BufferView, n: number): Promise<number[]> {
  return [...new Float32Array(await device.read(view.buffer, 0, 4 * n))];
}

describe("ReferenceDevice", () => {
  it("runs kernels in order and reads what was there at the time of the call", async () => {
    const device = new ReferenceDevice();
    const x = upload(device, Float32Array.of(1, 2, 3));
    const before = device.read(x.buffer, 4, 8);
    device.launch("unary", { x, y: x }, { op: "square" });
    device.launch("unary", { x, y: x }, { op: "neg" });
    expect([...new Float32Array(await before)]).toEqual([2, 3]);
    expect(await download(device, x, 3)).toEqual([-1, -4, -9]);
  });

  it("keeps an error for the next wait, skips what follows, and works again", async () => {
    const device = new ReferenceDevice();
    const table = upload(device, Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]);
    const y = upload(device, new Float32Array(4), [2, 2]);
    const fill = { value: 7 };
    device.launch("embedding", { table, ids: upload(device, Int32Array.of(0, 3)), y }, {});
    device.launch("fill", { y }, fill);
    device.write(y.buffer, 0, new Uint8Array(16).fill(1));
    const error: unknown = await device.synchronize().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DeviceError);
    expect(error).toMatchObject({
      kernel: "embedding",
      message: "embedding(table [3, 2], ids [2], y [2, 2]): id 3 at position 1 is outside [0, 3).",
    });
    expect(await download(device, y, 4)).toEqual([0, 0, 0, 0]);
    device.launch("fill", { y }, fill);
    expect(await download(device, y, 4)).toEqual([7, 7, 7, 7]);
  });

  it("rejects a read after an error too", async () => {
    const device = new ReferenceDevice();
    const x = upload(device, Int32Array.of(1));
    device.launch("unary", { x, y: x }, { op: "exp" });
    await expect(device.read(x.buffer, 0, 4)).rejects.toThrow("unary(x [1], y [1]): exp does not take i32.");
    await expect(device.read(x.buffer, 0, 4)).resolves.toBeInstanceOf(ArrayBuffer);
  });

  it("rounds float attributes to float32, as a command stream would", async () => {
    const device = new ReferenceDevice();
    const y = upload(device, Float32Array.of(0));
    device.launch("accumulate", { x: upload(device, Float32Array.of(3)), y }, { scale: 0.1 });
    expect(await download(device, y, 1)).toEqual([Math.fround(3 * Math.fround(0.1))]);
  });

  it("reuses the ids of freed buffers, and knows which are not allocated", () => {
    const device = new ReferenceDevice();
    const [first, second] = [device.allocate(4), device.allocate(0)];
    device.free(first);
    expect(() => device.free(first)).toThrow(RangeError);
    expect(device.allocate(100)).toBe(first);
    expect(second).not.toBe(first);
  });
});
