/** Which files `pull org/name:WORD` means, on lists as repositories have them. */

import { describe, expect, it } from "vitest";
import { chooseFiles } from "./files.js";
import type { HubFile } from "./files.js";

const files = (...paths: string[]): HubFile[] => paths.map((path) => ({ path, size: 1000, hash: "0".repeat(64) }));
const chosen = (list: readonly HubFile[], wanted?: string) => chooseFiles("org/name", list, wanted).map(({ path }) => path);
const code = (list: readonly HubFile[], wanted?: string): unknown => {
  try {
    return chosen(list, wanted);
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe("a type", () => {
  const usual = files("m-F16.gguf", "m-BF16.gguf", "m-Q2_K.gguf", "m-Q2_K_L.gguf", "m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf", "m-Q4_K_XL.gguf", "m-IQ4_XS.gguf", "mmproj-F16.gguf", "m-imatrix.gguf", "README.md");

  it.each([
    ["F16", "m-F16.gguf"], ["BF16", "m-BF16.gguf"], ["bf16", "m-BF16.gguf"], ["Q2_K", "m-Q2_K.gguf"], ["Q2_K_L", "m-Q2_K_L.gguf"], ["q4_k_m", "m-Q4_K_M.gguf"],
    ["Q4_K_XL", "m-Q4_K_XL.gguf"], ["UD-Q4_K_XL", "m-UD-Q4_K_XL.gguf"], ["IQ4_XS", "m-IQ4_XS.gguf"], ["mmproj-F16.gguf", "mmproj-F16.gguf"], ["README.md", "README.md"],
  ])("%s is %s", (wanted, path) => expect(chosen(usual, wanted)).toEqual([path]));

  it("is a whole word: neither the end nor the beginning of another", () => {
    expect(code(files("m-BF16.gguf"), "F16")).toBe("no-such-file");
    expect(code(files("m-Q2_K_L.gguf"), "Q2_K")).toBe("no-such-file");
    expect(code(usual, "Q4_K")).toBe("no-such-file");
    expect(code(usual, "K_M")).toBe("no-such-file");
  });

  it("without the mark of its maker, where only he has it", () => {
    expect(chosen(files("m-UD-Q4_K_XL.gguf", "m-Q4_K_M.gguf"), "Q4_K_XL")).toEqual(["m-UD-Q4_K_XL.gguf"]);
  });

  it("of two models is neither", () => {
    const two = files("small-Q8_0.gguf", "large-Q8_0.gguf");
    expect(code(two, "Q8_0")).toBe("choose-file");
    expect(chosen(two, "small")).toEqual(["small-Q8_0.gguf"]);
    expect(() => chosen(two, "Q8_0")).toThrow(/small-Q8_0\.gguf[^]*large-Q8_0\.gguf|large-Q8_0\.gguf[^]*small-Q8_0\.gguf/);
  });

  it("after a point, in lower case, or of the whole name", () => {
    expect(chosen(files("SmolLM2.Q4_1.gguf", "SmolLM2.Q4_0.gguf"), "Q4_1")).toEqual(["SmolLM2.Q4_1.gguf"]);
    expect(chosen(files("smol-q8_0.gguf", "smol-f16.gguf"), "F16")).toEqual(["smol-f16.gguf"]);
    expect(chosen(files("q8_0.gguf", "f16.gguf"), "Q8_0")).toEqual(["q8_0.gguf"]);
  });
});

describe("parts", () => {
  const split = files("m-Q4_K_M-00002-of-00002.gguf", "m-Q4_K_M-00001-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf", "Q8_0/m-00001-of-00001.gguf");

  it("come together and in order, by their type, by one of them, or by their folder's name", () => {
    const parts = ["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf"];
    for (const wanted of ["Q4_K_M", ...parts]) expect(chosen(split, wanted)).toEqual(parts);
    expect(chosen(split, "BF16")).toEqual(["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"]);
    expect(chosen(split, "Q8_0")).toEqual(["Q8_0/m-00001-of-00001.gguf"]);
  });

  it("are one model where there is no other, whatever lies beside them", () => {
    expect(chosen(files("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "mmproj.gguf"))).toEqual(["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
    expect(code(split)).toBe("choose-file");
  });

  it("that a repository lacks are named", () => {
    const lacking = files("m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf");
    expect(code(lacking, "Q8_0")).toBe("missing-part");
    expect(() => chosen(lacking)).toThrow("m-Q8_0-00002-of-00003.gguf");
  });

  it("of hostile numbers are not counted", () => {
    expect(code(files("m-00001-of-99999.gguf"), "m")).toBe("missing-part");
  });
});
