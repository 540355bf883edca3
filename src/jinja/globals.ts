/** @file What every template can call: `range`, `dict`, `namespace`, `cycler`, `joiner`, and transformers' `raise_exception` and `strftime_now`. */

import { asInt, asText, bind } from "./arguments.js";
import { PyError, TemplateFailure, unsupported } from "./errors.js";
import { repr, str } from "./show.js";
import { strftime } from "./strftime.js";
import { Callable, Dict, iterate, isText, Opaque, Range, toList, typeError, valueError, Undefined, type Keywords, type Value } from "./values.js";

/** As Jinja's sandbox has it. */
const maxRange = 100_000;

/** dict(mapping or pairs, **keywords). */
function makeDict(args: readonly Value[], keywords: Keywords): Dict {
  if (args.length > 1) typeError(`dict expected at most 1 argument, got ${args.length}`);
  const [from] = args;
  const dict = new Dict();
  if (from instanceof Undefined) from.fail();
  if (from instanceof Dict) for (const [key, value] of from.entries()) dict.set(key, value);
  else if (from !== undefined) {
    let index = 0;
    for (const item of iterate(from)) {
      const pair = toList(item);
      if (pair.length !== 2) valueError(`dictionary update sequence element #${index} has length ${pair.length}; 2 is required`);
      dict.set(pair[0], pair[1]);
      index++;
    }
  }
  for (const [key, value] of keywords) dict.set(key, value);
  return dict;
}

/** What `{% set ns.name = value %}` sets. */
export class Namespace extends Opaque {
  readonly typeName = "TemplateNamespace";
  readonly #attributes: Dict;

  constructor(attributes: Dict) {
    super();
    for (const key of attributes.keys()) checkName(key);
    this.#attributes = attributes;
  }
  override attribute(name: string): Value | undefined {
    return this.#attributes.get(name);
  }
  override repr(): string {
    return `<Namespace ${repr(this.#attributes)}>`;
  }
  set(name: string, value: Value): void {
    checkName(name);
    this.#attributes.set(name, value);
  }
}

function checkName(name: Value): void {
  if (!isText(name) || !str(name).startsWith("_")) return;
  throw new PyError("SecurityError", `Chat templates cannot store underscore-prefixed attributes on a namespace, but got ${repr(name)}.`);
}

class Cycler extends Opaque {
  readonly typeName = "Cycler";
  readonly #items: readonly Value[];
  #at = 0;

  constructor(items: readonly Value[]) {
    super();
    if (items.length === 0) throw new PyError("RuntimeError", "at least one item has to be provided");
    this.#items = items;
  }
  override attribute(name: string): Value | undefined {
    switch (name) {
      case "current": return this.#items[this.#at];
      case "pos": return this.#at;
      case "next": return new Callable(name, (args, keywords) => (bind(name, "", args, keywords), this.#next()));
      case "reset": return new Callable(name, (args, keywords) => (bind(name, "", args, keywords), (this.#at = 0), null));
      default: return undefined;
    }
  }
  #next(): Value {
    const item = this.#items[this.#at];
    this.#at = (this.#at + 1) % this.#items.length;
    return item;
  }
}

class Joiner extends Opaque {
  readonly typeName = "Joiner";
  readonly #separator: Value;
  #used = false;

  constructor(separator: Value) {
    super();
    this.#separator = separator;
  }
  override attribute(name: string): Value | undefined {
    return name === "sep" ? this.#separator : name === "used" ? this.#used : undefined;
  }
  override call(args: readonly Value[], keywords: Keywords): Value {
    bind("joiner", "", args, keywords);
    if (this.#used) return this.#separator;
    this.#used = true;
    return "";
  }
}

class DictType extends Opaque {
  readonly typeName = "TemplateDict";
  override attribute(name: string): Value | undefined {
    if (name !== "fromkeys") return undefined;
    return new Callable(name, (args, keywords) => {
      const [keys, value = null] = bind(name, "iterable, value=, /", args, keywords);
      return Dict.of(Array.from(iterate(keys!), (key) => [key, value] as const));
    });
  }
  override call(args: readonly Value[], keywords: Keywords): Value {
    return makeDict(args, keywords);
  }
}

function makeRange(args: readonly Value[], keywords: Keywords): Range {
  const [first, second, third = 1] = bind("range", "start, stop=, step=, /", args, keywords);
  const [start, stop, step] = second === undefined ? [0, first!, 1] : [first!, second, third];
  const parts = [start, stop, step].map(asInt);
  if (parts[2] === 0) valueError("range() arg 3 must not be zero");
  const range = new Range(Number(parts[0]), Number(parts[1]), Number(parts[2]));
  if (range.length > maxRange) throw new TemplateFailure("exceeded", `it asked for a range of ${range.length} numbers; ${maxRange} is the most.`);
  if (!parts.every((part) => typeof part === "number")) unsupported("a range of numbers beyond 2^53");
  return range;
}

/** The globals of one rendering. `now` is what `strftime_now` tells. */
export function globalsAt(now: Date): ReadonlyMap<string, Value> {
  const functions: Readonly<Record<string, (args: readonly Value[], keywords: Keywords) => Value>> = {
    range: makeRange,
    namespace: (args, keywords) => new Namespace(makeDict(args, keywords)),
    cycler: (args, keywords) => (keywords.size > 0 ? typeError("cycler() takes no keyword arguments") : new Cycler(args)),
    joiner: (args, keywords) => new Joiner(bind("joiner", "sep=", args, keywords).map((sep) => (sep === undefined ? ", " : sep))[0]),
    lipsum: () => unsupported("chance, which `lipsum` is,"),
    raise_exception: (args, keywords) => {
      const [message] = bind("raise_exception", "message", args, keywords);
      throw new TemplateFailure("refused", str(message!));
    },
    strftime_now: (args, keywords) => strftime(now, asText(bind("strftime_now", "format", args, keywords)[0]!, "strftime() argument 1")),
  };
  const globals = new Map<string, Value>(Object.entries(functions).map(([name, body]) => [name, new Callable(name, body, "function")]));
  return globals.set("dict", new DictType());
}

