/**
 * @file Attributes and items, as Jinja's immutable sandbox looks them up: `a.b` tries the attribute, then the item, `a["b"]` the other way
 * round. What begins with an underscore or would change a value is there, but unsafe: an Undefined that raises SecurityError when used.
 */

import { asCount, bind } from "./arguments.js";
import { unsupported } from "./errors.js";
import { itemOf } from "./operators.js";
import { repr } from "./show.js";
import { callStringMethod, isStringMethod } from "./string-methods.js";
import { askItems } from "./meter.js";
import {
  Callable, Dict, equals, Float, GroupTuple, isInt, isText, iterate, itemsOf, Opaque, textOf, Tuple, typeError, typeName, Undefined, valueError, View, Range, type Int, type Keywords, type Value } from "./values.js";

/** `of.name` in a template. */
export function getAttribute(of: Value, name: string): Value {
  if (of instanceof Undefined) of.fail();
  const attribute = attributeOf(of, name);
  if (attribute !== undefined) return attribute;
  const item = itemOf(of, name);
  return item === undefined ? missing(of, name) : item;
}

/** `of[key]` in a template. */
export function getItem(of: Value, key: Value): Value {
  const item = itemOf(of, key);
  if (item !== undefined) return item;
  const attribute = isText(key) ? attributeOf(of, textOf(key)) : undefined;
  return attribute === undefined ? missing(of, key) : attribute;
}

/** What a lookup of something that is not there gives. */
export function missing(of: Value, key: Value): Undefined {
  const object = of === null ? "None" : `${typeName(of)} object`;
  return new Undefined(isText(key) ? `'${object}' has no attribute '${textOf(key)}'` : `${object} has no element ${repr(key)}`);
}

export const lookup = { attribute: getAttribute, item: getItem };

type Method = readonly [signature: string, body: (args: readonly (Value | undefined)[]) => Value];

const dictMethods: Readonly<Record<string, (self: Dict) => Method>> = {
  get: (self) => ["key, default=, /", ([key, otherwise = null]) => (self.has(key!) ? self.get(key!)! : otherwise)],
  keys: (self) => ["", () => new View(self, "keys")],
  values: (self) => ["", () => new View(self, "values")],
  items: (self) => ["", () => new View(self, "items")],
  copy: (self) => ["", () => Dict.of(self.entries())],
  fromkeys: () => ["iterable, value=, /", ([keys, value = null]) => Dict.of(Array.from(iterate(keys!), (key) => [key, value] as const))],
};

const sequenceMethods: Readonly<Record<string, (items: readonly Value[], type: string) => Method>> = {
  count: (items) => ["value, /", ([value]) => items.filter((item) => item === value || equals(item, value!)).length],
  index: (items, type) => ["value, start=, stop=, /", ([value, start = 0, stop = items.length]) => {
    const clamp = (at: number) => Math.max(0, at < 0 ? at + items.length : at);
    const [from, to] = [clamp(asCount(start)), clamp(asCount(stop))];
    const found = items.findIndex((item, i) => i >= from && i < to && (item === value || equals(item, value!)));
    return found >= 0 ? found : valueError(`${type}.index(x): x not in ${type}`);
  }],
};

/** By type: what would change it. */
const unsafe: Readonly<Record<string, ReadonlySet<string>>> = {
  dict: new Set(["clear", "pop", "popitem", "setdefault", "update"]),
  list: new Set(["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"]),
};
/** What every object of Python has, in so far as a key of a dict could be called the same. */
const internal = /^__(class|doc|init|init_subclass|subclasshook|new|eq|ne|lt|le|gt|ge|hash|str|repr|format|dir|getattribute|setattr|delattr|reduce|reduce_ex|sizeof|getstate)__$/;

/** `of.name` as Python's getattr gives it; undefined where it raises AttributeError. */
export function attributeOf(of: Value, name: string): Value | undefined {
  if (name.startsWith("_")) return internal.test(name) ? unsafeAttribute(of, name) : undefined;
  if (of instanceof Dict) {
    if (Object.hasOwn(dictMethods, name)) return method(name, dictMethods[name](of));
    return unsafe.dict.has(name) ? unsafeAttribute(of, name) : undefined;
  }
  if (isText(of)) return isStringMethod(name) ? new Callable(name, (args, keywords) => callStringMethod(of, name, args, keywords, lookup)) : undefined;
  if (of instanceof Opaque) return of.attribute(name);
  const items = itemsOf(of);
  if (items !== undefined) {
    if (Object.hasOwn(sequenceMethods, name)) return method(name, sequenceMethods[name](items, typeName(of)));
    if (of instanceof GroupTuple && (name === "grouper" || name === "list")) return items[name === "grouper" ? 0 : 1];
    if (!Array.isArray(of)) return undefined;
    if (name === "copy") return method(name, ["", () => (askItems(of.length), [...of])]);
    return unsafe.list.has(name) ? unsafeAttribute(of, name) : undefined;
  }
  if (of instanceof Range) {
    if (name === "start" || name === "stop" || name === "step") return of[name];
    return Object.hasOwn(sequenceMethods, name) ? method(name, sequenceMethods[name](Array.from(iterate(of)), "range")) : undefined;
  }
  if (of instanceof View && (name === "isdisjoint" || name === "mapping")) return unsupported(`.${name} of dict views`);
  if (isInt(of)) return intAttribute(Number.isSafeInteger(of) ? Number(of) : of === true ? 1 : of === false ? 0 : of, name);
  return of instanceof Float ? floatAttribute(of.value, name) : undefined;
}

function method(name: string, [signature, body]: Method): Callable {
  return new Callable(name, (args: readonly Value[], keywords: Keywords) => body(bind(name, signature, args, keywords)));
}

function unsafeAttribute(of: Value, name: string): Undefined {
  return new Undefined(`access to attribute '${name}' of '${typeName(of)}' object is unsafe.`, "SecurityError");
}

function intAttribute(value: Int, name: string): Value | undefined {
  const magnitude = () => (value < 0 ? -value : value).toString(2);
  switch (name) {
    case "real": case "numerator": return value;
    case "imag": return 0;
    case "denominator": return 1;
    case "conjugate": return method(name, ["", () => value]);
    case "bit_length": return method(name, ["", () => (value === 0 ? 0 : magnitude().length)]);
    case "bit_count": return method(name, ["", () => magnitude().replaceAll("0", "").length]);
    case "as_integer_ratio": return method(name, ["", () => new Tuple([value, 1])]);
    case "to_bytes": case "from_bytes": return unsupported("bytes, which int methods give,");
    default: return undefined;
  }
}

function floatAttribute(value: number, name: string): Value | undefined {
  switch (name) {
    case "real": return new Float(value);
    case "imag": return new Float(0);
    case "conjugate": return method(name, ["", () => new Float(value)]);
    case "is_integer": return method(name, ["", () => Number.isInteger(value)]);
    case "as_integer_ratio": case "hex": case "fromhex": return unsupported(`float.${name}`);
    default: return undefined;
  }
}

/** Calls what is callable. Throws TypeError for all else. */
export function call(of: Value, args: readonly Value[], keywords: Keywords): Value {
  if (of instanceof Undefined) of.fail();
  if (of instanceof Opaque && of.call !== undefined) return of.call(args, keywords);
  return typeError(`'${typeName(of)}' object is not callable`);
}

