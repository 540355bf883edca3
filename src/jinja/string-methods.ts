/** @file The methods of str, as templates call them: `{{ text.strip('\n') }}`. Those of Markup escape what they are given and give Markup. */

import { asCount, asInt, asText, bind } from "./arguments.js";
import { unsupported } from "./errors.js";
import { formatFields, mappingValues, type FieldLookup } from "./format.js";
import { escapeHtml } from "./html.js";
import { askText } from "./meter.js";
import {
  capitalize, casefold, characters, is, join, lower, replace, split, splitLines, splitWords, strip, substring, swapCase, title, unitToPoint, upper } from "./text.js";
import { codePoints, Dict, isInt, isText, iterate, Markup, textOf, Tuple, typeError, typeName, valueError, type Keywords, type Value } from "./values.js";

type Bound = readonly (Value | undefined)[];
type Method = readonly [signature: string, body: (text: string, args: Bound) => Value];

const notGiven = (value: Value | undefined): value is null | undefined => value === undefined || value === null;
const limit = (value: Value | undefined) => (value === undefined ? -1 : Math.max(-1, asCount(value)));

function stripped(side: "both" | "left" | "right"): Method {
  return ["chars=, /", (text, [chars]) => strip(text, side, notGiven(chars) ? undefined : asText(chars, "strip arg"))];
}

/** The part from `start` to `end`, as the searching methods take it, and how many code points stand before it; undefined where it is none. */
function window(text: string, start: Value | undefined, end: Value | undefined): { readonly part: string; readonly offset: number } | undefined {
  if (notGiven(start) && notGiven(end)) return { part: text, offset: 0 };
  const size = codePoints(text);
  const clamp = (value: Value | undefined, otherwise: number) => {
    if (notGiven(value)) return otherwise;
    const at = Number(asInt(value));
    return Math.max(0, at < 0 ? at + size : at);
  };
  const [from, to] = [clamp(start, 0), Math.min(size, clamp(end, size))];
  return from > to ? undefined : { part: substring(text, from, to), offset: from };
}

function finder(name: string, fromRight: boolean): Method {
  return ["sub, start=, end=, /", (text, [sub, start, end]) => {
    const found = window(text, start, end);
    const searched = asText(sub!, "sub");
    const at = found === undefined ? -1 : fromRight ? found.part.lastIndexOf(searched) : found.part.indexOf(searched);
    if (at >= 0) return unitToPoint(found!.part, at) + found!.offset;
    return name.endsWith("index") ? valueError("substring not found") : -1;
  }];
}

function tester(name: string, test: (part: string, affix: string) => boolean): Method {
  return ["prefix, start=, end=, /", (text, [affix, start, end]) => {
    const affixes = affix instanceof Tuple ? affix.items : [affix!];
    if (!affixes.every(isText)) typeError(`${name} first arg must be str or a tuple of str, not ${typeName(affix!)}`);
    const part = window(text, start, end)?.part;
    return part !== undefined && affixes.some((one) => test(part, textOf(one)));
  }];
}

function padder(align: "left" | "right" | "center"): Method {
  return ["width, fillchar=, /", (text, [width, fill = " "]) => {
    const filler = asText(fill, "the fill character");
    if (codePoints(filler) !== 1) typeError("The fill character must be exactly one character long");
    const missing = asCount(width!) - codePoints(text);
    if (missing <= 0) return text;
    askText(text.length + missing * filler.length);
    const odd = missing % 2 === 1 && asCount(width!) % 2 === 1 ? 1 : 0;
    const left = align === "left" ? 0 : align === "right" ? missing : Math.floor(missing / 2) + odd;
    return filler.repeat(left) + text + filler.repeat(missing - left);
  }];
}

function splitter(fromRight: boolean): Method {
  return ["sep=, maxsplit=", (text, [separator, max]) =>
    notGiven(separator) ? splitWords(text, limit(max), fromRight) : split(text, asText(separator, "sep"), limit(max), fromRight)];
}

function partitioner(fromRight: boolean): Method {
  return ["sep, /", (text, [sep]) => {
    const separator = asText(sep!, "sep");
    if (separator === "") valueError("empty separator");
    const at = fromRight ? text.lastIndexOf(separator) : text.indexOf(separator);
    if (at < 0) return new Tuple(fromRight ? ["", "", text] : [text, "", ""]);
    return new Tuple([text.slice(0, at), separator, text.slice(at + separator.length)]);
  }];
}

const kind = (name: string): Method => ["", (text) => is(name, text)];
const simple = (body: (text: string) => string): Method => ["", body];

const methods: Readonly<Record<string, Method>> = {
  capitalize: simple(capitalize), casefold: simple(casefold), lower: simple(lower), swapcase: simple(swapCase), title: simple(title), upper: simple(upper),
  strip: stripped("both"), lstrip: stripped("left"), rstrip: stripped("right"),
  split: splitter(false), rsplit: splitter(true), partition: partitioner(false), rpartition: partitioner(true),
  splitlines: ["keepends=", (text, [keep]) => splitLines(text, keep !== undefined && asCount(keep) !== 0)],
  find: finder("find", false), rfind: finder("rfind", true), index: finder("index", false), rindex: finder("rindex", true),
  count: ["sub, start=, end=, /", (text, [sub, start, end]) => {
    const found = window(text, start, end);
    const searched = asText(sub!, "sub");
    if (found === undefined) return 0;
    return searched === "" ? codePoints(found.part) + 1 : found.part.split(searched).length - 1;
  }],
  startswith: tester("startswith", (part, affix) => part.startsWith(affix)),
  endswith: tester("endswith", (part, affix) => part.endsWith(affix)),
  removeprefix: ["prefix, /", (text, [prefix]) => { const affix = asText(prefix!, "removeprefix() argument"); return affix !== "" && text.startsWith(affix) ? text.slice(affix.length) : text; }],
  removesuffix: ["suffix, /", (text, [suffix]) => { const affix = asText(suffix!, "removesuffix() argument"); return affix !== "" && text.endsWith(affix) ? text.slice(0, -affix.length) : text; }],
  replace: ["old, new, count=, /", (text, [old, by, count]) => replace(text, asText(old!, "replace() argument 1"), asText(by!, "replace() argument 2"), limit(count))],
  join: ["iterable, /", (text, [iterable]) => {
    const parts: string[] = [];
    for (const part of iterate(iterable!)) parts.push(isText(part) ? textOf(part) : typeError(`sequence item ${parts.length}: expected str instance, ${typeName(part)} found`));
    return join(parts, text);
  }],
  ljust: padder("left"), rjust: padder("right"), center: padder("center"),
  zfill: ["width, /", (text, [width]) => {
    const missing = asCount(width!) - codePoints(text);
    if (missing <= 0) return text;
    askText(text.length + missing);
    const sign = /^[-+]/.test(text) ? text[0] : "";
    return sign + "0".repeat(missing) + text.slice(sign.length);
  }],
  expandtabs: ["tabsize=", (text, [size = 8]) => {
    const width = asCount(size);
    let [out, column] = ["", 0];
    for (const character of characters(text)) {
      if (character === "\t") {
        const spaces = width > 0 ? width - (column % width) : 0;
        askText(out.length + spaces);
        out += " ".repeat(spaces);
        column += spaces;
      } else {
        out += character;
        column = character === "\n" || character === "\r" ? 0 : column + 1;
      }
    }
    return out;
  }],
  maketrans: ["x, y=, z=, /", (_, [x, y, z]) => {
    if (y === undefined) return x instanceof Dict ? Dict.of([...x.entries()].map(([key, value]) => [isText(key) ? textOf(key).codePointAt(0)! : key, value])) : typeError("if you give only one argument to maketrans it must be a dict");
    const [from, to] = [characters(asText(x!, "x")), characters(asText(y, "y"))];
    if (from.length !== to.length) valueError("the first two maketrans arguments must have equal length");
    const table = Dict.of(from.map((one, i) => [one.codePointAt(0)!, to[i].codePointAt(0)!] as const));
    if (z !== undefined) for (const one of characters(asText(z, "z"))) table.set(one.codePointAt(0)!, null);
    return table;
  }],
  translate: ["table, /", (text, [table]) => {
    if (!(table instanceof Dict)) return unsupported(`str.translate() with a ${typeName(table!)}`);
    const parts = characters(text).map((character) => {
      const to = table.get(character.codePointAt(0)!);
      if (to === undefined) return character;
      if (to === null) return "";
      if (isInt(to)) return Number(to) >= 0 && Number(to) <= 0x10ffff ? String.fromCodePoint(Number(to)) : valueError("character mapping must be in range(0x110000)");
      return isText(to) ? textOf(to) : typeError("character mapping must return integer, None or str");
    });
    return join(parts, "");
  }],
  encode: ["encoding=, errors=", () => unsupported("bytes, which str.encode() gives,")],
  ...Object.fromEntries(["isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper"].map((name) => [name, kind(name)])),
};

/** Methods of str that Markup does not override: their results are plain. */
const plainInMarkup = new Set(["index", "find", "rfind", "rindex", "count", "startswith", "endswith", "maketrans"]);

export function isStringMethod(name: string): boolean {
  return Object.hasOwn(methods, name) || name === "format" || name === "format_map";
}

/** Calls a method of a str or Markup. */
export function callStringMethod(self: string | Markup, name: string, args: readonly Value[], keywords: Keywords, lookup: FieldLookup): Value {
  if (name === "format" || name === "format_map") {
    if (self instanceof Markup) unsupported(`Markup.${name}()`);
    if (name === "format") return formatFields(self, args, keywords, lookup);
    if (args.length !== 1 || keywords.size > 0) typeError("format_map() takes exactly one argument");
    return formatFields(self, [], mappingValues(args[0]), lookup);
  }
  const [signature, body] = methods[name];
  if (!(self instanceof Markup)) return body(self, bind(name, signature, args, keywords));
  return markupMethod(self, name, bind(name, signature, escapedArguments(name, args), keywords), body);
}

function escapedArguments(name: string, args: readonly Value[]): readonly Value[] {
  const escaped = (value: Value) => (value instanceof Markup ? value.text : isText(value) ? escapeHtml(textOf(value)) : value);
  if (name === "replace") return args.map((value, i) => (i === 1 ? escaped(value) : value));
  if (name === "ljust" || name === "rjust" || name === "center") return args.map((value, i) => (i === 1 ? escaped(value) : value));
  if (name === "join" && args.length === 1) return [Array.from(iterate(args[0]), (item) => escaped(isText(item) ? item : unsupported("Markup.join() of what is no text")))];
  return args;
}

function markupMethod(self: Markup, name: string, args: Bound, body: Method[1]): Value {
  const result = body(self.text, args);
  if (plainInMarkup.has(name) || name.startsWith("is")) return result;
  const mark = (value: Value) => (typeof value === "string" ? new Markup(value) : value);
  if (Array.isArray(result)) return result.map(mark);
  return result instanceof Tuple ? new Tuple(result.items.map(mark)) : mark(result);
}

