/** @file str() and repr() of values, and JSON as Python's json.dumps writes it. */

import { typeError, Dict, Float, Iter, Markup, Opaque, Range, Tuple, Undefined, View, iterate, ordered, typeName, type Value } from "./values.js";
import { unsupported } from "./errors.js";
import { askLength, nested, spend } from "./meter.js";
import { floatText, intText } from "./numbers.js";
import { quoted, repeat } from "./text.js";

/** str(value): what `{{ value }}` prints. */
export function str(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined) return "";
  return repr(value);
}

/** repr(value): what a list prints of its items. */
export function repr(value: Value, ascii = false): string {
  spend(1);
  if (value === null) return "None";
  switch (typeof value) {
    case "string": return quoted(value, ascii);
    case "boolean": return value ? "True" : "False";
    case "number": case "bigint": return intText(value);
  }
  if (value instanceof Float) return floatText(value.value);
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Markup) return `Markup(${quoted(value.text, ascii)})`;
  return nested(() => {
    const inner = (items: Iterable<Value>) => listed(items, (item) => repr(item, ascii));
    if (Array.isArray(value)) return `[${inner(value)}]`;
    if (value instanceof Tuple) return value.items.length === 1 ? `(${inner(value.items)},)` : `(${inner(value.items)})`;
    if (value instanceof Dict) return `{${listed(value.entries(), ([key, one]) => `${repr(key, ascii)}: ${repr(one, ascii)}`)}}`;
    if (value instanceof View) return `dict_${value.kind}([${inner(iterate(value))}])`;
    if (value instanceof Range) return `range(${value.start}, ${value.stop}${value.step === 1 ? "" : `, ${value.step}`})`;
    const shown = value instanceof Opaque ? value.repr() : undefined;
    return shown ?? unsupported(`Python prints an address in memory for a ${value instanceof Iter || value instanceof Opaque ? value.typeName : typeName(value)}; printing it`);
  });
}

function listed<T>(items: Iterable<T>, show: (item: T) => string, separator = ", "): string {
  let text = "";
  for (const item of items) {
    text += (text === "" ? "" : separator) + show(item);
    askLength(text.length);
  }
  return text;
}

export interface JsonStyle {
  readonly ascii: boolean;
  /** What a level is indented by; undefined keeps all on one line. */
  readonly indent: string | undefined;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortKeys: boolean;
}

/** json.dumps(value). Throws TypeError for what is no JSON. */
export function json(value: Value, style: JsonStyle, level = 0): string {
  spend(1);
  if (value === null) return "null";
  switch (typeof value) {
    case "string": return jsonString(value, style.ascii);
    case "boolean": return String(value);
    case "number": case "bigint": return intText(value);
  }
  if (value instanceof Markup) return jsonString(value.text, style.ascii);
  if (value instanceof Float) return jsonFloat(value.value);
  const line = style.indent === undefined ? "" : `\n${repeat(style.indent, level + 1)}`;
  const wrap = (open: string, inner: string, close: string) => {
    if (inner === "") return open + close;
    return open + line + inner + (style.indent === undefined ? "" : `\n${repeat(style.indent, level)}`) + close;
  };
  return nested(() => {
    const separator = style.itemSeparator + line;
    if (Array.isArray(value) || value instanceof Tuple) {
      return wrap("[", listed(Array.isArray(value) ? value : value.items, (item) => json(item, style, level + 1), separator), "]");
    }
    if (!(value instanceof Dict)) return typeError(`Object of type ${typeName(value)} is not JSON serializable`);
    const entries = [...value.entries()];
    if (style.sortKeys) entries.sort(([a], [b]) => (ordered("<", a, b) ? -1 : ordered("<", b, a) ? 1 : 0));
    const text = listed(entries, ([key, one]) => jsonString(jsonKey(key), style.ascii) + style.keySeparator + json(one, style, level + 1), separator);
    return wrap("{", text, "}");
  });
}

function jsonKey(key: Value): string {
  if (typeof key === "string") return key;
  if (key === null || typeof key === "boolean") return String(key);
  if (typeof key === "number" || typeof key === "bigint") return intText(key);
  if (key instanceof Float) return jsonFloat(key.value);
  if (key instanceof Markup) return key.text;
  return typeError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonFloat(value: number): string {
  return Number.isNaN(value) ? "NaN" : Number.isFinite(value) ? floatText(value) : value < 0 ? "-Infinity" : "Infinity";
}

const shortEscapes: Readonly<Record<string, string>> = { '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f" };

function jsonString(text: string, ascii: boolean): string {
  spend(text.length / 32);
  // But for the mark, which stays as it is (`markCharacter`).
  const escape = (unit: string) => shortEscapes[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
   
  const escaped = text.replace(ascii ? /["\\\0-\x1f]|[^\0-~\uFDD0]/g : /["\\\0-\x1f]/g, escape);
  askLength(escaped.length);
  return `"${escaped}"`;
}
