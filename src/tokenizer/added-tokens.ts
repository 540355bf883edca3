/**
 * @file Added tokens: strings with an id of their own, outside the merges. Special ones (`<|endoftext|>`) mark structure, and text must not be
 * able to smuggle them in, so they are found in a text only where the caller allows it; the others are found always.
 *
 * How they are found is Hugging Face's: of those that start first the longest, those not `normalized` before those that are.
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

export class AddedTokens {
  readonly byContent: ReadonlyMap<string, AddedToken>;
  readonly byId: ReadonlyMap<number, AddedToken>;
  private readonly always: Matcher;
  private everything: Matcher | undefined;

  constructor(readonly tokens: readonly AddedToken[]) {
    this.byContent = new Map(tokens.map((token) => [token.content, token]));
    this.byId = new Map(tokens.map((token) => [token.id, token]));
    this.always = new Matcher(tokens.filter((token) => !token.special));
  }

  /** Cuts a text, or undefined where there is nothing to look for. Throws TokenizerError `not-special` where a name is no special token. */
  splitter(allowed: AllowedSpecial | undefined): ((text: string) => Segment[]) | undefined {
    const matcher = this.matcher(allowed);
    return matcher.isEmpty ? undefined : (text) => matcher.split(text);
  }

  private matcher(allowed: AllowedSpecial | undefined): Matcher {
    if (allowed === undefined) return this.always;
    if (allowed === "all") return (this.everything ??= new Matcher(this.tokens));
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
    return names.size === 0 ? this.always : new Matcher(this.tokens.filter((token) => !token.special || names.has(token.content)));
  }
}

// What counts as a word and as white space for these flags: \w and \s of Rust's regular expressions.
const wordAtEnd = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const wordAtStart = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const spaceAtEnd = /^\p{White_Space}$/u;

class Matcher {
  private readonly passes: readonly { regex: RegExp; tokens: ReadonlyMap<string, AddedToken> }[];

  constructor(tokens: readonly AddedToken[]) {
    this.passes = [false, true]
      .map((normalized) => tokens.filter((token) => token.normalized === normalized))
      .filter((group) => group.length > 0)
      .map((group) => {
        const longestFirst = group.map((token) => token.content).sort((a, b) => b.length - a.length);
        const escaped = longestFirst.map((content) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
        return { regex: new RegExp(escaped.join("|"), "gu"), tokens: new Map(group.map((token) => [token.content, token])) };
      });
  }

  get isEmpty(): boolean {
    return this.passes.length === 0;
  }

  split(text: string): Segment[] {
    let segments: Segment[] = [text];
    for (const { regex, tokens } of this.passes) {
      segments = segments.flatMap((segment) => (typeof segment === "number" ? [segment] : splitOnce(segment, regex, tokens)));
    }
    return segments;
  }
}

function splitOnce(text: string, regex: RegExp, tokens: ReadonlyMap<string, AddedToken>): Segment[] {
  const segments: Segment[] = [];
  let offset = 0;
  for (const match of text.matchAll(regex)) {
    const token = tokens.get(match[0]);
    if (token === undefined) continue;
    let start = match.index;
    let stop = start + match[0].length;
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
