import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError } from "../errors.js";
import { learningRate, parseSchedule, type ScheduleOptions } from "./schedule.js";

const rates = (options: ScheduleOptions, total: number) => {
  const schedule = parseSchedule(options, total);
  return Array.from({ length: total }, (_, step) => learningRate(schedule, step, total));
};

describe("learningRate", () => {
  it("warms up linearly, moving from the first step on, and reaches the rate after the warm-up", () => {
    expect(rates({ kind: "constant", rate: 1, warmup: 4 }, 6)).toEqual([0.2, 0.4, 0.6, 0.8, 1, 1]);
  });

  it("cosine: the rate at its start, half-way the mean of both, the final rate beyond its end", () => {
    const schedule = parseSchedule({ kind: "cosine", rate: 1e-3, finalRate: 1e-4, warmup: 100 }, 2000);
    expect(learningRate(schedule, 0, 2000)).toBeCloseTo(1e-3 / 101, 12);
    expect(learningRate(schedule, 100, 2000)).toBe(1e-3);
    expect(learningRate(schedule, 1050, 2000)).toBeCloseTo(5.5e-4, 12);
    expect(learningRate(schedule, 1999, 2000)).toBeCloseTo(1e-4, 8);
    expect(learningRate(schedule, 2000, 2000)).toBeCloseTo(1e-4, 12);
    expect(learningRate(schedule, 9999, 2000)).toBeCloseTo(1e-4, 12);
  });

  it("warm-up, stable, decay: flat between, then linear to the final rate", () => {
    const all = rates({ kind: "wsd", rate: 1, finalRate: 0, warmup: 1, decay: 4 }, 10);
    expect(all).toEqual([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]);
  });

  it("of any schedule is positive and at most the rate, and falls after the warm-up", () => {
    const total = fc.integer({ min: 1, max: 300 });
    const schedules = total.chain((n) =>
      fc.record({
        n: fc.constant(n),
        options: fc.record({ kind: fc.constantFrom("constant", "cosine", "wsd"), rate: fc.double({ min: 1e-6, max: 10, noNaN: true }), share: fc.double({ min: 0, max: 1, noNaN: true }), warmup: fc.integer({ min: 0, max: n }) }),
      }),
    );
    fc.assert(
      fc.property(schedules, ({ n, options: { kind, rate, share, warmup } }) => {
        const finalRate = rate * share;
        const options: ScheduleOptions = kind === "constant" ? { kind, rate, warmup } : kind === "cosine" ? { kind, rate, finalRate, warmup } : { kind: "wsd", rate, finalRate, warmup, decay: n - warmup };
        const all = rates(options, n);
        for (const value of all) expect(value > 0 && value <= rate * (1 + 1e-12)).toBe(true);
        for (let step = warmup + 1; step < n; step++) expect(all[step]).toBeLessThanOrEqual(all[step - 1] * (1 + 1e-12));
        for (let step = 1; step < warmup; step++) expect(all[step]).toBeGreaterThan(all[step - 1]);
      }),
    );
  });
});

describe("parseSchedule", () => {
  it.each([
    [{ kind: "cosine", rate: -0.1 }, "schedule.rate"],
    [{ kind: "constant", rate: 0 }, "schedule.rate"],
    [{ kind: "constant", rate: NaN }, "schedule.rate"],
    [{ kind: "cosine", rate: 1, warmup: 1.5 }, "schedule.warmup"],
    [{ kind: "cosine", rate: 1, finalRate: 2 }, "schedule.finalRate"],
    [{ kind: "wsd", rate: 1, warmup: 6, decay: 6 }, "schedule.decay"],
    [{ kind: "wsd", rate: 1 }, "schedule.decay"],
    [{ kind: "constant", rate: 1, finalRate: 0.1 }, "schedule.finalRate"],
    [{ kind: "step", rate: 1 }, "schedule.kind"],
  ])("refuses %j, naming %s", (options, field) => {
    const parse = () => parseSchedule(options as ScheduleOptions, 10);
    expect(parse).toThrow(ConfigError);
    expect(parse).toThrow(expect.objectContaining({ field }));
  });
});
