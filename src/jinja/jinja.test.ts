import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Float, Template, TemplateFailure, type RenderSettings } from "./index.js";

const settings: RenderSettings = { now: new Date("2025-03-04T05:06:07"), maxSteps: 1_000_000, maxCharacters: 1_000_000 };
const render = (template: string, variables: Record<string, unknown> = {}, more: Partial<RenderSettings> = {}) => new Template(template).render(variables, { ...settings, ...more });

/** What ends a template: problem, line and message. */
function failure(template: string, variables: Record<string, unknown> = {}, more: Partial<RenderSettings> = {}): TemplateFailure {
  try {
    const text = render(template, variables, more);
    throw new Error(`it rendered ${text.slice(0, 100)}`);
  } catch (error) {
    if (error instanceof TemplateFailure) return error;
    throw error;
  }
}

describe("renders what jinja2 renders, and fails where it raises", () => {
  const source = readFileSync(new URL("../../test/fixtures/jinja-expressions.json", import.meta.url), "utf8");
  // JSON.parse would round the large number.
  const fixture = JSON.parse(source.replace(/"big": (\d+)/, '"big": "$1"')) as { variables: Record<string, unknown>; cases: [string, string | null][] };
  const variables = { ...fixture.variables, big: BigInt(fixture.variables.big as string) };

  it(`${fixture.cases.length} expressions and statements`, () => {
    const different: unknown[] = [];
    const refused: [string, string][] = [];
    for (const [template, expected] of fixture.cases) {
      try {
        const text = render(template, variables);
        if (text !== expected) different.push({ template, expected, text });
      } catch (error) {
        if (!(error instanceof TemplateFailure)) throw error;
        if (expected !== null) refused.push([template, error.message]);
      }
    }
    expect(different).toEqual([]);
    // What Python renders and we do not is said, and little.
    const known = /is not supported\.$|'(int|float)' object is not subscriptable\.$|No filter named 'foo'\.$/;
    expect(refused.filter(([, message]) => !known.test(message))).toEqual([]);
    expect(refused.length).toBeLessThan(20);
  });

  it("has the values of a program", () => {
    const values = { i: 3, f: 2.5, whole: new Float(1), huge: 1e22, big: 10n ** 20n, none: null, gone: { a: undefined, b: 1 }, ordered: new Map([["2", "x"], ["1", "y"]]) };
    expect(render("{{ [i, f, whole, huge, big, none, gone, ordered] }}", values)).toBe("[3, 2.5, 1.0, 10000000000000000000000, 100000000000000000000, None, {'b': 1}, {'2': 'x', '1': 'y'}]");
    expect(failure("{{ f }}", { f: () => 1 }).message).toBe("a function is no value of a template.");
  });
});

describe("names line and construct", () => {
  it.each<[string, number, string]>([
    ["a\n{{ x.y.z }}", 2, ".y: 'x' is undefined."],
    ["a\n\n{{ [] | foo }}", 3, "No filter named 'foo'."],
    ["{% if true %}\n{{ [] | foo }}{% endif %}", 2, "| foo: No filter named 'foo' found."],
    ["{{ 'a' +\n 1 }}", 1, "+: unsupported operand type(s) for +: 'str' and 'int'."],
    ["{% for x in 5 %}{% endfor %}", 1, "for: 'int' object is not iterable."],
    ["\n{{ 'a'.strip(1) }}", 2, "strip(): strip arg must be str, not int."],
    ["{% macro f() %}\n{{ none + 1 }}{% endmacro %}\n{{ f() }}", 2, "+: unsupported operand type(s) for +: 'NoneType' and 'int'."],
    ["\n{{ [1, 2 }}", 2, "unexpected '}', expected ']'."],
    ["{% if x %}\n{% endfor %}", 2, "unknown tag 'endfor', looking for 'elif' or 'else' or 'endif'."],
    ["\n{% include 'x' %}", 2, "include: another template, which nothing can load, is not supported."],
    ["\n{{ 'a' | map('upper') }}", 2, "{{ }}: Python prints an address in memory for a generator; printing it is not supported."],
    ["{{ lipsum() }}", 1, "lipsum(): chance, which `lipsum` is, is not supported."],
    ["{{ [1] | random }}", 1, "| random: chance, which the filter `random` is, is not supported."],
    ["{{ {}.pop('a') }}", 1, "pop(): access to attribute 'pop' of 'dict' object is unsafe."],
  ])("%j", (template, line, message) => {
    expect(failure(template)).toMatchObject({ line, message });
  });
});

describe("a template that does not end, or grows, is stopped", () => {
  const doubling = (start: string, step: string, end: string) => `{% set ns = namespace(x=${start}) %}{% for i in range(60) %}{% set ns.x = ${step} %}{% endfor %}${end}`;
  it.each<[string, string]>([
    ["a huge range", "{% for i in range(10**9) %}{% endfor %}"],
    ["ranges in ranges", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"],
    ["lists of ranges", "{{ (range(99999) | list * 1000) | length }}"],
    ["a text times a number", "{{ 'a' * 10**9 }}"],
    ["a number times a text", "{{ 10**12 * 'a' }}"],
    ["a list times a number", "{{ ([0] * 10**9) | length }}"],
    ["doubling texts", doubling("'aaaa'", "ns.x ~ ns.x", "{{ ns.x | length }}")],
    ["doubling lists", doubling("[1]", "ns.x + ns.x", "")],
    ["doubling shared lists", doubling("[1]", "[ns.x, ns.x]", "{{ ns.x }}")],
    ["doubling shared lists, compared", doubling("[1]", "[ns.x, ns.x]", "{% set a = ns.x %}") + doubling("[1]", "[ns.x, ns.x]", "{{ a == ns.x }}")],
    ["doubling shared dicts, as JSON", doubling("{}", "{'a': ns.x, 'b': ns.x}", "{{ ns.x | tojson }}")],
    ["doubling by format", doubling("'aa'", "'{0}{0}'.format(ns.x)", "")],
    ["doubling by percent", doubling("'aa'", "'%s%s' % (ns.x, ns.x)", "")],
    ["doubling by join", doubling("'aa'", "[ns.x, ns.x] | join", "")],
    ["itself in itself", "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}"],
    ["a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
    ["a loop that calls itself", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"],
    ["a block that calls itself", "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}"],
    ["macros that double", "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}"],
    ["a wide field", "{{ '%1000000000d' % 1 }}"],
    ["a precise field", "{{ '%.1000000000f' % 1 }}"],
    ["a wide format", "{{ '{:1000000000}'.format(1) }}"],
    ["a wide format of zeros", "{{ '{:01000000000,}'.format(1) }}"],
    ["zeros with separators", "{{ '{:0999999,}'.format(1) * 20 }}"],
    ["brackets in a field", "{{ '{" + "[".repeat(5000) + "]{}}'.format(1) }}"],
    ["many percents", "{{ ('%(' * 100000) % {} }}"],
    ["a precise format", "{{ '{:.1000000000e}'.format(1.5) }}"],
    ["a starred field", "{{ '%*d' % (10**9, 1) }}"],
    ["center", "{{ 'a'.center(10**9) }}"],
    ["the filter center", "{{ 'a' | center(10**9) }}"],
    ["zfill", "{{ 'a'.zfill(10**9) }}"],
    ["ljust", "{{ 'a'.ljust(10**9) }}"],
    ["expandtabs", "{{ '\t'.expandtabs(10**9) }}"],
    ["replace", "{% set a = 'a' * 100000 %}{{ a.replace('a', a) }}"],
    ["the filter replace", "{% set a = 'a' * 100000 %}{{ a | replace('', a) }}"],
    ["join", "{% set a = 'a' * 100000 %}{{ a.join(a) }}"],
    ["indent", "{{ ('a\n' * 100000) | indent(10**6) }}"],
    ["indentation of JSON", "{{ [[1]] | tojson(indent=10**9) }}"],
    ["translate", "{{ ('a' * 100000).translate({97: 'b' * 100000}) }}"],
    ["a power", "{{ 10**(10**10) }}"],
    ["a tower of powers", "{{ 9**(9**(9**9)) }}"],
    ["products", doubling("3", "ns.x * ns.x", "")],
    ["many digits", "{{ 10**5000 }}"],
    ["rounding", "{{ 5 | round(-(10**12)) }}"],
    ["a batch", "{{ [1] | batch(10**9, 0) | list }}"],
    ["slices", "{{ [1] | slice(10**9) | list }}"],
    ["wrapping", "{{ ('a' * 500000) | wordwrap(1) }}"],
    ["deep brackets", `{{ ${"(".repeat(100_000)}1${")".repeat(100_000)} }}`],
    ["deep lists", `{{ ${"[".repeat(100_000)}${"]".repeat(100_000)} }}`],
    ["many signs", `{{ ${"-".repeat(100_000)}1 }}`],
    ["many nots", `{{ ${"not ".repeat(100_000)}1 }}`],
    ["deep ifs", "{% if true %}".repeat(50_000)],
    ["deep loops", `${"{% for x in [1] %}".repeat(30)}${"{% endfor %}".repeat(30)}`],
    ["a long chain of sums", `{{ ${"1 + ".repeat(100_000)}1 }}`],
    ["a long chain of attributes", `{{ x${".a".repeat(100_000)} }}`],
    ["a long chain of filters", `{{ 1${" | string".repeat(100_000)} }}`],
    ["much white space before a tag", `${" ".repeat(300_000)}x${" ".repeat(300_000)}{%- foo %}`],
    ["many openings of raw", `${"{% raw ".repeat(50_000)}{{`],
    ["many digits of a literal", `{{ ${"1".repeat(100_000)} }}`],
    ["an unclosed text", `{{ "${"\\a".repeat(300_000)} }}`],
  ])("%s", (_, template) => {
    const [start, before] = [performance.now(), process.memoryUsage().heapUsed];
    expect(failure(template).problem).toMatch(/exceeded|syntax|failed/);
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(2 ** 29);
  });

  it("but what is long and finite is rendered", () => {
    expect(render("{% for i in range(50000) %}{{ i }},{% endfor %}").length).toBe(288_890);
    expect(render("{{ x | length }}", { x: "a".repeat(900_000) })).toBe("900000");
    expect(render("{{ a }}".repeat(1000), { a: "b" })).toBe("b".repeat(1000));
    expect(render(`{{ ${"1 + ".repeat(300)}1 }}`)).toBe("301");
  });
});
