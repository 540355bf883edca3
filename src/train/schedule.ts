/** @file Learning-rate schedules: pure functions of the step, so that a resumed run needs nothing but its number. */

import { z } from "zod";
import { ConfigError } from "../errors.js";
import { parseSettings } from "./parse.js";

const positive = z.number().positive();
const steps = z.number().int().min(0);

/** A schedule as plain data, as recipes and checkpoints hold it. */
export const scheduleSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("constant"), rate: positive, warmup: steps.default(0) }),
  /** Linear warm-up, then half a cosine from `rate` to `finalRate` (Loshchilov & Hutter 2017). */
  z.strictObject({ kind: z.literal("cosine"), rate: positive, finalRate: z.number().min(0).default(0), warmup: steps.default(0) }),
  /** Warm-up, stable, decay (Hu et al. 2024, MiniCPM): constant, then linear to `finalRate` over the last `decay` steps. */
  z.strictObject({ kind: z.literal("wsd"), rate: positive, finalRate: z.number().min(0).default(0), warmup: steps.default(0), decay: steps }),
]);
export type ScheduleOptions = z.input<typeof scheduleSchema>;
export type Schedule = z.output<typeof scheduleSchema>;

/** The learning rate of a step, counted from 0, in a run of `totalSteps`. The first step of a warm-up already moves. */
export function learningRate(schedule: Schedule, step: number, totalSteps: number): number {
  const { rate, warmup } = schedule;
  if (step < warmup) return (rate * (step + 1)) / (warmup + 1);
  switch (schedule.kind) {
    case "constant":
      return rate;
    case "cosine": {
      const progress = Math.min(1, (step - warmup) / Math.max(1, totalSteps - warmup));
      return schedule.finalRate + 0.5 * (1 + Math.cos(Math.PI * progress)) * (rate - schedule.finalRate);
    }
    case "wsd": {
      const progress = Math.max(0, (step - (totalSteps - schedule.decay)) / Math.max(1, schedule.decay));
      return rate + (schedule.finalRate - rate) * Math.min(1, progress);
    }
  }
}

/** Throws ConfigError when the schedule cannot be, or does not fit the run. */
export function parseSchedule(options: ScheduleOptions, totalSteps: number): Schedule {
  const schedule = parseSettings(scheduleSchema, options, "schedule");
  if (schedule.kind !== "constant" && schedule.finalRate > schedule.rate) {
    throw new ConfigError("schedule.finalRate", `the final rate ${schedule.finalRate} is above the rate ${schedule.rate}.`);
  }
  if (schedule.kind === "wsd" && schedule.warmup + schedule.decay > totalSteps) {
    throw new ConfigError("schedule.decay", `${schedule.warmup} steps of warm-up and ${schedule.decay} of decay do not fit ${totalSteps} steps.`);
  }
  return schedule;
}
