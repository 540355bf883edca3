/**
 * @file Splits a template into tokens, as Jinja's lexer does with `trim_blocks` and `lstrip_blocks`: a line break after a block is dropped,
 * and so is white space between the beginning of a line and a block; `-` strips more, `+` keeps.
 */

import { TemplateFailure } from "./errors.js";
import { pySpace, strip } from "./text.js";
import { Float, type Int } from "./values.js";

export type TokenType = "text" | "{{" | "}}" | "{%" | "%}" | "name" | "string" | "int" | "float" | "operator" | "end";

export interface Token {
  readonly type: TokenType;
  /** The source of a name or operator; the content of a text or string. */
  readonly text: string;
  readonly number?: Int | Float;
  readonly line: number;
}

const space = `[${pySpace}]`;
// All are sticky: they match at `lastIndex` or not at all.
const whiteSpace = new RegExp(`${space}+`, "y");
const opening = new RegExp(`\\{%([-+]?)${space}*raw${space}*(-%\\}${space}*|%\\})|(\\{[{%#])([-+]?)`, "g");
const rawEnd = new RegExp(`\\{%([-+]?)${space}*endraw${space}*(?:\\+%\\}|-%\\}${space}*|%\\}\\n?)`, "g");
const commentEnd = new RegExp(`\\+#\\}|-#\\}${space}*|#\\}\\n?`, "g");
const blockEnd = new RegExp(`\\+%\\}|-%\\}${space}*|%\\}\\n?`, "y");
const variableEnd = new RegExp(`-\\}\\}${space}*|\\}\\}`, "y");
const floatLiteral = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const intLiteral = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const name = /[\p{XIDC}\p{N}_]+/uy;
const identifier = /^[\p{XIDS}_]\p{XIDC}*$/u;
const string = /'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const operator = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}<>=.:|,;]/y;
const closing: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** Python's limit for the digits of a literal. */
const maxDigits = 4300;

/** The tokens of a template. Throws TemplateFailure `syntax`. */
export function tokenize(template: string): Token[] {
  return new Lexer(template.replace(/\r\n|\r/g, "\n").replace(/\n$/, "")).run();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  /** What was matched last ends a line (or is the beginning): a block after white space stands alone on its line. */
  #lineStarts = true;

  constructor(source: string) {
    this.#source = source;
  }

  run(): Token[] {
    while (this.#at < this.#source.length) this.#text();
    this.#push("end", "");
    return this.#tokens;
  }

  /** Text, and the tag after it. */
  #text(): void {
    opening.lastIndex = this.#at;
    const found = opening.exec(this.#source);
    if (found === null) {
      this.#pushText(this.#source.slice(this.#at));
      this.#advance(this.#source.length);
      return;
    }
    const [, rawSign, raw, tag, tagSign] = found;
    this.#pushText(this.#stripped(this.#source.slice(this.#at, found.index), rawSign ?? tagSign, tag === "{{"));
    this.#advance(opening.lastIndex);
    if (raw !== undefined) this.#raw();
    else if (tag === "{#") this.#advance(this.#find(commentEnd, "Missing end of comment tag").end);
    else this.#tag(tag as "{{" | "{%");
  }

  /** The text before a tag without the white space that the tag takes. */
  #stripped(text: string, sign: string, isVariable: boolean): string {
    if (sign === "-") return strip(text, "right");
    if (sign === "+" || isVariable) return text;
    const lineBegin = text.lastIndexOf("\n") + 1;
    if (lineBegin === 0 && !this.#lineStarts) return text;
    return onlySpace.test(text.slice(lineBegin)) ? text.slice(0, lineBegin) : text;
  }

  #raw(): void {
    const { begin, end, match } = this.#find(rawEnd, "Missing end of raw directive");
    this.#pushText(this.#stripped(this.#source.slice(this.#at, begin), match[1], false));
    this.#advance(end);
  }

  #tag(open: "{{" | "{%"): void {
    this.#push(open, open);
    const [close, end] = open === "{{" ? (["}}", variableEnd] as const) : (["%}", blockEnd] as const);
    const brackets: string[] = [];
    for (;;) {
      if (brackets.length === 0 && this.#match(end) !== undefined) {
        this.#push(close, close);
        this.#advance(end.lastIndex);
        return;
      }
      if (this.#at >= this.#source.length) {
        // The parser says what it expected.
        return;
      }
      this.#inTag(brackets);
    }
  }

  #inTag(brackets: string[]): void {
    let text: string | undefined;
    if ((text = this.#match(whiteSpace)) !== undefined) {
      // Nothing.
    } else if ((text = this.#match(floatLiteral)) !== undefined) {
      this.#push("float", text, new Float(Number(text.replaceAll("_", ""))));
    } else if ((text = this.#match(intLiteral)) !== undefined) {
      if (text.length > maxDigits) this.#fail(`a number of more than ${maxDigits} digits`);
      const value = BigInt(text.replaceAll("_", "").toLowerCase());
      this.#push("int", text, Number.isSafeInteger(Number(value)) ? Number(value) : value);
    } else if ((text = this.#match(name)) !== undefined) {
      if (!identifier.test(text)) this.#fail("Invalid character in identifier");
      this.#push("name", text);
    } else if ((text = this.#match(string)) !== undefined) {
      this.#push("string", this.#unescape(text.slice(1, -1)));
    } else if ((text = this.#match(operator)) !== undefined) {
      if (text in closing) brackets.push(closing[text]);
      else if (text === ")" || text === "]" || text === "}") {
        const expected = brackets.pop();
        if (expected !== text) this.#fail(`unexpected '${text}'${expected === undefined ? "" : `, expected '${expected}'`}`);
      }
      this.#push("operator", text);
    } else {
      this.#fail(`unexpected char '${String.fromCodePoint(this.#source.codePointAt(this.#at)!)}'`);
    }
    this.#advance(this.#at + text.length);
  }

  /** The content of a string literal, by Python's rules for escapes. */
  #unescape(content: string): string {
    return content.replace(/\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-7]{1,3}|.|$)/gsu, (whole, escape: string) => {
      const first = escape[0];
      if (first in escapes) return escapes[first];
      if (/^[0-7]/.test(escape)) return String.fromCodePoint(parseInt(escape, 8));
      if ("xuU".includes(first) && escape.length > 1) {
        const code = parseInt(escape.slice(1), 16);
        if (code > 0x10ffff) this.#fail("illegal Unicode character");
        if (code >= 0xd800 && code < 0xe000) this.#fail(`the escape ${whole}, half of a character,`);
        return String.fromCodePoint(code);
      }
      if ("xuU".includes(first)) this.#fail(`truncated \\${first} escape`);
      if (first === "N") this.#fail("the escape \\N{...} is not supported, and");
      // Jinja encodes what is not ASCII before it looks at escapes, so this backslash meets the one of the encoding.
      const code = escape.codePointAt(0)!;
      return code < 128 ? whole : `\\${code < 256 ? `x${code.toString(16)}` : code < 65536 ? `u${code.toString(16).padStart(4, "0")}` : `U${code.toString(16).padStart(8, "0")}`}`;
    });
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#source)?.[0];
  }

  #find(pattern: RegExp, otherwise: string): { readonly begin: number; readonly end: number; readonly match: RegExpExecArray } {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#source);
    if (match === null) this.#fail(otherwise);
    return { begin: match.index, end: pattern.lastIndex, match };
  }

  #pushText(text: string): void {
    if (text !== "") this.#push("text", text);
  }

  #push(type: TokenType, text: string, number?: Int | Float): void {
    this.#tokens.push(number === undefined ? { type, text, line: this.#line } : { type, text, number, line: this.#line });
  }

  #advance(to: number): void {
    for (let i = this.#at; i < to; i++) if (this.#source.charCodeAt(i) === 10) this.#line++;
    this.#lineStarts = this.#source[to - 1] === "\n";
    this.#at = to;
  }

  #fail(message: string): never {
    throw new TemplateFailure("syntax", `${message}.`, this.#line);
  }
}

const onlySpace = new RegExp(`^${space}+$`);
const escapes: Readonly<Record<string, string>> = {
  "\n": "", "\\": "\\", "'": "'", '"': '"', a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v",
};
