/**
 * @file Which variable a name means. Jinja decides that before a template runs: each scope (the template, a loop's body, a macro, `with`,
 * a capturing block) knows which names its statements use, in the order in which they stand, and where each gets its first value from.
 * So a `set` after a loop hides the variable of that name from the loop too, and a `set` in a loop is forgotten with each turn.
 *
 * The same walk finds what cannot be compiled: unknown filters and tests, `break` outside a loop.
 */

import type { Body, CallArguments, Expression, ForNode, IfNode, Statement, Target } from "./ast.js";
import { TemplateFailure } from "./errors.js";
import { isFilter } from "./filters.js";
import { isTest } from "./tests.js";

/**
 * Where a name of a scope gets its value when the scope is entered: as a parameter; from the template's variables; from the enclosing
 * scope; or nowhere, until it is set.
 */
export type Load = "parameter" | "variable" | "outer" | "nothing";

export class Scope {
  readonly parent: Scope | undefined;
  readonly loads = new Map<string, Load>();
  readonly stores = new Set<string>();

  constructor(parent?: Scope) {
    this.parent = parent;
  }

  knows(name: string): boolean {
    return this.loads.has(name) || this.parent?.knows(name) === true;
  }

  parameter(name: string): void {
    this.stores.add(name);
    this.loads.set(name, "parameter");
  }

  load(name: string): void {
    if (!this.knows(name)) this.loads.set(name, "variable");
  }

  store(name: string): void {
    this.stores.add(name);
    if (!this.loads.has(name)) this.loads.set(name, this.parent?.knows(name) === true ? "outer" : "nothing");
  }

  /** A branch of an `if`, which sees what stands before it. */
  branch(): Scope {
    const copy = new Scope(this.parent);
    for (const [name, load] of this.loads) copy.loads.set(name, load);
    for (const name of this.stores) copy.stores.add(name);
    return copy;
  }

  /** What branches set may or may not be set after them, so it has the value that it has without them. */
  merge(branches: readonly Scope[]): void {
    const stored = new Set(branches.flatMap(({ stores }) => [...stores]).filter((name) => !this.stores.has(name)));
    for (const { loads, stores } of branches) {
      for (const [name, load] of loads) this.loads.set(name, load);
      for (const name of stores) this.stores.add(name);
    }
    for (const name of stored) this.loads.set(name, this.parent?.knows(name) === true ? "outer" : "variable");
  }
}

/** The scopes of a node: of its body, and of a loop's `else` and filter. */
export interface NodeScopes {
  readonly body: Scope;
  readonly otherwise?: Scope;
  readonly test?: Scope;
}

/** Which of the special parameters a macro's body uses. */
export interface MacroUse {
  readonly caller: boolean;
  readonly keywords: boolean;
  readonly rest: boolean;
}

export interface Analysis {
  readonly root: Scope;
  readonly scopes: ReadonlyMap<Statement, NodeScopes>;
  readonly macros: ReadonlyMap<Statement, MacroUse>;
  /** By name. */
  readonly blocks: ReadonlyMap<string, Statement & { readonly type: "block" }>;
}

/** Throws TemplateFailure `syntax`. */
export function analyze(template: Body): Analysis {
  return new Analyzer().run(template);
}

interface Place {
  readonly scope: Scope;
  /** Within an `if`: an unknown filter matters only when it is called. */
  readonly soft: boolean;
  readonly inLoop: boolean;
  readonly top: boolean;
}

class Analyzer {
  readonly #scopes = new Map<Statement, NodeScopes>();
  readonly #macros = new Map<Statement, MacroUse>();
  readonly #blocks = new Map<string, Statement & { readonly type: "block" }>();

  run(template: Body): Analysis {
    const root = new Scope();
    visitAll(template, root);
    forbid(template, "self");
    this.#body(template, { scope: root, soft: false, inLoop: false, top: true });
    return { root, scopes: this.#scopes, macros: this.#macros, blocks: this.#blocks };
  }

  #body(body: Body, place: Place): void {
    for (const statement of body) this.#statement(statement, place);
  }

  #statement(node: Statement, place: Place): void {
    const { scope, soft } = place;
    const inner = { soft: false, top: false, inLoop: place.inLoop };
    switch (node.type) {
      case "output": case "set":
        this.#expression(node.value, scope, soft);
        break;
      case "if":
        for (const { test, body } of node.branches) {
          this.#expression(test, scope, true);
          this.#body(body, { ...place, soft: true });
        }
        this.#body(node.otherwise, { ...place, soft: true });
        break;
      case "for":
        this.#for(node, place);
        break;
      case "macro": case "callBlock": {
        const own = new Scope(scope);
        const use = { caller: mentions(node.body, "caller"), keywords: mentions(node.body, "kwargs"), rest: mentions(node.body, "varargs") };
        const takes = (name: string) => node.parameters.includes(name);
        if (use.caller && takes("caller") && node.parameters.indexOf("caller") < node.parameters.length - node.defaults.length) {
          fail('the special "caller" argument must be omitted or be given a default', node.line);
        }
        for (const name of node.parameters) own.parameter(name);
        for (const expression of node.defaults) visit(expression, own);
        visitAll(node.body, own);
        if (use.caller && !takes("caller")) own.parameter("caller");
        if (use.keywords && !takes("kwargs")) own.parameter("kwargs");
        if (use.rest && !takes("varargs")) own.parameter("varargs");
        this.#macros.set(node, { caller: use.caller, keywords: use.keywords && !takes("kwargs"), rest: use.rest && !takes("varargs") });
        this.#scopes.set(node, { body: own });
        for (const expression of node.defaults) this.#expression(expression, own, false);
        this.#body(node.body, { scope: own, soft: false, inLoop: false, top: false });
        if (node.type === "callBlock" && node.call !== undefined) this.#expression(node.call, scope, soft);
        break;
      }
      case "filterBlock": case "setBlock": {
        const own = new Scope(scope);
        visitAll(node.body, own);
        if (node.type === "filterBlock") visit(node.filter, own);
        this.#scopes.set(node, { body: own });
        this.#body(node.body, { ...inner, scope: own });
        if (node.filter !== undefined) this.#expression(node.filter, own, false);
        break;
      }
      case "with": {
        const own = new Scope(scope);
        for (const target of node.targets) visitTarget(target, own, true);
        visitAll(node.body, own);
        this.#scopes.set(node, { body: own });
        for (const value of node.values) this.#expression(value, scope, soft);
        this.#body(node.body, { ...inner, scope: own });
        break;
      }
      case "autoescape": {
        const own = new Scope(scope);
        visit(node.value, own);
        visitAll(node.body, own);
        this.#scopes.set(node, { body: own });
        this.#expression(node.value, own, false);
        this.#body(node.body, { ...inner, scope: own });
        break;
      }
      case "block": {
        if (this.#blocks.has(node.name)) fail(`block '${node.name}' defined twice`, node.line);
        this.#blocks.set(node.name, node);
        forbid(node.body, "self");
        forbid(node.body, "super");
        const own = new Scope();
        visitAll(node.body, own);
        this.#scopes.set(node, { body: own });
        this.#body(node.body, { scope: own, soft: false, inLoop: false, top: false });
        break;
      }
      case "break": case "continue":
        if (!place.inLoop) fail(`'${node.type}' outside loop`, node.line);
        break;
      case "load":
        if (node.tag === "extends" && !place.top) fail("cannot use extends from a non top-level scope", node.line);
        if (node.tag === "from") for (const name of node.names) if (name.startsWith("_")) fail("names starting with an underline can not be imported", node.line);
        this.#expression(node.template, scope, soft);
        break;
      case "text":
        break;
    }
  }

  #for(node: ForNode, { scope, soft, inLoop }: Place): void {
    const line = storesLoop([node]);
    if (line !== undefined) fail("Can't assign to special loop variable in for-loop target", line);
    const body = new Scope(scope);
    body.parameter("loop");
    visitTarget(node.target, body, true);
    visitAll(node.body, body);
    const otherwise = new Scope(scope);
    visitAll(node.otherwise, otherwise);
    const test = new Scope(scope);
    if (node.test !== undefined) {
      visitTarget(node.target, test, true);
      visit(node.test, test);
    }
    this.#scopes.set(node, { body, otherwise, test });
    this.#expression(node.iterable, scope, soft);
    if (node.test !== undefined) this.#expression(node.test, test, false);
    this.#body(node.body, { scope: body, soft: false, inLoop: true, top: false });
    this.#body(node.otherwise, { scope: otherwise, soft: false, inLoop: inLoop && !node.recursive, top: false });
  }

  /** Filters and tests must be known, unless in what may never be evaluated. */
  #expression(node: Expression, scope: Scope, soft: boolean): void {
    if (node.type === "name" && !scope.knows(node.name)) fail(`the name '${node.name}' cannot be used in a filter of a block`, node.line);
    if (!soft && node.type === "filter" && !isFilter(node.name)) fail(`No filter named '${node.name}'`, node.line);
    if (!soft && node.type === "test" && !isTest(node.name)) fail(`No test named '${node.name}'`, node.line);
    for (const child of children(node)) this.#expression(child, scope, soft || node.type === "condition");
  }
}

function fail(message: string, line: number): never {
  throw new TemplateFailure("syntax", `${message}.`, line);
}

function forbid(body: Body, name: string): void {
  if (mentions(body, name)) throw new TemplateFailure("failed", `the special variable \`${name}\` is not supported.`);
}

// ---- which names a scope's own statements use --------------------------------------------------------------------------------------

function visitAll(body: Body, scope: Scope): void {
  for (const statement of body) visitStatement(statement, scope);
}

function visitStatement(node: Statement, scope: Scope): void {
  switch (node.type) {
    case "output": return visit(node.value, scope);
    case "set":
      visit(node.value, scope);
      return visitTarget(node.target, scope, false);
    case "if": return visitIf(node, scope);
    case "for": return visit(node.iterable, scope);
    case "macro": return scope.store(node.name);
    case "callBlock": return node.call === undefined ? undefined : visit(node.call, scope);
    case "filterBlock": return visit(node.filter, scope);
    case "setBlock": return visitTarget(node.target, scope, false);
    case "with": return node.values.forEach((value) => visit(value, scope));
    case "load":
      visit(node.template, scope);
      return node.names.forEach((name) => scope.store(name));
  }
}

function visitIf({ branches, otherwise }: Pick<IfNode, "branches" | "otherwise">, scope: Scope): void {
  const [{ test, body }, ...rest] = branches;
  visit(test, scope);
  const inner = (fill: (branch: Scope) => void) => {
    const branch = scope.branch();
    fill(branch);
    return branch;
  };
  scope.merge([
    inner((branch) => visitAll(body, branch)),
    inner((branch) => rest.forEach((one) => visitIf({ branches: [one], otherwise: [] }, branch))),
    inner((branch) => visitAll(otherwise, branch)),
  ]);
}

function visitTarget(target: Target, scope: Scope, asParameter: boolean): void {
  if (target.type === "targets") for (const item of target.items) visitTarget(item, scope, asParameter);
  else if (target.type === "namespace") scope.load(target.name);
  else if (asParameter) scope.parameter(target.name);
  else scope.store(target.name);
}

function visit(node: Expression, scope: Scope): void {
  if (node.type === "name") scope.load(node.name);
  else for (const child of children(node)) visit(child, scope);
}

function argumentsOf({ args, keywords, rest, restKeywords }: CallArguments): Expression[] {
  return [...args, ...keywords.map(([, value]) => value), ...present(rest), ...present(restKeywords)];
}

function present(node: Expression | undefined): Expression[] {
  return node === undefined ? [] : [node];
}

/** The expressions within an expression, in the order in which Jinja looks at them. */
function children(node: Expression): readonly Expression[] {
  switch (node.type) {
    case "constant": case "name": return [];
    case "list": case "tuple": return node.items;
    case "dict": return node.entries.flat();
    case "unary": case "attribute": return [node.of];
    case "binary": case "logic": return [node.left, node.right];
    case "concat": return node.parts;
    case "compare": return [node.first, ...node.rest.map(([, operand]) => operand)];
    case "condition": return [node.test, node.then, ...present(node.otherwise)];
    case "item": return [node.of, node.key];
    case "slice": return [node.of, ...present(node.start), ...present(node.stop), ...present(node.step)];
    case "call": case "filter": case "test": return [...present(node.of), ...argumentsOf(node)];
  }
}

// ---- names anywhere within ---------------------------------------------------------------------------------------------------------

/** Whether a body, or what it contains, uses a name that it has not set before. */
function mentions(body: Body, name: string): boolean {
  return firstUse(body, name) === "load";
}

type Use = "load" | "store" | undefined;

function firstOf<T>(items: Iterable<T>, use: (item: T) => Use): Use {
  for (const item of items) {
    const found = use(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function firstUse(body: Body, name: string): Use {
  const inExpression = (node: Expression): Use => (node.type === "name" ? (node.name === name ? "load" : undefined) : firstOf(children(node), inExpression));
  const inTarget = (target: Target): Use => (target.type === "targets" ? firstOf(target.items, inTarget) : target.type === "name" && target.name === name ? "store" : undefined);
  const inBody = (statements: Body): Use => firstOf(statements, inStatement);
  const inStatement = (node: Statement): Use => {
    switch (node.type) {
      case "output": return inExpression(node.value);
      case "set": return inTarget(node.target) ?? inExpression(node.value);
      case "if": return firstOf(node.branches, ({ test, body }) => inExpression(test) ?? inBody(body)) ?? inBody(node.otherwise);
      case "for": return inTarget(node.target) ?? inExpression(node.iterable) ?? inBody(node.body) ?? inBody(node.otherwise) ?? firstOf(present(node.test), inExpression);
      case "macro": case "callBlock":
        return (
          (node.type === "callBlock" ? firstOf(present(node.call), inExpression) : undefined) ??
          (node.parameters.includes(name) ? "store" : undefined) ?? firstOf(node.defaults, inExpression) ?? inBody(node.body)
        );
      case "filterBlock": return inBody(node.body) ?? inExpression(node.filter);
      case "setBlock": return inTarget(node.target) ?? firstOf(present(node.filter), inExpression) ?? inBody(node.body);
      case "with": return firstOf(node.targets, inTarget) ?? firstOf(node.values, inExpression) ?? inBody(node.body);
      case "autoescape": return inExpression(node.value) ?? inBody(node.body);
      case "load": return inExpression(node.template);
    }
  };
  return inBody(body);
}

/** The line on which a loop's special variable is set within a loop. */
function storesLoop(body: Body): number | undefined {
  const inTarget = (target: Target): number | undefined => {
    if (target.type === "targets") return target.items.map(inTarget).find((line) => line !== undefined);
    return target.type === "name" && target.name === "loop" ? target.line : undefined;
  };
  for (const node of body) {
    const own = node.type === "for" || node.type === "set" || node.type === "setBlock" ? inTarget(node.target) : undefined;
    const bodies = node.type === "if" ? [...node.branches.map((branch) => branch.body), node.otherwise] : node.type === "for" ? [node.body, node.otherwise] : "body" in node ? [node.body] : [];
    const line = own ?? bodies.map(storesLoop).find((found) => found !== undefined);
    if (line !== undefined) return line;
  }
  return undefined;
}
