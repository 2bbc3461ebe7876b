from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mimrun.runbook.bounds import Budget, ExpressionError
from mimrun.runbook.expression import check_expression
from mimrun.runbook.regex import compile_pattern, fits, search

atoms = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        ".",
        "[ab]",
        "[^a]",
        r"\d",
        r"\w",
        r"\s",
        "[a-c0-9]",
        r"\.",
        "1",
        r"[\d-]",
        "[]a]",
        "-",
        "A",
        "(a)",
        "(?:b|a)",
        "(a|ab)",
        "^",
        "$",
        r"\b",
        "x{2}",
        "[^\\W_]",
        "(?P<n>b)",
        r"\x61",
    ]
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeats = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{1,}", "*?", "+?", "??", "{0,2}?"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, repeats).map(lambda p: f"(?:{p[0]}){p[1]}"),
        st.tuples(inner, inner).map(lambda p: f"(?:{p[0]}|{p[1]})"),
        inner.map(lambda p: f"({p})" if "?P" not in p else p),
    )


patterns = st.recursive(atoms, _grow, max_leaves=6)
# ASCII, and no line ends: there RE2 and Python mean the same by `\\w`, `\\b` and `$`.
texts = st.text(st.sampled_from("aabbAcx1 .-_"), max_size=12)


@given(patterns, texts)
def test_a_text_fits_where_pythons_own_matcher_says_so(pattern: str, text: str) -> None:
    try:
        theirs = re.compile(pattern)
    except re.error:
        assume(False)
    assert fits(pattern, text) is bool(theirs.fullmatch(text))


@given(patterns, texts, st.sampled_from(["", "(?i)", "(?m)", "(?s)", "(?ims)"]))
def test_a_match_is_found_where_pythons_own_matcher_finds_it(pattern: str, text: str, flags: str) -> None:
    try:
        theirs = re.compile(flags + pattern).search(text)
    except re.error:
        assume(False)
    ours = search(flags + pattern, text, Budget())
    assert (ours is None) is (theirs is None)
    if ours is not None and theirs is not None:
        assert ours.start == theirs.start()


@pytest.mark.parametrize(
    ("pattern", "text", "group", "expected"),
    [
        (r"(\d+)\.(\d+)", "PostgreSQL 15.18 on", "1", "15"),
        (r"(\d+)\.(\d+)", "PostgreSQL 15.18 on", "2", "18"),
        (r"(?P<key>\w+)=(?P<value>\S*)", " state=up ", "value", "up"),
        (r"a+?", "aaa", "0", "a"),
        (r"(a)|b", "b", "1", None),
        (r"<(.*?)>", "<one> <two>", "1", "one"),
        (r"<(.*)>", "<one> <two>", "1", "one> <two"),
        (r"(?i)error: (.+)", "ERROR: full\nnext", "1", "full"),
        (r"(?m)^b(.)$", "a1\nb2\nc3", "1", "2"),
    ],
)
def test_groups_hold_what_an_author_expects(
    pattern: str, text: str, group: str, expected: str | None
) -> None:
    found = search(pattern, text, Budget())
    assert found is not None
    assert found.group(group) == expected


SLOW = ["(a+)+$", "(a|aa)+$", "(a|a?)+$", "(.*a){20}", "(a*)*b", "(x+x+)+y", "(a?){30}a{30}", "([a-z]+)*!"]


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_keeps_python_busy_for_ever_ends_soon(pattern: str) -> None:
    started = time.process_time()
    try:
        search(pattern, "a" * 5000 + "!", Budget())
    except ExpressionError as exc:
        assert "steps" in str(exc)  # noqa: PT017 - either way is right, as long as it ends
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "[",
        "[b-a]",
        "*a",
        "a**",
        "a{,2}",
        r"(a)\1",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?P<n>a)(?P=n)",
        r"\q",
        "(?x)a",
        "x{5001}",
        "((x{100}){100})",
        "\\",
        "(?i",
        r"\xzz",
        "x" * 1001,
    ],
)
def test_what_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(ExpressionError):
        compile_pattern(pattern)


@given(st.text(st.sampled_from("ab(|)[]{}*+?^$.\\d,1-:P<n>i=!"), max_size=14))
def test_no_pattern_makes_the_reader_fall_over(pattern: str) -> None:
    with contextlib.suppress(ExpressionError):
        search(pattern, "ab1", Budget())


def test_letters_and_digits_are_those_of_ascii() -> None:
    assert not fits(r"\w+", "ä")
    assert not fits(r"\d+", "\u0661")


def test_the_end_is_the_very_end() -> None:
    assert search("a$", "a\n", Budget()) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("x is match('v[0-9')", "missing ]"),
        ("x is search('(?=a)')", "cannot be used"),
        ("x | regex_search('(a)', '\\1')", "control character"),
        ("x | regex_replace('(a)', '<\\1>')", "control character"),
        ("x | regex_search('(a)', '\\\\2')", "the pattern has no group '2'"),
        ("x | regex_replace('(?P<n>a)', '\\\\g<m>')", "the pattern has no group 'm'"),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said_before_anything_runs(expression: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(words)):
        check_expression(expression)


def test_references_that_the_pattern_has_are_fine() -> None:
    check_expression(r"x | regex_search('(?P<n>a)(b)', '\\2', '\\g<n>') | length > 0")
    check_expression(r"x | regex_replace('(a)', '\\1\\0') == x | regex_replace(x, '\\7')")
    check_expression("x is search(y)")
