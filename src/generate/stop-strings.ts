/**
 * @file Stop strings in a stream of text. Text that may be the beginning of a stop string is held back until it is known whether it is one,
 * so that no part of a stop string is ever emitted. What comes out does not depend on how the text was cut into pieces: the stop string
 * that is complete first ends it, and of several that end at the same place the one that began first.
 */

export class StopStrings {
  readonly #stops: readonly string[];
  readonly #longest: number;
  #held = "";

  /** The strings must not be empty. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
    this.#longest = stops.reduce((longest, stop) => Math.max(longest, stop.length), 0);
  }

  /** Takes the next piece of text; gives what is safe to emit, and the stop string that ended it, after which nothing more may be pushed. */
  push(text: string): { text: string; stop?: string } {
    const all = this.#held + text;
    let found: { begin: number; end: number; stop: string } | undefined;
    for (const stop of this.#stops) {
      const begin = all.indexOf(stop);
      const end = begin + stop.length;
      if (begin < 0 || (found !== undefined && (end > found.end || (end === found.end && begin > found.begin)))) continue;
      found = { begin, end, stop };
    }
    if (found !== undefined) {
      this.#held = "";
      return { text: all.slice(0, found.begin), stop: found.stop };
    }
    let safe = Math.max(0, all.length - this.#longest + 1);
    while (safe < all.length && !this.#stops.some((stop) => stop.startsWith(all.slice(safe)))) safe++;
    this.#held = all.slice(safe);
    return { text: all.slice(0, safe) };
  }

  /** What is held back, once no more text comes. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}
