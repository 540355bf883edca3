/**
 * @file Runs the tree of a template. Statements write to an `Output` and say how they end (`break` and `continue` end a loop's turn);
 * expressions give a value. Names are looked up in frames, one for each scope that is entered (`scopes.ts`).
 */

import { spread } from "./arguments.js";
import type {
  BlockNode, Body, CallArguments, CallBlockNode, Expression, FilterBlockNode, FilterNode, ForNode, MacroNode, SetBlockNode, Statement, Target, WithNode } from "./ast.js";
import { call, getAttribute, getItem } from "./attributes.js";
import { PyError, TemplateFailure, unsupported } from "./errors.js";
import { callFilter, isFilter } from "./filters.js";
import { Namespace } from "./globals.js";
import { askLength, nested, spend } from "./meter.js";
import { binary, compare, signed, slice } from "./operators.js";
import type { Analysis, MacroUse, Scope } from "./scopes.js";
import { str } from "./show.js";
import { callTest, isTest } from "./tests.js";
import {
  Callable, Dict, hasLength, isText, Iter, iterate, length, Opaque, textOf, truthy, Tuple, typeError, typeName, Undefined, valueError, type Keywords, type Value } from "./values.js";

/** How statements end, where not at their end. */
type Ending = "break" | "continue" | undefined;

/** The variables that a template is given, and those that it sets on its outermost level, which its blocks see. */
class Context {
  readonly set: Map<string, Value | undefined>;
  readonly #given: readonly ReadonlyMap<string, Value>[];

  constructor(given: readonly ReadonlyMap<string, Value>[], set = new Map<string, Value | undefined>()) {
    this.#given = given;
    this.set = set;
  }
  resolve(name: string): Value | undefined {
    if (this.set.has(name)) return this.set.get(name);
    return this.#given.find((variables) => variables.has(name))?.get(name);
  }
  /** The same, with the variables of a scope. */
  with(locals: ReadonlyMap<string, Value>): Context {
    return new Context([locals, new Map([...this.set].filter((entry): entry is [string, Value] => entry[1] !== undefined)), ...this.#given]);
  }
}

/** The values of a scope's names; a name that is there without one is not set yet. */
class Frame {
  readonly parent: Frame | undefined;
  readonly context: Context;
  readonly scope: Scope;
  readonly values = new Map<string, Value | undefined>();

  constructor(scope: Scope, parent: Frame | undefined, context: Context) {
    [this.scope, this.parent, this.context] = [scope, parent, context];
    this.enter();
  }
  /** Gives each name its first value. */
  enter(): void {
    for (const [name, load] of this.scope.loads) this.values.set(name, load === "variable" ? this.context.resolve(name) : load === "outer" ? this.parent?.get(name) : undefined);
  }
  leave(): void {
    for (const name of this.scope.loads.keys()) this.values.set(name, undefined);
  }
  get(name: string): Value | undefined {
    if (this.values.has(name)) return this.values.get(name);
    return this.parent?.get(name);
  }
  inner(scope: Scope): Frame {
    return new Frame(scope, this, this.context);
  }
}

class Output {
  text = "";
  write(text: string): void {
    askLength(this.text.length + text.length);
    this.text += text;
  }
}

export class Evaluator {
  readonly #analysis: Analysis;
  /** What was done last, for errors. */
  #at: Expression | Statement | Target | undefined;

  constructor(analysis: Analysis) {
    this.#analysis = analysis;
  }

  /** The template's text. Throws TemplateFailure. */
  render(template: Body, variables: readonly ReadonlyMap<string, Value>[]): string {
    const output = new Output();
    try {
      this.#body(template, new Frame(this.#analysis.root, undefined, new Context(variables)), output);
    } catch (error) {
      throw this.#explained(error);
    }
    return output.text;
  }

  #explained(error: unknown): unknown {
    const line = this.#at?.line;
    const what = this.#at === undefined ? "the template" : construct(this.#at);
    if (error instanceof PyError) return new TemplateFailure("failed", `${what}: ${error.message}${/[.!?]$/.test(error.message) ? "" : "."}`, line);
    if (error instanceof RangeError) return new TemplateFailure("exceeded", "it nests too deep.", line);
    if (!(error instanceof TemplateFailure) || error.line !== undefined) return error;
    return new TemplateFailure(error.problem, error.problem === "failed" ? `${what}: ${error.message}` : error.message, line);
  }

  /** Notes what is about to be done, now that its operands are known. */
  #now(node: Expression | Statement | Target): void {
    this.#at = node;
  }

  // ---- statements ------------------------------------------------------------------------------------------------------------------

  #body(body: Body, frame: Frame, output: Output): Ending {
    for (const statement of body) {
      const ending = this.#statement(statement, frame, output);
      if (ending !== undefined) return ending;
    }
    return undefined;
  }

  #statement(node: Statement, frame: Frame, output: Output): Ending {
    spend(1);
    switch (node.type) {
      case "text":
        output.write(node.text);
        return undefined;
      case "output": {
        const value = this.#evaluate(node.value, frame);
        this.#now(node);
        output.write(str(value));
        return undefined;
      }
      case "if":
        for (const { test, body } of node.branches) if (truthy(this.#evaluate(test, frame))) return this.#body(body, frame, output);
        return this.#body(node.otherwise, frame, output);
      case "for": return this.#for(node, frame, output);
      case "set":
        this.#checkNamespaces(node.target, frame);
        this.#assign(node.target, this.#evaluate(node.value, frame), frame);
        return undefined;
      case "setBlock": return this.#setBlock(node, frame);
      case "macro":
        this.#store(node.name, this.#macro(node, frame), frame);
        return undefined;
      case "callBlock":
        this.#callBlock(node, frame, output);
        return undefined;
      case "filterBlock": return this.#filterBlock(node, frame, output);
      case "with": return this.#with(node, frame, output);
      case "autoescape": {
        const inner = frame.inner(this.#analysis.scopes.get(node)!.body);
        if (truthy(this.#evaluate(node.value, inner))) {
          this.#now(node);
          unsupported("automatic escaping");
        }
        return this.#body(node.body, inner, output);
      }
      case "block":
        this.#block(node, frame, output);
        return undefined;
      case "break": case "continue": return node.type;
      case "load":
        this.#evaluate(node.template, frame);
        this.#now(node);
        return unsupported("another template, which nothing can load,");
    }
  }

  #for(node: ForNode, frame: Frame, output: Output): Ending {
    const iterable = this.#evaluate(node.iterable, frame);
    if (!node.recursive) return this.#loop(node, iterable, frame, output);
    const recurse = (children: Value, depth: number): string =>
      nested(() => {
        const inner = new Output();
        this.#loop(node, children, frame, inner, { depth, recurse });
        return inner.text;
      });
    output.write(recurse(iterable, 0));
    return undefined;
  }

  #loop(node: ForNode, iterable: Value, frame: Frame, output: Output, recursion?: Recursion): Ending {
    const scopes = this.#analysis.scopes.get(node)!;
    this.#now(node);
    const loop = new Loop(node.test === undefined ? iterable : this.#filtered(node, iterable, frame), recursion);
    const inner = frame.inner(scopes.body);
    // Python's way to know whether there was a turn: whether one came to its end.
    let isEmpty = true;
    while (loop.advance()) {
      spend(1);
      if (loop.index0 > 0) inner.enter();
      this.#assign(node.target, loop.current, inner);
      inner.values.set("loop", loop);
      const ending = this.#body(node.body, inner, output);
      if (ending === "break") break;
      if (ending === undefined) isEmpty = false;
    }
    inner.leave();
    return isEmpty && node.otherwise.length > 0 ? this.#body(node.otherwise, frame.inner(scopes.otherwise!), output) : undefined;
  }

  /** The items that pass a loop's `if`. */
  #filtered(node: ForNode, iterable: Value, frame: Frame): Value {
    const inner = frame.inner(this.#analysis.scopes.get(node)!.test!);
    const rebuilt = (target: Target): Value => (target.type === "targets" ? new Tuple(target.items.map(rebuilt)) : inner.get(target.name)!);
    const filter = function* (this: Evaluator): Generator<Value> {
      for (const item of iterate(iterable)) {
        spend(1);
        this.#assign(node.target, item, inner);
        if (truthy(this.#evaluate(node.test!, inner))) yield rebuilt(node.target);
      }
    };
    return new Iter(filter.call(this));
  }

  #setBlock(node: SetBlockNode, frame: Frame): Ending {
    const inner = frame.inner(this.#analysis.scopes.get(node)!.body);
    const captured = new Output();
    const ending = this.#body(node.body, inner, captured);
    if (ending !== undefined) return ending;
    const value = node.filter === undefined ? captured.text : this.#filter(node.filter, inner, captured.text);
    this.#now(node);
    this.#assign(node.target, value, frame, true);
    return undefined;
  }

  #filterBlock(node: FilterBlockNode, frame: Frame, output: Output): Ending {
    const inner = frame.inner(this.#analysis.scopes.get(node)!.body);
    const captured = new Output();
    const ending = this.#body(node.body, inner, captured);
    if (ending !== undefined) return ending;
    this.#writeText(this.#filter(node.filter, inner, captured.text), output);
    return undefined;
  }

  /** What blocks write must be a text already. */
  #writeText(value: Value, output: Output): void {
    output.write(isText(value) ? textOf(value) : typeError(`expected str instance, ${typeName(value)} found`));
  }

  #with(node: WithNode, frame: Frame, output: Output): Ending {
    const inner = frame.inner(this.#analysis.scopes.get(node)!.body);
    node.targets.forEach((target, i) => this.#assign(target, this.#evaluate(node.values[i], frame), inner));
    return this.#body(node.body, inner, output);
  }

  #block(node: BlockNode, frame: Frame, output: Output): void {
    if (node.required) throw new TemplateFailure("failed", `required block '${node.name}' not found.`, node.line);
    const locals = new Map<string, Value>();
    if (node.scoped) {
      for (let at: Frame | undefined = frame; at !== undefined; at = at.parent) {
        for (const name of at.scope.stores) {
          const value = at.values.get(name);
          if (value !== undefined && !locals.has(name)) locals.set(name, value);
        }
      }
    }
    const context = node.scoped ? frame.context.with(locals) : frame.context;
    nested(() => this.#body(node.body, new Frame(this.#analysis.scopes.get(node)!.body, undefined, context), output));
  }

  #callBlock(node: CallBlockNode, frame: Frame, output: Output): void {
    const caller = this.#macro(node, frame);
    if (node.call === undefined) return output.write(textOf(caller.call([], new Map())));
    this.#writeText(this.#call(node.call, frame, caller), output);
  }

  #macro(node: MacroNode | CallBlockNode, frame: Frame): Macro {
    const scope = this.#analysis.scopes.get(node)!.body;
    const use = this.#analysis.macros.get(node)!;
    const run = (bound: ReadonlyMap<string, Value | undefined>): string =>
      nested(() => {
        const inner = frame.inner(scope);
        for (const [name, value] of bound) inner.values.set(name, value);
        const firstDefault = node.parameters.length - node.defaults.length;
        node.parameters.forEach((name, i) => {
          if (inner.values.get(name) !== undefined) return;
          inner.values.set(name, i < firstDefault ? new Undefined(`parameter '${name}' was not provided`) : this.#evaluate(node.defaults[i - firstDefault], inner));
        });
        const output = new Output();
        this.#body(node.body, inner, output);
        return output.text;
      });
    return new Macro(node.type === "macro" ? node.name : undefined, node.parameters, use, run);
  }

  // ---- assignment ------------------------------------------------------------------------------------------------------------------

  #store(name: string, value: Value, frame: Frame): void {
    frame.values.set(name, value);
    if (frame.parent === undefined) frame.context.set.set(name, value);
  }

  /** Only namespaces have attributes that can be set; said before the value is evaluated. */
  #checkNamespaces(target: Target, frame: Frame): void {
    if (target.type === "targets") for (const item of target.items) this.#checkNamespaces(item, frame);
    if (target.type !== "namespace" || frame.get(target.name) instanceof Namespace) return;
    this.#now(target);
    throw new PyError("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
  }

  #assign(target: Target, value: Value, frame: Frame, fromBlock = false): void {
    if (target.type === "name") return this.#store(target.name, value, frame);
    if (target.type === "namespace") {
      const of = frame.get(target.name);
      if (of instanceof Namespace) return of.set(target.attribute, value);
      // Jinja does not look at what a block is assigned to.
      if (fromBlock && of instanceof Dict) return of.set(target.attribute, value);
      return typeError(`'${typeName(of ?? null)}' object does not support item assignment`);
    }
    this.#now(target);
    if (!hasLength(value) && !(value instanceof Iter) && !(value instanceof Loop)) typeError(`cannot unpack non-iterable ${typeName(value)} object`);
    const wanted = target.items.length;
    const items: Value[] = [];
    for (const item of iterate(value)) {
      if (items.push(item) > wanted) valueError(`too many values to unpack (expected ${wanted})`);
    }
    if (items.length < wanted) valueError(`not enough values to unpack (expected ${wanted}, got ${items.length})`);
    target.items.forEach((item, i) => this.#assign(item, items[i], frame, fromBlock));
  }

  // ---- expressions -----------------------------------------------------------------------------------------------------------------

  #evaluate(node: Expression, frame: Frame): Value {
    spend(1);
    switch (node.type) {
      case "constant": return node.value;
      case "name": return defined(frame.get(node.name), `'${node.name}' is undefined`);
      case "attribute": {
        const of = this.#evaluate(node.of, frame);
        this.#now(node);
        return getAttribute(of, node.name);
      }
      case "item": {
        const of = this.#evaluate(node.of, frame);
        const key = this.#evaluate(node.key, frame);
        this.#now(node);
        return getItem(of, key);
      }
      case "slice": {
        const of = this.#evaluate(node.of, frame);
        const [start, stop, step] = [node.start, node.stop, node.step].map((part) => (part === undefined ? null : this.#evaluate(part, frame)));
        this.#now(node);
        return slice(of, start, stop, step);
      }
      case "call": return this.#call(node, frame);
      case "filter": return this.#filter(node, frame, undefined);
      case "test": {
        const value = this.#evaluate(node.of, frame);
        const { args, keywords } = this.#arguments(node, frame);
        this.#now(node);
        return isTest(node.name) ? callTest(node.name, value, args, keywords) : this.#unknown("test", node.name);
      }
      case "compare": return this.#compare(node, frame);
      case "logic": {
        const left = this.#evaluate(node.left, frame);
        return truthy(left) === (node.operator === "or") ? left : this.#evaluate(node.right, frame);
      }
      case "condition":
        if (truthy(this.#evaluate(node.test, frame))) return this.#evaluate(node.then, frame);
        if (node.otherwise !== undefined) return this.#evaluate(node.otherwise, frame);
        return new Undefined(`the inline if-expression on line ${node.line} evaluated to false and no else section was defined.`);
      case "binary": {
        const left = this.#evaluate(node.left, frame);
        const right = this.#evaluate(node.right, frame);
        this.#now(node);
        return binary(node.operator, left, right);
      }
      case "unary": {
        const value = this.#evaluate(node.of, frame);
        if (node.operator === "not") return !truthy(value);
        this.#now(node);
        return signed(node.operator, value);
      }
      case "concat": {
        const parts = node.parts.map((part) => this.#evaluate(part, frame));
        this.#now(node);
        return parts.reduce<string>((text, part) => {
          const added = str(part);
          askLength(text.length + added.length);
          return text + added;
        }, "");
      }
      case "list": return node.items.map((item) => this.#evaluate(item, frame));
      case "tuple": return new Tuple(node.items.map((item) => this.#evaluate(item, frame)));
      case "dict": {
        const dict = new Dict();
        for (const [key, value] of node.entries) {
          const evaluated = this.#evaluate(key, frame);
          this.#now(node);
          dict.set(evaluated, this.#evaluate(value, frame));
        }
        return dict;
      }
    }
  }

  #compare(node: Extract<Expression, { type: "compare" }>, frame: Frame): boolean {
    let left = this.#evaluate(node.first, frame);
    for (const [operator, operand] of node.rest) {
      const right = this.#evaluate(operand, frame);
      this.#now(node);
      if (!compare(operator, left, right)) return false;
      left = right;
    }
    return true;
  }

  #filter(node: FilterNode, frame: Frame, blockText: string | undefined): Value {
    // A filter behind a filter of a block works on what the first one gives.
    const value = node.of === undefined ? (blockText ?? "") : node.of.type === "filter" ? this.#filter(node.of, frame, blockText) : this.#evaluate(node.of, frame);
    const { args, keywords } = this.#arguments(node, frame);
    this.#now(node);
    return isFilter(node.name) ? callFilter(node.name, value, args, keywords) : this.#unknown("filter", node.name);
  }

  #unknown(kind: string, name: string): never {
    throw new PyError("TemplateRuntimeError", `No ${kind} named '${name}' found`);
  }

  #call(node: Extract<Expression, { type: "call" }>, frame: Frame, caller?: Macro): Value {
    const of = this.#evaluate(node.of, frame);
    const { args, keywords } = this.#arguments(node, frame);
    this.#now(node);
    if (caller === undefined) return call(of, args, keywords);
    if (keywords.has("caller")) typeError("got multiple values for keyword argument 'caller'");
    return call(of, args, new Map([...keywords, ["caller", caller]]));
  }

  #arguments(node: CallArguments, frame: Frame): { readonly args: readonly Value[]; readonly keywords: Keywords } {
    const args = node.args.map((argument) => this.#evaluate(argument, frame));
    if (node.keywords.length === 0 && node.rest === undefined && node.restKeywords === undefined) return { args, keywords: none };
    const keywords = new Map<string, Value>();
    for (const [name, value] of node.keywords) keywords.set(name, this.#evaluate(value, frame));
    if (node.rest !== undefined) args.push(...spread(this.#evaluate(node.rest, frame)));
    if (node.restKeywords !== undefined) {
      const more = this.#evaluate(node.restKeywords, frame);
      if (!(more instanceof Dict)) return typeError(`argument after ** must be a mapping, not ${typeName(more)}`);
      for (const [key, value] of more.entries()) {
        const name = isText(key) ? textOf(key) : typeError("keywords must be strings");
        if (keywords.has(name)) typeError(`got multiple values for keyword argument '${name}'`);
        keywords.set(name, value);
      }
    }
    return { args, keywords };
  }
}

/** A construct as an error names it. */
function construct(node: Expression | Statement | Target): string {
  switch (node.type) {
    case "attribute": return `.${node.name}`;
    case "item": return "[ ]";
    case "slice": return "[ : ]";
    case "call": return `${node.of.type === "attribute" || node.of.type === "name" ? node.of.name : ""}()`;
    case "filter": return `| ${node.name}`;
    case "test": return `is ${node.name}`;
    case "binary": case "unary": return node.operator;
    case "compare": return node.rest.map(([operator]) => operator).join(" ");
    case "concat": return "~";
    case "dict": return "{ : }";
    case "output": return "{{ }}";
    case "namespace": return `set ${node.name}.${node.attribute}`;
    case "targets": return "unpacking";
    case "setBlock": return "set";
    case "filterBlock": return `filter ${node.filter.name}`;
    case "callBlock": return "call";
    case "load": return node.tag;
    default: return node.type;
  }
}

const none: Keywords = new Map();

function defined(value: Value | undefined, otherwise: string): Value {
  return value === undefined ? new Undefined(otherwise) : value;
}

// ---- objects of the runtime --------------------------------------------------------------------------------------------------------

/** `{% macro %}`, and the body of `{% call %}`. */
class Macro extends Opaque {
  readonly typeName = "Macro";
  readonly #name: string | undefined;
  readonly #parameters: readonly string[];
  readonly #use: MacroUse;
  readonly #run: (bound: ReadonlyMap<string, Value | undefined>) => string;

  constructor(name: string | undefined, parameters: readonly string[], use: MacroUse, run: (bound: ReadonlyMap<string, Value | undefined>) => string) {
    super();
    [this.#name, this.#parameters, this.#use, this.#run] = [name, parameters, use, run];
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case "name": return this.#name ?? null;
      case "arguments": return new Tuple(this.#parameters);
      case "catch_kwargs": return this.#use.keywords;
      case "catch_varargs": return this.#use.rest;
      case "caller": return this.#use.caller;
      case "explicit_caller": return this.#parameters.includes("caller");
      default: return undefined;
    }
  }

  override repr(): string {
    return `<Macro ${this.#name === undefined ? "anonymous" : `'${this.#name}'`}>`;
  }

  override call(args: readonly Value[], keywords: Keywords): string {
    const left = new Map(keywords);
    const bound = new Map<string, Value | undefined>();
    const shown = this.#name === undefined ? "None" : `'${this.#name}'`;
    this.#parameters.forEach((name, i) => {
      if (i < args.length) return bound.set(name, args[i]);
      bound.set(name, left.get(name));
      return left.delete(name);
    });
    if (this.#use.caller && !this.#parameters.includes("caller")) {
      const caller = left.get("caller");
      bound.set("caller", caller === undefined || caller === null ? new Undefined("No caller defined") : caller);
      left.delete("caller");
    }
    if (this.#use.keywords) bound.set("kwargs", Dict.of(left));
    else if (left.size > 0) typeError(left.has("caller") ? `macro ${shown} was invoked with two values for the special caller argument` : `macro ${shown} takes no keyword argument '${[...left.keys()][0]}'`);
    if (this.#use.rest) bound.set("varargs", new Tuple(args.slice(this.#parameters.length)));
    else if (args.length > this.#parameters.length) typeError(`macro ${shown} takes not more than ${this.#parameters.length} argument(s)`);
    return this.#run(bound);
  }
}

interface Recursion {
  readonly depth: number;
  readonly recurse: (children: Value, depth: number) => string;
}

/** The special variable `loop`. It looks one item ahead, and at all of them when asked for their number. */
class Loop extends Opaque {
  readonly typeName = "LoopContext";
  readonly #iterable: Value;
  readonly #recursion: Recursion | undefined;
  #iterator: Iterator<Value>;
  #ahead: Value[] = [];
  #length: number | undefined;
  #before: Value | undefined;
  #current: Value | undefined;
  #lastChanged: Tuple | undefined;
  index0 = -1;

  constructor(iterable: Value, recursion: Recursion | undefined) {
    super();
    this.#iterable = iterable;
    this.#iterator = iterate(iterable);
    this.#recursion = recursion;
  }

  get current(): Value {
    return this.#current!;
  }

  /** Goes on to the next item; false where there is none. */
  advance(): boolean {
    const next = this.#peek();
    if (next === undefined) return false;
    this.#ahead = [];
    this.index0++;
    [this.#before, this.#current] = [this.#current, next];
    return true;
  }

  #peek(): Value | undefined {
    if (this.#ahead.length === 0) {
      const { value, done } = this.#iterator.next() as IteratorResult<Value, undefined>;
      if (done !== true) this.#ahead = [value];
    }
    return this.#ahead[0];
  }

  get length(): number {
    if (this.#length !== undefined) return this.#length;
    if (hasLength(this.#iterable)) return (this.#length = length(this.#iterable));
    const rest: Value[] = [];
    for (let next = this.#iterator.next(); next.done !== true; next = this.#iterator.next()) {
      spend(1);
      rest.push(next.value);
    }
    this.#iterator = rest.values();
    return (this.#length = rest.length + this.index0 + 1 + this.#ahead.length);
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case "index": return this.index0 + 1;
      case "index0": return this.index0;
      case "first": return this.index0 === 0;
      case "last": return this.#peek() === undefined;
      case "length": return this.length;
      case "revindex": return this.length - this.index0;
      case "revindex0": return this.length - this.index0 - 1;
      case "depth": return (this.#recursion?.depth ?? 0) + 1;
      case "depth0": return this.#recursion?.depth ?? 0;
      case "previtem": return this.index0 === 0 ? new Undefined("there is no previous item") : this.#before!;
      case "nextitem": return defined(this.#peek(), "there is no next item");
      case "cycle": return new Callable(name, (args) => (args.length === 0 ? typeError("no items for cycling given") : args[this.index0 % args.length]));
      case "changed": return new Callable(name, (args) => this.#changed(new Tuple(args)));
      default: return undefined;
    }
  }

  #changed(value: Tuple): boolean {
    if (this.#lastChanged !== undefined && compare("==", this.#lastChanged, value)) return false;
    this.#lastChanged = value;
    return true;
  }

  override repr(): string {
    return `<LoopContext ${this.index0 + 1}/${this.length}>`;
  }

  override call(args: readonly Value[]): Value {
    if (this.#recursion === undefined) return typeError("The loop must have the 'recursive' marker to be called recursively.");
    if (args.length !== 1) return typeError("loop() takes one argument");
    return this.#recursion.recurse(args[0], this.#recursion.depth + 1);
  }
}

