/** @file Python's textwrap.wrap(), as the filter `wordwrap` uses it: white space stays as it is, tabs included. */

import { codePoints, valueError } from "./values.js";
import { substring } from "./text.js";

const whiteSpace = "\\t\\n\\v\\f\\r ";
const word = "[\\p{L}\\p{N}_!\"'&.,?]";
const letter = "[\\p{L}_]";
/** Between which characters a line may be broken: around white space, after a hyphen within a word, around a dash. */
const withHyphens = new RegExp(
  `([${whiteSpace}]+|(?<=${word})-{2,}(?=[\\p{L}\\p{N}_])|[^${whiteSpace}]+?(?:-(?:(?<=${letter}{2}-)|(?<=${letter}-${letter}-))(?=${letter}-?${letter})|(?=[${whiteSpace}]|$)|(?<=${word})(?=-{2,}[\\p{L}\\p{N}_])))`, "u");
const atSpaces = new RegExp(`([${whiteSpace}]+)`);

/** The lines of a text of no more than `width` characters each. Throws ValueError. */
export function wrapText(text: string, width: number, breakLongWords: boolean, breakOnHyphens: boolean): string[] {
  if (width <= 0) valueError(`invalid width ${width} (must be > 0)`);
  const chunks = text.split(breakOnHyphens ? withHyphens : atSpaces).filter((chunk) => chunk !== "").reverse();
  const lines: string[] = [];
  while (chunks.length > 0) {
    const line: string[] = [];
    let used = 0;
    if (chunks.at(-1)!.trim() === "" && lines.length > 0) chunks.pop();
    while (chunks.length > 0 && used + codePoints(chunks.at(-1)!) <= width) {
      const chunk = chunks.pop()!;
      line.push(chunk);
      used += codePoints(chunk);
    }
    const next = chunks.at(-1);
    if (next !== undefined && codePoints(next) > width) {
      if (breakLongWords) {
        const room = width - used;
        let cut = room;
        if (breakOnHyphens && codePoints(next) > room) {
          const hyphen = Array.from(next).lastIndexOf("-", room - 1);
          if (hyphen > 0 && Array.from(next).slice(0, hyphen).some((character) => character !== "-")) cut = hyphen + 1;
        }
        if (room > 0) {
          line.push(substring(next, 0, cut));
          chunks[chunks.length - 1] = substring(next, cut, codePoints(next));
        }
      } else if (line.length === 0) {
        line.push(chunks.pop()!);
      }
    }
    if (line.length > 0 && line.at(-1)!.trim() === "") line.pop();
    if (line.length > 0) lines.push(line.join(""));
  }
  return lines;
}
