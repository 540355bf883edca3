/** @file Jinja's tests: `value is name(arguments)`. */

import { bind } from "./arguments.js";
import { unsupported } from "./errors.js";
import { binary, compare } from "./operators.js";
import { str } from "./show.js";
import { is } from "./text.js";
import { contains, Dict, equals, Float, hasLength, isInt, isNumber, isText, Iter, Markup, Opaque, Range, textOf, Tuple, Undefined, type Keywords, type Value } from "./values.js";
import type { ComparisonOperator } from "./ast.js";

type Test = readonly [signature: string, body: (value: Value, args: readonly (Value | undefined)[]) => boolean];

const kind = (body: (value: Value) => boolean): Test => ["", body];
const comparison = (operator: ComparisonOperator): Test => ["other, /", (value, [other]) => compare(operator, value, other!)];
const rest = (value: Value, by: Value) => binary("%", value, by);

/** Whether the names of filters, which the test `filter` asks for; set by `filters.ts`, which knows tests. */
export const filterNames = new Set<string>();

const byName: Readonly<Record<string, Test>> = {
  odd: kind((value) => equals(rest(value, 2), 1)),
  even: kind((value) => equals(rest(value, 2), 0)),
  divisibleby: ["num", (value, [num]) => equals(rest(value, num!), 0)],
  defined: kind((value) => !(value instanceof Undefined)),
  undefined: kind((value) => value instanceof Undefined),
  filter: kind((value) => contains(Dict.of([...filterNames].map((name) => [name, null])), value)),
  test: kind((value) => contains(Dict.of(Object.keys(byName).map((name) => [name, null])), value)),
  none: kind((value) => value === null),
  boolean: kind((value) => typeof value === "boolean"),
  false: kind((value) => value === false),
  true: kind((value) => value === true),
  integer: kind((value) => isInt(value) && typeof value !== "boolean"),
  float: kind((value) => value instanceof Float),
  lower: kind((value) => is("islower", str(value))),
  upper: kind((value) => is("isupper", str(value))),
  string: kind(isText),
  mapping: kind((value) => value instanceof Dict),
  number: kind(isNumber),
  sequence: kind((value) => isText(value) || Array.isArray(value) || value instanceof Tuple || value instanceof Dict || value instanceof Range || value instanceof Undefined),
  iterable: kind((value) => (hasLength(value) && !(value instanceof Opaque)) || value instanceof Iter || (value instanceof Opaque && value.typeName === "LoopContext")),
  callable: kind((value) => value instanceof Undefined || (value instanceof Opaque && value.call !== undefined)),
  sameas: ["other", (value, [other]) => same(value, other!)],
  escaped: kind((value) => value instanceof Markup),
  in: ["seq", (value, [seq]) => contains(seq!, value)],
  "==": comparison("=="), eq: comparison("=="), equalto: comparison("=="), "!=": comparison("!="), ne: comparison("!="),
  ">": comparison(">"), gt: comparison(">"), greaterthan: comparison(">"), ">=": comparison(">="), ge: comparison(">="),
  "<": comparison("<"), lt: comparison("<"), lessthan: comparison("<"), "<=": comparison("<="), le: comparison("<="),
};

/** `a is b` of Python. Which equal numbers and texts are one object depends on its inner life, and is not guessed. */
function same(a: Value, b: Value): boolean {
  if (a === b) {
    const isShared = a === null || typeof a === "boolean" || typeof a === "object" || (typeof a === "number" && a >= -5 && a <= 256) || a === "";
    return isShared || unsupported("the identity of equal numbers or texts, which `sameas` asks for,");
  }
  const alike = (isText(a) && isText(b) && textOf(a) === textOf(b)) || (a instanceof Float && b instanceof Float && a.value === b.value);
  if (alike || (a instanceof Tuple && b instanceof Tuple && a.items.length === 0 && b.items.length === 0)) return unsupported("the identity of equal values, which `sameas` asks for,");
  return false;
}

export function isTest(name: string): boolean {
  return Object.hasOwn(byName, name);
}

/** `value is name(...)`. */
export function callTest(name: string, value: Value, args: readonly Value[], keywords: Keywords): boolean {
  const [signature, body] = byName[name];
  return body(value, bind(name, signature, args, keywords));
}

