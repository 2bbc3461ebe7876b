"""The table from impact and urgency to priority and severity."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import InputError
from mimrun.gate.priority import PRIORITIES, Priority
from mimrun.incident.assessment import (
    DEFAULT_SEVERITY,
    FLAGS,
    GRADES,
    SEVERITIES,
    IncidentTable,
    SeverityRule,
    assess,
    check_flags,
    check_role,
    read_grade,
)
from mimrun.incident.incident import Severity
from mimrun.log.kinds import Grade

MATRIX = {
    # impact: urgency high, medium, low, unknown
    "high": ("P1", "P2", "P3", "P2"),
    "medium": ("P2", "P3", "P4", "P3"),
    "low": ("P3", "P4", "P5", "P4"),
    "unknown": ("P2", "P3", "P4", "P2"),
}
CRITICAL = IncidentTable(critical_services=("payments",))
grades = st.sampled_from(GRADES)


@pytest.mark.parametrize(("impact", "urgency"), [*product(GRADES, GRADES)])
def test_the_default_matrix_is_that_of_the_usual_lookup(impact: Grade, urgency: Grade) -> None:
    found = assess(IncidentTable(), impact, urgency)
    assert found.priority == MATRIX[impact][GRADES.index(urgency)]


@pytest.mark.parametrize(
    ("impact", "urgency", "services", "flags", "severity"),
    [
        ("high", "high", (), (), "SEV2"),
        ("high", "high", ("payments",), (), "SEV1"),
        ("high", "high", ("wiki",), (), "SEV2"),
        ("high", "high", (), ("security",), "SEV1"),
        ("high", "high", (), ("data_breach",), "SEV1"),
        ("high", "high", (), ("safety", "no_users"), "SEV1"),
        ("high", "high", (), ("regulatory",), "SEV2"),
        ("high", "medium", (), (), "SEV3"),
        ("high", "medium", ("payments",), (), "SEV2"),
        ("high", "medium", (), ("no_users",), "SEV4"),
        ("medium", "medium", (), (), "SEV3"),
        ("medium", "medium", ("payments",), (), "SEV3"),
        ("medium", "medium", (), ("no_users",), "SEV4"),
        ("medium", "low", (), ("security",), "SEV4"),
        ("low", "low", ("payments",), (), "SEV4"),
        ("unknown", "unknown", (), (), "SEV3"),
    ],
)
def test_the_severity_is_that_of_the_first_rule_that_fits(
    impact: Grade, urgency: Grade, services: tuple[str, ...], flags: tuple[str, ...], severity: Severity
) -> None:
    assert assess(CRITICAL, impact, urgency, services, flags).severity == severity


@given(
    impact=grades,
    urgency=grades,
    services=st.sets(st.sampled_from(["payments", "wiki"])),
    flags=st.sets(st.sampled_from(sorted(FLAGS))),
)
def test_what_is_not_known_is_never_taken_for_less_than_medium(
    impact: Grade, urgency: Grade, services: set[str], flags: set[str]
) -> None:
    def rank(one: Grade, other: Grade) -> tuple[int, int]:
        found = assess(CRITICAL, one, other, services, flags)
        return PRIORITIES.index(found.priority), SEVERITIES.index(found.severity)

    assert rank("unknown", urgency) <= rank("medium", urgency)
    assert rank(impact, "unknown") <= rank(impact, "medium")


@given(
    flags=st.sets(st.sampled_from(sorted(FLAGS.keys() - {"no_users"}))),
    impact=grades,
    urgency=grades,
    services=st.sets(st.sampled_from(["payments", "wiki"])),
)
def test_another_service_or_flag_never_makes_an_incident_less_severe(
    flags: set[str], impact: Grade, urgency: Grade, services: set[str]
) -> None:
    bare = assess(CRITICAL, impact, urgency).severity
    assert assess(CRITICAL, impact, urgency, services, flags).severity <= bare


def test_a_rule_that_asks_for_nothing_always_holds_and_says_so() -> None:
    rule = SeverityRule(severity="SEV3")
    assert rule.always
    assert rule.fits("P5", (), critical=False)
    assert rule.words == "any priority"
    assert not any(one.always for one in DEFAULT_SEVERITY)


def test_where_no_rule_fits_it_is_the_least_severe() -> None:
    assert assess(IncidentTable(severity=()), "high", "high").severity == "SEV4"


def test_the_answer_says_which_rule_it_comes_from() -> None:
    assert assess(CRITICAL, "high", "high", ("payments",)).why == "P1, a critical service is affected"


@pytest.mark.parametrize("priority", PRIORITIES)
def test_every_priority_can_come_about(priority: Priority) -> None:
    assert any(assess(IncidentTable(), i, u).priority == priority for i, u in product(GRADES, GRADES))


def test_words_that_are_not_known_are_refused_with_those_that_were_meant() -> None:
    table = IncidentTable(flags={"payroll": "salaries are late"}, roles={"duty_officer": "decides at night"})
    check_flags(table, ["payroll", "security"])
    check_role(table, "duty_officer")
    for refused in (
        lambda: check_flags(table, ["payrol"]),
        lambda: check_role(table, "technical_leed"),
        lambda: read_grade("hihg", "impact"),
    ):
        with pytest.raises(InputError, match="did you mean"):
            refused()
