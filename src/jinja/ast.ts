/** @file The tree of a template: what `parser.ts` makes and `evaluator.ts` walks. Each node knows its line, for errors. */

import type { Value } from "./values.js";

interface At {
  readonly line: number;
}

export interface CallArguments {
  readonly args: readonly Expression[];
  readonly keywords: readonly (readonly [name: string, value: Expression])[];
  /** `*args` and `**kwargs`. */
  readonly rest: Expression | undefined;
  readonly restKeywords: Expression | undefined;
}

export type BinaryOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";
export type ComparisonOperator = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

export interface Slice {
  readonly start: Expression | undefined;
  readonly stop: Expression | undefined;
  readonly step: Expression | undefined;
}

export type NameNode = At & { readonly type: "name"; readonly name: string };
export type AttributeNode = At & { readonly type: "attribute"; readonly of: Expression; readonly name: string };
export type ItemNode = At & { readonly type: "item"; readonly of: Expression; readonly key: Expression };
export type SliceNode = At & { readonly type: "slice"; readonly of: Expression } & Slice;
export type CallNode = At & CallArguments & { readonly type: "call"; readonly of: Expression };
/** `of` is undefined where the filter is that of a block, and works on the block's text. */
export type FilterNode = At & CallArguments & { readonly type: "filter"; readonly of: Expression | undefined; readonly name: string };
export type TestNode = At & CallArguments & { readonly type: "test"; readonly of: Expression; readonly name: string };

export type Expression =
  | NameNode | AttributeNode | ItemNode | SliceNode | CallNode | FilterNode | TestNode
  | (At & { readonly type: "constant"; readonly value: Value })
  | (At & { readonly type: "list" | "tuple"; readonly items: readonly Expression[] })
  | (At & { readonly type: "dict"; readonly entries: readonly (readonly [Expression, Expression])[] })
  | (At & { readonly type: "unary"; readonly operator: "+" | "-" | "not"; readonly of: Expression })
  | (At & { readonly type: "binary"; readonly operator: BinaryOperator; readonly left: Expression; readonly right: Expression })
  | (At & { readonly type: "logic"; readonly operator: "and" | "or"; readonly left: Expression; readonly right: Expression })
  | (At & { readonly type: "concat"; readonly parts: readonly Expression[] })
  | (At & { readonly type: "compare"; readonly first: Expression; readonly rest: readonly (readonly [ComparisonOperator, Expression])[] })
  | (At & { readonly type: "condition"; readonly test: Expression; readonly then: Expression; readonly otherwise: Expression | undefined });

/** What can be assigned to: a name, an attribute of a namespace (in `set` alone), or several. */
export type Target =
  | (At & { readonly type: "name"; readonly name: string })
  | (At & { readonly type: "namespace"; readonly name: string; readonly attribute: string })
  | (At & { readonly type: "targets"; readonly items: readonly Target[] });

export interface Signature {
  readonly parameters: readonly string[];
  /** Of the last parameters. */
  readonly defaults: readonly Expression[];
}

export type Body = readonly Statement[];

export type ForNode = At & {
  readonly type: "for"; readonly target: Target; readonly iterable: Expression; readonly test: Expression | undefined;
  readonly recursive: boolean; readonly body: Body; readonly otherwise: Body;
};
export type IfNode = At & { readonly type: "if"; readonly branches: readonly { readonly test: Expression; readonly body: Body }[]; readonly otherwise: Body };
export type MacroNode = At & Signature & { readonly type: "macro"; readonly name: string; readonly body: Body };
/** `{% call(a) f() %}`; without a call it is `{% generation %}`, which gives its body's text. */
export type CallBlockNode = At & Signature & { readonly type: "callBlock"; readonly call: CallNode | undefined; readonly body: Body };
export type FilterBlockNode = At & { readonly type: "filterBlock"; readonly filter: FilterNode; readonly body: Body };
export type SetBlockNode = At & { readonly type: "setBlock"; readonly target: Target; readonly filter: FilterNode | undefined; readonly body: Body };
export type WithNode = At & { readonly type: "with"; readonly targets: readonly Target[]; readonly values: readonly Expression[]; readonly body: Body };
export type AutoescapeNode = At & { readonly type: "autoescape"; readonly value: Expression; readonly body: Body };
export type BlockNode = At & { readonly type: "block"; readonly name: string; readonly scoped: boolean; readonly required: boolean; readonly body: Body };

export type Statement =
  | ForNode | IfNode | MacroNode | CallBlockNode | FilterBlockNode | SetBlockNode | WithNode | AutoescapeNode | BlockNode
  | (At & { readonly type: "text"; readonly text: string })
  | (At & { readonly type: "output"; readonly value: Expression })
  | (At & { readonly type: "set"; readonly target: Target; readonly value: Expression })
  | (At & { readonly type: "break" | "continue" })
  /** `{% include %}`, `{% import %}`, `{% from %}`, `{% extends %}`: another template, which transformers' set-up cannot load. */
  | (At & { readonly type: "load"; readonly tag: string; readonly template: Expression; readonly names: readonly string[] });
