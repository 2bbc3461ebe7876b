"""The policy that somebody begins with is mimrun's own default, and doubts about one name what nobody could do."""

from __future__ import annotations

import pytest
from builders.runs import Bench

from mimrun.app.policy_draft import DRAFT, doubts_about, write_draft
from mimrun.errors import RefusedError, SettingsError
from mimrun.gate.policy import Policy
from mimrun.gate.policy_file import parse_policy
from mimrun.runbook.document import read_document

PEOPLE = """\
people:
  alex: {roles: [change_manager]}
  casey: {roles: [major_incident_manager, executive]}
  devon: {roles: [responder]}
  frost: {roles: [freeze_approver]}
"""


def said(bench: Bench) -> list[str]:
    with bench.home() as home:
        return [str(problem).removeprefix(f"{bench.settings.policy}:") for problem in doubts_about(home)]


def test_the_draft_says_what_is_so_without_it() -> None:
    read = parse_policy(read_document(DRAFT, "policy.yaml", error=SettingsError))
    assert read.model_copy(update={"file": "", "lines": {}}) == Policy()
    assert {
        f"matrix.{risk}.{column}" for risk in ("low", "medium", "high") for column in ("other", "freeze")
    } <= {*read.lines}


def test_the_draft_is_written_once_and_replaces_nothing(bench: Bench) -> None:
    write_draft(bench.settings)
    assert bench.settings.policy.read_text() == DRAFT
    bench.settings.policy.write_text("signed: true\n")
    with pytest.raises(RefusedError, match="is there already"):
        write_draft(bench.settings)
    assert bench.settings.policy.read_text() == "signed: true\n"


def test_without_a_policy_nothing_is_doubtful(bench: Bench) -> None:
    assert said(bench) == []


def test_a_policy_whose_roles_people_have_is_sound(bench: Bench) -> None:
    write_draft(bench.settings)
    text = (
        PEOPLE
        + "  desk: {roles: [service_desk]}\n  billie: {roles: [change_manager, major_incident_manager]}\n"
    )
    bench.settings.people.write_text(text)
    assert said(bench) == []


def test_roles_that_nobody_has_are_named_with_their_lines(bench: Bench) -> None:
    write_draft(bench.settings)
    found, at = said(bench), DRAFT.splitlines().index("    P1:") + 1
    assert any(
        line.startswith(f"{at}: matrix.medium.P1: nobody has the role major_incident_manager now")
        for line in found
    )
    assert any("matrix.medium.freeze: nobody has the role freeze_approver now" in line for line in found)
    assert any("prioritize: nobody has the role major_incident_manager" in line for line in found)


def test_places_that_need_everybody_leave_nobody_to_launch(bench: Bench) -> None:
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text(
        "prioritize: [executive]\n"
        "matrix:\n  low:\n    other: {approvals: [{role: change_manager}, {role: executive}]}\n    freeze: none\n"
    )
    found = said(bench)
    assert any("matrix.low.other: needs everybody with these roles" in line for line in found)


def test_a_calendar_that_cannot_be_read_is_told(bench: Bench) -> None:
    bench.settings.calendars.mkdir()
    (bench.settings.calendars / "a.yaml").write_text("name: 3\n")
    assert any("the calendar 'a' is closed until it is mended" in line for line in said(bench))
