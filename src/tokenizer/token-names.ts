/**
 * @file How tokens are spelled, by id. Those of a GGUF file stay packed as they lie there: a JavaScript string for each of a quarter of a million, and a
 * map of them, would take longer than the rest of loading, and who goes on with a text asks for a few.
 */

import type { PackedTexts } from "./packed-texts.js";

type Name = string | undefined;

export class TokenNames implements Iterable<Name> {
  private ids: ReadonlyMap<string, number> | undefined;
  private singles: ReadonlyMap<string, number> | undefined;

  private constructor(
    readonly length: number,
    /** The name of an id below `length`. */
    private readonly nameOf: (id: number) => Name,
    /** Whether an id's name may be a single UTF-16 code unit: false for most, without looking at all of it. */
    private readonly maybeSingle: (id: number) => boolean,
  ) {}

  /** Of a list, undefined where an id is not in use. It must stay as it is. */
  static of(names: readonly Name[]): TokenNames {
    return new TokenNames(names.length, (id) => names[id], (id) => names[id]?.length === 1);
  }

  /** A token of no letters is `[EMPTY_id]`, so that no two have one name. */
  static packed(texts: PackedTexts): TokenNames {
    const { data, starts, gap, length } = texts;
    return new TokenNames(length, (id) => texts.at(id) || `[EMPTY_${id}]`, (id) => {
      // One, two or three bytes, and the first says how many a character has.
      const [first, bytes] = [data[starts[id]], starts[id + 1] - gap - starts[id]];
      return bytes > 0 && bytes === (first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 0);
    });
  }

  /** With other names for some ids, which may lie past the end: added tokens. */
  with(changes: ReadonlyMap<number, string>): TokenNames {
    if (changes.size === 0) return this;
    const { length, nameOf, maybeSingle } = this;
    let longest = length;
    for (const id of changes.keys()) longest = Math.max(longest, id + 1);
    return new TokenNames(longest, (id) => changes.get(id) ?? (id < length ? nameOf(id) : undefined), (id) => changes.has(id) || (id < length && maybeSingle(id)));
  }

  /** Undefined where an id is not in use, or none. */
  at(id: number): Name {
    return Number.isInteger(id) && id >= 0 && id < this.length ? this.nameOf(id) : undefined;
  }

  /** The id of a name; the last one of a name that stands twice. Single characters, all that merging asks for, need no map of all names. */
  idOf(name: string): number | undefined {
    return (name.length === 1 ? (this.singles ??= this.mapOf(this.maybeSingle)) : (this.ids ??= this.mapOf(() => true))).get(name);
  }

  /** Names and ids; of a name that stands twice, the last. */
  byName(): Iterable<[name: string, id: number]> {
    return (this.ids ??= this.mapOf(() => true));
  }

  *[Symbol.iterator](): Iterator<Name> {
    for (let id = 0; id < this.length; id++) yield this.nameOf(id);
  }

  private mapOf(wanted: (id: number) => boolean): ReadonlyMap<string, number> {
    const ids = new Map<string, number>();
    for (let id = 0; id < this.length; id++) {
      const name = wanted(id) ? this.nameOf(id) : undefined;
      if (name !== undefined) ids.set(name, id);
    }
    return ids;
  }
}
