/** @file Jinja's filters: `value | name(arguments)`; `tojson` is transformers' own. */

import { asCount, asText, bind, noKeywords } from "./arguments.js";
import { attributeOf, getAttribute, getItem, missing } from "./attributes.js";
import { PyError, unsupported } from "./errors.js";
import { format } from "./format.js";
import { escapeHtml, unescapeHtml } from "./html.js";
import { askItems, askText, nested, spend } from "./meter.js";
import { parseFloatText, parseInteger, roundFloat, roundInt, toFloat, toInt, wholeOf } from "./numbers.js";
import { binary, percent, slice } from "./operators.js";
import { json, repr, str } from "./show.js";
import { callStringMethod } from "./string-methods.js";
import { codePoints as textLength } from "./values.js";
import { join, lower, repeat, replace, splitLines, splitWords, upper } from "./text.js";
import { callTest, filterNames, isTest } from "./tests.js";
import { wrapText } from "./wrap.js";
import {
  Dict, equals, Float, GroupTuple, isInt, isNumber, isText, iterate, Iter, length, Markup, ordered, Range, textOf, toList, truthy, Tuple, typeError, typeName, Undefined, valueError, View,
  type Keywords, type Value } from "./values.js";

type Args = readonly (Value | undefined)[];
type Filter =
  | readonly [signature: string, body: (value: Value, args: Args) => Value]
  /** Takes its arguments as they come. */
  | ((value: Value, args: readonly Value[], keywords: Keywords) => Value);

// ---- help --------------------------------------------------------------------------------------------------------------------------

/** A text as it is (Markup stays such), anything else as str(). */
const soft = (value: Value): string | Markup => (isText(value) ? value : str(value));
const method = (value: Value, name: string, args: readonly Value[] = []) => callStringMethod(soft(value), name, args, noKeywords, { attribute: getAttribute, item: getItem });
const isTrue = (value: Value | undefined) => value !== undefined && truthy(value);
/** What sorted() takes as `reverse`: a whole number. */
const isFlag = (value: Value | undefined) => value !== undefined && asCount(value) !== 0;
const ignoreCase = (value: Value): Value => (isText(value) ? lower(textOf(value)) : value);

/** The parts of "a.b.0": texts, and whole numbers. */
function pathOf(attribute: Value): readonly Value[] {
  if (attribute === null) return [];
  if (!isText(attribute)) return [attribute];
  return textOf(attribute).split(".").map((part) => (/^\p{Nd}+$/u.test(part) ? parseInteger(part, 10) : part));
}

type Getter = (item: Value) => Value;

function getter(attribute: Value, { foldCase = false, otherwise }: { readonly foldCase?: boolean; readonly otherwise?: Value | undefined } = {}): Getter {
  const path = pathOf(attribute);
  return (item) => {
    spend(1);
    for (const part of path) {
      item = getItem(item, part);
      if (otherwise !== undefined && otherwise !== null && item instanceof Undefined) item = otherwise;
    }
    return foldCase ? ignoreCase(item) : item;
  };
}

/** As Python's sorted(): stable, also in reverse. Throws TypeError for what has no order. */
function sorted(items: readonly Value[], key: Getter, reverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  spend(items.length * Math.log2(items.length + 1));
  const less = (a: Value, b: Value) => (spend(1), ordered("<", a, b));
  keyed.sort((a, b) => (less(a.key, b.key) ? -1 : less(b.key, a.key) ? 1 : 0) * (reverse ? -1 : 1));
  return keyed.map(({ item }) => item);
}

function extreme(value: Value, order: "<" | ">", caseSensitive: boolean, attribute: Value): Value {
  const key = getter(attribute, { foldCase: !caseSensitive });
  let best: { item: Value; key: Value } | undefined;
  for (const item of iterate(value)) {
    const itemKey = key(item);
    if (best === undefined || ordered(order, itemKey, best.key)) best = { item, key: itemKey };
  }
  return best === undefined ? new Undefined("No aggregated item, sequence was empty.") : best.item;
}

function argumentError(message: string): never {
  throw new PyError("FilterArgumentError", message);
}

/** What `map`, `select` and `reject` run over: nothing where the value is false. */
function* over(value: Value): Generator<Value> {
  if (!truthy(value)) return;
  for (const item of iterate(value)) {
    spend(1);
    yield item;
  }
}

function* mapped(value: Value, args: readonly Value[], keywords: Keywords): Generator<Value> {
  let apply: Getter | undefined;
  for (const item of over(value)) yield (apply ??= mapper(args, keywords))(item);
  if (apply === undefined && truthy(value)) mapper(args, keywords);
}

function mapper(args: readonly Value[], keywords: Keywords): Getter {
  if (args.length === 0 && keywords.has("attribute")) {
    const unknown = [...keywords.keys()].find((key) => key !== "attribute" && key !== "default");
    if (unknown !== undefined) argumentError(`Unexpected keyword argument '${unknown}'`);
    return getter(keywords.get("attribute")!, { otherwise: keywords.get("default") });
  }
  if (args.length === 0) argumentError("map requires a filter argument");
  const [name, ...rest] = args;
  return (item) => callFilter(nameOf(name, "filter"), item, rest, keywords);
}

function nameOf(name: Value, kind: string): string {
  const text = isText(name) ? textOf(name) : undefined;
  const known = text !== undefined && (kind === "filter" ? isFilter(text) : isTest(text));
  if (!known) throw new PyError("TemplateRuntimeError", `No ${kind} named ${repr(name)}.`);
  return text;
}

/** select, reject, selectattr, rejectattr. */
function* selected(value: Value, args: readonly Value[], keywords: Keywords, wanted: boolean, byAttribute: boolean): Generator<Value> {
  let passes: ((item: Value) => boolean) | undefined;
  const prepare = () => {
    if (byAttribute && args.length === 0) argumentError("Missing parameter for attribute name");
    const get: Getter = byAttribute ? getter(args[0]) : (item) => item;
    const [name, ...rest] = byAttribute ? args.slice(1) : args;
    return (item: Value) => (name === undefined ? truthy(get(item)) : callTest(nameOf(name, "test"), get(item), rest, keywords)) === wanted;
  };
  for (const item of over(value)) if ((passes ??= prepare())(item)) yield item;
  if (passes === undefined && truthy(value)) prepare();
}

const selecting = (wanted: boolean, byAttribute: boolean): Filter => (value, args, keywords) => new Iter(selected(value, args, keywords, wanted, byAttribute));

function* unique(value: Value, key: Getter): Generator<Value> {
  const seen = new Dict();
  for (const item of iterate(value)) {
    const itemKey = key(item);
    if (seen.has(itemKey)) continue;
    seen.set(itemKey, null);
    yield item;
  }
}

function* batched(value: Value, size: Value, fill: Value): Generator<Value> {
  let batch: Value[] = [];
  for (const item of iterate(value)) {
    spend(1);
    if (equals(batch.length, size)) {
      yield batch;
      batch = [];
    }
    batch.push(item);
  }
  if (batch.length === 0) return;
  if (fill !== null && ordered("<", batch.length, size)) {
    const missing = asCount(size) - batch.length;
    askItems(missing);
    batch = batch.concat(Array.from({ length: missing }, () => fill));
  }
  yield batch;
}

function* sliced(value: Value, count: Value, fill: Value): Generator<Value> {
  const items = toList(value);
  const slices = asCount(count);
  if (slices === 0) throw new PyError("ZeroDivisionError", "integer division or modulo by zero");
  const each = Math.floor(items.length / slices);
  const extra = items.length - each * slices;
  let offset = 0;
  for (let i = 0; i < slices; i++) {
    spend(1);
    const start = offset + i * each;
    if (i < extra) offset++;
    const part = items.slice(start, offset + (i + 1) * each);
    yield fill !== null && i >= extra ? [...part, fill] : part;
  }
}

function* pairs(value: Value): Generator<Value> {
  if (value instanceof Undefined) return;
  if (!(value instanceof Dict)) typeError("Can only get item pairs from a mapping.");
  for (const [key, one] of value.entries()) yield new Tuple([key, one]);
}

/** reversed(); undefined where Python's raises a TypeError. */
function reversed(value: Value): Iter | undefined {
  if (value instanceof Dict || value instanceof View || value instanceof Range || value instanceof Tuple || Array.isArray(value) || value instanceof Undefined || isText(value)) {
    return new Iter(toList(value).reverse().values(), `${typeName(value)}_reverseiterator`);
  }
  return undefined;
}

function indent(value: Value, width: Value, first: boolean, blank: boolean): Value {
  const indention = isText(width) ? textOf(width) : repeat(" ", asCount(width));
  if (!isText(value)) return value instanceof Undefined ? value.fail() : typeError(`cannot indent a ${typeName(value)}`);
  const lines = splitLines(textOf(value) + "\n");
  const text = join(blank ? lines.map((line, i) => (i === 0 ? line : indention + line)) : lines.map((line, i) => (i > 0 && line !== "" ? indention + line : line)), "\n");
  askText(lines.length * indention.length);
  const result = (first ? indention : "") + text;
  return value instanceof Markup ? new Markup(result) : result;
}

function truncate(value: Value, size: number, killWords: boolean, end: string, leeway: number): Value {
  const endLength = textLength(end);
  if (size < endLength) throw new PyError("AssertionError", `expected length >= ${endLength}, got ${size}`);
  if (leeway < 0) throw new PyError("AssertionError", `expected leeway >= 0, got ${leeway}`);
  if (length(value) <= size + leeway) return value;
  const cut = slice(value, null, size - endLength, null);
  if (!isText(cut)) return typeError(`cannot truncate a ${typeName(value)}`);
  const part = killWords ? cut : method(cut, "rsplit", [" ", 1]);
  return binary("+", Array.isArray(part) ? part[0] : part, end);
}

const prefixes = ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];

function fileSize(value: Value, isBinary: boolean): string {
  const bytes = floatOf(value);
  const base = isBinary ? 1024 : 1000;
  if (bytes === 1) return "1 Byte";
  if (bytes < base) return `${String(wholeOf(bytes, "trunc"))} Bytes`;
  let unit = base;
  for (const prefix of prefixes) {
    unit *= base;
    if (bytes < unit || prefix === "YB") return `${format(new Float((base * bytes) / unit), ".1f")} ${isBinary ? `${prefix[0].toUpperCase()}iB` : prefix}`;
  }
  return "";
}

/** float(value). Throws TypeError, ValueError. */
function floatOf(value: Value): number {
  if (value instanceof Undefined) value.fail();
  if (isNumber(value)) return toFloat(value);
  return isText(value) ? parseFloatText(textOf(value)) : typeError(`float() argument must be a string or a real number, not '${typeName(value)}'`);
}

/** The body's value, or the other where it raises one of the types. */
function attempt(body: () => Value, types: readonly string[], otherwise: () => Value): Value {
  try {
    return body();
  } catch (error) {
    if (error instanceof PyError && types.includes(error.type)) return otherwise();
    throw error;
  }
}

function intOf(value: Value, base: Value, otherwise: Value): Value {
  const direct = () => {
    if (isText(value)) return parseInteger(textOf(value), asCount(base));
    if (value instanceof Undefined) value.fail();
    if (value instanceof Float) return wholeOf(value.value, "trunc");
    return isInt(value) ? toInt(value) : typeError("int() argument must be a string or a real number");
  };
  return attempt(direct, ["TypeError", "ValueError"], () => attempt(() => wholeOf(floatOf(value), "trunc"), ["TypeError", "ValueError", "OverflowError"], () => otherwise));
}

function round(value: Value, precision: Value, how: Value): Value {
  const name = isText(how) ? textOf(how) : "";
  if (!["common", "ceil", "floor"].includes(name)) argumentError("method must be common, ceil or floor");
  if (value instanceof Undefined) typeError("type Undefined doesn't define __round__ method");
  if (name === "common") {
    if (!isNumber(value)) return typeError(`type ${typeName(value)} doesn't define __round__ method`);
    if (precision === null) return value instanceof Float ? wholeOf(value.value, "even") : toInt(value);
    const decimals = asCount(precision);
    if (value instanceof Float) {
      const rounded = roundFloat(value.value, decimals);
      if (!Number.isFinite(rounded) && Number.isFinite(value.value)) throw new PyError("OverflowError", "rounded value too large to represent");
      return new Float(rounded);
    }
    return roundInt(toInt(value), decimals);
  }
  const unit = binary("**", 10, precision);
  const times = binary("*", value, unit);
  if (!isNumber(times)) return typeError("must be real number");
  const whole = times instanceof Float ? wholeOf(times.value, name as "ceil" | "floor") : toInt(times);
  return binary("/", whole, unit);
}

function toJson(value: Value, [ascii = false, indentBy = null, separators = null, sortKeys = false]: Args): string {
  const hasIndent = indentBy !== null;
  const [item, key] = separators === null ? [hasIndent ? "," : ", ", ": "] : toList(separators).map((one) => asText(one, "separator"));
  if (separators !== null && length(separators) !== 2) valueError("separators must be two texts");
  const indention = !hasIndent ? undefined : isText(indentBy) ? textOf(indentBy) : repeat(" ", asCount(indentBy));
  return nested(() => json(value, { ascii: truthy(ascii), indent: indention, itemSeparator: item, keySeparator: key, sortKeys: truthy(sortKeys) }));
}

function quoteUrl(value: Value, forQuery: boolean): string {
  const bytes = new TextEncoder().encode(str(value));
  askText(3 * bytes.length);
  const safe = forQuery ? /[A-Za-z0-9_.~-]/ : /[A-Za-z0-9_.~/-]/;
  const quoted = Array.from(bytes, (byte) => (byte < 128 && safe.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)).join("");
  return forQuery ? quoted.replaceAll("%20", "+") : quoted;
}

function urlEncode(value: Value): string {
  if (isText(value) || !(Array.isArray(value) || value instanceof Dict || value instanceof Tuple || value instanceof View || value instanceof Iter || value instanceof Range || value instanceof Undefined)) return quoteUrl(value, false);
  const items = value instanceof Dict ? new View(value, "items") : value;
  return Array.from(iterate(items), (item) => {
    const pair = toList(item);
    if (pair.length !== 2) valueError(`expected 2 values to unpack, got ${pair.length}`);
    return `${quoteUrl(pair[0], true)}=${quoteUrl(pair[1], true)}`;
  }).join("&");
}

function xmlAttributes(value: Value, space: boolean): string {
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof Dict)) return typeError(`'${typeName(value)}' object has no attribute 'items'`);
  const attributes = [...value.entries()].filter(([, one]) => one !== null && !(one instanceof Undefined)).map(([key, one]) => {
    const name = asText(key, "an attribute's name");
    if (/[ \t\n\r\f\v/>=]/.test(name)) valueError(`Invalid character in attribute name: ${repr(key)}`);
    return `${escape(key).text}="${escape(one).text}"`;
  });
  return (space && attributes.length > 0 ? " " : "") + join(attributes, " ");
}

function escape(value: Value): Markup {
  return value instanceof Markup ? value : new Markup(escapeHtml(str(value)));
}

function stripTags(value: Value): string {
  let text = str(value);
  let out = "";
  let at = 0;
  for (let start = text.indexOf("<"); start !== -1; start = text.indexOf("<", at)) {
    const isComment = text.startsWith("<!--", start);
    const end = isComment ? text.indexOf("-->", start + 4) : text.indexOf(">", start);
    if (end === -1) break;
    out += text.slice(at, start);
    at = end + (isComment ? 3 : 1);
  }
  text = out + text.slice(at);
  return unescapeHtml(splitWords(text, -1).join(" "));
}

function title(value: Value): string {
  const parts = textOf(soft(value)).split(/([-\s({[<]+)/).filter((part) => part !== "");
  return join(parts.map((part) => {
    const [first] = part;
    return upper(first) + lower(part.slice(first.length));
  }), "");
}

/** pprint.pformat(), where it is one line. */
function pretty(value: Value): string {
  const hasDict = (one: Value): boolean => one instanceof Dict || (Array.isArray(one) ? one : one instanceof Tuple ? one.items : []).some(hasDict);
  const order = (one: Value): Value => {
    if (one instanceof Dict) return Dict.of(sorted(one.keys(), (key) => key, false).map((key) => [key, order(one.get(key)!)] as const));
    return Array.isArray(one) ? one.map(order) : one instanceof Tuple ? new Tuple(one.items.map(order)) : one;
  };
  const text = repr(hasDict(value) ? order(value) : value);
  return text.length <= 80 ? text : unsupported("pprint of more than a line");
}

function sum(value: Value, attribute: Value, start: Value): Value {
  if (isText(start)) typeError("sum() can't sum strings [use ''.join(seq) instead]");
  const get = getter(attribute);
  let total: Value = start;
  for (const item of iterate(value)) total = binary("+", total, get(item));
  return total;
}

function groupBy(value: Value, attribute: Value, otherwise: Value, caseSensitive: boolean): Value[] {
  const key = getter(attribute, { foldCase: !caseSensitive, otherwise });
  const shown = getter(attribute, { otherwise });
  const groups: { key: Value; items: Value[] }[] = [];
  for (const item of sorted(toList(value), key, false)) {
    const itemKey = key(item);
    const last = groups.at(-1);
    if (last !== undefined && equals(last.key, itemKey)) last.items.push(item);
    else groups.push({ key: itemKey, items: [item] });
  }
  return groups.map(({ items }) => new GroupTuple([shown(items[0]), items]));
}

// ---- the filters -------------------------------------------------------------------------------------------------------------------

const filters: Readonly<Record<string, Filter>> = {
  abs: ["", (value) => {
    if (!isNumber(value)) return typeError(`bad operand type for abs(): '${typeName(value)}'`);
    return value instanceof Float ? new Float(Math.abs(value.value)) : ordered("<", value, 0) ? binary("*", value, -1) : toInt(value);
  }],
  attr: ["name", (value, [name]) => {
    if (value instanceof Undefined) value.fail();
    const found = attributeOf(value, asText(name!, "attribute name"));
    return found === undefined ? missing(value, name!) : found;
  }],
  batch: ["linecount, fill_with=", (value, [count, fill = null]) => new Iter(batched(value, count!, fill))],
  capitalize: ["", (value) => method(value, "capitalize")],
  center: ["width=", (value, [width = 80]) => method(value, "center", [width])],
  count: ["", (value) => length(value)],
  default: ["default_value=, boolean=", (value, [otherwise = "", boolean]) => (value instanceof Undefined || (isTrue(boolean) && !truthy(value)) ? otherwise : value)],
  dictsort: ["case_sensitive=, by=, reverse=", (value, [caseSensitive, by = "key", reverse]) => {
    const at = equals(by, "key") ? 0 : equals(by, "value") ? 1 : argumentError('You can only sort by either "key" or "value"');
    if (value instanceof Undefined) value.fail();
    if (!(value instanceof Dict)) return typeError(`'${typeName(value)}' object has no attribute 'items'`);
    const key: Getter = (pair) => (isTrue(caseSensitive) ? (pair as Tuple).items[at] : ignoreCase((pair as Tuple).items[at]));
    return sorted(toList(new View(value, "items")), key, isFlag(reverse));
  }],
  escape: ["", escape],
  filesizeformat: ["binary=", (value, [isBinary]) => fileSize(value, isTrue(isBinary))],
  first: ["", (value) => {
    const { value: first, done } = iterate(value).next() as IteratorResult<Value, undefined>;
    return done === true ? new Undefined("No first item, sequence was empty.") : first;
  }],
  float: ["default=", (value, [otherwise = new Float(0)]) => attempt(() => new Float(floatOf(value)), ["TypeError", "ValueError"], () => otherwise)],
  forceescape: ["", (value) => new Markup(escapeHtml(str(value)))],
  format: (value, args, keywords) => {
    if (args.length > 0 && keywords.size > 0) argumentError("can't handle positional and keyword arguments at the same time");
    return percent(soft(value), keywords.size > 0 ? Dict.of(keywords) : new Tuple(args));
  },
  groupby: ["attribute, default=, case_sensitive=", (value, [attribute, otherwise = null, caseSensitive]) => groupBy(value, attribute!, otherwise, isTrue(caseSensitive))],
  indent: ["width=, first=, blank=", (value, [width = 4, first, blank]) => indent(value, width, isTrue(first), isTrue(blank))],
  int: ["default=, base=", (value, [otherwise = 0, base = 10]) => intOf(value, base, otherwise)],
  items: ["", (value) => new Iter(pairs(value))],
  join: ["d=, attribute=", (value, [separator = "", attribute = null]) => {
    const get = getter(attribute);
    const parts: string[] = [];
    for (const item of iterate(value)) parts.push(str(get(item)));
    return join(parts, str(separator));
  }],
  last: ["", (value) => {
    const items = reversed(value) ?? typeError(`'${typeName(value)}' object is not reversible`);
    const { value: last, done } = items.iterator.next() as IteratorResult<Value, undefined>;
    return done === true ? new Undefined("No last item, sequence was empty.") : last;
  }],
  list: ["", toList],
  lower: ["", (value) => method(value, "lower")],
  map: (value, args, keywords) => new Iter(mapped(value, args, keywords)),
  max: ["case_sensitive=, attribute=", (value, [caseSensitive, attribute = null]) => extreme(value, ">", isTrue(caseSensitive), attribute)],
  min: ["case_sensitive=, attribute=", (value, [caseSensitive, attribute = null]) => extreme(value, "<", isTrue(caseSensitive), attribute)],
  pprint: ["", pretty],
  random: ["", () => unsupported("chance, which the filter `random` is,")],
  reject: selecting(false, false),
  rejectattr: selecting(false, true),
  replace: ["old, new, count=", (value, [old, by, count = null]) => replace(str(value), str(old!), str(by!), count === null ? -1 : Math.max(-1, asCount(count)))],
  reverse: ["", (value) => {
    if (isText(value)) return slice(value, null, null, -1);
    return reversed(value) ?? attempt(() => toList(value).reverse(), ["TypeError"], () => argumentError("argument must be iterable"));
  }],
  round: ["precision=, method=", (value, [precision = 0, how = "common"]) => round(value, precision, how)],
  safe: ["", (value) => new Markup(str(value))],
  select: selecting(true, false),
  selectattr: selecting(true, true),
  slice: ["slices, fill_with=", (value, [count, fill = null]) => new Iter(sliced(value, count!, fill))],
  sort: ["reverse=, case_sensitive=, attribute=", (value, [reverse, caseSensitive, attribute = null]) => {
    const paths = (isText(attribute) ? textOf(attribute).split(",") : [attribute]).map((one) => getter(one, { foldCase: !isTrue(caseSensitive) }));
    return sorted(toList(value), (item) => paths.map((path) => path(item)), isFlag(reverse));
  }],
  string: ["", soft],
  striptags: ["", stripTags],
  sum: ["attribute=, start=", (value, [attribute = null, start = 0]) => sum(value, attribute, start)],
  title: ["", title],
  tojson: ["ensure_ascii=, indent=, separators=, sort_keys=", toJson],
  trim: ["chars=", (value, [chars = null]) => method(value, "strip", [chars])],
  truncate: ["length=, killwords=, end=, leeway=", (value, [size = 255, killWords, end = "...", leeway = null]) =>
    truncate(value, asCount(size), isTrue(killWords), asText(end, "end"), leeway === null ? 5 : asCount(leeway))],
  unique: ["case_sensitive=, attribute=", (value, [caseSensitive, attribute = null]) => new Iter(unique(value, getter(attribute, { foldCase: !isTrue(caseSensitive) })))],
  upper: ["", (value) => method(value, "upper")],
  urlencode: ["", urlEncode],
  urlize: () => unsupported("it"),
  wordcount: ["", (value) => (textOf(soft(value)).match(/[\p{L}\p{N}_]+/gu) ?? []).length],
  wordwrap: ["width=, break_long_words=, wrapstring=, break_on_hyphens=", (value, [width = 79, breakLong = true, wrapString = null, onHyphens = true]) => {
    const separator = wrapString === null ? "\n" : asText(wrapString, "wrapstring");
    const lines = splitLines(asText(value, "the text to wrap"));
    return join(lines.map((line) => join(wrapText(line, asCount(width), truthy(breakLong), truthy(onHyphens)), separator)), separator);
  }],
  xmlattr: ["autospace=", (value, [space = true]) => xmlAttributes(value, truthy(space))],
};

const aliases: Readonly<Record<string, string>> = { d: "default", e: "escape", length: "count" };

for (const name of [...Object.keys(filters), ...Object.keys(aliases)]) filterNames.add(name);

export function isFilter(name: string): boolean {
  return filterNames.has(name);
}

/** `value | name(...)`. */
export function callFilter(name: string, value: Value, args: readonly Value[], keywords: Keywords): Value {
  const filter = filters[aliases[name] ?? name];
  return typeof filter === "function" ? filter(value, args, keywords) : filter[1](value, bind(name, filter[0], args, keywords));
}

