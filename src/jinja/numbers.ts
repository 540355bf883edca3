/**
 * @file Python's arithmetic: whole numbers without end, floats that print as Python prints them, division that rounds down, rounding
 * half to even on the exact value of a float.
 */

import { PyError, unsupported } from "./errors.js";
import { askBits } from "./meter.js";
import { strip } from "./text.js";
import { Float, isInt, valueError, type Int } from "./values.js";

type Num = Int | boolean | Float;

// ---- whole numbers -----------------------------------------------------------------------------------------------------------------

/** A bigint as an Int. */
export function normalize(value: bigint): Int {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

export function toInt(value: Int | boolean): Int {
  return typeof value === "boolean" ? Number(value) : value;
}

function bitLength(value: Int): number {
  return typeof value === "number" ? Math.ceil(Math.log2(Math.abs(value) + 1)) : value.toString(16).length * 4;
}

/** A whole number as a float. Throws OverflowError. */
export function toFloat(value: Num): number {
  if (value instanceof Float) return value.value;
  const float = Number(value);
  if (!Number.isFinite(float)) throw new PyError("OverflowError", "int too large to convert to float");
  return float;
}

/** str() of a whole number; Python refuses beyond 4300 digits. */
export function intText(value: Int): string {
  const text = String(value);
  if (text.length > 4301) valueError("Exceeds the limit (4300 digits) for integer string conversion");
  return text;
}

/** A number's text without the white space around it. */
function asciiNumber(text: string): string {
  if (/(?![0-9])\p{Nd}/u.test(text)) unsupported("a number in digits other than 0 to 9");
  return strip(text);
}

/** int(text, base), as Python reads it. Throws ValueError. */
export function parseInteger(text: string, base: number): Int {
  const fail = (): never => valueError(`invalid literal for int() with base ${base}: '${text}'`);
  if (base !== 0 && (base < 2 || base > 36)) valueError("int() base must be >= 2 and <= 36, or 0");
  const match = /^([+-]?)(0[xX]_?|0[oO]_?|0[bB]_?)?([0-9a-zA-Z]+(?:_[0-9a-zA-Z]+)*)$/.exec(asciiNumber(text));
  if (match === null) return fail();
  const [, sign, prefix = "", body] = match;
  const prefixBase = { x: 16, o: 8, b: 2 }[prefix[1]?.toLowerCase()] ?? 0;
  let digits = body;
  let radix = base;
  if (prefix !== "" && (base === 0 || base === prefixBase)) radix = prefixBase;
  else digits = prefix.replace("_", "") + (prefix.endsWith("_") ? "_" : "") + body;
  if (radix === 0) {
    if (/^0[0-9_]*[1-9]/.test(digits)) fail();
    radix = 10;
  }
  if (digits.length > 4300) fail();
  let value = 0n;
  for (const digit of digits.replaceAll("_", "").toLowerCase()) {
    const code = parseInt(digit, 36);
    if (code >= radix) fail();
    value = value * BigInt(radix) + BigInt(code);
  }
  return normalize(sign === "-" ? -value : value);
}

/** float(text), as Python reads it. Throws ValueError. */
export function parseFloatText(text: string): number {
  const trimmed = asciiNumber(text).replace(/(?<=\d)_(?=\d)/g, "");
  if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(trimmed)) return Number(trimmed);
  const word = /^([+-]?)(inf|infinity|nan)$/i.exec(trimmed);
  if (word === null) return valueError(`could not convert string to float: '${text}'`);
  return word[2].toLowerCase() === "nan" ? NaN : word[1] === "-" ? -Infinity : Infinity;
}

// ---- operators ---------------------------------------------------------------------------------------------------------------------

export function negate(value: Num): Int | Float {
  if (value instanceof Float) return new Float(-value.value);
  const int = toInt(value);
  return typeof int === "number" ? 0 - int : normalize(-int);
}

/** `a OP b` of numbers. */
export function arithmetic(operator: string, a: Num, b: Num): Int | Float {
  return isInt(a) && isInt(b) ? intArithmetic(operator, toInt(a), toInt(b)) : floatArithmetic(operator, toFloat(a), toFloat(b));
}

function intArithmetic(operator: string, a: Int, b: Int): Int | Float {
  if (b === 0 && (operator === "/" || operator === "//" || operator === "%")) throw new PyError("ZeroDivisionError", operator === "/" ? "division by zero" : "integer division or modulo by zero");
  if (operator === "/") return new Float(divide(a, b));
  if (operator === "**") return intPower(a, b);
  if (typeof a === "number" && typeof b === "number") {
    const result = operator === "+" ? a + b : operator === "-" ? a - b : operator === "*" ? a * b : operator === "//" ? Math.floor(a / b) : a - b * Math.floor(a / b);
    // A quotient of large numbers may round up to a whole; the exact way decides.
    if (Number.isSafeInteger(result) && (operator === "+" || operator === "-" || operator === "*" || Math.abs(a) < 2 ** 31)) return result === 0 ? 0 : result;
  }
  const [x, y] = [BigInt(a), BigInt(b)];
  askBits(operator === "*" ? bitLength(a) + bitLength(b) : Math.max(bitLength(a), bitLength(b)));
  if (operator === "+") return normalize(x + y);
  if (operator === "-") return normalize(x - y);
  if (operator === "*") return normalize(x * y);
  const rest = x % y;
  const isDown = rest !== 0n && rest < 0n !== y < 0n;
  return normalize(operator === "//" ? x / y - (isDown ? 1n : 0n) : isDown ? rest + y : rest);
}

function intPower(a: Int, b: Int): Int | Float {
  if (b < 0) return floatPower(toFloat(a), toFloat(b));
  if (a === 0 || a === 1) return b === 0 ? 1 : a;
  if (a === -1) return BigInt(b) % 2n === 0n ? 1 : -1;
  askBits(bitLength(a) * Number(b));
  return normalize(BigInt(a) ** BigInt(b));
}

/** a / b, rounded once. */
function divide(a: Int, b: Int): number {
  if (typeof a === "number" && typeof b === "number") return a / b;
  const [x, y] = [BigInt(a), BigInt(b)];
  const result = quotient(x < 0n ? -x : x, y < 0n ? -y : y);
  if (!Number.isFinite(result)) throw new PyError("OverflowError", "integer division result too large for a float");
  return x < 0n !== y < 0n ? -result : result;
}

/** The quotient of two whole numbers, not negative, as the nearest float. */
function quotient(numerator: bigint, denominator: bigint): number {
  // So many bits that the last one can say whether anything is left over.
  const shift = Math.max(0, 66 + bitLength(denominator) - bitLength(numerator));
  const scaled = numerator << BigInt(shift);
  const whole = (scaled / denominator) | (scaled % denominator === 0n ? 0n : 1n);
  // In two steps, since 2 ** -shift alone may be too small for a float.
  return Number(whole) * 2 ** -Math.floor(shift / 2) * 2 ** -Math.ceil(shift / 2);
}

function floatArithmetic(operator: string, a: number, b: number): Float {
  switch (operator) {
    case "+": return new Float(a + b);
    case "-": return new Float(a - b);
    case "*": return new Float(a * b);
    case "**": return floatPower(a, b);
  }
  if (b === 0) throw new PyError("ZeroDivisionError", operator === "/" ? "float division by zero" : operator === "%" ? "float modulo" : "float floor division by zero");
  if (operator === "/") return new Float(a / b);
  let rest = a % b;
  let whole = (a - rest) / b;
  if (rest !== 0) {
    if (b < 0 !== rest < 0) [rest, whole] = [rest + b, whole - 1];
  } else {
    rest = b < 0 ? -0 : 0;
  }
  if (operator === "%") return new Float(rest);
  if (whole === 0) return new Float(a / b < 0 || Object.is(a / b, -0) ? -0 : 0);
  const floor = Math.floor(whole);
  return new Float(whole - floor > 0.5 ? floor + 1 : floor);
}

function floatPower(a: number, b: number): Float {
  if (a === 0 && b < 0) throw new PyError("ZeroDivisionError", "0.0 cannot be raised to a negative power");
  if (a < 0 && Number.isFinite(a) && Number.isFinite(b) && !Number.isInteger(b)) unsupported("a complex number");
  if (a === 1 || b === 0) return new Float(1);
  if (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) return new Float(1);
  const result = a === 0 || !Number.isFinite(a) || !Number.isFinite(b) ? a ** b : exactPower(a, b);
  if (!Number.isFinite(result) && Number.isFinite(a) && Number.isFinite(b)) throw new PyError("OverflowError", "(34, 'Numerical result out of range')");
  return new Float(result);
}

/** a ** b, correctly rounded, which JavaScript's own is not; that takes a whole exponent, or the root. */
function exactPower(a: number, b: number): number {
  if (b === 0.5) return Math.sqrt(a);
  if (!Number.isInteger(b) || Math.abs(b) > 1024) unsupported(`a float to the power of ${floatText(b)}`);
  let [numerator, denominator] = ratio(a);
  const times = BigInt(Math.abs(b));
  askBits(64 * Math.abs(b));
  [numerator, denominator] = [numerator ** times, denominator ** times];
  const size = b < 0 ? quotient(denominator, numerator) : quotient(numerator, denominator);
  return a < 0 && b % 2 !== 0 ? -size : size;
}

// ---- floats as text ----------------------------------------------------------------------------------------------------------------

/** repr() of a float: the shortest digits that give it back. */
export function floatText(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const [, sign, first, rest = "", exponentText] = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(value.toExponential())!;
  const exponent = Number(exponentText);
  const minus = sign === "-" || Object.is(value, -0) ? "-" : "";
  const digits = first + rest;
  if (exponent < -4 || exponent >= 16) return `${minus}${first}${rest === "" ? "" : `.${rest}`}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  if (exponent < 0) return `${minus}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${minus}${whole}.${digits.slice(exponent + 1) || "0"}`;
}

/** The finite float as numerator / denominator, exactly. */
function ratio(value: number): readonly [bigint, bigint] {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, Math.abs(value));
  const raw = view.getBigUint64(0);
  const exponent = Number(raw >> 52n);
  const mantissa = (raw & ((1n << 52n) - 1n)) | (exponent === 0 ? 0n : 1n << 52n);
  const power = Math.max(exponent, 1) - 1075;
  return power >= 0 ? [mantissa << BigInt(power), 1n] : [mantissa, 1n << BigInt(-power)];
}

/** numerator / denominator rounded to a whole number, half to even. */
function roundHalfEven(numerator: bigint, denominator: bigint): bigint {
  const [quotient, rest] = [numerator / denominator, (numerator % denominator) * 2n];
  return rest > denominator || (rest === denominator && quotient % 2n === 1n) ? quotient + 1n : quotient;
}

/** |value| × 10^decimals, rounded half to even on the float's exact value. */
function scaled(value: number, decimals: number): bigint {
  const [numerator, denominator] = ratio(value);
  return decimals >= 0 ? roundHalfEven(numerator * 10n ** BigInt(decimals), denominator) : roundHalfEven(numerator, denominator * 10n ** BigInt(-decimals));
}

/** |value| with so many digits after the point. */
export function fixed(value: number, decimals: number): string {
  askBits(4 * decimals + 1024);
  const digits = String(scaled(value, decimals)).padStart(decimals + 1, "0");
  return decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}

/** |value| as digits of a mantissa with so many of them, and the power of ten of the first. */
export function scientific(value: number, count: number): { readonly digits: string; readonly exponent: number } {
  askBits(4 * count + 1024);
  if (value === 0) return { digits: "0".repeat(count), exponent: 0 };
  let exponent = Number(/e([+-]\d+)$/.exec(Math.abs(value).toExponential())![1]);
  let digits = String(scaled(value, count - 1 - exponent));
  if (digits.length > count) [exponent, digits] = [exponent + 1, String(scaled(value, count - 2 - exponent))];
  return { digits: digits.slice(0, count), exponent };
}

/** round(value, decimals) of a float. */
export function roundFloat(value: number, decimals: number): number {
  if (!Number.isFinite(value) || value === 0 || decimals > 400) return value;
  if (decimals < -400) return value < 0 ? -0 : 0;
  const result = Number(`${scaled(value, decimals)}e${-decimals}`);
  return value < 0 ? -result : result;
}

/** A finite float as a whole number, rounded half to even, down, up, or towards zero. Throws ValueError, OverflowError. */
export function wholeOf(value: number, how: "even" | "floor" | "ceil" | "trunc"): Int {
  if (Number.isNaN(value)) valueError("cannot convert float NaN to integer");
  if (!Number.isFinite(value)) throw new PyError("OverflowError", "cannot convert float infinity to integer");
  if (how === "even") return normalize(value < 0 ? -scaled(value, 0) : scaled(value, 0));
  return normalize(BigInt(how === "floor" ? Math.floor(value) : how === "ceil" ? Math.ceil(value) : Math.trunc(value)));
}

/** round(value, decimals) of a whole number; fewer than no decimals round to tens, hundreds. */
export function roundInt(value: Int, decimals: number): Int {
  if (decimals >= 0) return value;
  askBits(-decimals * 4);
  const unit = 10n ** BigInt(-decimals);
  const exact = BigInt(value);
  const rounded = roundHalfEven(exact < 0n ? -exact : exact, unit) * unit;
  return normalize(exact < 0n ? -rounded : rounded);
}
