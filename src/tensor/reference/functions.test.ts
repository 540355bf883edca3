import { describe, expect, it } from "vitest";
import { binaryFunctions, erf, erfc, pow, unaryFunctions } from "./functions.js";

/** erf x = 2/sqrt(pi) exp(-x^2) sum 2^k x^(2k+1) / (1 3 ... (2k+1)) (Abramowitz & Stegun 7.1.6); all terms have one sign. */
function erfSeries(x: number): number {
  let [term, sum] = [x, 0];
  for (let k = 0; k < 300; k++) {
    sum += term;
    term *= (2 * x * x) / (2 * k + 3);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

describe("the error function", () => {
  it("agrees with its series", () => {
    for (let x = -6; x <= 6; x += 0.01) expect(Math.abs(erf(x) - erfSeries(x))).toBeLessThan(3e-15);
  });

  it("keeps its digits in the tail", () => {
    const table = [[0.3, 0.6713732405408726], [1, 0.15729920705028513], [3, 2.209049699858544e-5], [5, 1.5374597944280349e-12], [10, 2.088487583762545e-45]];
    for (const [x, value] of table) expect(Math.abs(erfc(x) / value - 1)).toBeLessThan(3e-15);
    expect([erf(Infinity), erf(-Infinity), erfc(Infinity), erfc(-Infinity), erf(NaN), erfc(NaN)]).toEqual([1, -1, 0, 2, NaN, NaN]);
  });
});

describe("activations", () => {
  it("keep their digits where they are nearly nothing", () => {
    const { gelu, geluTanh, silu, softplus, sigmoid } = unaryFunctions;
    expect(gelu(-8) / -4.976768e-15).toBeCloseTo(1, 5);
    expect(silu(-50) / (-50 * Math.exp(-50))).toBeCloseTo(1, 14);
    expect(softplus(-50) / Math.exp(-50)).toBeCloseTo(1, 14);
    expect([softplus(1000), sigmoid(-1000), silu(-1e30), geluTanh(-1e30), gelu(1e30)]).toEqual([1000, 0, -0, -0, 1e30]);
  });

  it.each([
    ["gelu", "geluGrad"], ["geluTanh", "geluTanhGrad"], ["silu", "siluGrad"], ["softplus", "softplusGrad"], ["relu", "reluGrad"],
  ] as const)("%s has %s as its derivative", (forward, gradient) => {
    const [f, df] = [unaryFunctions[forward], binaryFunctions[gradient]];
    for (let x = -9.99; x < 10; x += 0.1) {
      expect(df(x, 3)).toBeCloseTo((3 * (f(x + 1e-5) - f(x - 1e-5))) / 2e-5, 8);
    }
  });

  it.each([["tanh", "tanhGrad"], ["sigmoid", "sigmoidGrad"]] as const)("%s has %s as its derivative, by its output", (forward, gradient) => {
    const [f, df] = [unaryFunctions[forward], binaryFunctions[gradient]];
    for (let x = -6; x < 6; x += 0.1) expect(df(f(x), 3)).toBeCloseTo((3 * (f(x + 1e-5) - f(x - 1e-5))) / 2e-5, 8);
  });
});

it("pow is that of IEEE 754", () => {
  expect([pow(1, NaN), pow(1, Infinity), pow(-1, -Infinity), pow(NaN, 0), pow(-2, 3), pow(-2, 0.5), pow(0, -1)]).toEqual([1, 1, 1, 1, -8, NaN, Infinity]);
});
