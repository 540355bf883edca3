/**
 * @file ALiBi (Press et al. 2022, section 3): no position embedding; a score loses slope * distance, with another slope for each head, a
 * geometric sequence from 2^(-8 / n). For a number of heads that is no power of two, the sequence of the next lower power, then
 * every other one of the next higher, as in the authors' code.
 */

import { z } from "zod";

export const alibiSchema = z.strictObject({
  kind: z.literal("alibi"),
  /** The slopes are multiplied by it (Falcon: 1 / sqrt(headSize)). */
  scale: z.number().positive().default(1),
});

export type AlibiSpec = Readonly<z.output<typeof alibiSchema>>;

export function alibiSlopes(numHeads: number): Float32Array {
  const sequence = (n: number) => Array.from({ length: n }, (_, i) => 2 ** ((-8 * (i + 1)) / n));
  const lower = 2 ** Math.floor(Math.log2(numHeads));
  const extra = sequence(2 * lower).filter((_, i) => i % 2 === 0);
  return Float32Array.from([...sequence(lower), ...extra].slice(0, numHeads));
}
