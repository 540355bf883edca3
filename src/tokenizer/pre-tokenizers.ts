/**
 * @file Pre-tokenizers: how a normalized text is cut into the pieces that the model then encodes one by one, as Hugging Face `tokenizers` does it.
 * (The patterns of GPT-2 and its successors also run natively, see `pretokenize.ts`.)
 *
 * Each is a function from one piece to pieces. Pieces are never empty, in their order, and know whether they begin the whole text, which is where
 * some models want a space put before.
 */

import { toByteLevel } from "./bytes.js";
import { patterns } from "./pretokenize.js";
import { asInUnicode16, literalRegex, translateRegex } from "./regex.js";
import { metaspaceOf, type PreTokenizerStep, type SplitBehavior } from "./steps.js";
import { punctuation } from "./unicode-versions.js";

export interface Piece {
  readonly text: string;
  /** It begins the text. */
  readonly first: boolean;
}

export type PreTokenizer = (piece: Piece) => Piece[];

/** A text of the same length that a matcher is given in its stead; see `asInUnicode16`. */
export type View = (text: string) => string;

/** One function for all the steps. */
export function compilePreTokenizer(steps: readonly PreTokenizerStep[], view: View = asInUnicode16): PreTokenizer {
  const functions = steps.flatMap((step) => compileStep(step, view));
  return (piece) => functions.reduce((pieces, cut) => pieces.flatMap(cut), piece.text === "" ? [] : [piece]);
}

function compileStep(step: PreTokenizerStep, view: View): PreTokenizer[] {
  // Ranges of code points are the same in every version of Unicode; classes by property are not.
  const splitter = (regex: RegExp, behavior: SplitBehavior, invert: boolean): PreTokenizer => splitterOf(regex, behavior, invert, regex.source.includes("\\p") ? view : (text) => text);
  switch (step.type) {
    case "ByteLevel": {
      const prefix = (piece: Piece): Piece[] => [piece.text.startsWith(" ") ? piece : { ...piece, text: ` ${piece.text}` }];
      return [
        ...(step.add_prefix_space ? [prefix] : []),
        ...(step.use_regex ? [splitter(translateRegex(patterns.gpt2), "Isolated", false)] : []),
        ({ text, first }) => [{ text: toByteLevel(text), first }],
      ];
    }
    case "Metaspace": {
      const { replacement, prepend, split } = metaspaceOf(step);
      const cut = splitter(literalRegex(replacement), "MergedWithNext", false);
      return [
        ({ text, first }) => {
          const marked = text.replaceAll(" ", replacement);
          const wanted = prepend === "always" || (prepend === "first" && first);
          return [{ text: wanted && !marked.startsWith(replacement) ? replacement + marked : marked, first }];
        },
        ...(split ? [cut] : []),
      ];
    }
    case "Split": {
      const { pattern, behavior, invert } = step;
      if ("String" in pattern && pattern.String === "") return [];
      return [splitter("String" in pattern ? literalRegex(pattern.String) : translateRegex(pattern.Regex), behavior, invert)];
    }
    case "Digits":
      return [splitter(/\p{N}/gu, step.individual_digits ? "Isolated" : "Contiguous", false)];
    case "Punctuation":
      return [splitter(punctuation, step.behavior, false)];
    case "Whitespace":
      return [splitter(/[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu, "Removed", true)];
    case "WhitespaceSplit":
      return [splitter(/\p{White_Space}/gu, "Removed", false)];
    case "BertPreTokenizer":
      return [splitter(/\p{White_Space}/gu, "Removed", false), splitter(punctuation, "Isolated", false)];
    case "CharDelimiterSplit":
      return [splitter(literalRegex(step.delimiter), "Removed", false)];
    case "FixedLength":
      return [splitter(new RegExp(`[\\s\\S]{1,${step.length}}`, "gu"), "Isolated", false)];
  }
}

/** Cuts at the matches of an expression. With `invert`, what lies between matches counts as the match. */
function splitterOf(regex: RegExp, behavior: SplitBehavior, invert: boolean, view: View): PreTokenizer {
  return ({ text, first }) => {
    // Where each part ends, and whether it is a match; parts cover the text.
    const parts: { start: number; end: number; match: boolean }[] = [];
    let end = 0;
    for (const { index, 0: found } of view(text).matchAll(regex)) {
      if (index > end) parts.push({ start: end, end: index, match: invert });
      // An empty match marks a border: the parts around it stay apart, and it is a match for what is merged.
      parts.push({ start: index, end: index + found.length, match: !invert });
      end = index + found.length;
    }
    if (end < text.length) parts.push({ start: end, end: text.length, match: invert });
    return merge(parts, behavior)
      .filter((part) => part.end > part.start)
      .map((part) => ({ text: text.slice(part.start, part.end), first: first && part.start === 0 }));
  };
}

interface Part {
  start: number;
  end: number;
  readonly match: boolean;
}

function merge(parts: readonly Part[], behavior: SplitBehavior): readonly Part[] {
  if (behavior === "Isolated") return parts;
  if (behavior === "Removed") return parts.filter((part) => !part.match);
  const merged: Part[] = [];
  let previous = false;
  const backwards = behavior === "MergedWithNext";
  for (const part of backwards ? parts.toReversed() : parts) {
    const last = merged.at(-1);
    const joins = behavior === "Contiguous" ? part.match === previous : part.match && !previous;
    if (joins && last !== undefined) {
      if (backwards) last.start = part.start;
      else last.end = part.end;
    } else merged.push({ ...part });
    previous = part.match;
  }
  return backwards ? merged.reverse() : merged;
}
