/**
 * @file The grammar of Jinja: tokens become the tree of `ast.ts`. One method a level of precedence, loosest first: condition, or, and,
 * not, comparison, sum, concatenation, product, power, unary, postfix, filter.
 */

import type {
  BinaryOperator, Body, CallArguments, CallNode, ComparisonOperator, Expression, FilterNode, Signature, Slice, Statement, Target,
} from "./ast.js";
import { TemplateFailure } from "./errors.js";
import { tokenize, type Token, type TokenType } from "./lexer.js";
import type { Value } from "./values.js";

/** Nested expressions and blocks; Python's parser ends at about as many. */
const maxDepth = 90;
/** Nested loops: CPython compiles no more. */
const maxLoops = 20;

const constants: Readonly<Record<string, Value>> = { true: true, True: true, false: false, False: false, none: null, None: null };
const comparisons = new Set(["==", "!=", "<", "<=", ">", ">="]);

/** The tree of a template. Throws TemplateFailure `syntax`. */
export function parse(template: string): Body {
  return new Parser(tokenize(template)).template();
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  #loops = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  template(): Body {
    return this.#body([]);
  }

  // ---- tokens ----------------------------------------------------------------------------------------------------------------------

  get #token(): Token {
    return this.#tokens[this.#at];
  }

  #next(): Token {
    const token = this.#tokens[this.#at];
    if (token.type !== "end") this.#at++;
    return token;
  }

  #is(type: TokenType, text?: string): boolean {
    const token = this.#token;
    return token.type === type && (text === undefined || token.text === text);
  }

  #isOperator(text: string): boolean {
    return this.#is("operator", text);
  }

  #isName(text: string): boolean {
    return this.#is("name", text);
  }

  #follows(type: TokenType, text: string): boolean {
    const token = this.#tokens[this.#at + 1];
    return token?.type === type && token.text === text;
  }

  #skip(type: TokenType, text?: string): boolean {
    const found = this.#is(type, text);
    if (found) this.#next();
    return found;
  }

  #expect(type: TokenType, text?: string): Token {
    if (!this.#is(type, text)) this.#fail(`expected ${text === undefined ? typeNames[type] : `'${text}'`}, got ${describe(this.#token)}`);
    return this.#next();
  }

  #fail(message: string, line = this.#token.line): never {
    throw new TemplateFailure("syntax", `${message}.`, line);
  }

  #deeper<T>(parse: () => T): T {
    if (++this.#depth > maxDepth) throw new TemplateFailure("exceeded", `it nests more than ${maxDepth} deep.`, this.#token.line);
    const result = parse();
    this.#depth--;
    return result;
  }

  // ---- statements ------------------------------------------------------------------------------------------------------------------

  /** Statements up to one of the end tags, whose name is then the current token. */
  #body(ends: readonly string[]): Statement[] {
    const statements: Statement[] = [];
    for (;;) {
      const token = this.#next();
      switch (token.type) {
        case "text":
          statements.push({ type: "text", text: token.text, line: token.line });
          break;
        case "{{":
          statements.push({ type: "output", value: this.#tuple(), line: token.line });
          this.#expect("}}");
          break;
        case "{%":
          if (this.#token.type === "name" && ends.includes(this.#token.text)) return statements;
          statements.push(...this.#deeper(() => this.#statement(ends)));
          this.#expect("%}");
          break;
        default:
          if (ends.length > 0) this.#fail(`unexpected end of template, looking for ${ends.map((end) => `'${end}'`).join(" or ")}`);
          return statements;
      }
    }
  }

  /** What stands between a block's opening tag and its end, whose name is consumed if there is but one. */
  #block(...ends: string[]): Statement[] {
    this.#skip("operator", ":");
    this.#expect("%}");
    const statements = this.#body(ends);
    if (ends.length === 1) this.#next();
    return statements;
  }

  #statement(ends: readonly string[]): Statement[] {
    const { line, text: tag } = this.#expect("name");
    switch (tag) {
      case "for": return [this.#for(line)];
      case "if": return [this.#if(line)];
      case "set": return [this.#set(line)];
      case "macro": {
        const name = this.#assignableName();
        return [{ type: "macro", name, ...this.#signature(), body: this.#function("endmacro"), line }];
      }
      case "call": {
        const signature = this.#isOperator("(") ? this.#signature() : { parameters: [], defaults: [] };
        const call = this.#expression();
        if (call.type !== "call") this.#fail("expected call", line);
        return [{ type: "callBlock", call, ...signature, body: this.#function("endcall"), line }];
      }
      case "generation": return [{ type: "callBlock", call: undefined, parameters: [], defaults: [], body: this.#function("endgeneration"), line }];
      case "filter": return [{ type: "filterBlock", filter: this.#filters(undefined, true) as FilterNode, body: this.#block("endfilter"), line }];
      case "with": return [this.#with(line)];
      case "autoescape": return [{ type: "autoescape", value: this.#expression(), body: this.#block("endautoescape"), line }];
      case "print": {
        const values: Expression[] = [];
        while (!this.#is("%}")) {
          if (values.length > 0) this.#expect("operator", ",");
          values.push(this.#expression());
        }
        return values.map((value) => ({ type: "output", value, line }));
      }
      case "break": case "continue": return [{ type: tag, line }];
      case "block": return [this.#namedBlock(line)];
      case "include": case "import": case "from": case "extends": return [this.#load(tag, line)];
      default:
        return this.#fail(`unknown tag '${tag}'${ends.length === 0 ? "" : `, looking for ${ends.map((end) => `'${end}'`).join(" or ")}`}`, line);
    }
  }

  #for(line: number): Statement {
    const target = this.#target({ ends: ["in"] });
    this.#expect("name", "in");
    const iterable = this.#tuple({ condition: false, ends: ["recursive"] });
    const test = this.#skip("name", "if") ? this.#expression() : undefined;
    const recursive = this.#skip("name", "recursive");
    if (++this.#loops > maxLoops) throw new TemplateFailure("exceeded", `its loops nest more than ${maxLoops} deep.`, line);
    const body = this.#block("endfor", "else");
    this.#loops--;
    const otherwise = this.#next().text === "else" ? this.#block("endfor") : [];
    return { type: "for", target, iterable, test, recursive, body, otherwise, line };
  }

  #if(line: number): Statement {
    const branches: { test: Expression; body: Body }[] = [];
    for (;;) {
      branches.push({ test: this.#tuple({ condition: false }), body: this.#block("elif", "else", "endif") });
      const { text } = this.#next();
      if (text === "elif") continue;
      return { type: "if", branches, otherwise: text === "else" ? this.#block("endif") : [], line };
    }
  }

  #set(line: number): Statement {
    const target = this.#target({ namespace: true });
    if (this.#skip("operator", "=")) return { type: "set", target, value: this.#tuple(), line };
    const filter = this.#filters(undefined) as FilterNode | undefined;
    return { type: "setBlock", target, filter, body: this.#block("endset"), line };
  }

  #with(line: number): Statement {
    const targets: Target[] = [];
    const values: Expression[] = [];
    while (!this.#is("%}")) {
      if (targets.length > 0) this.#expect("operator", ",");
      targets.push(this.#target({}));
      this.#expect("operator", "=");
      values.push(this.#expression());
    }
    return { type: "with", targets, values, body: this.#block("endwith"), line };
  }

  #namedBlock(line: number): Statement {
    const name = this.#expect("name").text;
    const scoped = this.#skip("name", "scoped");
    const required = this.#skip("name", "required");
    const body = this.#block("endblock");
    this.#skip("name", name);
    return { type: "block", name, scoped, required, body, line };
  }

  #load(tag: string, line: number): Statement {
    const template = this.#expression();
    const names: string[] = [];
    if (tag === "import") {
      this.#expect("name", "as");
      names.push(this.#assignableName());
    } else if (tag === "from") {
      this.#expect("name", "import");
      do {
        if (!this.#is("name") || this.#isContext()) break;
        const name = this.#assignableName();
        names.push(this.#skip("name", "as") ? this.#assignableName() : name);
      } while (!this.#isContext() && this.#skip("operator", ","));
    } else if (tag === "include" && this.#isName("ignore") && this.#follows("name", "missing")) {
      this.#at += 2;
    }
    if (tag !== "extends" && this.#isContext()) this.#at += 2;
    return { type: "load", tag, template, names, line };
  }

  #isContext(): boolean {
    return (this.#isName("with") || this.#isName("without")) && this.#follows("name", "context");
  }

  /** The body of what Python compiles to a function of its own: loops around it are not around its body. */
  #function(end: string): Statement[] {
    const loops = this.#loops;
    this.#loops = 0;
    const body = this.#block(end);
    this.#loops = loops;
    return body;
  }

  #signature(): Signature {
    const parameters: string[] = [];
    const defaults: Expression[] = [];
    this.#expect("operator", "(");
    while (!this.#isOperator(")")) {
      if (parameters.length > 0) this.#expect("operator", ",");
      const name = this.#assignableName();
      if (parameters.includes(name)) this.#fail(`duplicate argument '${name}'`);
      parameters.push(name);
      if (this.#skip("operator", "=")) defaults.push(this.#expression());
      else if (defaults.length > 0) this.#fail("non-default argument follows default argument");
    }
    this.#next();
    return { parameters, defaults };
  }

  // ---- targets ---------------------------------------------------------------------------------------------------------------------

  #assignableName(): string {
    const { text, line } = this.#expect("name");
    if (Object.hasOwn(constants, text)) this.#fail(`cannot assign to '${text}'`, line);
    return text;
  }

  /** A name, `namespace.attribute` where allowed, or several with commas between. */
  #target({ ends = [], namespace = false }: { readonly ends?: readonly string[]; readonly namespace?: boolean }): Target {
    const { line } = this.#token;
    const items: Target[] = [];
    let several = false;
    for (;;) {
      if (items.length > 0) this.#expect("operator", ",");
      if (this.#endsTuple(ends)) break;
      items.push(this.#singleTarget(namespace));
      if (!this.#isOperator(",")) break;
      several = true;
    }
    if (!several) return items[0] ?? this.#fail(`expected a name to assign to, got ${describe(this.#token)}`);
    return { type: "targets", items, line };
  }

  #singleTarget(namespace: boolean): Target {
    const { line } = this.#token;
    if (this.#skip("operator", "(")) {
      // Within brackets the items are expressions to Jinja's parser, of which only names and tuples can be assigned to.
      const target = this.#deeper(() => toTarget(this.#tuple({ brackets: true })));
      if (target === undefined) this.#fail("cannot assign to this expression", line);
      this.#expect("operator", ")");
      return target;
    }
    if (!this.#is("name")) this.#fail(`cannot assign to ${describe(this.#token)}`);
    const name = this.#assignableName();
    if (namespace && this.#skip("operator", ".")) return { type: "namespace", name, attribute: this.#expect("name").text, line };
    return { type: "name", name, line };
  }

  // ---- expressions -----------------------------------------------------------------------------------------------------------------

  #endsTuple(ends: readonly string[]): boolean {
    const { type, text } = this.#token;
    return type === "}}" || type === "%}" || (type === "operator" && text === ")") || (type === "name" && ends.includes(text));
  }

  /** An expression, or several with commas between. */
  #tuple({ condition = true, ends = [], brackets = false }: { readonly condition?: boolean; readonly ends?: readonly string[]; readonly brackets?: boolean } = {}): Expression {
    const { line } = this.#token;
    const items: Expression[] = [];
    let several = false;
    for (;;) {
      if (items.length > 0) this.#expect("operator", ",");
      if (this.#endsTuple(ends)) break;
      items.push(this.#expression(condition));
      if (!this.#isOperator(",")) break;
      several = true;
    }
    if (!several) {
      if (items.length > 0) return items[0];
      if (!brackets) this.#fail(`expected an expression, got ${describe(this.#token)}`);
    }
    return { type: "tuple", items, line };
  }

  #expression(condition = true): Expression {
    return this.#deeper(() => (condition ? this.#condition() : this.#or()));
  }

  #condition(): Expression {
    let { line } = this.#token;
    let then = this.#or();
    while (this.#skip("name", "if")) {
      const test = this.#or();
      const otherwise = this.#skip("name", "else") ? this.#deeper(() => this.#condition()) : undefined;
      then = { type: "condition", test, then, otherwise, line };
      ({ line } = this.#token);
    }
    return then;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#isName("or")) {
      const { line } = this.#next();
      left = { type: "logic", operator: "or", left, right: this.#and(), line };
    }
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#isName("and")) {
      const { line } = this.#next();
      left = { type: "logic", operator: "and", left, right: this.#not(), line };
    }
    return left;
  }

  #not(): Expression {
    if (!this.#isName("not")) return this.#comparison();
    const { line } = this.#next();
    return { type: "unary", operator: "not", of: this.#deeper(() => this.#not()), line };
  }

  #comparison(): Expression {
    const { line } = this.#token;
    const first = this.#sum();
    const rest: [ComparisonOperator, Expression][] = [];
    for (;;) {
      const token = this.#token;
      if (token.type === "operator" && comparisons.has(token.text)) {
        this.#next();
        rest.push([token.text as ComparisonOperator, this.#sum()]);
      } else if (this.#skip("name", "in")) {
        rest.push(["in", this.#sum()]);
      } else if (this.#isName("not") && this.#follows("name", "in")) {
        this.#at += 2;
        rest.push(["not in", this.#sum()]);
      } else {
        return rest.length === 0 ? first : { type: "compare", first, rest, line };
      }
    }
  }

  /** A level of left-associative operators. */
  #binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    while (this.#token.type === "operator" && operators.includes(this.#token.text)) {
      const { text, line } = this.#next();
      left = { type: "binary", operator: text as BinaryOperator, left, right: operand(), line };
    }
    return left;
  }

  #sum(): Expression {
    return this.#binary(["+", "-"], () => this.#concatenation());
  }

  #concatenation(): Expression {
    const { line } = this.#token;
    const parts = [this.#product()];
    while (this.#skip("operator", "~")) parts.push(this.#product());
    return parts.length === 1 ? parts[0] : { type: "concat", parts, line };
  }

  #product(): Expression {
    return this.#binary(["*", "/", "//", "%"], () => this.#power());
  }

  /** Unlike in Python, `**` groups from the left and binds looser than a sign. */
  #power(): Expression {
    return this.#binary(["**"], () => this.#unary(true));
  }

  #unary(withFilters: boolean): Expression {
    const { type, text, line } = this.#token;
    let expression: Expression;
    if (type === "operator" && (text === "-" || text === "+")) {
      this.#next();
      expression = { type: "unary", operator: text, of: this.#deeper(() => this.#unary(false)), line };
    } else {
      expression = this.#primary();
    }
    expression = this.#postfix(expression);
    return withFilters ? this.#filtersAndTests(expression) : expression;
  }

  #primary(): Expression {
    const token = this.#next();
    const { line } = token;
    switch (token.type) {
      case "name":
        return Object.hasOwn(constants, token.text) ? { type: "constant", value: constants[token.text], line } : { type: "name", name: token.text, line };
      case "string": {
        let text = token.text;
        while (this.#is("string")) text += this.#next().text;
        return { type: "constant", value: text, line };
      }
      case "int": case "float":
        return { type: "constant", value: token.number!, line };
      case "operator":
        if (token.text === "(") {
          const inner = this.#tuple({ brackets: true });
          this.#expect("operator", ")");
          return inner;
        }
        if (token.text === "[") return { type: "list", items: this.#list("]", () => this.#expression()), line };
        if (token.text === "{") {
          const entry = (): [Expression, Expression] => {
            const key = this.#expression();
            this.#expect("operator", ":");
            return [key, this.#expression()];
          };
          return { type: "dict", entries: this.#list("}", entry), line };
        }
    }
    return this.#fail(`unexpected ${describe(token)}`, line);
  }

  /** Items with commas between, and perhaps after the last, up to the closing bracket. */
  #list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.#isOperator(close)) {
      if (items.length > 0) this.#expect("operator", ",");
      if (this.#isOperator(close)) break;
      items.push(item());
    }
    this.#next();
    return items;
  }

  #postfix(expression: Expression): Expression {
    for (;;) {
      if (this.#isOperator(".")) expression = this.#attribute(expression);
      else if (this.#isOperator("[")) expression = this.#subscript(expression);
      else if (this.#isOperator("(")) expression = this.#call(expression);
      else return expression;
    }
  }

  #filtersAndTests(expression: Expression): Expression {
    for (;;) {
      if (this.#isOperator("|")) expression = this.#filters(expression)!;
      else if (this.#isName("is")) expression = this.#test(expression);
      else if (this.#isOperator("(")) expression = this.#call(expression);
      else return expression;
    }
  }

  #attribute(of: Expression): Expression {
    const { line } = this.#next();
    const token = this.#next();
    if (token.type === "name") return { type: "attribute", of, name: token.text, line };
    if (token.type === "int") return { type: "item", of, key: { type: "constant", value: token.number!, line }, line };
    return this.#fail("expected name or number", token.line);
  }

  #subscript(of: Expression): Expression {
    const { line } = this.#next();
    const keys: (Expression | Slice)[] = [];
    while (!this.#isOperator("]")) {
      if (keys.length > 0) this.#expect("operator", ",");
      keys.push(this.#subscribed());
    }
    this.#next();
    if (keys.length === 1) return "type" in keys[0] ? { type: "item", of, key: keys[0], line } : { type: "slice", of, ...keys[0], line };
    const items = keys.map((key) => ("type" in key ? key : this.#fail("a slice among several keys", line)));
    return { type: "item", of, key: { type: "tuple", items, line }, line };
  }

  #subscribed(): Expression | Slice {
    const part = () => (this.#isOperator(":") || this.#isOperator("]") || this.#isOperator(",") ? undefined : this.#expression());
    const start = part();
    if (!this.#isOperator(":")) return start ?? this.#fail(`unexpected ${describe(this.#token)}`);
    this.#next();
    const stop = part();
    const step = this.#skip("operator", ":") ? part() : undefined;
    return { start, stop, step };
  }

  #call(of: Expression): CallNode {
    const { line } = this.#token;
    return { type: "call", of, ...this.#callArguments(), line };
  }

  #callArguments(): CallArguments {
    const { line } = this.#expect("operator", "(");
    const args: Expression[] = [];
    const keywords: [string, Expression][] = [];
    let rest: Expression | undefined;
    let restKeywords: Expression | undefined;
    const ensure = (allowed: boolean) => {
      if (!allowed) this.#fail("invalid syntax for function call expression", line);
    };
    for (let first = true; !this.#isOperator(")"); first = false) {
      if (!first) {
        this.#expect("operator", ",");
        if (this.#isOperator(")")) break;
      }
      if (this.#skip("operator", "*")) {
        ensure(rest === undefined && restKeywords === undefined);
        rest = this.#expression();
      } else if (this.#skip("operator", "**")) {
        ensure(restKeywords === undefined);
        restKeywords = this.#expression();
      } else if (this.#is("name") && this.#follows("operator", "=")) {
        ensure(restKeywords === undefined);
        const { text } = this.#next();
        this.#next();
        if (keywords.some(([name]) => name === text)) this.#fail(`keyword argument repeated: ${text}`, line);
        keywords.push([text, this.#expression()]);
      } else {
        ensure(rest === undefined && restKeywords === undefined && keywords.length === 0);
        args.push(this.#expression());
      }
    }
    this.#next();
    return { args, keywords, rest, restKeywords };
  }

  #dottedName(): string {
    let name = this.#expect("name").text;
    while (this.#skip("operator", ".")) name += `.${this.#expect("name").text}`;
    return name;
  }

  /** `| name(...)`, as many as there are; with `inline` the first has no bar before it. */
  #filters(of: Expression | undefined, inline = false): Expression | undefined {
    while (inline || this.#isOperator("|")) {
      if (!inline) this.#next();
      inline = false;
      const { line } = this.#token;
      const name = this.#dottedName();
      of = { type: "filter", of, name, ...(this.#isOperator("(") ? this.#callArguments() : noArguments), line };
    }
    return of;
  }

  #test(of: Expression): Expression {
    const { line } = this.#next();
    const negated = this.#skip("name", "not");
    const name = this.#dottedName();
    let given = noArguments;
    if (this.#isOperator("(")) {
      given = this.#callArguments();
    } else if (this.#startsArgument()) {
      if (this.#isName("is")) this.#fail("You cannot chain multiple tests with is");
      given = { ...noArguments, args: [this.#postfix(this.#primary())] };
    }
    const test: Expression = { type: "test", of, name, ...given, line };
    return negated ? { type: "unary", operator: "not", of: test, line } : test;
  }

  #startsArgument(): boolean {
    const { type, text } = this.#token;
    if (type === "name") return !["else", "or", "and"].includes(text);
    return type === "string" || type === "int" || type === "float" || (type === "operator" && (text === "[" || text === "{"));
  }
}

const noArguments: CallArguments = { args: [], keywords: [], rest: undefined, restKeywords: undefined };

function toTarget(expression: Expression): Target | undefined {
  if (expression.type === "name") return { type: "name", name: expression.name, line: expression.line };
  if (expression.type !== "tuple") return undefined;
  const items = expression.items.map(toTarget);
  return items.every((item) => item !== undefined) ? { type: "targets", items, line: expression.line } : undefined;
}

const typeNames: Readonly<Record<TokenType, string>> = {
  text: "text", "{{": "'{{'", "}}": "the end of the print statement", "{%": "'{%'", "%}": "the end of the statement block",
  name: "a name", string: "a string", int: "a number", float: "a number", operator: "an operator", end: "the end of the template",
};

function describe({ type, text }: Token): string {
  return type === "name" || type === "operator" ? `'${text}'` : typeNames[type];
}
