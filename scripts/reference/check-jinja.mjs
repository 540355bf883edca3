/**
 * Makes random templates by a grammar, renders them with Hornbook and with jinja2 as transformers sets it up, and tells where they differ.
 *
 *     npm run build && node scripts/reference/check-jinja.mjs COUNT [SEED]        (PYTHON names the interpreter that has transformers)
 */

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Template, TemplateFailure } from "../../dist/src/jinja/index.js";

const [count = 10_000, seed = 1] = process.argv.slice(2).map(Number);

let state = seed >>> 0;
/** A whole number below n (mulberry32). */
function below(n) {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const pick = (list) => list[below(list.length)];
const many = (most, make) => Array.from({ length: below(most + 1) }, make);

const variables = {
  s: "Hello, World", u: "naïve 日本 😀é", w: " a\tb \n c ", e: "", l: [3, 1, 2], d: { b: 1, a: [1, 2.5, null], c: { x: "y" } }, n: null, i: 7, f: 2.5, t: true,
  m: [{ role: "user", content: "hi", k: 2 }, { role: "assistant", content: "Yo", k: 1, x: { y: 5 } }, { role: "user", content: "", k: null }],
};
const names = [...Object.keys(variables), "q", "x", "missing"];
const texts = ["''", "'a'", "' b '", "'Hello'", "'l'", "'<x>'", "'é😀'", "'it\\'s'", "'12'", "'3.5'", "'\\n'", "'a,b,c'", "'role'", "'%s'", "'{}'", "'%d|%5.1f'"];
const numbers = ["0", "1", "2", "3", "-1", "10", "2.5", "0.1", "1e3", "100000000000000000000"];
const attributes = ["role", "content", "k", "x", "a", "items", "keys", "get", "y", "length", "upper", "index"];
const methods = [
  ["upper", 0], ["lower", 0], ["strip", 1], ["lstrip", 1], ["rstrip", 1], ["split", 2], ["rsplit", 2], ["replace", 3], ["startswith", 1], ["endswith", 1], ["find", 2], ["rfind", 1], ["count", 1], ["join", 1], ["title", 0], ["capitalize", 0],
  ["partition", 1], ["rpartition", 1], ["splitlines", 1], ["isdigit", 0], ["isalpha", 0], ["islower", 0], ["center", 2], ["ljust", 1], ["rjust", 2], ["zfill", 1], ["removeprefix", 1], ["removesuffix", 1], ["format", 2], ["items", 0], ["keys", 0], ["values", 0], ["get", 2],
  ["index", 1], ["swapcase", 0], ["expandtabs", 1], ["isspace", 0], ["istitle", 0], ["casefold", 0], ["pop", 1], ["append", 1], ["copy", 0],
];
const filters = [
  ["upper", 0], ["lower", 0], ["trim", 1], ["length", 0], ["count", 0], ["first", 0], ["last", 0], ["join", 2], ["default", 2], ["d", 1], ["replace", 3], ["tojson", 1], ["list", 0], ["string", 0], ["int", 2], ["float", 1], ["round", 2], ["abs", 0], ["sort", 2], ["unique", 0], ["reverse", 0], ["map", 2],
  ["select", 2], ["reject", 2], ["selectattr", 3], ["rejectattr", 3], ["sum", 2], ["min", 1], ["max", 1], ["title", 0], ["capitalize", 0], ["e", 0], ["safe", 0], ["indent", 3], ["batch", 2], ["slice", 2], ["dictsort", 3], ["items", 0], ["groupby", 2], ["wordcount", 0], ["truncate", 4], ["center", 1],
  ["urlencode", 0], ["xmlattr", 1], ["format", 2], ["attr", 1], ["pprint", 0], ["striptags", 0], ["filesizeformat", 1], ["wordwrap", 2], ["forceescape", 0],
];
const tests = ["defined", "undefined", "none", "string", "number", "mapping", "sequence", "iterable", "odd", "even", "true", "false", "boolean", "integer", "float", "lower", "upper", "callable", "escaped", "eq 1", "ne 'a'", "in l", "gt 1", "lt 2", "divisibleby 3", "sameas none", "sameas true", "filter", "test"];
const keywords = ["attribute='role'", "indent=2", "default='z'", "first=true", "case_sensitive=true", "reverse=true", "start=1", "ensure_ascii=true", "sort_keys=true", "by='value'", "boolean=true", "maxsplit=1", "sep='l'"];

function atom(depth) {
  if (depth <= 0) return pick([() => pick(names), () => pick(names), () => pick(texts), () => pick(numbers), () => pick(["true", "false", "none"])])();
  return pick([
    () => pick(names), () => pick(texts), () => `[${many(3, () => expression(depth - 1)).join(", ")}]`, () => `(${expression(depth - 1)},)`, () => `(${expression(depth - 1)}, ${expression(depth - 1)})`, () => `(${expression(depth - 1)})`,
    () => `{${many(2, () => `${pick(texts)}: ${expression(depth - 1)}`).join(", ")}}`, () => `range(${pick(["3", "1, 4", "5, 0, -2", "i"])})`, () => `dict(a=${expression(depth - 1)})`, () => `namespace(a=${expression(depth - 1)})`, () => "loop.index", () => `loop.${pick(["first", "last", "previtem", "nextitem", "length", "revindex", "depth"])}`,
  ])();
}

const given = (most, depth) => `(${[...many(most, () => expression(depth - 1)), ...(below(8) === 0 ? [pick(keywords)] : [])].join(", ")})`;

function postfix(depth) {
  let text = atom(depth);
  if (/^[-\d]/.test(text)) text = `(${text})`;
  for (let n = below(3); n > 0; n--) {
    text += pick([
      () => `.${pick(attributes)}`, () => `[${expression(depth - 1)}]`, () => `[${pick(["1:", ":2", "::-1", "-2:", ":-1", "1:2", "::2", `${expression(0)}:`])}]`, () => { const [name, most] = pick(methods); return `.${name}${given(most, depth)}`; }, () => { const [name, most] = pick(methods); return `.${name}${given(most, depth)}`; },
      () => { const [name, most] = pick(filters); return ` | ${name}${below(3) === 0 || most === 0 ? "" : given(most, depth)}`; }, () => { const [name, most] = pick(filters); return ` | ${name}${most === 0 ? "" : given(most, depth)}`; },
      () => ` | map(${pick(["'upper'", "'length'", "attribute='role'", "attribute='x.y'", "attribute='x', default='none'", "'int'", "'string'", "'first'"])}) | list`, () => ` | selectattr(${pick(["'role'", "'k'", "'role', 'eq', 'user'", "'x', 'defined'", "'k', 'none'"])}) | list`,
    ])();
  }
  return text;
}

function expression(depth) {
  if (depth <= 0) return atom(0);
  return pick([
    () => postfix(depth), () => postfix(depth), () => postfix(depth), () => postfix(depth), () => `${postfix(depth - 1)} ${pick(["+", "-", "*", "/", "//", "%", "~", "~", "+", "**"])} ${postfix(depth - 1)}`, () => `${postfix(depth - 1)} ${pick(["==", "!=", "<", "<=", ">", ">=", "in", "not in"])} ${postfix(depth - 1)}`,
    () => `${expression(depth - 1)} ${pick(["and", "or"])} ${expression(depth - 1)}`, () => `not ${expression(depth - 1)}`, () => `${postfix(depth - 1)} is ${pick(["", "not "])}${pick(tests)}`, () => `${postfix(depth - 1)} if ${expression(depth - 1)}${below(3) === 0 ? "" : ` else ${expression(depth - 1)}`}`, () => `-${postfix(depth - 1)}`,
  ])();
}

const tag = (inside) => `{%${pick(["", "", "-", "+"])} ${inside} ${pick(["", "", "-", "+"])}%}`;
const data = () => pick(["", "a", " ", "\n", "  ", " x\n", "\n  ", "\n\n", "\t", "b \n c"]);
const block = (depth) => many(3, () => statement(depth - 1)).join(data());

function statement(depth) {
  const name = () => pick(["q", "x", "s", "l"]);
  if (depth <= 0) return pick([() => `{{${pick(["", "-"])} ${expression(2)} ${pick(["", "-"])}}}`, data])();
  return data() + pick([
    () => `{{ ${expression(1)} }}`, () => `{{ ${pick(names)} }}`, () => `{{ ${expression(2)} }}`, () => `${tag(`if ${expression(2)}`)}${block(depth)}${below(2) ? `${tag(`elif ${expression(1)}`)}${block(depth)}` : ""}${below(2) ? `${tag("else")}${block(depth)}` : ""}${tag("endif")}`,
    () => `${tag(`for ${name()} in ${pick(["l", "m", "d", "s", "range(3)", expression(2)])}${below(4) === 0 ? ` if ${expression(1)}` : ""}`)}${block(depth)}${below(5) === 0 ? tag(`if ${expression(1)}`) + tag(pick(["break", "continue"])) + tag("endif") : ""}${block(depth)}${below(4) === 0 ? tag("else") + block(depth) : ""}${tag("endfor")}`,
    () => `${tag(`for ${name()}, ${pick(["y", "z"])} in ${pick(["d.items()", "d | dictsort", "[(1, 2)]", "m | groupby('role')", expression(2)])}`)}${block(depth)}${tag("endfor")}`, () => tag(`set ${name()} = ${expression(2)}`), () => `${tag(`set ${name()}${below(3) === 0 ? " | upper" : ""}`)}${block(depth)}${tag("endset")}`,
    () => `${tag(`set ns = namespace(v=${expression(1)})`)}${tag("for x in l")}${tag(`set ns.v = ${pick(["ns.v + x", "ns.v ~ x", "[ns.v, x]", expression(1)])}`)}${tag("endfor")}{{ ns.v }}`, () => `${tag(`macro f(a, b=${expression(1)})`)}{{ a }}${block(depth)}{{ b }}${tag("endmacro")}{{ f(${expression(1)}) }}{{ f(b=${expression(1)}) }}`,
    () => `${tag(`with ${name()} = ${expression(2)}`)}${block(depth)}${tag("endwith")}`, () => `${tag(`filter ${pick(["upper", "trim", "replace('a', 'b')", "indent(2)", "title"])}`)}${block(depth)}${tag("endfilter")}`, () => `${tag("generation")}${block(depth)}${tag("endgeneration")}`, () => `{#${pick(["", "-", "+"])} c ${pick(["", "-", "+"])}#}`,
    () => `${tag("macro g(v)")}<{{ caller(v) }}>${tag("endmacro")}${tag(`call(${name()}) g(${expression(1)})`)}${block(depth)}${tag("endcall")}`, () => `${tag("for x in [[1, [2]], 3] recursive")}{{ loop(x) if x is not number else x }}${block(depth - 1)}${tag("endfor")}`, () => `${pick(["{% raw %}", "{%- raw -%}"])} {{ x }}${data()}${pick(["{% endraw %}", "{%- endraw +%}"])}`,
  ])();
}

const templates = Array.from({ length: count }, () => (below(3) > 0 ? `{{ ${expression(1 + below(3))} }}` : many(3, () => statement(1 + below(2))).join("")));
const oracle = fileURLToPath(new URL("jinja_oracle.py", import.meta.url));
const lines = templates.map((template) => JSON.stringify({ template, variables })).join("\n");
const { stdout, stderr, status } = spawnSync(process.env.PYTHON ?? "python3", ["-W", "ignore", oracle], { input: `${lines}\n`, maxBuffer: 2 ** 30 });
if (status !== 0) throw new Error(String(stderr));

const total = { same: 0, bothRaise: 0, raises: 0, different: 0 };
const reasons = new Map();
const outcomes = String(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
for (const [i, template] of templates.entries()) {
  const { text, error, message } = outcomes[i];
  let result;
  try {
    result = new Template(template).render(variables, { now: new Date("2025-03-04T05:06:07"), maxSteps: 1e6, maxCharacters: 1e6 });
  } catch (failure) {
    if (!(failure instanceof TemplateFailure)) {
      console.error("CRASH", JSON.stringify(template), failure);
      total.different++;
      continue;
    }
    total[text === undefined ? "bothRaise" : "raises"]++;
    if (text !== undefined && !/ at 0x[0-9a-f]+>/.test(text)) {
      const reason = failure.message.replace(/'[^']*'/g, "'...'");
      reasons.set(reason, [...(reasons.get(reason) ?? []), template]);
    }
    continue;
  }
  if (text === result) total.same++;
  else {
    total.different++;
    console.error(`${JSON.stringify(template)}\n  jinja2   ${text === undefined ? `${error}: ${message}` : JSON.stringify(text)}\n  hornbook ${JSON.stringify(result)}`);
  }
}
for (const [reason, all] of [...reasons].sort(([, a], [, b]) => b.length - a.length).slice(0, 25)) console.log(`${String(all.length).padStart(5)} raise only here: ${reason.slice(0, 150)}   ${JSON.stringify(all.sort((a, b) => a.length - b.length)[0]).slice(0, 120)}`);
console.log(`${count} templates: ${total.same} the same, ${total.bothRaise} raise in both, ${total.raises} raise only here (addresses in memory included), ${total.different} differ`);
if (total.different > 0) process.exitCode = 1;
