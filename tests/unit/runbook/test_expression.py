from __future__ import annotations

import resource
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mimrun.runbook.expression import (
    ExpressionError,
    UndefinedName,
    check_expression,
    check_template,
    evaluate,
    expression_names,
    expressions_of,
    leading_names,
    names,
    optional_names,
    render,
    truth,
    whole_expression,
)

BRACES = ["{{ 7*7 }}", "{% for x in y %}", "{# gone #}", "}}", "{{", "{%", "{{ config }}", "${{ x }}"]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=20), st.sampled_from(BRACES)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abcxyz{}%", max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_a_whole_expression_keeps_the_value_and_never_parses_it(value: object) -> None:
    assert render("{{ x }}", {"x": value}) == value
    assert render({"a": ["{{ x }}"]}, {"x": value}) == {"a": [value]}
    assert evaluate("x", {"x": value}) == value
    assert evaluate("[x, {'k': x}]", {"x": value}) == [value, {"k": value}]


@given(st.one_of(st.text(max_size=40), st.sampled_from(BRACES)))
def test_text_from_outside_stands_in_the_output_as_it_is(text: str) -> None:
    variables = {"x": text, "h": {"k": [text]}}
    assert render("<{{ x }}|{{ h.k[0] }}>", variables) == f"<{text}|{text}>"
    assert render("{% for i in h.k %}{{ i }}{% endfor %}", variables) == text
    assert render("{% set y = x %}{{ y ~ x }}!", variables) == f"{text}{text}!"
    assert render("{{ [x] | join }}!", variables) == f"{text}!"
    assert truth("x == h.k[0]", variables)


@given(values)
def test_a_value_without_braces_of_the_author_is_not_changed(value: object) -> None:
    plain = render("{{ x | to_json | from_json }}", {"x": value})
    assert plain == value


# What our evaluator says is what Jinja2 says, on everything that both of them have.
JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
NAMES = {"n": 7, "m": -2, "s": "text", "t": "", "l": [3, 1, 2], "d": {"a": 1, "b": {"c": "deep"}}, "f": False}
atoms = st.sampled_from(
    [
        "n",
        "m",
        "s",
        "t",
        "l",
        "d",
        "f",
        "1",
        "0",
        "'x'",
        "true",
        "none",
        "d.a",
        "d.b.c",
        "l[0]",
        "l[-1]",
        "[]",
    ]
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(
        ["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in", "~"]
    )
    filters = st.sampled_from(
        [
            "length",
            "upper",
            "lower",
            "first",
            "last",
            "int",
            "list",
            "sort",
            "unique|list",
            "join(',')",
            "default(1)",
            "abs",
            "sum",
            "max",
            "min",
            "reverse|list",
            "trim",
            "title",
            "d('z', true)",
        ]
    )
    tests = st.sampled_from(["defined", "none", "string", "number", "mapping", "sequence", "true", "integer"])
    return st.one_of(
        st.tuples(inner, binary, inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, filters).map(lambda p: f"({p[0]} | {p[1]})"),
        st.tuples(inner, tests).map(lambda p: f"({p[0]} is {p[1]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        inner.map(lambda p: f"(not {p})"),
    )


@given(st.recursive(atoms, _grow, max_leaves=5))
def test_what_has_a_value_here_has_the_same_value_in_jinja2(expression: str) -> None:
    try:
        ours = evaluate(expression, NAMES)
    except ExpressionError:
        return  # we refuse more: null and lists in texts, an order between kinds, very large numbers
    if "string" in expression and ("l" in expression or "d" in expression):
        return  # a list as text is JSON here and Python's own form there
    try:
        theirs = JINJA.compile_expression(expression, undefined_to_none=False)(**NAMES)
        theirs = theirs if isinstance(theirs, dict | str) or not hasattr(theirs, "__iter__") else list(theirs)
    except TypeError as exc:
        assert "unhashable" in str(exc)  # noqa: PT017 - a list in a mapping is a question with an answer: no
        return
    assert ours == theirs


HOSTILE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ().__class__ }}",
    "{{ x['__class__'] }}",
    "{{ x.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__ }}",
    "{{ joiner() }}",
    "{{ namespace() }}",
    "{{ self.__dict__ }}",
    "{{ self }}",
    "{{ range.__class__ }}",
    "{{ dict() }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '%s' | format(x) }}",
    "{{ '%0100000000d' % 1 }}",
    "{{ 'x' | center(100000000) }}",
    "{{ x | attr('__class__') }}",
    "{{ [x] | map(attribute='__class__') | list }}",
    "{{ [x] | map('attr', '__class__') | list }}",
    "{{ x.format }}",
    "{{ x | xmlattr }}",
    "{{ x | pprint }}",
    "{{ lookup('file', '/etc/passwd') }}",
    "{{ query('env', 'HOME') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% macro m() %}{% endmacro %}",
    "{% call m() %}{% endcall %}",
    "{% block b %}{% endblock %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set ns.a = 1 %}",
    "{% with a = 1 %}{% endwith %}",
    "{% autoescape true %}{% endautoescape %}",
    "{{ l.append(1) }}",
    "{{ l.clear() }}",
    "{{ l.pop() }}",
    "{{ d.update({'a': 1}) }}",
    "{{ d.pop('a') }}",
    "{{ d.clear() }}",
    "{{ s.encode() }}",
    "{{ s.translate({}) }}",
    "{{ range(*l) }}",
    "{{ range(**d) }}",
    "{{ caller() }}",
    "{{ loop }}",
]


@pytest.mark.parametrize("template", HOSTILE)
def test_a_way_out_of_the_sandbox_is_an_error(template: str) -> None:
    with pytest.raises(ExpressionError):
        render(template, {"x": "v", "l": [1], "d": {"a": 1}, "s": "t"})


EXPENSIVE = [
    "{{ s * 10**8 }}",
    "{{ 'x' * 10 ** 9 }}",
    "{{ [1] * 10 ** 9 }}",
    "{{ 9 ** 9 ** 9 ** 9 }}",
    "{{ 2 ** 100000000 }}",
    "{{ (10 ** 70) ** 5 }}",
    "{{ 10.0 ** 400 }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "-" * 20000 + "1 }}",
    "{{ " + "[" * 400 + "]" * 400 + " }}",
    "{{ range(10 ** 9) }}",
    "{{ range(10 ** 30) }}",
    "{{ range(100000) | map('string') | join(s * 1000) }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{{ s * 1000 }}{% endfor %}",
    "{% for i in range(99999) %}{% set x = s * 100000 %}{% endfor %}",
    "{% for i in range(999) %}{% if big == big %}x{% endif %}{% endfor %}",
    "{% for i in range(999) %}{% set x = big | sort %}{% endfor %}",
    "{% for i in range(999) %}{% set x = big | to_json %}{% endfor %}",
    "{% for i in range(999) %}{{ '' if 'zz' in big else '' }}{% endfor %}",
    "{{ (s * 1000).replace('', s * 1000) }}",
    "{{ (s * 1000).join((s * 1000).split('t')) }}",
    "{{ s | replace('t', s * 100000) | replace('t', s * 100000) }}",
    "{{ big | to_json(indent=1000000) }}",
    "{{ 1 | round(-1000000000) }}",
    "{{ s }}" * 300000,
]


DEEP = [
    "{{ " + "+".join(["1"] * 20_000) + " }}",
    "{{ a" + ".b" * 20_000 + " }}",
    "{{ a" + "|upper" * 9_000 + " }}",
    "{{ a" + "[0]" * 15_000 + " }}",
    "{{ " + "not " * 15_000 + "a }}",
    "{% if a %}" * 3_000 + "{% endif %}" * 3_000,
]


@pytest.mark.parametrize("number", range(len(DEEP)))
@pytest.mark.parametrize(
    "read", [names, check_template, optional_names, leading_names, whole_expression, expressions_of]
)
def test_a_deep_template_is_refused_and_does_not_use_up_the_stack(
    number: int, read: Callable[[str], object]
) -> None:
    with pytest.raises(ExpressionError):
        read(DEEP[number])


@pytest.mark.parametrize("number", range(len(EXPENSIVE)))
def test_an_expensive_expression_ends_soon_with_an_error(number: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.process_time()
    with pytest.raises(ExpressionError):
        render(EXPENSIVE[number], {"s": "text", "big": [[str(n), {"k": n}] for n in range(20_000)]})
    assert time.process_time() - started < 3
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert (after.ru_maxrss - before.ru_maxrss) < 600 * 1024  # KiB


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ n }}", 5),
        (" {{ n }}", " 5"),
        ("{{ n }}{{ n }}", "55"),
        ("{{ l }}", [1, 2]),
        ("{{ d.keys }}", "a key called keys"),
        ("{{ d.keys() | list }}", ["keys"]),
        ("{{ true }}", True),
        ("is {{ true }}", "is True"),
        ("{{ '}}' }}", "}}"),
        ("{% raw %}{{ n }}{% endraw %}", "{{ n }}"),
        ("a{# not shown #}b", "ab"),
        ("line\n", "line\n"),
        ("{{ n }}\n", "5\n"),
        ("{{ nothing.at.all | default('else') }}", "else"),
        ("{{ none | default('else', true) }}", "else"),
        ("{{ 'a b' | quote }}", "'a b'"),
        ("{{ l | map('string') | join('+') }}", "1+2"),
        ("{{ [{'a': 1}, {'b': 2}] | selectattr('a') | list }}", [{"a": 1}]),
        ("{{ [{'a': 1}, {'a': 2}] | rejectattr('a', '==', 1) | map(attribute='a') | list }}", [2]),
        ("{{ 'x' | b64encode | b64decode }}", "x"),
        ("{{ d | dict2items }}", [{"key": "keys", "value": "a key called keys"}]),
        ("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "keys=a key called keys;"),
        ("{% for i in l if i > 1 %}{{ loop.index }}{{ i }}{% else %}none{% endfor %}", "12"),
        ("{% if n > 9 %}a{% elif n > 4 %}b{% else %}c{% endif %}", "b"),
        ("{{ {'b': 1} | combine({'c': 2}) | to_json }}", '{"b": 1, "c": 2}'),
        ("{{ l[::-1] }}", [2, 1]),
        (r"{{ 'PostgreSQL 15.18' | regex_search('[0-9]+') }}", "15"),
        (
            r"{{ 'PostgreSQL 15.18' | regex_search('(\\d+)\\.(?P<minor>\\d+)', '\\1', '\\g<minor>') }}",
            ["15", "18"],
        ),
        (r"{{ 'x' | regex_search('y') }}", None),
        (r"{{ 'a1b22' | regex_replace('([0-9]+)', '<\\1>') }}", "a<1>b<22>"),
        (r"{{ 'abc' | regex_replace('', '-') }}", "-a-b-c-"),
        (r"{{ 'web1' is match('web') and 'web1' is search('[0-9]$') and 'aweb' is not match('web') }}", True),
        ("{{ 'abc'[1:] }}", "bc"),
    ],
)
def test_templates_mean_what_an_author_expects(template: str, expected: object) -> None:
    found = render(template, {"n": 5, "l": [1, 2], "d": {"keys": "a key called keys"}, "none": None})
    assert found == expected
    assert type(found) is type(expected)


def test_keys_of_mappings_are_not_templates() -> None:
    assert render({"{{ n }}": "{{ n }}"}, {"n": 1}) == {"{{ n }}": 1}


@pytest.mark.parametrize(
    ("template", "needed"),
    [
        ("{{ a.b[c] | default(d) }}", {"a", "c", "d"}),
        ("{% for x in xs %}{{ x.y + loop.index + z }}{% endfor %}", {"xs", "z"}),
        ("{% set q = w %}{{ q }}", {"w"}),
        ("{{ range(n) }}", {"n"}),
        ("plain", set()),
        ("{% raw %}{{ a }}{% endraw %}", set()),
        ("{% if a %}{{ b }}{% endif %}{{ x }}", {"a", "b", "x"}),
    ],
)
def test_names_are_what_a_template_needs_from_outside(template: str, needed: set[str]) -> None:
    assert names([{"k": template}]) == needed


def test_names_of_a_bare_expression() -> None:
    assert expression_names("result.rows[0].ok and lag <= max_lag") == {"result", "lag", "max_lag"}


@pytest.mark.parametrize(
    ("text", "leading"),
    [
        ("{{ a }}", {"a"}),
        ("{{ a }}/{{ b }}", {"a"}),
        ("-{{ a }}", set()),
        ("{% if c %}{{ d }}{% endif %}", {"c", "d"}),
    ],
)
def test_leading_names_are_those_that_can_begin_the_text(text: str, leading: set[str]) -> None:
    assert leading_names(text) == leading


def test_an_undefined_name_is_named_with_what_was_meant() -> None:
    with pytest.raises(UndefinedName, match=r"'standbay' is undefined; did you mean 'standby'\?") as caught:
        render("{{ standbay.lag }}", {"standby": {"lag": 1}})
    assert caught.value.name == "standbay"


def test_a_missing_key_of_a_known_value_is_named() -> None:
    with pytest.raises(UndefinedName, match=r"standby\.rows has 0 items, and none at 0"):
        evaluate("standby.rows[0].lag", {"standby": {"rows": []}})


@pytest.mark.parametrize("expression", ["n", "'true'", "l", "d", "none", "0", "n and l"])
def test_a_condition_that_is_not_a_boolean_is_an_error(expression: str) -> None:
    with pytest.raises(ExpressionError, match="must be true or false"):
        truth(expression, {"n": 1, "l": [1], "d": {}})


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("{{ n }} > 3", "a bare expression has no braces"),
        ("n = 3", "equality is written =="),
        ("n > 3 && m", "write `and`"),
        ("lookup('env', 'HOME')", "give the value as an input"),
        ("n | legnth", "did you mean 'length'"),
        ("n is defnied", "did you mean 'defined'"),
    ],
)
def test_a_wrong_expression_says_what_would_be_right(expression: str, hint: str) -> None:
    with pytest.raises(ExpressionError, match=hint):
        check_expression(expression)


@pytest.mark.parametrize(
    "template",
    ["{{ x", "{% if x %}", "{{ x | nofilter }}", "{{ x is notest }}", "{% include 'a' %}", "{{ f(x) }}"],
)
def test_a_wrong_template_is_found_without_rendering_it(template: str) -> None:
    with pytest.raises(ExpressionError):
        check_template(template)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_null_and_lists_are_not_put_into_a_text_silently(value: object) -> None:
    with pytest.raises(ExpressionError, match="cannot be put into a text"):
        render("x{{ v }}", {"v": value})
