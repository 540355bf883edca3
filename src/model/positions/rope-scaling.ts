/**
 * @file How RoPE's angles are stretched so that a model reads more than it learned on. Pair i of `pairs` turns by position * f_i, f_i =
 * theta^(-i / pairs); its wavelength is 2 pi / f_i. Each kind changes these frequencies f, some also the size of what is turned:
 *
 *   linear    f / factor: positions move together (Chen et al. 2023, "Position interpolation")
 *   dynamic   theta grows with the sequence's length L once that exceeds the original context C, by (factor L / C - factor + 1)^(d / (d - 2)),
 *             d = 2 pairs, so that short texts lose nothing ("NTK-aware" scaling; Peng et al. 2023, section 3.3 and appendix)
 *   yarn      pairs that make many turns within C stay, those that make less than one become f / factor, between them a ramp; what is turned
 *             grows by attentionFactor, 0.1 ln(factor) + 1 (Peng et al. 2023, "YaRN", sections 3.2 and 3.4)
 *   llama3    the same idea by wavelength: shorter than C / highFrequencyFactor stay, longer than C / lowFrequencyFactor become f / factor
 *             (Llama 3.1; Grattafiori et al. 2024)
 *   longrope  f divided by a searched factor a pair, of one list up to C tokens and of another beyond; what is turned grows by attentionFactor,
 *             sqrt(1 + ln(contextLength / C) / ln C) (Ding et al. 2024)
 *
 * Numbers agree with Hugging Face transformers' (`modeling_rope_utils.py`).
 */

import { z } from "zod";

const factor = z.number().min(1);
const originalContextLength = z.number().int().positive();
const attentionFactor = z.number().positive();
const factors = z.array(z.number().positive()).readonly();

/** originalContextLength: how many tokens the model learned on, C above. */
export const ropeScalingSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("none") }),
  z.strictObject({ kind: z.literal("linear"), factor: z.number().positive() }),
  z.strictObject({ kind: z.literal("dynamic"), factor, originalContextLength }),
  z.strictObject({
    kind: z.literal("yarn"), factor, originalContextLength, attentionFactor: attentionFactor.optional(),
    /** A pair that makes at least so many turns within C stays. */
    betaFast: z.number().positive().default(32),
    /** One that makes at most so many is interpolated whole. */
    betaSlow: z.number().positive().default(1),
    /** Whether the ramp begins and ends at whole pairs. */
    truncate: z.boolean().default(true),
  }),
  z.strictObject({ kind: z.literal("llama3"), factor, originalContextLength, lowFrequencyFactor: z.number().positive(), highFrequencyFactor: z.number().positive() }),
  z.strictObject({ kind: z.literal("longrope"), originalContextLength, shortFactors: factors, longFactors: factors, attentionFactor: attentionFactor.optional() }),
]);

type Given = z.output<typeof ropeScalingSchema>;
type WithAttentionFactor<T> = T extends { attentionFactor?: number | undefined } ? Omit<T, "attentionFactor"> & { attentionFactor: number } : T;

/** A complete scaling. */
export type RopeScaling = WithAttentionFactor<Given>;

/** Fills in the attention factors that the papers advise. */
export function completedRopeScaling(given: Given, contextLength: number): RopeScaling {
  if (given.kind === "yarn") return { ...given, attentionFactor: given.attentionFactor ?? yarnAttentionFactor(given.factor) };
  if (given.kind === "longrope") {
    const { originalContextLength: original } = given;
    const advised = contextLength > original ? Math.sqrt(1 + Math.log(contextLength / original) / Math.log(original)) : 1;
    return { ...given, attentionFactor: given.attentionFactor ?? advised };
  }
  return given;
}

/** YaRN's factor, times `scale` where a model was trained with another one. */
export function yarnAttentionFactor(factor: number, scale = 1): number {
  return factor > 1 ? 0.1 * scale * Math.log(factor) + 1 : 1;
}

/**
 * Of which length a sequence of `length` tokens has the angles: those of "dynamic" and "longrope" change with it, those of others never do, and any
 * two lengths for which this gives the same number share them.
 */
export function ropeRegime(scaling: RopeScaling, length: number): number {
  if (scaling.kind === "dynamic") return Math.max(length, scaling.originalContextLength);
  if (scaling.kind === "longrope") return length > scaling.originalContextLength ? Infinity : scaling.originalContextLength;
  return 0;
}

/** The angle a position, of each pair, for a sequence in this regime; and what the cosines and sines are multiplied by. */
export function ropeFrequencies(theta: number, pairs: number, scaling: RopeScaling, regime: number): { frequencies: Float64Array; magnitude: number } {
  const plain = (base: number) => Float64Array.from({ length: pairs }, (_, i) => base ** (-i / pairs));
  const frequencies = plain(theta);
  const d = 2 * pairs;
  switch (scaling.kind) {
    case "none":
      return { frequencies, magnitude: 1 };
    case "linear":
      return { frequencies: frequencies.map((f) => f / scaling.factor), magnitude: 1 };
    case "dynamic": {
      const growth = (scaling.factor * regime) / scaling.originalContextLength - (scaling.factor - 1);
      return { frequencies: plain(theta * growth ** (d / (d - 2))), magnitude: 1 };
    }
    case "yarn": {
      const { factor, originalContextLength, betaFast, betaSlow, truncate, attentionFactor } = scaling;
      /** The pair that makes so many turns within the original context. */
      const pairOf = (turns: number) => (d * Math.log(originalContextLength / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const [low, high] = truncate ? [Math.floor(pairOf(betaFast)), Math.ceil(pairOf(betaSlow))] : [pairOf(betaFast), pairOf(betaSlow)];
      const [begin, end] = [Math.max(low, 0), Math.min(high, d - 1)];
      const ramp = (i: number) => Math.min(Math.max((i - begin) / (end === begin ? 0.001 : end - begin), 0), 1);
      return { frequencies: frequencies.map((f, i) => (f / factor) * ramp(i) + f * (1 - ramp(i))), magnitude: attentionFactor };
    }
    case "llama3": {
      const { factor, originalContextLength, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      const stretched = frequencies.map((f) => {
        const turns = (originalContextLength * f) / (2 * Math.PI);
        if (turns > high) return f;
        if (turns < low) return f / factor;
        const smooth = (turns - low) / (high - low);
        return ((1 - smooth) * f) / factor + smooth * f;
      });
      return { frequencies: stretched, magnitude: 1 };
    }
    case "longrope": {
      const divisors = regime > scaling.originalContextLength ? scaling.longFactors : scaling.shortFactors;
      return { frequencies: frequencies.map((f, i) => f / divisors[i]), magnitude: scaling.attentionFactor };
    }
  }
}
