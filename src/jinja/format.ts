/** @file Python's two ways to format: `"%5.1f" % value` and `"{:>5}".format(value)`, with the little language after the colon. */

import { PyError } from "./errors.js";
import { askText, nested } from "./meter.js";
import { fixed, floatText, intText, scientific, toFloat, toInt, wholeOf } from "./numbers.js";
import { repr, str } from "./show.js";
import { codePoints, Dict, Float, isInt, isNumber, isText, Range, textOf, Tuple, typeError, typeName, Undefined, valueError, type Int, type Value } from "./values.js";

// ---- numbers -----------------------------------------------------------------------------------------------------------------------

interface FloatStyle {
  readonly type: string;
  readonly precision: number;
  /** Keep the point and its zeros (`#`). */
  readonly alternate: boolean;
  /** Of "g": a digit after the point always, and a power of ten from one digit less on; that is what a precision without a type means. */
  readonly dotZero?: boolean;
}

/** |value| in one of the float types e, f, g, E, F, G, %. */
function floatDigits(value: number, { type, precision, alternate, dotZero = false }: FloatStyle): string {
  const isUpper = type === "E" || type === "F" || type === "G";
  if (!Number.isFinite(value)) {
    const word = (Number.isNaN(value) ? "nan" : "inf") + (type === "%" ? "%" : "");
    return isUpper ? word.toUpperCase() : word;
  }
  askText(precision);
  const point = (digits: string) => (alternate && !digits.includes(".") ? `${digits}.` : digits);
  const exponential = (digits: string, exponent: number) => {
    const mantissa = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits;
    const text = `${point(mantissa)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
    return isUpper ? text.toUpperCase() : text;
  };
  switch (type.toLowerCase()) {
    case "f": return point(fixed(value, precision));
    case "%": return `${point(fixed(value * 100, precision))}%`;
    case "e": {
      const { digits, exponent } = scientific(value, precision + 1);
      return exponential(digits, exponent);
    }
    default: {
      const count = precision || 1;
      const { digits, exponent } = scientific(value, count);
      const kept = alternate ? digits : digits.replace(/(?<=.)0+$/, "");
      if (exponent < -4 || exponent >= count - Number(dotZero)) return exponential(kept, exponent);
      if (exponent < 0) return `0.${"0".repeat(-exponent - 1)}${kept}`;
      const whole = kept.slice(0, exponent + 1).padEnd(exponent + 1, "0");
      if (kept.length > exponent + 1) return `${whole}.${kept.slice(exponent + 1)}`;
      return dotZero ? `${whole}.0` : point(whole);
    }
  }
}

function intDigits(value: Int, type: string, alternate: boolean): string {
  const magnitude = value < 0 ? -value : value;
  switch (type) {
    case "x": return (alternate ? "0x" : "") + magnitude.toString(16);
    case "X": return (alternate ? "0X" : "") + magnitude.toString(16).toUpperCase();
    case "o": return (alternate ? "0o" : "") + magnitude.toString(8);
    case "b": return (alternate ? "0b" : "") + magnitude.toString(2);
    default: return intText(magnitude);
  }
}

function isNegative(value: number): boolean {
  return value < 0 || Object.is(value, -0);
}

function pad(text: string, width: number, fill: string, align: string): string {
  const missing = width - codePoints(text);
  if (missing <= 0) return text;
  askText(text.length + missing * fill.length);
  const left = align === "<" ? 0 : align === ">" ? missing : Math.floor(missing / 2);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}

// ---- format() ----------------------------------------------------------------------------------------------------------------------

const specPattern = /^(?:(.)?([<>=^]))?([-+ ])?(z)?(#)?(0)?(\d+)?([_,])?(?:\.(\d+))?([a-zA-Z%])?$/su;

interface Spec {
  readonly fill: string | undefined;
  readonly align: string | undefined;
  readonly sign: string;
  readonly alternate: boolean;
  readonly zero: boolean;
  readonly width: number;
  readonly grouping: string | undefined;
  readonly precision: number | undefined;
  readonly type: string;
}

/** format(value, spec). Throws ValueError, TypeError. */
export function format(value: Value, spec: string): string {
  if (spec === "") return str(value);
  if (!isText(value) && !isNumber(value)) typeError(`unsupported format string passed to ${typeName(value)}.__format__`);
  const match = specPattern.exec(spec);
  if (match === null) return valueError(`Invalid format specifier '${spec}'`);
  const [, fill, align, sign = "-", clearsZero, alternate, zero, width = "0", grouping, precision, type = ""] = match as (string | undefined)[];
  const parsed: Spec = {
    fill, align, sign, alternate: alternate !== undefined, zero: zero !== undefined && align === undefined, width: Number(width), grouping,
    precision: precision === undefined ? undefined : Number(precision), type,
  };
  const padded = zero !== undefined && align !== undefined && fill === undefined ? { ...parsed, fill: "0" } : parsed;
  const isFloat = value instanceof Float || (isInt(value) && "eEfFgG%".includes(type) && type !== "");
  if (clearsZero !== undefined && !isFloat) valueError("Negative zero coercion (z) not allowed in format specifier with integer");
  if (isText(value)) return formatText(textOf(value), padded);
  if (isFloat) return formatFloat(toFloat(value), padded, clearsZero !== undefined);
  return formatInt(toInt(value), padded);
}

function formatText(text: string, { fill, align, sign, alternate, zero, width, grouping, precision, type }: Spec): string {
  if (type !== "" && type !== "s") valueError(`Unknown format code '${type}' for object of type 'str'`);
  if (sign !== "-") valueError("Sign not allowed in string format specifier");
  if (alternate) valueError("Alternate form (#) not allowed in string format specifier");
  if (align === "=") valueError("'=' alignment not allowed in string format specifier");
  if (grouping !== undefined) valueError(`Cannot specify '${grouping}' with 's'.`);
  const cut = precision === undefined || codePoints(text) <= precision ? text : Array.from(text).slice(0, precision).join("");
  return pad(cut, width, fill ?? (zero ? "0" : " "), align ?? "<");
}

function formatInt(value: Int, spec: Spec): string {
  const { sign, alternate, grouping, precision, type } = spec;
  if (!["", "b", "c", "d", "n", "o", "x", "X"].includes(type)) valueError(`Unknown format code '${type}' for object of type 'int'`);
  if (precision !== undefined) valueError("Precision not allowed in integer format specifier");
  if (type === "c") {
    if (sign !== "-") valueError("Sign not allowed with integer format specifier 'c'");
    if (alternate) valueError("Alternate form (#) not allowed with integer format specifier 'c'");
    if (grouping !== undefined) valueError(`Cannot specify '${grouping}' with 'c'.`);
    return pad(characterOf(value), spec.width, spec.fill ?? (spec.zero ? "0" : " "), spec.align ?? "<");
  }
  if (grouping === "," && "boxXn".includes(type) && type !== "") valueError(`Cannot specify ',' with '${type}'.`);
  if (grouping === "_" && type === "n") valueError("Cannot specify '_' with 'n'.");
  const digits = intDigits(value, type, alternate);
  const prefix = alternate && "boxX".includes(type) && type !== "" ? digits.slice(0, 2) : "";
  return signed(value < 0, digits.slice(prefix.length), prefix, "boxX".includes(type) && type !== "" ? 4 : 3, spec);
}

function formatFloat(value: number, spec: Spec, clearsZero: boolean): string {
  const { alternate, precision, type, grouping } = spec;
  if (!["", "e", "E", "f", "F", "g", "G", "n", "%"].includes(type)) valueError(`Unknown format code '${type}' for object of type 'float'`);
  if (grouping !== undefined && type === "n") valueError(`Cannot specify '${grouping}' with 'n'.`);
  let digits: string;
  if (type === "" && precision === undefined) {
    digits = floatText(Math.abs(value));
    if (alternate && !/[.n]/.test(digits)) digits = digits.replace(/(?=e)/, ".");
  } else if (type === "") {
    digits = floatDigits(value, { type: "g", precision: precision!, alternate, dotZero: true });
  } else {
    digits = floatDigits(value, { type: type === "n" ? "g" : type, precision: precision ?? 6, alternate });
  }
  const negative = isNegative(value) && !(clearsZero && /^[0.%]*(e[+-]00)?%?$/i.test(digits));
  return signed(negative, digits, "", 3, spec);
}

/** Sign, prefix, digits with separators, padding. */
function signed(negative: boolean, digits: string, prefix: string, group: number, { fill, align, sign, zero, width, grouping }: Spec): string {
  const mark = negative ? "-" : sign === "-" ? "" : sign;
  const isWord = group === 3 && /^[a-z]/i.test(digits);
  const integer = isWord ? "" : group === 4 ? digits : /^\d*/.exec(digits)![0];
  const fraction = digits.slice(integer.length);
  const separate = (text: string) => {
    if (grouping === undefined) return text;
    const groups: string[] = [];
    for (let end = text.length; end > 0; end -= group) groups.push(text.slice(Math.max(0, end - group), end));
    return groups.reverse().join(grouping);
  };
  const filler = fill ?? (zero ? "0" : " ");
  if ((align ?? (zero ? "=" : ">")) !== "=") return pad(mark + prefix + separate(integer) + fraction, width, filler, align ?? ">");
  const room = width - mark.length - prefix.length - fraction.length;
  askText(Math.max(0, width));
  if (filler !== "0" || grouping === undefined || isWord) return mark + prefix + pad(separate(integer) + fraction, width - mark.length - prefix.length, filler, ">");
  // Zeros before the number are separated too.
  const fits = Math.ceil((room * group) / (group + 1));
  const filled = integer.padStart(separate("0".repeat(Math.max(0, fits))).length < room ? fits + 1 : fits, "0");
  return mark + prefix + separate(filled) + fraction;
}

function characterOf(value: Int): string {
  if (value < 0 || value > 0x10ffff) throw new PyError("OverflowError", "%c arg not in range(0x110000)");
  return String.fromCodePoint(Number(value));
}

// ---- str.format() ------------------------------------------------------------------------------------------------------------------

/** How attributes and items within a field (`{0.name[key]}`) are looked up: as the sandbox does. */
export interface FieldLookup {
  attribute(of: Value, name: string): Value;
  item(of: Value, key: Value): Value;
}

/** text.format(*args, **keywords). Throws ValueError, IndexError, KeyError. */
export function formatFields(template: string, args: readonly Value[], keywords: { get(name: string): Value | undefined }, lookup: FieldLookup): string {
  let automatic: number | undefined = 0;

  const valueOf = (field: string): Value => {
    const match = /^([^.[]*)((?:\.[^.[]+|\[[^\]]+\](?=[.[]|$))*)$/s.exec(field);
    if (match === null) {
      if (/\[\]|\.(?=$|[.[])/.test(field)) valueError("Empty attribute in format string");
      return valueError(/\[[^\]]*$/.test(field) ? "Missing ']' in format string" : "Only '.' or '[' may follow ']' in format field specifier");
    }
    const [, first, rest] = match;
    let value: Value | undefined;
    if (/^\d+$/.test(first)) {
      const at = Number(first);
      value = args[at];
      if (value === undefined) throw new PyError("IndexError", `Replacement index ${at} out of range for positional args tuple`);
    } else {
      value = keywords.get(first);
      if (value === undefined) throw new PyError("KeyError", `'${first}'`);
    }
    for (const [, attribute, item] of rest.matchAll(/\.([^.[]+)|\[([^\]]+)\]/gs)) {
      value = attribute !== undefined ? lookup.attribute(value, attribute) : lookup.item(value, /^\d+$/.test(item) ? Number(item) : item);
    }
    return value;
  };

  const expand = (text: string, depth: number): string => {
    if (depth < 0) valueError("Max string recursion exceeded");
    let out = "";
    for (const { literal, field, spec, conversion } of fieldsOf(text)) {
      out += literal;
      if (field === undefined) continue;
      let name = field;
      if (field === "" || /^[.[]/.test(field)) {
        // Python's Formatter numbers a field only where nothing else stands in it.
        if (field === "") {
          if (automatic === undefined) valueError("cannot switch from manual field specification to automatic field numbering");
          name = String(automatic++);
        }
      } else if (/^\d+$/.test(field)) {
        if (automatic !== undefined && automatic > 0) valueError("cannot switch from manual field specification to automatic field numbering");
        automatic = undefined;
      }
      const value = valueOf(name);
      const converted = conversion === undefined ? value : conversion === "s" ? str(value) : conversion === "r" ? repr(value) : conversion === "a" ? repr(value, true) : valueError(`Unknown conversion specifier ${conversion}`);
      out += format(converted, expand(spec, depth - 1));
      askText(out.length);
    }
    return out;
  };
  return nested(() => expand(template, 2));
}

interface Field {
  readonly literal: string;
  readonly field: string | undefined;
  readonly spec: string;
  readonly conversion: string | undefined;
}

/** Literal texts and the fields after them. */
function fieldsOf(text: string): Field[] {
  const fields: Field[] = [];
  let literal = "";
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character !== "{" && character !== "}") {
      literal += character;
      continue;
    }
    if (text[i + 1] === character) {
      literal += character;
      i++;
      continue;
    }
    if (character === "}") valueError("Single '}' encountered in format string");
    if (i + 1 >= text.length) valueError("Single '{' encountered in format string");
    let depth = 1;
    let inBrackets = false;
    let end = i + 1;
    for (; end < text.length; end++) {
      if (text[end] === "[" && depth === 1) inBrackets = true;
      if (text[end] === "]") inBrackets = false;
      if (inBrackets) continue;
      if (text[end] === "{") depth++;
      else if (text[end] === "}" && --depth === 0) break;
    }
    if (depth > 0 || end >= text.length) valueError("expected '}' before end of string");
    const inner = text.slice(i + 1, end);
    const nameEnd = fieldNameEnd(inner);
    const field = inner.slice(0, nameEnd);
    const specBegin = inner.indexOf(":", nameEnd);
    const conversion = inner[nameEnd] === "!" ? inner.slice(nameEnd + 1, specBegin < 0 ? undefined : specBegin) : undefined;
    const spec = specBegin < 0 ? "" : inner.slice(specBegin + 1);
    if (conversion !== undefined && conversion.length !== 1) valueError(conversion === "" ? "end of string while looking for conversion specifier" : "expected ':' after conversion specifier");
    fields.push({ literal, field, conversion, spec });
    literal = "";
    i = end;
  }
  if (literal !== "") fields.push({ literal, field: undefined, conversion: undefined, spec: "" });
  return fields;
}

/** Where a field's name ends: at `!` or `:` outside of brackets. */
function fieldNameEnd(inner: string): number {
  for (let i = 0; i < inner.length; i++) {
    if (inner[i] === "[") {
      const close = inner.indexOf("]", i);
      if (close < 0) return inner.length;
      i = close;
    } else if (inner[i] === "!" || inner[i] === ":") {
      return i;
    } else if (inner[i] === "{" || inner[i] === "}") {
      valueError(`unexpected '${inner[i]}' in field name`);
    }
  }
  return inner.length;
}

// ---- % -----------------------------------------------------------------------------------------------------------------------------

/** text % values. Throws TypeError, ValueError, KeyError, OverflowError. */
export function percentFormat(template: string, values: Value, show: { readonly str: (value: Value) => string; readonly repr: (value: Value) => string } = { str, repr }): string {
  const args: readonly Value[] = values instanceof Tuple ? values.items : [values];
  // To Python all that can be subscribed is a mapping, of which not every item must be used.
  const isMapping = values instanceof Dict || Array.isArray(values) || values instanceof Undefined || values instanceof Range;
  let next = 0;
  let usedNames = false;
  const take = (): Value => (next < args.length ? args[next++] : typeError("not enough arguments for format string"));

  let out = "";
  let literal = 0;
  const pattern = /%(?:\(((?:[^()]|\([^()]*\))*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?(.)?/gsu;
  for (let found = pattern.exec(template); found !== null; found = pattern.exec(template)) {
    const [whole, name, flags, widthText, precisionText, type] = found as (string | undefined)[];
    out += template.slice(literal, found.index);
    literal = found.index + whole!.length;
    if (type === "%" ) {
      if (whole !== "%%" && name === undefined && (widthText === "*" || precisionText === "*")) take();
      out += "%";
      continue;
    }
    if (type === undefined) valueError("incomplete format");
    let named: Value | undefined;
    if (name !== undefined) {
      if (values instanceof Undefined) values.fail();
      if (!(values instanceof Dict)) return typeError("format requires a mapping");
      named = values.get(name);
      if (named === undefined) throw new PyError("KeyError", `'${name}'`);
      usedNames = true;
    }
    let left = flags!.includes("-");
    let width = widthText === "*" ? starred(take()) : Number(widthText ?? 0);
    if (width < 0) [left, width] = [true, -width];
    const precision = precisionText === undefined ? undefined : precisionText === "*" ? Math.max(0, starred(take())) : Number(precisionText);
    const value = named ?? take();
    const text = conversion(value, type, flags!, precision, left ? 0 : width, show);
    out += pad(text, width, " ", left ? "<" : ">");
    askText(out.length);
  }
  out += template.slice(literal);
  if (next < args.length && !usedNames && !isMapping) typeError("not all arguments converted during string formatting");
  return out;
}

function starred(value: Value): number {
  return isInt(value) ? Number(value) : typeError("* wants int");
}

/** One value, with its zeros in front up to `width`. */
function conversion(value: Value, type: string, flags: string, precision: number | undefined, width: number, show: { readonly str: (value: Value) => string; readonly repr: (value: Value) => string }): string {
  const cut = (text: string) => (precision === undefined || codePoints(text) <= precision ? text : Array.from(text).slice(0, precision).join(""));
  const zeros = (sign: string, digits: string) => {
    const fill = flags.includes("0") ? Math.max(0, width - sign.length - digits.length) : 0;
    askText(fill);
    const prefix = /^0[xXo]/.test(digits) && flags.includes("#") ? digits.slice(0, 2) : "";
    return sign + prefix + "0".repeat(fill) + digits.slice(prefix.length);
  };
  const signOf = (negative: boolean) => (negative ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "");
  switch (type) {
    case "s": return cut(show.str(value));
    case "r": return cut(show.repr(value));
    case "a": return cut(repr(value, true));
    case "c":
      if (isText(value) && codePoints(textOf(value)) === 1) return textOf(value);
      return isInt(value) ? characterOf(toInt(value)) : typeError("%c requires int or char");
    case "d": case "i": case "u": case "o": case "x": case "X": {
      if (value instanceof Undefined && "diu".includes(type)) value.fail();
      if (!isNumber(value) || (value instanceof Float && "oxX".includes(type))) return typeError(`%${type} format: ${"oxX".includes(type) ? "an integer" : "a real number"} is required, not ${typeName(value)}`);
      const int = value instanceof Float ? wholeOf(value.value, "trunc") : toInt(value);
      let digits = intDigits(int, type, flags.includes("#"));
      if (precision !== undefined) {
        askText(precision);
        const prefix = flags.includes("#") && "oxX".includes(type) ? digits.slice(0, 2) : "";
        digits = prefix + digits.slice(prefix.length).padStart(precision, "0");
      }
      return zeros(signOf(int < 0), digits);
    }
    case "e": case "E": case "f": case "F": case "g": case "G": {
      if (value instanceof Undefined) value.fail();
      if (!isNumber(value)) return typeError(`must be real number, not ${typeName(value)}`);
      const float = toFloat(value);
      const digits = floatDigits(float, { type, precision: precision ?? 6, alternate: flags.includes("#") });
      return zeros(signOf(isNegative(float)), digits);
    }
    default: return valueError(`unsupported format character '${type}'`);
  }
}

/** The values of `"...".format_map(mapping)`. */
export function mappingValues(mapping: Value): { get(name: string): Value | undefined } {
  return mapping instanceof Dict ? { get: (name) => mapping.get(name) } : typeError("format_map() needs a mapping");
}
