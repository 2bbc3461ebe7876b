"""The one rule for numbers and percentages, at its edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.runbook.allowance import allowed, exceeded, read_allowance, read_share, read_size, size_of

PERCENT = st.integers(0, 100).map(lambda number: f"{number}%")
HOSTS = st.integers(0, 5000)


@pytest.mark.parametrize(
    ("rule", "of", "allows"),
    [
        (0, 50, 0),
        (1, 50, 1),
        (49, 50, 49),
        (50, 50, 50),
        (51, 50, 51),
        (2, 0, 2),
        ("0%", 50, 0),
        ("10%", 50, 5),
        ("10%", 49, 4),
        ("10%", 9, 0),
        ("10%", 10, 1),
        ("1%", 50, 0),
        ("1%", 100, 1),
        ("33%", 3, 0),
        ("34%", 3, 1),
        ("50%", 1, 0),
        ("99%", 100, 99),
        ("100%", 50, 50),
        ("100%", 1, 1),
        ("100%", 0, 0),
    ],
)
def test_a_rule_allows_so_many(rule: int | str, of: int, allows: int) -> None:
    assert allowed(rule, of) == allows


@pytest.mark.parametrize(
    ("failed", "allows", "stops"),
    [
        (0, 0, False),
        (1, 0, True),
        (0, 1, False),
        (1, 1, False),
        (2, 1, True),
        (4, 5, False),
        (5, 5, False),
        (6, 5, True),
        (50, 50, False),
    ],
)
def test_only_more_than_what_is_allowed_is_too_much(failed: int, allows: int, *, stops: bool) -> None:
    assert exceeded(failed, allows) is stops


def test_ten_percent_of_fifty_stops_at_the_sixth_error_and_not_at_the_fifth() -> None:
    """The guide and the reference of AWS SSM say one and the other; here there is one rule, and this is it."""
    assert [exceeded(failed, allowed("10%", 50)) for failed in (4, 5, 6)] == [False, False, True]


def test_all_may_fail_where_all_are_allowed_to() -> None:
    assert not exceeded(10, allowed("100%", 10))


@given(PERCENT, HOSTS)
def test_a_percentage_never_allows_more_than_there_are(rule: str, of: int) -> None:
    assert 0 <= allowed(rule, of) <= of


@given(st.integers(0, 100), st.integers(0, 100), HOSTS, HOSTS)
def test_a_higher_percentage_of_more_hosts_never_allows_less(a: int, b: int, few: int, many: int) -> None:
    low, high = sorted((a, b))
    less, more = sorted((few, many))
    assert allowed(f"{low}%", less) <= allowed(f"{high}%", less) <= allowed(f"{high}%", more)


@given(PERCENT, st.integers(1, 5000))
def test_a_batch_has_at_least_one_host_and_never_more_than_its_share(rule: str, of: int) -> None:
    assert 1 <= size_of(rule, of) <= max(1, allowed(rule, of))


@pytest.mark.parametrize(
    "given", [-1, True, "10", "101%", "1.5%", "-1%", "010%", " 10%", "10 %", "%", None, []]
)
def test_what_is_no_rule_is_refused(given: object) -> None:
    for read in (read_allowance, read_share, read_size):
        with pytest.raises(ValueError, match=r"percentage|size of a batch"):
            read(given)


def test_each_rule_has_its_own_least() -> None:
    assert (read_allowance(0), read_allowance("0%"), read_share("0%")) == (0, "0%", "0%")
    assert (read_size(1), read_size("1%")) == (1, "1%")
    for nothing in (0, "0%"):
        with pytest.raises(ValueError, match="is not the size of a batch"):
            read_size(nothing)
    with pytest.raises(ValueError, match="is not a percentage"):
        read_share(5)
