import { describe, expect, it } from "vitest";
import { CheckpointError, ConfigError, DataError, DeviceError, HornbookError, ShapeError, systemErrorCode } from "./errors.js";

describe("errors", () => {
  it("say what, where and what to do", () => {
    const error = new DataError({ file: "a.jsonl", line: 3, field: "text" }, "the field is missing.", { code: "missing-field", hint: "Name another field." });
    expect(error).toBeInstanceOf(HornbookError);
    expect(error.message).toBe('a.jsonl:3, "text": the field is missing. Name another field.');
    expect(error).toMatchObject({ name: "DataError", code: "missing-field", hint: "Name another field.", file: "a.jsonl", line: 3, field: "text" });
    expect(error.offset).toBeUndefined();
  });

  it("keep the kinds apart, with codes of their own", () => {
    expect(new CheckpointError({ file: "m", offset: 8 }, "cut short.").message).toBe("m, at byte 8: cut short.");
    expect(new CheckpointError({}, "nothing known.").message).toBe("nothing known.");
    expect(new ConfigError("numHeads", "3 does not divide 64.")).toMatchObject({ code: "bad-config", field: "numHeads", message: "numHeads: 3 does not divide 64." });
    expect(new ShapeError("matmul", [[2, 3], [4, 5]], "the inner lengths differ.").message).toBe(
      "matmul: the inner lengths differ. Shapes: [2, 3] and [4, 5].",
    );
    expect(new DeviceError("embedding", "table [10, 4], ids [3]", "id 12 is outside.")).toMatchObject({
      code: "device", kernel: "embedding", message: "embedding(table [10, 4], ids [3]): id 12 is outside.",
    });
    expect(new ShapeError("matmul", [], "x")).not.toBeInstanceOf(DataError);
  });

  it("hand on the cause", () => {
    const cause = Object.assign(new Error("no space"), { code: "ENOSPC" });
    expect(new HornbookError("full", { cause }).cause).toBe(cause);
    expect(systemErrorCode(cause)).toBe("ENOSPC");
    expect(systemErrorCode(new Error("x"))).toBeUndefined();
    expect(systemErrorCode("ENOSPC")).toBeUndefined();
    expect(systemErrorCode(new HornbookError("x", { code: "disk-full" }))).toBeUndefined();
  });
});
