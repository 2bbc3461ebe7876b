"""Who may do what, and who is on call, through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import Desk

PEOPLE = """\
teams: {database-oncall: {department: IT operations, members: [alex], oncall: plan.ics}}
people:
  responder: {roles: [responder], timezone: Europe/Berlin}
  alex:
    name: Alex, database on call
    email: alex@example.org
    roles: [change_manager, {role: freeze_approver, until: 2099-12-31}]
    identities: {rt: [alice], oidc: ['https://login.example.org|8d1f']}
  casey: {active: false, roles: [change_manager]}
"""
PLAN = (
    "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20261101\nRRULE:FREQ=DAILY\n"
    "ATTENDEE:mailto:alex@example.org\nSUMMARY:On call\nEND:VEVENT\nEND:VCALENDAR\n"
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (desk.home / "people.yaml").write_text(PEOPLE)
    return desk


def test_who_has_which_role_now_is_listed(desk: Desk) -> None:
    people = {one["id"]: one for one in desk("people", "list", "--json").json}
    assert people["alex"]["roles"] == ["change_manager", "freeze_approver"]
    assert people["alex"]["identities"] == {"oidc": ["https://login.example.org|8d1f"], "rt": ["alice"]}
    assert people["casey"] | {"active": False, "roles": []} == people["casey"]
    held = desk("people", "list", "--role", "change_manager", "--json").json
    assert [one["id"] for one in held] == ["alex"]
    later = desk("people", "list", "--role", "freeze_approver", "--at", "2100-01-01T00:00Z", "--json").json
    assert later == []
    shown = desk("people", "list").out
    assert "2099-12-31" in shown
    assert "not active" in shown


def test_one_person_is_shown_with_what_each_role_is_for(desk: Desk) -> None:
    said = desk("people", "show", "alex")
    assert said.code == 0
    for part in ("alex@example.org", "at rt: alice", "change_manager  allows changes", "database-oncall"):
        assert part in said.out
    assert desk("people", "show", "alx").code == 2


def test_lint_names_what_is_wrong_and_what_is_missing(desk: Desk) -> None:
    said = desk("people", "lint")
    assert (said.code, "its plan was never imported" in said.out) == (0, True)
    assert desk("people", "lint", "--strict").code == 2
    (desk.home / "people.yaml").write_text(PEOPLE.replace("[responder]", "[respnder]"))
    said = desk("people", "lint", "--json")
    assert said.code == 2
    assert said.json[0]["hint"] == "did you mean 'responder'?"


def test_a_plan_is_imported_recorded_and_in_force(desk: Desk) -> None:
    (desk.home / "plan.ics").write_text(PLAN)
    said = desk("oncall", "import", "--team", "database-oncall")
    assert said.code == 0, said.err
    (now,) = desk("oncall", "show", "--json").json
    assert (now["team"], now["on_call"]) == ("database-oncall", ["alex"])
    assert desk("people", "list", "--role", "oncall_database_oncall", "--json").json[0]["id"] == "alex"
    assert desk("oncall", "show", "--at", "2026-10-01T00:00Z", "--json").json[0]["on_call"] == []
    assert "Alex, database on call" in desk("oncall", "show").out
    recorded = desk("log", "show", "--json").out
    assert '"file":"oncall/database-oncall"' in recorded
    assert "1 shifts" in desk("oncall", "import", "--team", "database-oncall", "--timezone", "Asia/Tokyo").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("oncall", "import", "--team", "databse"), "did you mean 'database-oncall'?"),
        (("oncall", "import", "none.ics", "--team", "database-oncall"), "cannot be read"),
        (
            ("oncall", "import", "p.ics", "--team", "database-oncall", "--timezone", "Mars"),
            "no time zone 'Mars'",
        ),
        (("oncall", "import", "p.ics", "--team", "database-oncall", "--name", "x"), "write NAME=ID"),
        (("oncall", "import", "p.ics", "--team", "database-oncall", "--name", "x=nobody"), "nobody is known"),
        (("oncall", "show", "nobody"), "no team 'nobody'"),
        (("oncall", "show", "--at", "tomorrow"), "is no time"),
        (("people", "list", "--at", "2026-01-01"), "has no time zone"),
    ],
)
def test_what_cannot_be_done_is_said(desk: Desk, words: tuple[str, ...], said: str) -> None:
    answer = desk(*words)
    assert (answer.code, said in answer.err) == (2, True), answer.err


def test_the_doctor_names_a_role_that_there_is_not(desk: Desk) -> None:
    (desk.home / "people.yaml").write_text(PEOPLE.replace("[responder]", "[respnder]"))
    checks = {check["name"]: check for check in desk("doctor", "--json").json}
    assert "did you mean 'responder'?" in checks["people"]["found"]
    assert checks["people"]["ok"] is False
