/**
 * @file Python's values, as templates see them.
 *
 *     None null · bool boolean · int number (within 2^53) or bigint · float Float · str string · list Array
 *     tuple Tuple · dict Dict · range Range · dict views View · iterators Iter · markupsafe.Markup Markup · Undefined Undefined
 *     all else (macros, functions, namespaces, `loop`): an Opaque
 *
 * A whole number is always a `number` where it fits, so equal ints are equal in JavaScript too. JavaScript's own `undefined` never is a
 * value of a template: here it means that something is not there.
 */

import { PyError, unsupported } from "./errors.js";
import { askItems, spend } from "./meter.js";

export type Int = number | bigint;
export type Value = null | boolean | Int | Float | string | Markup | Value[] | Tuple | Dict | Range | View | Iter | Undefined | Opaque;
/** Keyword arguments of a call. */
export type Keywords = ReadonlyMap<string, Value>;

export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A text marked as safe HTML: what `|escape` and `|safe` give. It escapes whatever is joined to it. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** What `groupby` yields: a named tuple. */
export class GroupTuple extends Tuple {}

/** A lazy sequence of whole numbers. */
export class Range {
  readonly start: number;
  readonly stop: number;
  readonly step: number;
  readonly length: number;
  constructor(start: number, stop: number, step: number) {
    [this.start, this.stop, this.step] = [start, stop, step];
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }
}

/** `dict.keys()`, `.values()`, `.items()`. */
export class View {
  readonly of: Dict;
  readonly kind: "keys" | "values" | "items";
  constructor(of: Dict, kind: "keys" | "values" | "items") {
    this.of = of;
    this.kind = kind;
  }
}

/** A Python iterator: it runs once. */
export class Iter {
  readonly iterator: Iterator<Value>;
  readonly typeName: string;
  constructor(iterator: Iterator<Value>, typeName = "generator") {
    this.iterator = iterator;
    this.typeName = typeName;
  }
}

/** Jinja's value for what is not there: prints as nothing, is false, iterates over nothing; all else raises. */
export class Undefined {
  readonly message: string;
  readonly error: "UndefinedError" | "SecurityError";
  constructor(message: string, error: "UndefinedError" | "SecurityError" = "UndefinedError") {
    this.message = message;
    this.error = error;
  }
  fail(): never {
    throw new PyError(this.error, this.message);
  }
}

/** An object of the runtime. */
export abstract class Opaque {
  abstract readonly typeName: string;
  /** A public attribute, undefined where there is none. */
  attribute(_name: string): Value | undefined {
    return undefined;
  }
  /** As it prints; undefined where Python prints a memory address. */
  repr(): string | undefined {
    return undefined;
  }
  /** Present where it can be called. */
  call?(args: readonly Value[], keywords: Keywords): Value;
}

/** A function or method. */
export class Callable extends Opaque {
  readonly typeName: string;
  readonly name: string;
  readonly #body: (args: readonly Value[], keywords: Keywords) => Value;
  constructor(name: string, body: (args: readonly Value[], keywords: Keywords) => Value, typeName = "builtin_function_or_method") {
    super();
    this.name = name;
    this.#body = body;
    this.typeName = typeName;
  }
  override call(args: readonly Value[], keywords: Keywords): Value {
    return this.#body(args, keywords);
  }
}

// ---- kinds -------------------------------------------------------------------------------------------------------------------------

export function isText(value: Value): value is string | Markup {
  return typeof value === "string" || value instanceof Markup;
}

/** The characters of a str. */
export function textOf(value: string | Markup): string {
  return typeof value === "string" ? value : value.text;
}

export function isInt(value: Value): value is Int | boolean {
  return typeof value === "number" || typeof value === "bigint" || typeof value === "boolean";
}

export function isNumber(value: Value): value is Int | boolean | Float {
  return isInt(value) || value instanceof Float;
}

/** The items of a list or tuple; undefined of anything else. */
export function itemsOf(value: Value): readonly Value[] | undefined {
  return Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined;
}

/** The name of the value's Python type. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  switch (typeof value) {
    case "boolean": return "bool";
    case "number": case "bigint": return "int";
    case "string": return "str";
  }
  if (Array.isArray(value)) return "list";
  if (value instanceof Float) return "float";
  if (value instanceof Markup) return "Markup";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof Range) return "range";
  if (value instanceof View) return `dict_${value.kind}`;
  if (value instanceof Undefined) return "Undefined";
  return value.typeName;
}

export function typeError(message: string): never {
  throw new PyError("TypeError", message);
}

export function valueError(message: string): never {
  throw new PyError("ValueError", message);
}

export function truthy(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  switch (typeof value) {
    case "boolean": return value;
    case "number": return value !== 0;
    case "bigint": return true;
    case "string": return value !== "";
  }
  if (value instanceof Float) return value.value !== 0;
  return lengthOf(value) !== 0;
}

// ---- dicts -------------------------------------------------------------------------------------------------------------------------

const undefinedKey = Symbol("Undefined");
type HashKey = string | number | bigint | null | symbol | object;
/** Before what is no plain text; a lone surrogate, and escaped where a text begins with it. */
const mark = "\uDC00";

/** Equal keys have one HashKey, as 1, 1.0 and True are one key in Python. */
function hashKey(key: Value): HashKey {
  if (typeof key === "string") return key.startsWith(mark) ? `${mark}s${key}` : key;
  if (typeof key === "number" || typeof key === "bigint" || key === null) return key;
  if (typeof key === "boolean") return Number(key);
  if (key instanceof Float) return Number.isInteger(key.value) && !Number.isSafeInteger(key.value) ? BigInt(key.value) : key.value;
  if (key instanceof Markup) return hashKey(key.text);
  if (key instanceof Undefined) return undefinedKey;
  if (key instanceof Tuple) return `${mark}t${key.items.map(hashInTuple).join("")}`;
  if (Array.isArray(key) || key instanceof Dict || (key instanceof View && key.kind !== "values")) typeError(`unhashable type: '${typeName(key)}'`);
  return key;
}

function hashInTuple(item: Value): string {
  const hash = hashKey(item);
  if (typeof hash === "object" && hash !== null) return unsupported("an object within a key");
  const text = String(hash);
  return `${typeof hash}:${text.length}:${text}`;
}

export class Dict {
  readonly #entries = new Map<HashKey, [key: Value, value: Value]>();

  static of(entries: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict();
    for (const [key, value] of entries) dict.set(key, value);
    return dict;
  }
  get size(): number {
    return this.#entries.size;
  }
  get(key: Value): Value | undefined {
    return this.#entries.get(hashKey(key))?.[1];
  }
  has(key: Value): boolean {
    return this.#entries.has(hashKey(key));
  }
  set(key: Value, value: Value): void {
    const hash = hashKey(key);
    const entry = this.#entries.get(hash);
    if (entry === undefined) this.#entries.set(hash, [key, value]);
    else entry[1] = value;
  }
  entries(): IterableIterator<[Value, Value]> {
    return this.#entries.values();
  }
  keys(): Value[] {
    return Array.from(this.#entries.values(), ([key]) => key);
  }
}

// ---- equality and order ------------------------------------------------------------------------------------------------------------

/** A number as JavaScript compares it: exactly, also a bigint with a number. */
function comparable(value: Int | boolean | Float): Int {
  return value instanceof Float ? value.value : typeof value === "boolean" ? Number(value) : value;
}

export function equals(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (isNumber(a)) return isNumber(b) && comparable(a) == comparable(b);
  if (isText(a)) return isText(b) && textOf(a) === textOf(b);
  if (a instanceof Undefined) return b instanceof Undefined;
  if (Array.isArray(a)) return Array.isArray(b) && sameItems(a, b);
  if (a instanceof Tuple) return b instanceof Tuple && sameItems(a.items, b.items);
  if (a instanceof Dict) {
    if (!(b instanceof Dict) || a.size !== b.size) return false;
    spend(a.size);
    for (const [key, value] of a.entries()) {
      const other = b.get(key);
      if (other === undefined || !(value === other || equals(value, other))) return false;
    }
    return true;
  }
  if (a instanceof Range) return b instanceof Range && a.length === b.length && (a.length === 0 || (a.start === b.start && (a.length === 1 || a.step === b.step)));
  if (a instanceof View && b instanceof View && a.kind !== "values" && b.kind !== "values") {
    return a.of.size === b.of.size && [...iterate(a)].every((item) => contains(b, item));
  }
  return false;
}

function sameItems(a: readonly Value[], b: readonly Value[]): boolean {
  if (a.length !== b.length) return false;
  spend(a.length);
  return a.every((item, i) => item === b[i] || equals(item, b[i]));
}

export type Order = "<" | "<=" | ">" | ">=";

/** `a < b` and its kin. Throws TypeError where Python has no such order. */
export function ordered(order: Order, a: Value, b: Value): boolean {
  if (isNumber(a) && isNumber(b)) return byOrder(order, comparable(a), comparable(b));
  if (isText(a) && isText(b)) return byOrder(order, compareText(textOf(a), textOf(b)), 0);
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  if ((Array.isArray(a) && Array.isArray(b)) || (a instanceof Tuple && b instanceof Tuple)) {
    const [left, right] = [itemsOf(a)!, itemsOf(b)!];
    spend(Math.min(left.length, right.length));
    for (let i = 0; i < left.length && i < right.length; i++) {
      if (left[i] !== right[i] && !equals(left[i], right[i])) return ordered(order, left[i], right[i]);
    }
    return byOrder(order, left.length, right.length);
  }
  if (a instanceof View && b instanceof View && a.kind !== "values") unsupported("the order of dict views");
  return typeError(`'${order}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

function byOrder(order: Order, a: Int, b: Int): boolean {
  return order === "<" ? a < b : order === "<=" ? a <= b : order === ">" ? a > b : a >= b;
}

/** By code points; UTF-16 units order the characters above U+FFFF otherwise. */
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  spend(length / 64);
  let i = 0;
  while (i < length && a[i] === b[i]) i++;
  if (i === length) return a.length - b.length;
  const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
  const isSurrogate = (unit: number) => unit >= 0xd800 && unit < 0xe000;
  return isSurrogate(x) !== isSurrogate(y) ? (isSurrogate(x) ? 1 : -1) : x - y;
}

// ---- sequences ---------------------------------------------------------------------------------------------------------------------

/** Calls for each item of what Python's iter() takes. Throws TypeError for what cannot be iterated. */
export function iterate(value: Value): IterableIterator<Value> {
  return iteratorOf(value)[Symbol.iterator]() as IterableIterator<Value>;
}

function iteratorOf(value: Value): Iterable<Value> {
  if (Array.isArray(value)) return value;
  if (typeof value === "string") return value;
  if (value instanceof Tuple) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined) return [];
  if (value instanceof View) return value.kind === "keys" ? value.of.keys() : Array.from(value.of.entries(), ([key, one]) => (value.kind === "values" ? one : new Tuple([key, one])));
  if (value instanceof Range) return numbersOf(value);
  if (value instanceof Iter) return resumable(value.iterator);
  return typeError(`'${typeName(value)}' object is not iterable`);
}

function* numbersOf({ start, step, length }: Range): Generator<Value> {
  for (let i = 0; i < length; i++) yield start + i * step;
}

/** A loop that ends early leaves the rest for the next one, so `return` is not passed on. */
function resumable(iterator: Iterator<Value>): IterableIterator<Value> {
  return { next: () => iterator.next(), [Symbol.iterator]() { return this; } };
}

/** The items as a new list. */
export function toList(value: Value): Value[] {
  const size = Array.isArray(value) ? value.length : value instanceof Range ? value.length : isText(value) ? textOf(value).length : 0;
  askItems(size);
  if (!(value instanceof Iter)) return Array.from(iteratorOf(value));
  const items: Value[] = [];
  for (const item of iteratorOf(value)) {
    if ((items.push(item) & 1023) === 0) askItems(items.length);
    spend(1);
  }
  return items;
}

/** len(); -1 for what is not empty and has no length, such as a macro or an iterator. */
function lengthOf(value: Exclude<Value, null>): number {
  if (typeof value === "string") return codePoints(value);
  if (Array.isArray(value)) return value.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof Tuple) return value.items.length;
  if (value instanceof Markup) return codePoints(value.text);
  if (value instanceof View) return value.of.size;
  if (value instanceof Range) return value.length;
  if (value instanceof Undefined) return 0;
  if (value instanceof Opaque) {
    const { length } = value as { readonly length?: number };
    if (typeof length === "number") return length;
  }
  return -1;
}

export function hasLength(value: Value): boolean {
  return value !== null && !isNumber(value) && lengthOf(value) >= 0;
}

/** len(). Throws TypeError for what has none. */
export function length(value: Value): number {
  const n = value === null || isNumber(value) ? -1 : lengthOf(value);
  return n >= 0 ? n : typeError(`object of type '${typeName(value)}' has no len()`);
}

/** Characters as Python counts them. */
export function codePoints(text: string): number {
  spend(text.length / 64);
  if (!/[\ud800-\udbff]/.test(text)) return text.length;
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** `item in container`. */
export function contains(container: Value, item: Value): boolean {
  if (isText(container)) {
    if (!isText(item)) typeError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    spend(textOf(container).length / 64);
    return textOf(container).includes(textOf(item));
  }
  if (container instanceof Dict) return container.has(item);
  if (container instanceof View && container.kind === "keys") return container.of.has(item);
  if (container instanceof Opaque || isNumber(container) || container === null) typeError(`argument of type '${typeName(container)}' is not iterable`);
  for (const one of iterate(container)) {
    spend(1);
    if (one === item || equals(one, item)) return true;
  }
  return false;
}

// ---- from JavaScript ---------------------------------------------------------------------------------------------------------------

/**
 * A value of a program as one of a template: an integral number becomes an int, any other a float (JavaScript cannot tell 1.0 from 1);
 * `undefined` within an object is left out, as in JSON. A Map keeps the order of keys that look like numbers, which an object does not.
 */
export function fromJs(value: unknown): Value {
  if (value === null || value === undefined) return null;
  switch (typeof value) {
    case "boolean": case "string": return value;
    case "number": return Number.isSafeInteger(value) ? (Object.is(value, -0) ? 0 : value) : Number.isInteger(value) ? BigInt(value) : new Float(value);
    case "bigint": return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    case "object": break;
    default: typeError(`a ${typeof value} is no value of a template`);
  }
  if (value instanceof Float || value instanceof Dict || value instanceof Tuple) return value;
  if (Array.isArray(value)) return value.map(fromJs);
  const entries = value instanceof Map ? (value as Map<unknown, unknown>) : Object.entries(value);
  const dict = new Dict();
  for (const [key, one] of entries) if (one !== undefined) dict.set(fromJs(key), fromJs(one));
  return dict;
}
