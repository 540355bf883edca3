import { describe, expect, it } from "vitest";
import { CpuDevice, ReferenceDevice, Tensor, memory, type Device } from "../tensor/index.js";
import { clipScale } from "./clip.js";

const devices: [string, () => Device][] = [["reference", () => new ReferenceDevice()]];
if (CpuDevice.isAvailable()) devices.push(["cpu", () => CpuDevice.create()]);

describe.each(devices)("clipScale on the %s device", (_, makeDevice) => {
  const device = makeDevice();
  const clipped = async (gradients: (number | number[] | number[][])[], bound: number) => {
    const parameters = gradients.map((gradient) => {
      const grad = Tensor.from(gradient, { device });
      const parameter = Tensor.zeros(grad.shape, { device });
      parameter.grad = grad;
      return parameter;
    });
    const without = Tensor.zeros([3], { device });
    const before = memory.live;
    const { norm, scale } = clipScale([...parameters, without], bound, device);
    const result = { norm: await norm.item(), scale: await scale.item() };
    norm.dispose();
    scale.dispose();
    expect(memory.live).toBe(before);
    return result;
  };

  it("is the norm of all gradients as one vector, and bound / norm where that is below 1", async () => {
    const { norm, scale } = await clipped([[[3, 0], [0, 4]], [12], 84], 1);
    expect(norm).toBeCloseTo(85, 5);
    expect(scale).toBeCloseTo(1 / 85, 7);
  });

  it("never makes gradients larger, and takes none at all", async () => {
    expect(await clipped([[0.3, 0.4]], 1)).toMatchObject({ scale: 1 });
    expect(await clipped([[0, 0]], 1)).toEqual({ norm: 0, scale: 1 });
    expect(await clipped([[30, 40]], Infinity)).toMatchObject({ scale: 1 });
    expect(await clipped([], 1)).toEqual({ norm: 0, scale: 1 });
  });

  it("hands on what is not finite, so that the optimizer does nothing", async () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      for (const bound of [1, Infinity]) {
        const { norm, scale } = await clipped([[1, bad], [2]], bound);
        expect(Number.isFinite(norm)).toBe(false);
        expect(Number.isFinite(scale)).toBe(false);
      }
    }
  });
});
