import { describe, expect, it } from "vitest";
import { completedRopeScaling, ropeFrequencies, ropeRegime, ropeScalingSchema, yarnAttentionFactor, type RopeScaling } from "./rope-scaling.js";

const complete = (given: unknown, contextLength: number): RopeScaling => completedRopeScaling(ropeScalingSchema.parse(given), contextLength);

// Frequencies of pairs 0, 1, a quarter, the one before the middle, the middle, three quarters and the last, as transformers 5.23 computes them in
// float32, and its attention factor.
const cases: [string, { theta: number; pairs: number; contextLength: number; length: number; scaling: unknown; magnitude: number; expected: number[] }][] = [
  ["Llama 3.1", {
    theta: 500_000, pairs: 64, contextLength: 131_072, length: 1, magnitude: 1,
    scaling: { kind: "llama3", factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 8192 },
    expected: [1, 0.8146172, 0.03760603, 0.0008567515, 0.000524846, 6.64787e-6, 3.068926e-7],
  }],
  ["Qwen 2.5 with YaRN", {
    theta: 1_000_000, pairs: 64, contextLength: 131_072, length: 1, magnitude: 1.138629436111989,
    scaling: { kind: "yarn", factor: 4, originalContextLength: 32_768 },
    expected: [1, 0.8058422, 0.03162278, 0.0008029598, 0.0006029411, 7.905694e-6, 3.102344e-7],
  }],
  ["YaRN with a ramp between pairs, and two scales", {
    theta: 10_000, pairs: 64, contextLength: 131_072, length: 1, magnitude: 0.9210423553163399,
    scaling: { kind: "yarn", factor: 40, originalContextLength: 4096, truncate: false, attentionFactor: yarnAttentionFactor(40, 0.707) / yarnAttentionFactor(40) },
    expected: [1, 0.8659644, 0.1, 0.006846613, 0.005524063, 2.5e-5, 2.886955e-6],
  }],
  ["dynamic, 5000 tokens where 2048 were learned", {
    theta: 10_000, pairs: 64, contextLength: 8192, length: 5000, magnitude: 1,
    scaling: { kind: "dynamic", factor: 2, originalContextLength: 2048 },
    expected: [1, 0.8475171, 0.07085582, 0.00592383, 0.005020547, 0.0003557349, 2.974087e-5],
  }],
  ["linear", {
    theta: 10_000, pairs: 64, contextLength: 2048, length: 1, magnitude: 1, scaling: { kind: "linear", factor: 4 },
    expected: [0.25, 0.2164911, 0.025, 0.002886955, 0.0025, 0.00025, 2.886955e-5],
  }],
  ...([[4096, [1, 0.8085592, 0.08, 0.00819061, 0.006666667, 0.0005714286, 6.121402e-5]], [4097, [1, 0.4127021, 0.007692308, 0.0005048032, 0.0004, 2.702703e-5, 2.524016e-6]]] as const).map(
    ([length, expected]): (typeof cases)[number] => [`longrope, ${length} tokens where 4096 were learned`, {
      theta: 10_000, pairs: 48, contextLength: 131_072, length, magnitude: 1.1902380714238083, expected: [...expected],
      scaling: {
        kind: "longrope", originalContextLength: 4096,
        shortFactors: Array.from({ length: 48 }, (_, i) => 1 + i / 48), longFactors: Array.from({ length: 48 }, (_, i) => 1 + i),
      },
    }],
  ),
];

describe("agrees with transformers", () => {
  it.each(cases)("%s", (_, { theta, pairs, contextLength, length, scaling, magnitude, expected }) => {
    const completed = complete(scaling, contextLength);
    const actual = ropeFrequencies(theta, pairs, completed, ropeRegime(completed, length));
    expect(actual.magnitude).toBeCloseTo(magnitude, 12);
    const some = [0, 1, pairs / 4, pairs / 2 - 1, pairs / 2, (3 * pairs) / 4, pairs - 1].map((i) => actual.frequencies[i]);
    some.forEach((frequency, i) => expect(Math.abs(frequency / expected[i] - 1)).toBeLessThan(2e-6));
  });
});

it("lengths share their angles until these change", () => {
  const dynamic = complete({ kind: "dynamic", factor: 2, originalContextLength: 10 }, 20);
  expect([1, 9, 10, 11, 12].map((length) => ropeRegime(dynamic, length))).toEqual([10, 10, 10, 11, 12]);
  expect(ropeFrequencies(100, 4, dynamic, 10)).toEqual(ropeFrequencies(100, 4, { kind: "none" }, 0));
  const longrope = complete({ kind: "longrope", originalContextLength: 10, shortFactors: [1], longFactors: [2] }, 20);
  expect(new Set([1, 9, 10].map((length) => ropeRegime(longrope, length))).size).toBe(1);
  expect(ropeRegime(longrope, 11)).toBe(ropeRegime(longrope, 20));
  expect(ropeRegime(longrope, 11)).not.toBe(ropeRegime(longrope, 10));
  expect(ropeRegime({ kind: "linear", factor: 2 }, 5)).toBe(ropeRegime({ kind: "linear", factor: 2 }, 5000));
});
