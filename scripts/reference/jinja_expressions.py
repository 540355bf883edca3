"""Expressions and statements of Jinja with what jinja2, set up as transformers does, makes of them: the fixture of src/jinja/jinja.test.ts.

    python scripts/reference/jinja_expressions.py       writes test/fixtures/jinja-expressions.json

Every operator, filter, test and method meets values of every kind; then come the constructs that chat templates are made of, and white
space control. A case is [template, text], or [template, null] where jinja2 raises. What prints an address in memory counts as raising.
"""

import itertools
import json
import re
from pathlib import Path

from jinja_oracle import outcome

ROOT = Path(__file__).resolve().parents[2]

VARIABLES = {
    "s": "Hello, World", "u": "naïve 日本 😀é", "t": " \t a\tb \n", "e": "", "d": {"b": 1, "a": [1, 2.5, None, True], "c": {"x": "y"}}, "l": [3, 1, 2], "w": ["b", "A", "a", "B"],
    "n": None, "i": 7, "f": 2.5, "b": True, "big": 123456789012345678901234567890,
    "m": [{"role": "user", "content": "hi", "k": 2}, {"role": "assistant", "content": "Yo", "k": 1, "x": {"y": 5}}, {"role": "user", "content": "", "k": None}],
}
VALUES = ["s", "u", "e", "l", "d", "n", "i", "f", "b", "big", "m", "missing", "(1, 'a')", "range(3)", "'5'", "-3", "0", "[]", "d.items()", "('<a>' | safe)", "1.0", "namespace(a=1)"]
FEW = ["s", "l", "d", "n", "i", "f", "missing", "(1, 'a')"]


def expressions():
    yield from VALUES
    for value in VALUES:
        yield f"[{value}]"
        yield f"not {value}"
        yield f"-{value}"
        yield f"+{value}"
        yield f"'x' ~ {value}"
        yield f"{value}[0]"
        yield f"{value}['a']"
        yield f"{value}.a"
        yield f"{value}.items"
        yield f"{value}[1:]"
        yield f"{value}()"
    for operator in ["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", "in", "not in", "and", "or"]:
        for left, right in itertools.product(["s", "l", "d", "n", "i", "f", "b", "missing", "(1, 'a')", "'5'", "-3", "0"], ["'5'", "l", "d", "n", "2", "f", "true", "missing", "(1,)", "-3", "0"]):
            yield f"{left} {operator} {right}"
    yield from [
        "big * big", "big // 7", "-big // 7", "big % -7", "big - 1", "2 ** 100", "2 ** -1", "(-2) ** 3", "-2 ** 2", "2 ** 3 ** 2", "7 // -2", "-7 // 2", "-7 % 3", "7 % -3", "7.5 // 2", "-7.5 % 2",
        "7.5 % -2", "0.1 + 0.2", "1e16", "1e15", "1.5e300 * 1e300", "1e-5", "0.0001", "123456789.123456789", "1 / 3", "10 / 5", "big / 3", "9007199254740993", "9007199254740991 + 2", "1_000", "0x1f", "0b101", "0o17",
        "1.0 == 1", "true == 1", "1 == '1'", "[1, 2] == [1.0, 2]", "{'a': 1} == {'a': 1.0}", "(1, 2) == [1, 2]", "1 < 2 < 3", "1 < 3 < 2", "3 > 2 == 2", "'a' < 'b'", "[1, 2] < [1, 3]", "(1,) < (1, 2)",
        "none == missing", "missing == other", "none is none", "missing is none", "missing in [missing]", "1 in {1.0: 2}", "true in [1]", "{1: 'a', true: 'b', 1.0: 'c'}", "{(1, 2): 3}[(1, 2)]", "{[1]: 2}",
        "'a' 'b'", "'a' if true", "'a' if false", "('a' if false) is defined", "1 if false else 2 if false else 3", "[1, 2, 3][-1]", "[1, 2, 3][5]", "[1, 2, 3][::2]", "[1, 2, 3][::-1]", "[1, 2, 3][5:1:-2]",
        "'héllo😀x'[4:6]", "'héllo😀x'[5]", "'héllo😀x' | length", "'😀'.upper()", "u[::-1]", "u[-1]", "u.find('é')", "u.index('😀')", "'abc'[true]", "[1, 2][true]", "[1, 2][1.0]", "'abc'[1:n]", "l['x']", "l.x.y", "d.x.y",
        "d.get('a')", "d.get('z')", "d.get('z', 5)", "d['c']['x']", "d.c.x", "d.keys()", "d.values()", "d.items()", "d.keys() | list", "d.items() | list", "d.pop('a')", "d.update({})", "d.clear", "d.clear is defined",
        "d.copy()", "l.append(1)", "l.append is defined", "l.index(1)", "l.index(9)", "l.count(1)", "l.copy()", "(1, 2, 1).count(1)", "(5).bit_length()", "i.real", "f.is_integer()", "s.__class__", "s.__class__ is defined", "s.__foo__",
        "range(5) | list", "range(2, 10, 3) | list", "range(5, 0, -2) | list", "range(3)[1]", "range(10)[2:5]", "range(0)", "range(1, 2, 0)", "range(1.5)", "range(200000)", "dict(a=1, b=2)", "dict([('a', 1)])", "dict({'x': 1}, y=2)", "dict(1)",
        "dict.fromkeys(['a', 'b'], 0)", "namespace(a=1, b='x')", "namespace({'q': 1}).q", "namespace(_a=1)", "cycler('a', 'b').next()", "joiner()()", "raise_exception('x')", "strftime_now('%Y-%m-%d %H:%M:%S %A %a %B %b %j %U %W %V %u %w %y %I %p %e %-d %k %l %D %F %T %R %C %G %% %Q')",
        "strftime_now('%c|%x|%X|%Z|%z|%f|%h|%n|%s')[:40]", "'%s' % 1", "'%s %s' % (1, 'b')", "'%(a)s' % {'a': 5}", "'%d' % 3.7", "'%5.2f|%-8s|%08.3f|%+d|% d|%x|%X|%o|%#x|%e|%g|%c|%r|%%' % (1.5, 'ab', 3.14159, 5, 5, 255, 255, 8, 255, 12345.678, 0.00001234, 'z', 'q')",
        "'%s'  % l", "'%s' % d", "'%s %s' % 'a'", "'%s' % (1, 2)", "'%d' % 'a'", "'%q' % 1", "'%*d' % (5, 3)", "'%.3s' % 'abcdef'", "'%s' % missing", "'a' % missing", "'%d' % missing", "'a' % l", "'a' % 1", "'%.0f' % 2.5", "'%.0f' % 0.5", "'%.2f' % 2.675", "'%g' % 1e20", "'%g' % 100000", "'%g' % 1000000", "'%i' % true",
    ]
    for spec in [":>8", ":<8", ":^8", ":*^9", ":08", ":=8", ":.3", ":5d", ":,", ":_", ":x", ":#x", ":b", ":o", ":e", ":.2e", ":f", ":.1f", ":g", ":.3g", ":%", ":.1%", ":+", ": ", ":+.2f", ":010,", ":c", ":s", ":d", ":n", "!r", "!s", "!a", "!r:>10", ":z.1f", ":#.3g", ":.0f", ":q", ":10.4s", ":#o", ":E", ":G", ":-^12,.2f"]:
        for value in ["s", "i", "f", "b", "1234567", "1234567.891", "-0.5", "0.0", "-42", "n", "l", "missing", "1e20", "u"]:
            yield f"'{{{spec}}}'.format({value})"
    yield from [
        "'{} {}'.format(1, 2)", "'{0} {1} {0}'.format('a', 'b')", "'{a}'.format(a=1)", "'{a.b}'.format(a={'b': 2})", "'{a[b]}'.format(a={'b': 2})", "'{0[1]}'.format([1, 2])", "'{} {0}'.format(1)", "'{'.format()", "'}'.format()", "'{{}}'.format()",
        "'{:{}}'.format('a', 5)", "'{:{w}}|'.format('a', w=4)", "'{}'.format()", "'{x}'.format()", "'{a}'.format_map({'a': 1})", "'{0.__class__}'.format(1)", "'{!x}'.format(1)", "'{:>{w}.{p}f}'.format(3.14159, w=10, p=2)", "'{}{}'.format('a')", "'{0}{}'.format(1)",
    ]
    methods = {
        "capitalize": [""], "casefold": [""], "lower": [""], "upper": [""], "title": [""], "swapcase": [""],
        "strip": ["", "' '", "'aH'", "n", "1", "missing"], "lstrip": ["", "'He'"], "rstrip": ["", "'ld'", "chars='d'"],
        "split": ["", "' '", "','", "'l'", "n", "'l', 1", "n, 1", "sep='l', maxsplit=2", "''", "' ', 0", "maxsplit=1", "'ll'"], "rsplit": ["", "'l', 1", "n, 1", "', '", "maxsplit=0", "'ll', 1"],
        "partition": ["', '", "'zz'", "''"], "rpartition": ["'l'", "'zz'"], "splitlines": ["", "true"], "find": ["'l'", "'zz'", "'l', 4", "'l', -3, -1", "''", "1"], "rfind": ["'l'", "'l', 0, 4"], "index": ["'o'", "'zz'"], "rindex": ["'o'"],
        "count": ["'l'", "''", "'l', 3", "'o', 0, 5"], "startswith": ["'He'", "('x', 'H')", "'llo', 2", "l", "''"], "endswith": ["'ld'", "('x', 'd')", "'Wor', 0, 10"],
        "removeprefix": ["'Hello'", "'x'"], "removesuffix": ["'World'", "''"], "replace": ["'l', 'L'", "'l', 'L', 2", "'', '-'", "'', '-', 3", "'l', ''", "'l'", "1, 2", "'l', 'x', -1"], "join": ["['a', 'b']", "'abc'", "[1]", "d", "missing", "n"],
        "ljust": ["15", "15, '*'", "'a'"], "rjust": ["15", "15, '-'"], "center": ["15", "16, '*'", "3"], "zfill": ["15"], "expandtabs": ["", "4"], "encode": [""], "translate": ["{72: 'J', 108: n}"], "maketrans": ["'ab', 'cd'"],
    }
    for name in ["isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper"]:
        methods[name] = [""]
    for name, calls in methods.items():
        for arguments in calls:
            for value in ["s", "u", "t", "e", "'aXbX'", "'+12'"] if arguments == "" else ["s", "u", "t"]:
                yield f"{value}.{name}({arguments})"
    yield from [f"{x}.{k}()" for x in ["'5'", "'²'", "'½'", "'一'", "'Ab'", "'AB'", "'ab1'", "'_a'", "' '", "'\\x1c'", "'ǅ'", "'Σ'"] for k in ["isdigit", "isdecimal", "isnumeric", "isalpha", "isalnum", "islower", "isupper", "istitle", "isspace", "isidentifier", "isprintable"]]
    yield from ["'ὈΔΥΣΣΕΎΣ'.lower()", "'ΑΣ'.capitalize()", "'straße'.upper()", "'ß'.title()", "'ﬁn'.title()", "'ǆ'.title()", "'İ'.lower()", "\"they're bill's\".title()", "'ĲSSEL'.swapcase()", "'ὈΔΥΣΣΕΎΣ'.title()", "'ß'.casefold()", "'a\\nb\\r\\nc\\x0bd\\u2028e'.splitlines()"]
    filters = {
        "abs": [""], "attr": ["('a')", "('upper')", "('items')"], "batch": ["(2) | list", "(2, 'x') | list", "(0) | list"], "capitalize": [""], "center": ["(20)", ""], "count": [""], "d": ["('z')"], "default": ["", "('z')", "('z', true)", "(default_value='q', boolean=true)"],
        "dictsort": ["", "(true)", "(by='value')", "(reverse=true)", "(by='q')"], "e": [""], "escape": [" ~ '<'"], "filesizeformat": ["", "(true)"], "first": [""], "float": ["", "(1.5)"], "forceescape": [""], "format": ["(1)", "(a=1)", ""],
        "groupby": ["('role')", "('k')"], "indent": ["", "(2)", "(2, true)", "('>>', first=true, blank=true)", "(width=3)"], "int": ["", "(5)", "(0, 16)"], "items": [" | list"], "join": ["", "(', ')", "('-', 'role')", "('-', attribute='k')", "(1)"],
        "last": [""], "length": [""], "list": [""], "lower": [""], "map": ["('upper') | list", "(attribute='role') | list", "(attribute='x.y', default='?') | list", "('foo') | list", " | list", "('default', 3) | list", "(attribute='role', q=1) | list"],
        "max": ["", "(attribute='role')"], "min": ["", "(case_sensitive=true)"], "pprint": [""], "reject": [" | list", "('none') | list"], "rejectattr": ["('k') | list", "('role', 'eq', 'user') | list"], "replace": ["('l', 'L')", "('l', 'L', 1)", "(1, 2)", "('', '.')"],
        "reverse": [" | list", ""], "round": ["", "(1)", "(0, 'floor')", "(1, 'ceil')", "(-1)", "(method='q')"], "safe": ["", " + '<'"], "select": [" | list", "('odd') | list", "('string') | list", "('foo') | list"], "selectattr": ["('k') | list", "('role', 'equalto', 'user') | list", "('x', 'defined') | list", "() | list"],
        "slice": ["(2) | list", "(2, 'x') | list"], "sort": ["", "(true)", "(case_sensitive=true)", "(attribute='role')", "(attribute='role,content')"], "string": ["", " + 'x'"], "striptags": [""], "sum": ["", "(start=10)", "('k')", "(attribute='k')", "(start='')"],
        "title": [""], "tojson": ["", "(indent=2)", "(indent=0)", "(ensure_ascii=true)", "(sort_keys=true)", "(separators=(',', ':'))", "(indent='\\t')", "(4)", "(indent=2, separators=(';', '='))"], "trim": ["", "('H')", "(n)"], "truncate": ["(5)", "(5, true)", "(8, false, '..', 0)", "", "(2)"],
        "unique": [" | list", "(true) | list", "(attribute='role') | list"], "upper": [""], "urlencode": [""], "wordcount": [""], "wordwrap": ["(5)", "(4, false)", "(3, wrapstring='|')"], "xmlattr": ["", "(false)"],
    }
    for name, calls in filters.items():
        for call in calls:
            for value in VALUES if call in ("", " | list") else FEW + ["m", "w", "e", "u"]:
                yield f"{value} | {name}{call}"
    yield from [
        "'<a href=\"x\">&</a>' | e", "('<' | e) ~ '<'", "('<' | e) + '<'", "'<' + ('<' | safe)", "['<' | e]", "('<b>' | safe).upper()", "('a%s' | safe) % '<'", "('<' | safe).join(['<', 'b'])", "('<a' | safe).replace('a', '<')", "('a b' | safe).split()", "('<x>' | safe | e)", "('<x>' | safe) == '<x>'",
        "('a' | safe) in ['a']", "{'a': 1}['a' | safe]", "'<p>x  y</p> <!-- c --> z' | striptags", "'a' | replace('a', 'b' | safe)", "w | sort", "w | sort(case_sensitive=true)", "w | unique | list", "w | min", "w | max(case_sensitive=true)", "m | groupby('role') | list", "m | groupby('k', default=0) | map('first') | list",
        "m | map(attribute='content') | select | list", "m | selectattr('role', 'in', ['user']) | map(attribute='k') | list", "m | rejectattr('role', 'ne', 'user') | list | length", "[1, 2, 3, 4] | select('divisibleby', 2) | list", "[[1, 2], [3]] | sum(start=[])", "[0.1, 0.2, 0.3] | sum", "[1, 2, 3] | map('string') | join", "['1', '2'] | map('int') | sum",
        "'42.7' | int", "'0x1f' | int(base=16)", "'abc' | int(-1)", "' 12 ' | int", "'1_000' | int", "'1e3' | int", "'1e3' | float", "'inf' | float", "'nan' | float", "'inf' | int", "2.5 | round", "3.5 | round", "2.675 | round(2)", "1234.5 | round(-2)", "25 | round(-1)", "15 | round(-1)", "42.55 | round(1, 'floor')", "-2.5 | round | int", "1e300 | int",
        "'foo bar baz qux' | truncate(9)", "'foo bar baz qux' | truncate(9, true)", "'foo bar baz qux' | truncate(11)", "'foo bar baz qux' | truncate(11, false, '...', 0)", "'a\\n\\nb\\n' | indent(2)", "'a\\n\\nb\\n' | indent(2, true, true)", "'one two three-four five' | wordwrap(9)", "'aaaaaaaaaaaa' | wordwrap(5)", "'a b\\n\\nc d' | wordwrap(2)",
        "'hello world foo' | title", "'x-y z(a) [b] {c} <d>' | title", "1000 | filesizeformat", "1 | filesizeformat", "1234567 | filesizeformat", "1234567 | filesizeformat(true)", "'a b&c/d' | urlencode", "{'a b': 1, 'c': 'é'} | urlencode", "[('a', 1)] | urlencode", "{'a': 1, 'b': none, 'c': '<'} | xmlattr",
        "[1, 2, 3, 4, 5] | batch(2) | list", "[1, 2, 3, 4, 5] | batch(2, 0) | list", "[1, 2, 3, 4, 5] | slice(3) | list", "[1, 2, 3, 4, 5] | slice(3, 'x') | list", "'abc' | list", "'abc' | reverse", "d | list", "d | length", "d | dictsort", "{'b': 1, 'A': 2} | dictsort", "{'b': 1, 'A': 2} | dictsort(true)",
        "d | tojson", "'é\"\\\\\\n\\t\\x01\\x7f\\u2028' | tojson", "'é😀' | tojson(ensure_ascii=true)", "[1.0, 1e20, 1e-7, true, none] | tojson", "{1: 2, none: 3, true: 4, 1.5: 5} | tojson", "(1, 2) | tojson", "[] | tojson(indent=2)", "{} | tojson(indent=2)", "[[], {}] | tojson(indent=2)", "{'b': 1, 'a': 2} | tojson(sort_keys=true)", "{(1, 2): 3} | tojson", "missing | tojson", "('<' | e) | tojson",
        "d | tojson | safe", "[missing]", "{'a': missing}", "(missing,)", "()", "(1,)", "[[1, [2]], 'a\\'b', \"a'b\\\"c\", 'a\\\\b', '\\n\\x00\\x7f\\xa0é\\u200b😀']", "1 is odd", "'a' is odd", "2.0 is even", "'x' | default", "n | default('q', true)", "missing | first", "[] | first", "[] | last", "[] | max", "([] | max) is defined", "missing | length", "missing | list", "missing | join", "missing | upper", "missing | sort", "missing | tojson is defined",
        "'abc' | attr('upper')()", "d | attr('a')", "d | attr('keys')() | list", "l | attr('append') is defined", "s | wordcount", "s | foo", "s is foo", "s | foo if false", "false and (s | foo)", "l | map('foo')",
    ]
    tests = ["boolean", "callable", "defined", "divisibleby 2", "eq 7", "escaped", "even", "false", "filter", "float", "ge 2", "gt 2", "in [7, 'a']", "integer", "iterable", "le 7", "lower", "lt 3", "mapping", "ne 7", "none", "number", "odd", "sameas true", "sameas none", "sequence", "string", "test", "true", "undefined", "upper", "not none", "equalto(7)", "greaterthan 1", "lessthan(1)", "foo"]
    for test in tests:
        for value in VALUES:
            yield f"{value} is {test}"
    yield from ["'upper' is filter", "'nope' is filter", "'odd' is test", "1 is in [1] and true", "x is defined and x", "1 is 1 is 1", "range is callable", "loop is defined", "(1, 2) is sequence", "'a' is sameas 'b'", "l is sameas l", "[] is sameas []"]


STATEMENTS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}", "{% for x in [] %}a{% else %}b{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }}{% else %}none{% endfor %}", "{% for x in l | map('string') %}{{ x }}{{ loop.last }}{{ loop.length }}{% endfor %}", "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}E{% endfor %}", "{% for x in [1] %}{% continue %}{% else %}E{% endfor %}", "{% for x in [1] %}{% break %}{% else %}E{% endfor %}",
    "{% break %}", "{% for x in l %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}", "{% for x in l %}{% set y %}{{ x }}{% break %}{% endset %}{{ y }}{% endfor %}!", "{% for x in l %}{% filter upper %}a{% continue %}{% endfilter %}{% endfor %}!", "{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% for x in [[1, [2]], [3]] recursive %}{{ x if x is number else '(' ~ loop(x) ~ ')' }}{{ loop.depth }}{% endfor %}", "{% for x in l %}{{ loop([1]) }}{% endfor %}", "{% for x in n %}{% endfor %}", "{% for x in missing %}a{% else %}b{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in 'aé😀' %}{{ x }}.{% endfor %}", "{% for loop in l %}{% endfor %}", "{% for x in l %}{% set loop = 1 %}{% endfor %}",
    "{% for x in l %}{{ loop }}{% endfor %}", "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}", "{% for x in l %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}", "{{ loop }}", "{% for x in l %}{{ loop.foo }}|{{ loop.foo is defined }}{% endfor %}",
    "{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }}{% endfor %}{{ x }}", "{% for y in l %}{{ x }}{% set x = y %}{{ x }}{% endfor %}{{ x }}", "{% for y in l %}{{ s }}{% endfor %}{% set s = 'set' %}{{ s }}", "{{ s }}{% set s = 'set' %}{{ s }}", "{% if false %}{% set s = 'set' %}{% endif %}{{ s }}", "{% if true %}{% set q = 'set' %}{% endif %}{{ q }}", "{% if false %}{% set q = 1 %}{% else %}{{ q }}{% endif %}{{ q }}",
    "{% if n %}a{% elif e %}b{% elif s %}c{% else %}d{% endif %}", "{% if missing %}a{% else %}b{% endif %}", "{% if missing.x %}a{% endif %}", "{% if l, %}a{% endif %}", "{% if true: %}a{% endif %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set (a, b) = [1, 2] %}{{ a }}{{ b }}", "{% set a, b = 1 %}", "{% set true = 1 %}", "{% set 'a' = 1 %}", "{% set x.y = 1 %}", "{% set d.y = 1 %}",
    "{% set ns = namespace(x=1) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}{{ ns.z }}{{ ns['x'] }}{{ ns }}", "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}", "{% set ns = namespace() %}{% set ns.a %}text{% endset %}{{ ns.a }}", "{% set ns = namespace() %}{% set ns._a = 1 %}", "{% set ns = namespace() %}{{ ns | tojson }}", "{% set d.q %}x{% endset %}{{ d.q }}",
    "{% set x %}a{{ s }}{% endset %}{{ x | length }}", "{% set x | upper | trim %} a {% endset %}[{{ x }}]", "{% set x | replace(s, 'z') %}Hello, World!{% endset %}{{ x }}", "{% set x | replace(zz, 'z') %}Hello{% endset %}", "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', s) | lower %}aB{% endfilter %}", "{% filter length %}abc{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% with s = s ~ '!' %}{{ s }}{% endwith %}{{ s }}", "{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}",
    "{% macro f(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c=5) }}{{ f() }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}", "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}", "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(1) }}",
    "{% macro f(a, a) %}{% endmacro %}", "{% macro f(a=1, b) %}{% endmacro %}", "{% macro f() %}{{ s }}{% set s = 1 %}{{ s }}{% endmacro %}{{ f() }}{{ s }}", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}G{% endmacro %}{{ f() }}", "{{ f() }}{% macro f() %}x{% endmacro %}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro f() %}{% endmacro %}{{ f }}{{ f.name }}{{ f.arguments }}",
    "{% macro f(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) f(5) %}{{ y }}{{ s }}{% endcall %}", "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}a{% endcall %}{{ f() }}", "{% macro f() %}x{% endmacro %}{% call f() %}a{% endcall %}", "{% macro f() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ f() }}", "{% call s.upper() %}a{% endcall %}", "{% call s %}a{% endcall %}", "{% macro f(caller) %}{{ caller }}{% endmacro %}", "{% macro f(caller=1) %}{{ caller }}{% endmacro %}{{ f() }}",
    "{% set x = 1 %}{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}", "{% for i in l %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}", "{% macro f(x) %}{% for y in x %}{{ loop.index }}{{ y }}{% endfor %}{% endmacro %}{{ f('ab') }}", "{{ f(*l) }}{% macro f(a) %}{% endmacro %}", "{% macro f(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(*l) }}{{ f(1, **{'b': 2, 'c': 3}) }}{{ f(*[1], b=2, *[3]) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}{{ f(a=1, a=2) }}",
    "{% generation %}a{{ s }}{% set q = 1 %}{% endgeneration %}{{ q }}", "{%- generation -%} a {%- endgeneration -%} b", "{% raw %}{{ a }}{% b %}{# c #}{% endraw %}", "{%- raw -%} {{ a }} {%- endraw -%} x", "a\n  {% raw %}  \n x\n  {% endraw %}\nb", "{# c #}a{#- c -#} b", "{# c", "{% raw %}a", "{{ a", "{% if", "{% if true %}a", "{% endif %}", "{% foo %}", "{% else %}", "{% for x in l %}{% endif %}", "{{ }}", "{{ a b }}", "{{ 1 + }}", "{{ (1 }}", "{{ [1 }}", "{{ {1} }}", "{{ 'a }}", "{{ a.1 }}", "{{ a. }}", "{{ a | }}", "{{ a is }}", "{{ l.0 }}{{ l.1 }}", "{{ $ }}", "{{ a ? b }}", "{{ a[1:2, 3] }}", "{{ f(a=1, 2) }}", "{{ f(**d, 1) }}", "{{ not }}", "{{ ) }}", "{{ 1if true else 2 }}", "{{ 'a' if true else }}",
    "{% block x %}a{{ s }}{% endblock %}", "{% set q = 1 %}{% block x %}{{ q }}{% endblock %}", "{% for q in l %}{% block x %}{{ q }}{% endblock %}{% endfor %}", "{% for q in l %}{% block x scoped %}{{ q }}{{ loop.index }}{% endblock %}{% endfor %}", "{% block x %}{% endblock x %}{% block x %}{% endblock %}", "{% block x required %}{% endblock %}",
    "{% include 'x' %}", "{% include 'x' ignore missing %}", "{% if false %}{% include 'x' %}{% endif %}a", "{% import 'x' as y %}", "{% from 'x' import y, z as q %}", "{% extends 'x' %}", "{% if false %}{% extends 'x' %}{% endif %}a", "{% autoescape false %}{{ '<' }}{% endautoescape %}", "{% print 1, 'a' %}", "{% do 1 %}", "{% trans %}a{% endtrans %}", "{% debug %}",
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n  {% if true %}  \n  b\n  {% endif %}\nc", "a  {% if true %} b {% endif %} c", "  {{ 1 }}\n  {{ 2 -}}\n  x", "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc", "a\n  {%+ if true +%}\n  b\n  {%+ endif +%}\nc", "  {%+ if true %}x{% endif %}", "a {{- 1 -}} b", "a {{+ 1 }} b", "a {#- x -#} b {#+ y +#} c", "\n\n{% set x = 1 %}\n\n{{ x }}\n\n", "{{ 1 }}\n", "{{ 1 }}\n\n", "\t {% if true %}\tx{% endif %}\t ", "x\r\ny\rz\n{% if true %}\r\nq{% endif %}", "{% if true %}{# c #}\n  {# d #}\nx{% endif %}", "  {# c #}  \nx", "a{% if true %}\n\n\nb{% endif %}", "{{ 'a' }}  {% if true %}x{% endif %}", "{%if true%}{%else%}{%endif%}{{1}}{{-1}}{{ -1 }}",
    "{{ 'a\\nb\\t\\\\\\'\\\"\\x41\\u00e9\\101\\q' }}", "{{ 'é\\é' }}", "{{ '\\x4' }}", "{{ 'a\nb' }}", "{{ \"it's\" }}", "{{ {'a': {'b': 1}}}}", "{{ {} }}{{ [] }}{{ () }}", "{{ [1, 2,] }}{{ (1, 2,) }}{{ {'a': 1,} }}", "{{ [,] }}", "{{ true }}{{ True }}{{ false }}{{ none }}{{ None }}", "{{ 1, 2 }}", "{{ é }}", "{{ _x }}{{ x1 }}", "{{ s.upper().lower()[0:3] | upper ~ 'x' }}", "{{ -1 | abs }}", "{{ 2 - -1 }}", "{{ not true or true }}", "{{ 1 + 2 ~ 3 * 4 }}", "{{ 'a' ~ 1 + 2 }}", "{{ 1 in [1] == true }}", "{{ (not 1) in [false] }}", "{{ not 1 in [2] }}", "{{ 1 not in [2] }}", "{{ a if b else c if d else e }}", "{{ s[0], s[-1] }}", "{{ l[0:2][1] }}", "{{ m[0].role }}{{ m[0]['role'] }}{{ m[-1].k }}{{ m[0].items() | list }}",
]


def main():
    templates = [f"{{{{ {expression} }}}}" for expression in expressions()] + STATEMENTS
    cases = []
    for template in dict.fromkeys(templates):
        text = outcome(template, json.loads(json.dumps(VARIABLES))).get("text")
        cases.append([template, None if text is not None and re.search(r" at 0x[0-9a-f]+>", text) else text])
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    path = ROOT / "test" / "fixtures" / "jinja-expressions.json"
    path.write_text(f'{{"variables": {json.dumps(VARIABLES, ensure_ascii=False)},\n"cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases, {sum(text is None for _, text in cases)} raise; {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
