/** @file Until when the keys of a sequence hold: with some scalings of RoPE its angles change as it grows, and with them all keys. */

import { ropeRegime, type Decoder } from "../model/index.js";

/** A name for the angles that a sequence of this length has: while it stays the same as the sequence grows, cached keys hold. */
export function positionRegime({ config }: Decoder, length: number): string {
  return config.layers.map(({ mixer }) => (mixer.kind === "attention" && mixer.positions.kind === "rope" ? ropeRegime(mixer.positions.scaling, length) : 0)).join();
}
