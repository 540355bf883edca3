/**
 * @file Texts as Python sees them: sequences of code points, with Python's notion of white space, lines, letters and case. JavaScript's own
 * functions are used where they agree (`scripts/reference/jinja_expressions.py` compares every character).
 */

import { askItems, askText, spend } from "./meter.js";
import { valueError } from "./values.js";

/** What str.isspace() and `\s` know, as the inside of a character class; JavaScript's `\s` is another set. */
export const pySpace = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const spaceCharacter = new RegExp(`[${pySpace}]`);
const spaceRun = new RegExp(`[${pySpace}]+`, "g");

export function isSpace(character: string): boolean {
  return spaceCharacter.test(character);
}

/**
 * A character that no text has (Unicode keeps it for such use): whoever renders may put it into texts as a mark, and finds it in the result as
 * it was, also where other characters are escaped.
 */
export const markCharacter = "\uFDD0";

/** Whether UTF-16 units and code points are not the same. */
function hasAstral(text: string): boolean {
  return /[\ud800-\udbff]/.test(text);
}

/** The code points of a text, each a string. */
export function characters(text: string): string[] {
  askItems(text.length);
  return hasAstral(text) ? Array.from(text) : text.split("");
}

/** The characters from `start` to `stop`, both counted in code points and in range. */
export function substring(text: string, start: number, stop: number): string {
  spend(text.length / 64);
  return hasAstral(text) ? Array.from(text).slice(start, stop).join("") : text.slice(start, stop);
}

/** How many code points stand before the unit at `index`. */
export function unitToPoint(text: string, index: number): number {
  if (index <= 0) return index;
  const before = text.slice(0, index);
  return hasAstral(before) ? Array.from(before).length : index;
}

/** strip(), lstrip(), rstrip(): of white space, or of any of the characters given. */
export function strip(text: string, side: "both" | "left" | "right" = "both", chars?: string): string {
  const set = chars === undefined ? undefined : new Set(chars);
  const drops = (character: string) => (set === undefined ? isSpace(character) : set.has(character));
  let [begin, end] = [0, text.length];
  const at = (index: number) => String.fromCodePoint(text.codePointAt(index)!);
  if (side !== "right") {
    while (begin < end) {
      const character = at(begin);
      if (!drops(character)) break;
      begin += character.length;
    }
  }
  if (side !== "left") {
    while (begin < end) {
      const isPair = end - begin >= 2 && /^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(end - 2, end));
      if (!drops(isPair ? text.slice(end - 2, end) : text[end - 1])) break;
      end -= isPair ? 2 : 1;
    }
  }
  spend((text.length - (end - begin)) / 16);
  return text.slice(begin, end);
}

/** split() and rsplit() at a separator; at most `max` times unless negative. */
export function split(text: string, separator: string, max: number, fromRight = false): string[] {
  if (separator === "") valueError("empty separator");
  spend(text.length / 64);
  const parts = text.split(separator);
  askItems(parts.length);
  if (max < 0 || parts.length <= max + 1) {
    // From the right, separators that overlap are found elsewhere.
    if (!fromRight || separator.length === 1) return parts;
  }
  if (!fromRight) return [...parts.slice(0, max), parts.slice(max).join(separator)];
  const found: string[] = [];
  let end = text.length;
  while (max < 0 || found.length < max) {
    const at = end - separator.length < 0 ? -1 : text.lastIndexOf(separator, end - separator.length);
    if (at < 0) break;
    found.unshift(text.slice(at + separator.length, end));
    end = at;
  }
  return [text.slice(0, end), ...found];
}

/** split() and rsplit() at runs of white space. */
export function splitWords(text: string, max: number, fromRight = false): string[] {
  spend(text.length / 16);
  const stripped = strip(text);
  if (stripped === "") return [];
  const words = stripped.split(spaceRun);
  askItems(words.length);
  if (max < 0 || words.length <= max) return words;
  const gaps = [...stripped.matchAll(spaceRun)].map(({ index, 0: gap }) => ({ begin: index, end: index + gap.length }));
  if (fromRight) {
    // What is left over keeps its own white space at the front.
    const left = strip(text, "right");
    const cut = max === 0 ? left.length : gaps[gaps.length - max].begin + (left.length - stripped.length);
    return [left.slice(0, cut), ...words.slice(words.length - max)];
  }
  const right = strip(text, "left");
  return [...words.slice(0, max), right.slice(max === 0 ? 0 : gaps[max - 1].end)];
}

/** splitlines(). */
export function splitLines(text: string, keepEnds = false): string[] {
  spend(text.length / 16);
  const lines: string[] = [];
  const lineEnd = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;
  let begin = 0;
  for (let found = lineEnd.exec(text); found !== null; found = lineEnd.exec(text)) {
    lines.push(text.slice(begin, keepEnds ? lineEnd.lastIndex : found.index));
    begin = lineEnd.lastIndex;
  }
  if (begin < text.length) lines.push(text.slice(begin));
  askItems(lines.length);
  return lines;
}

/** replace(): `count` times at most unless negative. */
export function replace(text: string, old: string, replacement: string, count: number): string {
  spend(text.length / 64);
  if (count === 0) return text;
  const places = old === "" ? Array.from(text).length + 1 : text.split(old).length - 1;
  const times = count < 0 ? places : Math.min(places, count);
  askText(text.length + times * (replacement.length - old.length));
  spend(times / 8);
  if (old === "") {
    const all = Array.from(text);
    return all.map((character, i) => (i < times ? replacement + character : character)).join("") + (times > all.length ? replacement : "");
  }
  const parts = text.split(old);
  if (times === places) return parts.join(replacement);
  return parts.slice(0, times + 1).join(replacement) + old + parts.slice(times + 1).join(old);
}

export function repeat(text: string, times: number): string {
  if (times <= 0 || text === "") return "";
  askText(text.length * times);
  return text.repeat(times);
}

/** Joins texts, asking for room first. */
export function join(parts: readonly string[], separator: string): string {
  askText(parts.reduce((sum, part) => sum + part.length + separator.length, 0));
  spend(parts.length / 8);
  return parts.join(separator);
}

// ---- case --------------------------------------------------------------------------------------------------------------------------

export function upper(text: string): string {
  askText(text.length);
  return text.toUpperCase();
}

export function lower(text: string): string {
  askText(text.length);
  return text.toLowerCase();
}

const digraphs = ["\u01c4\u01c5\u01c6", "\u01c7\u01c8\u01c9", "\u01ca\u01cb\u01cc", "\u01f1\u01f2\u01f3"];

/** One character in title case, which is upper case but for some that are two letters in one. */
function titleCharacter(character: string): string {
  const upper = character.toUpperCase();
  const code = character.codePointAt(0)!;
  if (code < 0xdf || (upper.length === character.length && code < 0x1c4)) return upper;
  const digraph = digraphs.find((three) => three.includes(character));
  if (digraph !== undefined) return digraph[1];
  if (code >= 0x10d0 && code <= 0x10ff) return character;
  if (code >= 0x1f80 && code <= 0x1faf) return String.fromCharCode(code | 8);
  if (/[\u1fb3\u1fbc\u1fc3\u1fcc\u1ff3\u1ffc]/.test(character)) return String.fromCharCode((code & 0xfff0) | 0xc);
  if (/[\u1fb2\u1fb4\u1fb7\u1fc2\u1fc4\u1fc7\u1ff2\u1ff4\u1ff7]/.test(character)) return upper.slice(0, -1) + "\u0345";
  if (/[\u00df\u0587\ufb00-\ufb06\ufb13-\ufb17]/.test(character)) return upper[0] + upper.slice(1).toLowerCase();
  return upper;
}

export function capitalize(text: string): string {
  if (text === "") return "";
  askText(text.length);
  const first = String.fromCodePoint(text.codePointAt(0)!);
  // A letter before the rest, so that a final sigma is one.
  const context = /\p{Cased}/u.test(first) ? "a" : "";
  return titleCharacter(first) + (context + text.slice(first.length)).toLowerCase().slice(context.length);
}

/** str.title(): each run of letters begins with a capital. */
export function title(text: string): string {
  askText(4 * text.length);
  const lowered = /Σ/.test(text) ? lowerEach(text) : undefined;
  let [out, inWord, i] = ["", false, 0];
  for (const character of text) {
    out += inWord ? (lowered?.[i] ?? character.toLowerCase()) : titleCharacter(character);
    inWord = /\p{Cased}/u.test(character);
    i++;
  }
  return out;
}

/** The lower case of each character, where it depends on what stands around it. */
function lowerEach(text: string): string[] {
  const all = Array.from(text);
  return all.map((character, i) => (character === "Σ" ? lowerSigma(all, i) : character.toLowerCase()));
}

function lowerSigma(all: readonly string[], at: number): string {
  const cased = /\p{Cased}/u;
  const ignored = /\p{Case_Ignorable}/u;
  let before = at - 1;
  while (before >= 0 && ignored.test(all[before])) before--;
  let after = at + 1;
  while (after < all.length && ignored.test(all[after])) after++;
  return before >= 0 && cased.test(all[before]) && !(after < all.length && cased.test(all[after])) ? "ς" : "σ";
}

export function swapCase(text: string): string {
  askText(4 * text.length);
  const lowered = lowerEach(text);
  return Array.from(text, (character, i) => (/\p{Uppercase}/u.test(character) ? lowered[i] : /\p{Lowercase}/u.test(character) ? character.toUpperCase() : character)).join("");
}

/** str.casefold(). */
export function casefold(text: string): string {
  askText(4 * text.length);
  return Array.from(text, (character) => {
    if (/[\u13a0-\u13fd\uab70-\uabbf]/.test(character)) return character.toUpperCase();
    if (character === "ẞ") return "ss";
    return character === "ı" ? character : Array.from(character.toUpperCase(), (one) => one.toLowerCase()).join("");
  }).join("");
}

// ---- kinds of characters -----------------------------------------------------------------------------------------------------------

/** Of what is a digit to Python and no decimal digit: superscripts, circled digits and the like. */
const otherDigits =
  "\\xb2\\xb3\\xb9\\u1369-\\u1371\\u19da\\u2070\\u2074-\\u2079\\u2080-\\u2089\\u2460-\\u2468\\u2474-\\u247c\\u2488-\\u2490\\u24ea\\u24f5-\\u24fd\\u24ff" +
  "\\u2776-\\u277e\\u2780-\\u2788\\u278a-\\u2792\\u{10a40}-\\u{10a43}\\u{10e60}-\\u{10e68}\\u{11052}-\\u{1105a}\\u{1f100}-\\u{1f10a}";
/** Chinese characters that are numbers. */
const hanNumbers =
  "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零\\u{f96b}\\u{f973}\\u{f978}\\u{f9b2}\\u{f9d1}\\u{f9d3}\\u{f9fd}\\u{20001}\\u{20064}\\u{200e2}\\u{20121}\\u{2092a}\\u{20983}\\u{2098c}\\u{2099c}\\u{20aea}\\u{20afd}\\u{20b19}\\u{22390}\\u{22998}\\u{23b1b}\\u{2626d}\\u{2f890}";

const everywhere: Readonly<Record<string, RegExp>> = {
  isalnum: new RegExp(`^[\\p{L}\\p{N}${otherDigits}${hanNumbers}]+$`, "u"),
  isalpha: /^\p{L}+$/u,
  isdecimal: /^\p{Nd}+$/u,
  isdigit: new RegExp(`^[\\p{Nd}${otherDigits}]+$`, "u"),
  isnumeric: new RegExp(`^[\\p{N}${hanNumbers}]+$`, "u"),
  isspace: new RegExp(`^[${pySpace}]+$`),
  isidentifier: /^[\p{XIDS}_]\p{XIDC}*$/u,
};

/** isalnum(), isalpha() and their kin, by name. */
export function is(kind: string, text: string): boolean {
  spend(text.length / 16);
  switch (kind) {
    case "islower": return /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);
    case "isupper": return /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
    case "istitle": return isTitle(text);
     
    case "isascii": return /^[\0-\x7f]*$/.test(text);
    case "isprintable": return !unprintable.test(text);
    default: return everywhere[kind].test(text);
  }
}

function isTitle(text: string): boolean {
  let [inWord, found] = [false, false];
  for (const character of text) {
    const isCapital = /[\p{Uppercase}\p{Lt}]/u.test(character);
    const isSmall = /\p{Lowercase}/u.test(character);
    if ((isCapital && inWord) || (isSmall && !inWord)) return false;
    inWord = isCapital || isSmall;
    found ||= inWord;
  }
  return found;
}

const unprintable = /[\p{C}\p{Zl}\p{Zp}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/u;

// ---- repr --------------------------------------------------------------------------------------------------------------------------

/** repr() of a str: quoted as Python quotes, with what is not printable escaped; with `ascii` all that is not ASCII. */
export function quoted(text: string, ascii = false): string {
  spend(text.length / 16);
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  if (/^[ !#-&(-[\]-~]*$/.test(text)) return `'${text}'`;
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (character === quote || character === "\\") out += `\\${character}`;
    else if (character === "\n") out += "\\n";
    else if (character === "\r") out += "\\r";
    else if (character === "\t") out += "\\t";
    else if ((code >= 32 && code < 127) || (code > 127 && !ascii && !unprintable.test(character)) || character === markCharacter) out += character;
    else if (code < 0x100) out += `\\x${code.toString(16).padStart(2, "0")}`;
    else if (code < 0x10000) out += `\\u${code.toString(16).padStart(4, "0")}`;
    else out += `\\U${code.toString(16).padStart(8, "0")}`;
  }
  askText(out.length);
  return quote + out + quote;
}
