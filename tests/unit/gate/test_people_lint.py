from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mimrun.errors import SettingsError
from mimrun.gate.oncall import Shift, make_rota
from mimrun.gate.people_file import parse_people
from mimrun.gate.people_lint import lint_people
from mimrun.gate.role import ROLES
from mimrun.runbook.document import read_document
from mimrun.runbook.finding import Finding

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GOOD = "people:\n  alex: {roles: [change_manager]}\n  billie: {roles: [responder]}\n"


def lint(text: str, **changed: object) -> list[Finding]:
    document = read_document(text, "people.yaml", error=SettingsError)
    return list(lint_people(document, replace(parse_people(document), **changed), NOW))


def test_a_file_that_is_well_has_no_finding() -> None:
    assert lint(GOOD) == []
    every = ", ".join(role for role in ROLES if role not in ("auditor", "external_consultant"))
    assert lint(GOOD + f"  casey: {{roles: [{every}]}}\n") == []


def test_a_role_that_there_is_not_is_an_error_at_its_line() -> None:
    found = lint(GOOD + "  casey: {roles: [change_manger]}\n")
    assert [str(one) for one in found] == [
        (
            "people.yaml:4:18: no role 'change_manger'; roles of your own are declared under `roles`; "
            "did you mean 'change_manager'? [error]"
        )
    ]
    assert lint(GOOD + "  casey: {roles: [dba_lead]}\nroles: {dba_lead: speaks for the team}\n") == []
    assert lint(GOOD + "  casey: {roles: [oncall_database]}\nteams: {database: {}}\n") == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("  casey: {roles: [{role: responder, until: 2026-12-01}]}\n", "responder ends on 2026-12-01"),
        ("  casey: {roles: [{role: responder, until: 2026-11-01}]}\n", "responder has ended on"),
        (
            "  casey: {roles: [change_manager, {role: external_consultant, until: 2027-12-01}]}\n",
            "somebody from outside has change_manager",
        ),
        ("  casey: {active: false}\nteams: {database: {members: [casey]}}\n", "still in a team"),
        ("teams: {database: {oncall: x.ics}}\n", "its plan was never imported"),
    ],
)
def test_what_somebody_may_regret_is_a_warning(more: str, said: str) -> None:
    found = lint(GOOD + more)
    assert [one.level.value for one in found] == ["warning"]
    assert said in str(found[0])


def test_a_plan_that_ends_has_gaps_or_names_strangers_is_told() -> None:
    day = timedelta(days=1)
    shifts = [Shift(NOW, NOW + day, "alex"), Shift(NOW + 2 * day, NOW + 3 * day, "dana")]
    rotas = {"database": make_rota("database", shifts, NOW + 3 * day)}
    said = "\n".join(str(one) for one in lint(GOOD + "teams: {database: {}}\n", rotas=rotas))
    assert "the on-call plan ends on 2026-11-25" in said
    assert "on call are dana, whom nobody knows" in said
    assert "nobody is on call from 2026-11-23 12:00Z to 2026-11-24 12:00Z" in said


def test_a_process_that_nobody_can_follow_is_told() -> None:
    found = " ".join(str(one) for one in lint("people:\n  alex: {roles: [responder]}\n"))
    assert "a gate needs a second person" in found
    assert "nobody has the role change_manager now" in found
