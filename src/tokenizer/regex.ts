/**
 * @file The regular expressions of `tokenizer.json`, written for Oniguruma (Ruby's syntax), as JavaScript's.
 *
 * The two differ in what classes mean (Unicode version, `\s`, `\d`, `\w`), in syntax that JavaScript lacks (possessive quantifiers, atomic groups,
 * inline flags, `&&` within classes, `\h`, POSIX brackets), and in nested classes, for which JavaScript has the `v` flag. So an expression is
 * read whole and written anew. What has no equal (back references, conditionals, calls) is refused by name.
 *
 * An expression comes from a stranger's file and runs on long texts. A matcher that backtracks takes exponential time where a repetition may
 * match one text in several ways, so such an expression is refused: what is repeated without bound must be one character or a fixed sequence.
 */

import { letters, newerCodePoints, numbers, spaces } from "./unicode.generated.js";

/** What is wrong with an expression, and where in it. */
export class RegexError extends Error {
  constructor(message: string, readonly index: number) {
    super(message);
  }
}

const maxLength = 10_000;
const maxDepth = 20;
/** Repetitions of one expression, multiplied where they nest. */
const maxRepeats = 1_000;
/** Unbounded repetitions one after another: the time grows with this power of the text in the worst case. */
const maxUnboundedInSequence = 4;

/** Ranges in hexadecimal as the inside of a character class. */
export const classOf = (ranges: string): string => ranges.trim().replace(/[0-9a-f]+/g, "\\u{$&}").replace(/\s+/g, "");

const knowsUnicode16 = Number.parseFloat(process.versions.unicode ?? "0") >= 16;
const spaceClass = classOf(spaces);
// Spelling a class out costs a millisecond or so where it is compiled, so that this is for versions of Node that lack its last letters.
const letterClass = knowsUnicode16 ? "\\p{L}" : classOf(letters);
const numberClass = knowsUnicode16 ? "\\p{N}" : classOf(numbers);
const wordClass = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
// On its own, Oniguruma's \\w also takes the numbers of Latin-1 that are no digits; within a class it does not.
const bareWordClass = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u{b2}\\u{b3}\\u{b9}\\u{bc}-\\u{be}]";

const posixClasses: Readonly<Record<string, string>> = {
  alpha: "\\p{Alphabetic}",
  digit: "\\p{Nd}",
  alnum: "[\\p{Alphabetic}\\p{Nd}]",
  upper: "\\p{Uppercase}",
  lower: "\\p{Lowercase}",
  space: `[${spaceClass}]`,
  punct: "[\\p{P}\\p{S}]",
  cntrl: "\\p{Cc}",
  xdigit: "[0-9A-Fa-f]",
  word: wordClass,
};

const newer = new RegExp(`[${classOf(newerCodePoints)}\\u{295}]`, "gu");
const isNewer = new RegExp(newer.source, "u");

/**
 * A text for matching, as long as the given one: characters that Unicode has had since 16.0, the version that Oniguruma carries, become ones
 * that are not assigned. (And U+0295 was a lower-case letter before it became one without case.)
 */
export const asInUnicode16 = (text: string): string =>
  isNewer.test(text) ? text.replace(newer, (character) => (character === "\u0295" ? "\u0250" : character.length === 2 ? "\u{e0080}" : "\u0378")) : text;

/** What Unicode 16.0 added. */
const addedIn16 = `
897 1b4e-1b4f 1b7f 1c89-1c8a 2427-2429 31e4-31e5 a7cb-a7cd a7da-a7dc 105c0-105f3 10d40-10d65 10d69-10d85 10d8e-10d8f 10ec2-10ec4 10efc
11380-11389 1138b 1138e 11390-113b5 113b7-113c0 113c2 113c5 113c7-113ca 113cc-113d5 113d7-113d8 113e1-113e2 116d0-116e3 11bc0-11be1
11bf0-11bf9 11f5a 13460-143fa 16100-16139 16d40-16d79 18cff 1cc00-1ccf9 1cd00-1ceb3 1e5d0-1e5fa 1e5ff 1f8b2-1f8bb 1f8c0-1f8c1 1fa89
1fa8f 1fabe 1fac6 1fadc 1fadf 1fae9 1fbcb-1fbef`;

const unlike15 = new RegExp(`[${classOf(newerCodePoints)}${classOf(addedIn16)}\\u{17f}]`, "gu");
const isUnlike15 = new RegExp(unlike15.source, "u");

/** Whether a text has characters that {@link asInLlamaCpp} changes. */
export const differsInLlamaCpp = (text: string): boolean => isUnlike15.test(text);

/**
 * A text for matching, as long as the given one, as llama.cpp sees it: its tables are those of Unicode 15.1, and the long s is no s in any case.
 */
export const asInLlamaCpp = (text: string): string =>
  isUnlike15.test(text) ? text.replace(unlike15, (character) => (character === "\u017f" ? "\u0250" : character.length === 2 ? "\u{e0080}" : "\u0378")) : text;

const generalCategories = new Set("C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs".split(" "));
const longCategories: Readonly<Record<string, string>> = {
  letter: "L", mark: "M", number: "N", punctuation: "P", symbol: "S", separator: "Z", other: "C", control: "Cc",
  uppercaseletter: "Lu", lowercaseletter: "Ll", titlecaseletter: "Lt", modifierletter: "Lm", otherletter: "Lo", decimalnumber: "Nd",
};
const scripts = new Set(
  ("Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana Kannada Katakana " +
    "Khmer Lao Latin Malayalam Mongolian Myanmar Oriya Sinhala Tamil Telugu Thai Tibetan Common Inherited").split(" "),
);

/** The class of `\p{name}`, as something that may stand inside a class. */
function property(name: string, index: number): string {
  const plain = name.replace(/[\s_-]/g, "").toLowerCase();
  const category = longCategories[plain] ?? [...generalCategories].find((known) => known.toLowerCase() === plain);
  if (category === "L") return `[${letterClass}]`;
  if (category === "N") return `[${numberClass}]`;
  if (category !== undefined) return `\\p{${category}}`;
  const posix = posixClasses[plain];
  if (posix !== undefined) return posix;
  const script = [...scripts].find((known) => known.toLowerCase() === plain);
  if (script !== undefined) return `\\p{Script=${script}}`;
  if (plain === "any") return "[\\u{0}-\\u{10ffff}]";
  if (plain === "alphabetic") return posixClasses["alpha"];
  if (plain === "whitespace") return `[${spaceClass}]`;
  if (plain === "emoji") return "\\p{Emoji}";
  throw new RegexError(`the property \\p{${name}} is not known`, index);
}

const codePoint = (point: number): string => `\\u{${point.toString(16)}}`;

/** A character in all its cases: those that fold to the same one. */
function casesOf(point: number): number[] {
  const character = String.fromCodePoint(point);
  const cases = new Set([point]);
  for (const other of [character.toLowerCase(), character.toUpperCase()]) if ([...other].length === 1) cases.add(other.codePointAt(0) ?? point);
  if (/s/i.test(character)) cases.add(0x17f);
  if (/k/i.test(character)) cases.add(0x212a);
  return [...cases];
}

/** What the part written so far may match, as far as the bounds on time need it. */
interface Part {
  readonly source: string;
  /** It matches one fixed number of characters, in one way. */
  readonly fixed: boolean;
  /** The most unbounded repetitions one after another. */
  readonly unbounded: number;
  /** Repetitions within, multiplied. */
  readonly repeats: number;
}

const atom = (source: string): Part => ({ source, fixed: true, unbounded: 0, repeats: 1 });

class Translator {
  private i = 0;
  private groups = 0;

  constructor(private readonly text: string) {}

  translate(): string {
    if (this.text.length > maxLength) throw new RegexError(`it has ${this.text.length} characters, and at most ${maxLength} are read`, 0);
    const { source } = this.alternation(false, 0);
    if (this.i < this.text.length) this.fail("there is no group for this ) to close");
    return source;
  }

  private fail(message: string): never {
    throw new RegexError(message, this.i);
  }

  private take(expected: string): boolean {
    if (!this.text.startsWith(expected, this.i)) return false;
    this.i += expected.length;
    return true;
  }

  private alternation(ignoreCase: boolean, depth: number): Part {
    if (depth > maxDepth) this.fail("groups are nested too deeply");
    const parts = [this.sequence(ignoreCase, depth)];
    while (this.take("|")) parts.push(this.sequence(ignoreCase, depth));
    if (parts.length === 1) return parts[0];
    return {
      source: parts.map(({ source }) => source).join("|"),
      fixed: false,
      unbounded: Math.max(...parts.map(({ unbounded }) => unbounded)),
      repeats: Math.max(...parts.map(({ repeats }) => repeats)),
    };
  }

  private sequence(outerCase: boolean, depth: number): Part {
    let ignoreCase = outerCase;
    const parts: Part[] = [];
    while (this.i < this.text.length && this.text[this.i] !== "|" && this.text[this.i] !== ")") {
      if (this.take("(?i)")) {
        // As in Ruby it holds to the end of the group, alternatives included.
        ignoreCase = true;
        const rest = this.alternation(true, depth + 1);
        parts.push({ ...rest, source: `(?:${rest.source})` });
      } else parts.push(this.quantified(ignoreCase, depth));
    }
    return this.bounded({
      source: parts.map(({ source }) => source).join(""),
      fixed: parts.every(({ fixed }) => fixed),
      unbounded: parts.reduce((sum, { unbounded }) => sum + unbounded, 0),
      repeats: Math.max(1, ...parts.map(({ repeats }) => repeats)),
    });
  }

  private bounded(part: Part): Part {
    if (part.unbounded > maxUnboundedInSequence) this.fail(`more than ${maxUnboundedInSequence} unbounded repetitions stand one after another`);
    if (part.repeats > maxRepeats) this.fail(`it repeats something more than ${maxRepeats} times`);
    return part;
  }

  private quantified(ignoreCase: boolean, depth: number): Part {
    const start = this.i;
    let part = this.atom(ignoreCase, depth);
    for (;;) {
      const quantifier = /^(?:[?*+]|\{(\d*)(,?)(\d*)\})/.exec(this.text.slice(this.i, this.i + 24));
      if (quantifier === null || quantifier[0] === "{,}" || quantifier[0] === "{}") return part;
      if (/^\(\?<?[=!]/.test(part.source)) this.fail("a look around cannot be repeated");
      this.i += quantifier[0].length;
      const [symbol, low, comma, high] = quantifier;
      const isInterval = symbol.startsWith("{");
      const least = isInterval ? Number(low) : symbol === "+" ? 1 : 0;
      const most = isInterval ? (comma === "" ? least : high === "" ? Infinity : Number(high)) : symbol === "?" ? 1 : Infinity;
      if (least > most) this.fail("an interval ends before it begins");
      if (least > maxRepeats || (most !== Infinity && most * part.repeats > maxRepeats)) this.fail(`it repeats something more than ${maxRepeats} times`);
      if (!part.fixed && most > 1) {
        // (a+)+ matches aaa in more ways than there are stars.
        if (most === Infinity || most > 8) {
          throw new RegexError("a repetition within a repetition may take time without bound", start);
        }
      }
      const lazy = this.take("?");
      const possessive = !lazy && !isInterval && this.take("+");
      const written = isInterval ? `{${least}${most === least ? "" : `,${most === Infinity ? "" : most}`}}` : symbol;
      const source = `${part.source}${written}${lazy ? "?" : ""}`;
      const isFixed = part.fixed && most === least;
      const unbounded = most === Infinity ? part.unbounded + 1 : part.unbounded * Math.max(1, most);
      const repeats = part.repeats * (most === Infinity ? Math.max(1, least) : Math.max(1, most));
      part = this.bounded({ source: possessive ? this.atomic(source) : source, fixed: isFixed, unbounded, repeats });
      // A quantifier of a quantifier needs a group of its own.
      if (/^[?*+{]/.test(this.text.slice(this.i, this.i + 1))) part = { ...part, source: `(?:${part.source})` };
    }
  }

  /** A look ahead is never entered again: what it found is then taken by name. */
  private atomic(source: string): string {
    const name = `a${this.groups++}`;
    return `(?:(?=(?<${name}>${source}))\\k<${name}>)`;
  }

  private atom(ignoreCase: boolean, depth: number): Part {
    const start = this.i;
    if (this.take("(")) return this.group(ignoreCase, depth);
    if (this.take("[")) return atom(this.characterClass(ignoreCase, 0));
    if (this.take(".")) return atom("[^\\n]");
    if (this.take("^")) return atom("(?<![^\\n])");
    if (this.take("$")) return atom("(?=\\n|$)");
    if (this.take("\\")) {
      const boundary = this.boundary();
      if (boundary !== undefined) return atom(boundary);
      const escaped = this.escape(false);
      return atom(typeof escaped === "string" ? escaped : literal(escaped, ignoreCase));
    }
    const point = this.text.codePointAt(start) ?? 0;
    if (point === 0x2a || point === 0x2b || point === 0x3f) this.fail("there is nothing to repeat");
    this.i += point > 0xffff ? 2 : 1;
    return atom(literal(point, ignoreCase));
  }

  private group(ignoreCase: boolean, depth: number): Part {
    const close = (part: Part, open: string): Part => {
      if (!this.take(")")) this.fail("a group is not closed");
      return { ...part, source: `${open}${part.source})` };
    };
    if (!this.take("?")) return close(this.alternation(ignoreCase, depth + 1), "(?:");
    if (this.take("#")) {
      const end = this.text.indexOf(")", this.i);
      if (end < 0) this.fail("a comment is not closed");
      this.i = end + 1;
      return atom("");
    }
    for (const look of ["=", "!", "<=", "<!"]) {
      if (!this.take(look)) continue;
      const inner = close(this.alternation(ignoreCase, depth + 1), `(?${look}`);
      return { ...inner, fixed: true };
    }
    if (this.take(">")) {
      const inner = this.alternation(ignoreCase, depth + 1);
      if (!this.take(")")) this.fail("a group is not closed");
      return { ...inner, source: this.atomic(inner.source) };
    }
    const name = /^<[A-Za-z_]\w*>/.exec(this.text.slice(this.i, this.i + 80));
    if (name !== null) {
      this.i += name[0].length;
      return close(this.alternation(ignoreCase, depth + 1), "(?:");
    }
    const flags = /^([im]*)(?:-([imx]*))?:/.exec(this.text.slice(this.i, this.i + 8));
    if (flags === null || flags[1].includes("m")) this.fail("this kind of group is not supported");
    this.i += flags[0].length;
    const cases = flags[1].includes("i") || (ignoreCase && !(flags[2] ?? "").includes("i"));
    return close(this.alternation(cases, depth + 1), "(?:");
  }

  private boundary(): string | undefined {
    const word = bareWordClass;
    const edges: Readonly<Record<string, string>> = {
      b: `(?:(?<=${word})(?!${word})|(?<!${word})(?=${word}))`,
      B: `(?:(?<=${word})(?=${word})|(?<!${word})(?!${word}))`,
      A: "(?<![\\u{0}-\\u{10ffff}])",
      z: "(?![\\u{0}-\\u{10ffff}])",
      Z: "(?=\\n?(?![\\u{0}-\\u{10ffff}]))",
    };
    const edge = edges[this.text[this.i] ?? ""];
    if (edge !== undefined) this.i++;
    return edge;
  }

  /** After a backslash: a class, or the code point of a character. */
  private escape(inClass: boolean): string | number {
    const at = this.i;
    const point = this.text.codePointAt(at);
    if (point === undefined) this.fail("a backslash ends the expression");
    const character = String.fromCodePoint(point);
    this.i += character.length;
    switch (character) {
      case "s": return `[${spaceClass}]`;
      case "S": return `[^${spaceClass}]`;
      case "d": return "\\p{Nd}";
      case "D": return "\\P{Nd}";
      case "w": return inClass ? wordClass : bareWordClass;
      case "W": return `[^${inClass ? wordClass : bareWordClass}]`;
      case "h": return "[0-9A-Fa-f]";
      case "H": return "[^0-9A-Fa-f]";
      case "p":
      case "P": {
        const braces = /^\{(\^?)([\w\s-]+)\}/.exec(this.text.slice(this.i, this.i + 60));
        if (braces === null) this.fail("a property needs a name in braces");
        this.i += braces[0].length;
        const inner = property(braces[2], at);
        return (character === "P") !== (braces[1] === "^") ? `[^${inner}]` : inner;
      }
      case "n": return 0x0a;
      case "r": return 0x0d;
      case "t": return 0x09;
      case "f": return 0x0c;
      case "v": return 0x0b;
      case "a": return 0x07;
      case "e": return 0x1b;
      case "0": return 0;
      case "x":
      case "u": {
        const digits = /^(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{1,4}))/.exec(this.text.slice(this.i, this.i + 12));
        const hex = digits === null ? undefined : (digits[1] ?? (character === "x" ? digits[2].slice(0, 2) : digits[2]));
        if (digits === null || hex === undefined || (character === "u" && hex.length !== 4)) this.fail("a character code is not whole");
        const code = parseInt(hex, 16);
        if (code > 0x10ffff) this.fail("there is no such character");
        this.i += digits[1] === undefined ? hex.length : digits[0].length;
        return code;
      }
      case "b":
        if (inClass) return 0x08;
        break;
      default:
        if (!/[A-Za-z0-9]/.test(character)) return point;
    }
    this.i = at;
    this.fail(/[1-9k]/.test(character) ? "a reference back to a group is not supported" : `\\${character} is not supported`);
  }

  /** After `[`: a class in the syntax of the `v` flag. */
  private characterClass(ignoreCase: boolean, depth: number): string {
    if (depth > maxDepth) this.fail("classes are nested too deeply");
    const negated = this.take("^");
    const operands: string[] = [];
    let items = "";
    let isFirst = true;
    for (;;) {
      if (this.i >= this.text.length) this.fail("a class is not closed");
      // A bracket that comes first stands for itself.
      if (this.text[this.i] === "]" && !isFirst) {
        this.i++;
        break;
      }
      isFirst = false;
      if (this.take("&&")) {
        operands.push(`[${items}]`);
        items = "";
        continue;
      }
      const posix = /^\[:(\^?)(\w+):\]/.exec(this.text.slice(this.i, this.i + 24));
      if (posix !== null) {
        const known = posixClasses[posix[2]] ?? this.fail(`the class [:${posix[2]}:] is not known`);
        this.i += posix[0].length;
        items += posix[1] === "^" ? `[^${known}]` : known;
        continue;
      }
      if (this.take("[")) {
        items += this.characterClass(ignoreCase, depth + 1);
        continue;
      }
      const low = this.classCharacter();
      if (typeof low === "string") {
        items += low;
        continue;
      }
      const isRange = this.text[this.i] === "-" && this.text[this.i + 1] !== "]" && this.i + 1 < this.text.length;
      const rangeStart = this.i;
      let high: string | number = low;
      if (isRange) {
        this.i++;
        high = this.text[this.i] === "[" ? "class" : this.classCharacter();
        // A range that ends in a class is none: the hyphen stands for itself.
        if (typeof high === "string") {
          this.i = rangeStart + 1;
          items += codePoint(low) + codePoint(0x2d);
          continue;
        }
        if (high < low) this.fail("a range ends before it begins");
      }
      items += ignoreCase ? this.rangeInAllCases(low, high) : low === high ? codePoint(low) : `${codePoint(low)}-${codePoint(high)}`;
    }
    const inner = operands.length === 0 ? items : [...operands, `[${items}]`].join("&&");
    return `[${negated ? "^" : ""}${inner}]`;
  }

  private classCharacter(): string | number {
    if (this.take("\\")) return this.escape(true);
    const point = this.text.codePointAt(this.i) ?? 0;
    this.i += point > 0xffff ? 2 : 1;
    return point;
  }

  private rangeInAllCases(low: number, high: number): string {
    if (high - low > 0x1000) this.fail("a range this wide is not supported where case is ignored");
    const points = new Set<number>();
    for (let point = low; point <= high; point++) for (const other of casesOf(point)) points.add(other);
    return [...points].map(codePoint).join("");
  }
}

function literal(point: number, ignoreCase: boolean): string {
  const cases = ignoreCase ? casesOf(point) : [point];
  return cases.length === 1 ? codePoint(point) : `[${cases.map(codePoint).join("")}]`;
}

/** The global JavaScript expression that matches, in a text {@link asInUnicode16}, what Oniguruma's would. Throws RegexError for what is not supported. */
export function translateRegex(pattern: string): RegExp {
  const source = new Translator(pattern).translate();
  try {
    return new RegExp(source, "gv");
  } catch (error) {
    throw new RegexError(`it cannot be written in JavaScript (${error instanceof Error ? error.message : String(error)})`, 0);
  }
}

/** The global expression of a plain string. */
export const literalRegex = (text: string): RegExp => new RegExp(text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), "gu");
