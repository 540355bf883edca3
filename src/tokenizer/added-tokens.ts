/**
 * @file Added tokens: strings with an id of their own, outside the merges. Special ones (`<|endoftext|>`) mark structure, and text must not be
 * able to smuggle them in, so they are found in a text only where the caller allows it; the others are found always.
 *
 * How they are found is Hugging Face's: of those that start first the longest, those not `normalized` before those that are. In llama.cpp the longest
 * token of all is looked for in the whole text first, then the next in what is left.
 */

import { TokenizerError } from "../errors.js";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Only between characters that are no part of a word. */
  readonly singleWord: boolean;
  /** Swallows the white space before it, after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Looked for after the text is normalized. */
  readonly normalized: boolean;
}

export function specialToken(content: string, id: number): AddedToken {
  return { id, content, special: true, singleWord: false, lstrip: false, rstrip: false, normalized: false };
}

/** Which special tokens a text may contain: none unless named. */
export type AllowedSpecial = "all" | Iterable<string>;

/** A text as the ids of added tokens and the plain text between them. */
export type Segment = string | number;

export const withoutBarrier = (text: string, barrier: string): string => (barrier === "" ? text : text.replaceAll(barrier, ""));

/** Whether a token found in a text counts as such; else its letters are plain text. */
type IsAllowed = (token: AddedToken) => boolean;

export class AddedTokens {
  readonly byContent: ReadonlyMap<string, AddedToken>;
  readonly byId: ReadonlyMap<number, AddedToken>;
  private readonly raw: Matcher;
  private readonly afterNormalizing: Matcher;

  /**
   * @param normalize what happens to text between the tokens that are found before that
   * @param longestFirst as llama.cpp finds them
   */
  constructor(
    readonly tokens: readonly AddedToken[],
    private readonly normalize?: (text: string) => string,
    longestFirst = false,
  ) {
    this.byContent = new Map(tokens.map((token) => [token.content, token]));
    this.byId = new Map(tokens.map((token) => [token.id, token]));
    this.raw = new Matcher(tokens.filter((token) => !token.normalized).map((token) => [token.content, token]), longestFirst);
    // They are found in text that is normalized, so they are looked for as that would have made them.
    this.afterNormalizing = new Matcher(tokens.filter((token) => token.normalized).map((token) => [normalize?.(token.content) ?? token.content, token]));
  }

  /** How a token stands in normalized text, which is how Hugging Face decodes it. */
  decodedText({ normalized, content }: AddedToken): string {
    return normalized ? (this.normalize?.(content) ?? content) : content;
  }

  /**
   * Cuts a text and normalizes what is plain, or undefined where there is nothing to look for or to do. Throws TokenizerError `not-special` where
   * a name is no special token.
   *
   * @param barrier see {@link EncodeOptions}
   */
  splitter(allowed: AllowedSpecial | undefined, barrier = ""): ((text: string) => Segment[]) | undefined {
    const isAllowed = this.isAllowed(allowed);
    if (this.normalize === undefined && !this.tokens.some(isAllowed)) return undefined;
    const normalize = (text: string): string => (text === "" ? "" : (this.normalize?.(text) ?? text));
    const finish = (plain: string): Segment[] => {
      // Where tokens are looked for after normalizing, the barrier has to stand until then.
      if (this.afterNormalizing.isEmpty) return [normalize(withoutBarrier(plain, barrier))];
      return this.afterNormalizing.split(normalize(plain), isAllowed).map((segment) => (typeof segment === "number" ? segment : withoutBarrier(segment, barrier)));
    };
    return (text) =>
      this.raw
        .split(text, isAllowed)
        .flatMap((segment) => (typeof segment === "number" ? [segment] : finish(segment)))
        .filter((segment) => segment !== "");
  }

  private isAllowed(allowed: AllowedSpecial | undefined): IsAllowed {
    if (allowed === undefined) return (token) => !token.special;
    if (allowed === "all") return () => true;
    const names = new Set(typeof allowed === "string" ? [allowed] : allowed);
    for (const name of names) {
      if (this.byContent.get(name)?.special !== true) {
        const known = this.tokens.filter((token) => token.special).map((token) => token.content);
        throw new TokenizerError({}, `${JSON.stringify(name)} is no special token of this tokenizer.`, {
          code: "not-special",
          hint: known.length === 0 ? "It has none." : `It has ${known.slice(0, 10).join(", ")}.`,
        });
      }
    }
    return (token) => !token.special || names.has(token.content);
  }
}

// What counts as a word and as white space for these flags: \w and \s of Rust's regular expressions.
const wordAtEnd = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const wordAtStart = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const spaceAtEnd = /^\p{White_Space}$/u;

/** Finds tokens in text: of those that start first the longest. A vocabulary may have thousands, so they are looked up, not tried one by one. */
class Matcher {
  private readonly tokens: ReadonlyMap<string, AddedToken>;
  /** The lengths of the tokens that begin with a code unit, longest first. */
  private readonly lengths = new Map<number, number[]>();

  constructor(
    tokens: readonly [content: string, token: AddedToken][],
    private readonly longestFirst = false,
  ) {
    this.tokens = new Map(tokens.filter(([content]) => content !== ""));
    for (const content of this.tokens.keys()) {
      const known = this.lengths.get(content.charCodeAt(0));
      if (known === undefined) this.lengths.set(content.charCodeAt(0), [content.length]);
      else if (!known.includes(content.length)) known.push(content.length);
    }
    for (const lengths of this.lengths.values()) lengths.sort((a, b) => b - a);
  }

  get isEmpty(): boolean {
    return this.tokens.size === 0;
  }

  private tokenAt(text: string, index: number): { token: AddedToken; length: number } | undefined {
    for (const length of this.lengths.get(text.charCodeAt(index)) ?? []) {
      const token = index + length <= text.length ? this.tokens.get(text.slice(index, index + length)) : undefined;
      if (token !== undefined) return { token, length };
    }
    return undefined;
  }

  /** The ids of tokens and the text between them, none of it empty. */
  split(text: string, isAllowed: IsAllowed): Segment[] {
    if (this.tokens.size === 0) return text === "" ? [] : [text];
    if (this.longestFirst) return this.splitLongestFirst(text, isAllowed);
    const segments: Segment[] = [];
    let offset = 0;
    for (let index = 0; index < text.length; ) {
      const found = this.tokenAt(text, index);
      if (found === undefined) {
        index++;
        continue;
      }
      const { token, length } = found;
      let start = index;
      let stop = (index += length);
      if (!isAllowed(token)) continue;
      // Two code units hold any one character.
      if (token.singleWord && (wordAtEnd.test(text.slice(Math.max(0, start - 2), start)) || wordAtStart.test(text.slice(stop, stop + 2)))) continue;
      if (token.lstrip) while (start > offset && spaceAtEnd.test(text[start - 1])) start--;
      if (token.rstrip) while (stop < text.length && spaceAtEnd.test(text[stop])) stop++;
      if (start > offset) segments.push(text.slice(offset, start));
      segments.push(token.id);
      offset = Math.max(offset, stop);
    }
    if (offset < text.length) segments.push(text.slice(offset));
    return segments;
  }

  private splitLongestFirst(text: string, isAllowed: IsAllowed): Segment[] {
    const found: { start: number; end: number; token: AddedToken }[] = [];
    for (let start = 0; start < text.length; start++) {
      for (const length of this.lengths.get(text.charCodeAt(start)) ?? []) {
        const token = start + length <= text.length ? this.tokens.get(text.slice(start, start + length)) : undefined;
        if (token !== undefined && isAllowed(token)) found.push({ start, end: start + length, token });
      }
    }
    if (found.length === 0) return text === "" ? [] : [text];
    const bytes = new Map(found.map(({ token }) => [token.id, Buffer.byteLength(token.content)]));
    const lengthOf = (id: number): number => bytes.get(id) ?? 0;
    found.sort((a, b) => lengthOf(b.token.id) - lengthOf(a.token.id) || a.token.id - b.token.id || a.start - b.start);

    // What is no longer text: taken by a token, or white space that one swallowed.
    const gone = new Uint8Array(text.length);
    const isFreeSpace = (i: number): boolean => gone[i] === 0 && /^[ \t-\r]$/.test(text[i] ?? "");
    const starts = new Map<number, AddedToken>();
    for (const { start, end, token } of found) {
      if (gone.subarray(start, end).includes(1)) continue;
      starts.set(start, token);
      gone.fill(1, start, end);
      if (token.lstrip) for (let i = start - 1; isFreeSpace(i); i--) gone[i] = 1;
      if (token.rstrip) for (let i = end; isFreeSpace(i); i++) gone[i] = 1;
    }
    const segments: Segment[] = [];
    for (let i = 0; i < text.length; ) {
      const token = starts.get(i);
      if (token !== undefined) segments.push(token.id);
      let end = i + (gone[i] === 1 ? 1 : 0);
      if (end === i) {
        while (end < text.length && gone[end] === 0) end++;
        segments.push(text.slice(i, end));
      }
      i = end;
    }
    return segments;
  }
}
