from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mimrun.incident.alert import Alert, alert_key
from mimrun.incident.rule import GROUP_LENGTH, Rule, Threshold, group_name, read_number

DIGEST = "sha256:" + "0" * 64


def an_alert(**given: Any) -> Alert:
    said = {"source": "prom", "key": alert_key("prom", ["1"]), "fingerprint": "1", "status": "firing"}
    return Alert(**{**said, "severity": "critical", "raw_digest": DIGEST, "auth": "token", **given})


def a_rule(**given: Any) -> Rule:
    return Rule.model_validate({"name": "r", "title": "t", "action": "notify", **given})


def heeds(rule: Rule, alert: Alert) -> bool:
    said = alert.model_dump(exclude={"labels", "annotations", "url"})
    from mimrun.log.kinds import AlertReceived  # noqa: PLC0415 - only here

    return rule.may_heed(AlertReceived.model_validate(said)) and rule.heeds(alert)


@pytest.mark.parametrize(
    ("match", "alert", "fits"),
    [
        ({}, {}, True),
        ({"labels": {"cluster": "orders"}}, {"labels": {"cluster": "orders"}}, True),
        ({"labels": {"cluster": "orders"}}, {"labels": {"cluster": "orders2"}}, False),
        ({"labels": {"cluster": "orders"}}, {}, False),
        ({"labels": {"cluster": ["orders", "billing"]}}, {"labels": {"cluster": "billing"}}, True),
        ({"labels": {"cluster": {"regex": "or.*"}}}, {"labels": {"cluster": "orders"}}, True),
        # The whole text, not a part of it.
        ({"labels": {"cluster": {"regex": "or"}}}, {"labels": {"cluster": "orders"}}, False),
        ({"labels": {"cluster": {"regex": "a|b"}}}, {"labels": {"cluster": "ab"}}, False),
        ({"labels": {"a": "1", "b": "2"}}, {"labels": {"a": "1"}}, False),
        ({"labels": {"a": ""}}, {}, True),
        ({"severity": "critical"}, {}, True),
        ({"severity": ["high", "warning"]}, {}, False),
        ({"severity": ["high"]}, {"severity": "unknown"}, True),
        ({"severity": ["critical"]}, {"severity": "unknown"}, True),
        ({"severity": ["warning"]}, {"severity": "unknown"}, False),
        ({"service": "orders"}, {"service": "orders"}, True),
        ({"service": {"regex": "o.*"}}, {"service": "billing"}, False),
        ({"source": ["prom", "graf"]}, {}, True),
        ({"source": "graf"}, {}, False),
        ({"auth": "token"}, {}, True),
        ({"auth": "signature"}, {}, False),
        ({"auth": "token"}, {"auth": "person"}, False),
        ({"auth": "person"}, {"auth": "none"}, False),
        ({"auth": "person"}, {"auth": "signature"}, True),
    ],
)
def test_a_rule_heeds_what_all_of_its_match_fits(
    match: dict[str, Any], alert: dict[str, Any], fits: bool
) -> None:
    assert heeds(a_rule(match=match), an_alert(**alert)) is fits


def test_a_rule_that_is_not_enabled_heeds_nothing() -> None:
    assert not heeds(a_rule(enabled=False), an_alert())


@pytest.mark.parametrize(
    ("threshold", "value", "holds"),
    [
        ({"above": 5}, "5", False),
        ({"above": 5}, "5.0000000000000000001", True),
        ({"at_least": 5}, "5", True),
        ({"at_least": "0.1"}, "0.1", True),
        # As binary fractions these would be equal, or the wrong way round.
        ({"above": "0.1"}, "0.10000000000000000001", True),
        ({"at_most": "0.3"}, "0.30000000000000000000000001", False),
        ({"below": -1}, "-1.5", True),
        ({"at_least": 1, "below": 2}, "1.99", True),
        ({"at_least": 1, "below": 2}, "2", False),
        ({"above": 5}, "1e3", True),
        ({"above": 5}, " 6 ", True),
        ({"above": 5}, "+Inf", True),
        ({"above": 5}, "-Inf", False),
        ({"below": 5}, "-Inf", True),
        *[
            ({"at_least": 0}, text, False)
            for text in ("", "NaN", "inf", "1,5", "6%", "0x9", "1_0", "٣", "9" * 41)
        ],
        *[({"at_most": 0}, text, False) for text in ("-inf", "- 1", "--1", "1e9999", "-1e-")],
    ],
)
def test_a_value_is_compared_exactly_and_what_is_no_number_never_holds(
    threshold: dict[str, Any], value: str, holds: bool
) -> None:
    assert Threshold.model_validate(threshold).holds(value) is holds


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_numbers(text: str) -> None:
    number = read_number(text)
    assert number is None or number.is_finite()


@pytest.mark.parametrize("wrong", ["five", 1.5, True, "NaN", ""])
def test_a_threshold_that_is_no_number_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Threshold.model_validate({"above": wrong})


def test_a_pattern_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValidationError, match="cannot be used"):
        a_rule(match={"labels": {"a": {"regex": "(?=x)"}}})


def test_a_group_is_named_by_what_its_alerts_have_in_common() -> None:
    rule = a_rule(group_by=["cluster", "alert.service"])
    alert = an_alert(labels={"cluster": "orders"}, service="shop")
    assert group_name(rule.facets(alert)) == "cluster=orders, alert.service=shop"
    assert group_name(rule.facets(an_alert())) == 'cluster="", alert.service=""'
    assert group_name({}) == "all"


def test_a_label_that_is_called_like_a_field_is_a_label() -> None:
    rule = a_rule(group_by=["service"])
    assert rule.facets(an_alert(labels={"service": "label"}, service="field")) == {"service": "label"}


@given(
    st.lists(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=300)), min_size=2, max_size=2)
)
def test_no_two_groups_have_one_name_and_no_name_is_too_long(groups: list[dict[str, str]]) -> None:
    first, second = (group_name(group) for group in groups)
    assert max(len(first), len(second)) <= GROUP_LENGTH
    assert (first == second) == ([*groups[0].items()] == [*groups[1].items()])
    assert "\0" not in first
    assert "\n" not in first
