import { describe, expect, it } from "vitest";
import { findOverlap } from "./aliasing.js";
import { kernelNames, kernelSpec } from "./contract.js";
import type { BufferView } from "./device.js";

it("a kernel of more than 8 operands says so, and no other does", () => {
  const many = kernelNames.filter((name) => Object.keys(kernelSpec(name).operands).length > 8);
  expect(kernelNames.filter((name) => kernelSpec(name).manyBuffers)).toEqual(many);
  expect(many).toEqual(["attention", "attentionBackward", "attentionInt8"]);
});

it("an output may take the memory of operands that there are, and that are inputs", () => {
  for (const name of kernelNames) {
    const { operands } = kernelSpec(name);
    for (const { direction, mayAlias = [] } of Object.values(operands)) {
      if (mayAlias.length > 0) expect(direction).not.toBe("in");
      for (const other of mayAlias) expect(operands[other].direction).toBe("in");
    }
  }
});

describe("memory that operands share", () => {
  const view = (shape: number[], strides: number[], offset = 0, dtype: BufferView["dtype"] = "f32"): BufferView => ({ buffer: 1, dtype, shape, strides, offset });
  const matrix = view([4, 6], [6, 1]);

  it.each<[what: string, kernel: "unary" | "copy" | "crossEntropy" | "swiglu", operands: Record<string, BufferView>, wrong: string | undefined]>([
    ["the same elements where the contract allows it", "unary", { x: matrix, y: matrix }, undefined],
    ["the same elements where it does not", "copy", { x: matrix, y: matrix }, "y overlaps x"],
    ["elements further on", "unary", { x: view([4, 5], [6, 1]), y: view([4, 5], [6, 1], 1) }, "y overlaps x"],
    ["a transposed view", "unary", { x: view([4, 4], [1, 4]), y: view([4, 4], [4, 1]) }, "y overlaps x"],
    ["columns of the same rows that do not meet", "swiglu", { gate: view([4, 3], [9, 1]), up: view([4, 3], [9, 1], 3), y: view([4, 3], [9, 1], 6) }, undefined],
    ["columns that meet", "swiglu", { gate: view([4, 3], [9, 1]), up: view([4, 3], [9, 1], 3), y: view([4, 3], [9, 1], 5) }, "y overlaps up"],
    ["inputs alone", "swiglu", { gate: matrix, up: matrix, y: { ...matrix, buffer: 2 } }, undefined],
    ["narrower rows that begin together", "crossEntropy", { logits: matrix, dlogits: view([4, 6], [12, 1], 0, "bf16") }, undefined],
    ["narrower rows that do not", "crossEntropy", { logits: matrix, dlogits: view([4, 6], [6, 1], 0, "bf16") }, "dlogits overlaps logits"],
    ["nothing", "copy", { x: view([0, 6], [6, 1]), y: view([0, 6], [6, 1]) }, undefined],
  ])("%s", (_, kernel, operands, wrong) => {
    const found = findOverlap(kernel, operands);
    if (wrong === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(wrong);
  });
});
