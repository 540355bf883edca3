/** @file What operators do with values: `a + b`, `-a`, `a[b]`, `a[b:c]`. */

import type { BinaryOperator, ComparisonOperator } from "./ast.js";
import { asInt } from "./arguments.js";
import { PyError, unsupported } from "./errors.js";
import { percentFormat } from "./format.js";
import { escapeHtml } from "./html.js";
import { askItems, askLength } from "./meter.js";
import { arithmetic, negate, toInt } from "./numbers.js";
import { repr, str } from "./show.js";
import { characters, repeat, substring } from "./text.js";
import {
  codePoints, contains, Dict, equals, isInt, isNumber, isText, itemsOf, Markup, ordered, Range, textOf, Tuple, typeError, typeName, Undefined, View, type Value } from "./values.js";

/** `a OP b`. Throws TypeError where Python has no such operation. */
export function binary(operator: BinaryOperator, a: Value, b: Value): Value {
  if (isNumber(a) && isNumber(b)) return arithmetic(operator, a, b);
  if (operator === "%" && isText(a)) return percent(a, b);
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  if (operator === "+") {
    if (isText(a) && isText(b)) return concat(a, b);
    if (Array.isArray(a) && Array.isArray(b)) return joined(a, b);
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple(joined(a.items, b.items));
  }
  if (operator === "*") {
    const [sequence, times] = isInt(b) ? [a, b] : [b, a];
    if (isInt(times)) {
      const count = Number(toInt(times));
      if (typeof sequence === "string") return repeat(sequence, count);
      if (sequence instanceof Markup) return new Markup(repeat(sequence.text, count));
      if (Array.isArray(sequence)) return repeated(sequence, count);
      if (sequence instanceof Tuple) return new Tuple(repeated(sequence.items, count));
    }
  }
  if (a instanceof View && operator === "-") unsupported("a set, which the difference of dict views is,");
  const symbol = operator === "**" ? "** or pow()" : operator;
  return typeError(`unsupported operand type(s) for ${symbol}: '${typeName(a)}' and '${typeName(b)}'`);
}

function concat(a: string | Markup, b: string | Markup): string | Markup {
  askLength(textOf(a).length + textOf(b).length);
  if (typeof a === "string" && typeof b === "string") return a + b;
  const safe = (value: string | Markup) => (value instanceof Markup ? value.text : escapeHtml(value));
  return new Markup(safe(a) + safe(b));
}

/** `text % values`. */
export function percent(template: string | Markup, values: Value): string | Markup {
  if (typeof template === "string") return percentFormat(template, values);
  const escaped = (show: (value: Value) => string) => (value: Value) => (value instanceof Markup ? value.text : escapeHtml(show(value)));
  return new Markup(percentFormat(template.text, values, { str: escaped(str), repr: escaped(repr) }));
}

function joined(a: readonly Value[], b: readonly Value[]): Value[] {
  askItems(a.length + b.length);
  return a.concat(b);
}

function repeated(items: readonly Value[], times: number): Value[] {
  if (times <= 0 || items.length === 0) return [];
  askItems(items.length * times);
  return Array.from({ length: items.length * times }, (_, i) => items[i % items.length]);
}

/** `-a` and `+a`. */
export function signed(operator: "+" | "-", value: Value): Value {
  if (value instanceof Undefined) value.fail();
  if (!isNumber(value)) return typeError(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  return operator === "-" ? negate(value) : isInt(value) ? toInt(value) : value;
}

/** `a OP b` of comparisons. */
export function compare(operator: ComparisonOperator, a: Value, b: Value): boolean {
  switch (operator) {
    case "==": return equals(a, b);
    case "!=": return !equals(a, b);
    case "in": return contains(b, a);
    case "not in": return !contains(b, a);
    default: return ordered(operator, a, b);
  }
}

/** `a[key]`; undefined where Python raises a TypeError or LookupError, on which Jinja looks further. */
export function itemOf(of: Value, key: Value): Value | undefined {
  if (of instanceof Undefined) of.fail();
  if (of instanceof Dict) {
    try {
      return of.get(key);
    } catch (error) {
      if (error instanceof PyError && error.type === "TypeError") return undefined;
      throw error;
    }
  }
  if (!isInt(key)) return undefined;
  const at = Number(toInt(key));
  if (isText(of)) {
    const text = textOf(of);
    const size = codePoints(text);
    const index = at < 0 ? at + size : at;
    if (index < 0 || index >= size) return undefined;
    const character = size === text.length ? text[index] : substring(text, index, index + 1);
    return of instanceof Markup ? new Markup(character) : character;
  }
  const items = itemsOf(of);
  if (items !== undefined) return items[at < 0 ? at + items.length : at];
  if (of instanceof Range) {
    const index = at < 0 ? at + of.length : at;
    return index >= 0 && index < of.length ? of.start + index * of.step : undefined;
  }
  return undefined;
}

/** `a[start:stop:step]`; what is not given is None. */
export function slice(of: Value, start: Value, stop: Value, step: Value): Value {
  if (of instanceof Undefined) of.fail();
  if (isText(of)) {
    const text = textOf(of);
    const range = sliceRange(codePoints(text), start, stop, step);
    let part: string;
    if (range.step === 1) {
      part = substring(text, range.start, Math.max(range.start, range.stop));
    } else {
      const all = characters(text);
      part = picked(range, all).join("");
    }
    return of instanceof Markup ? new Markup(part) : part;
  }
  const items = itemsOf(of);
  if (items !== undefined) {
    const range = sliceRange(items.length, start, stop, step);
    askItems(range.length);
    const part = range.step === 1 ? items.slice(range.start, Math.max(range.start, range.stop)) : picked(range, items);
    return Array.isArray(of) ? part : new Tuple(part);
  }
  if (of instanceof Range) {
    const range = sliceRange(of.length, start, stop, step);
    return new Range(of.start + range.start * of.step, of.start + range.stop * of.step, of.step * range.step);
  }
  return typeError(of instanceof Dict ? "unhashable type: 'slice'" : `'${typeName(of)}' object is not subscriptable`);
}

function picked<T>({ start, step, length }: Range, items: readonly T[]): T[] {
  return Array.from({ length }, (_, i) => items[start + i * step]);
}

/** The indices that a slice takes of a sequence of `size` items. */
function sliceRange(size: number, start: Value, stop: Value, step: Value): Range {
  const whole = (value: Value) => (value === null ? undefined : isInt(value) ? Number(asInt(value)) : typeError("slice indices must be integers or None or have an __index__ method"));
  const by = whole(step) ?? 1;
  if (by === 0) throw new PyError("ValueError", "slice step cannot be zero");
  const clamp = (value: number | undefined, otherwise: number) => {
    if (value === undefined) return otherwise;
    const at = value < 0 ? value + size : value;
    return by > 0 ? Math.min(Math.max(at, 0), size) : Math.min(Math.max(at, -1), size - 1);
  };
  const [from, to] = [whole(start), whole(stop)];
  return by > 0 ? new Range(clamp(from, 0), clamp(to, size), by) : new Range(clamp(from, size - 1), clamp(to, -1), by);
}

