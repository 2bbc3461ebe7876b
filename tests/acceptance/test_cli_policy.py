"""Policy, calendars and priority through the real command line: what gates ask for, and why they are closed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark

PEOPLE = (
    "  casey: {roles: [major_incident_manager]}\n"
    "  devon: {roles: [responder]}\n"
    "  frost: {roles: [freeze_approver]}\n"
)
LOW = "matrix:\n  low:\n    P1: none\n    other: {approvals: [{role: responder}]}\n    freeze: {freeze_override: true}\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    people = made.home / "people.yaml"
    people.write_text(people.read_text() + PEOPLE)
    return made


def freeze(desk: Desk, hours: int = 3) -> str:
    """Close a calendar now; gives until when."""
    now = datetime.now(UTC)
    until = now + timedelta(hours=hours)
    text = f"once: {{from: {now - timedelta(days=1):%Y-%m-%d %H:%M}, to: {until:%Y-%m-%d %H:%M}}}"
    (desk.home / "calendars").mkdir(exist_ok=True)
    (desk.home / "calendars" / "fair.yaml").write_text(
        f"name: Trade fair\ntimezone: UTC\nclosed: [{{{text}, reason: The fair is on}}]\n"
    )
    return f"{until:%Y-%m-%d %H:%M} UTC"


def test_a_policy_asks_at_the_launch_and_says_who_could_answer(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    assert desk("policy", "init").code == 0
    assert desk("policy", "init").code == 5
    (desk.home / "policy.yaml").write_text(LOW)
    planned = desk("plan", book)
    assert "0 The launch is allowed  GATE" in planned.out
    assert "needs what the policy says at that moment" in planned.out
    assert "1 responder" in planned.out
    assert desk.run(book).code == 3
    assert desk.marks() == []
    said = desk("policy", "explain", "latest")
    assert said.code == 0, said.err
    assert "'The launch is allowed' (0) is closed: something is missing" in said.out
    assert f"{desk.home}/policy.yaml:4: matrix.low.other" in said.out
    assert "by a person with role responder: devon" in said.out
    assert "at P1 it asks for: nothing" in said.out
    assert desk("approve", "latest", "--yes", "--as", "responder").code == 5
    assert desk("approve", "latest", "--yes", "--as", "devon").code == 0
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["one"]


def test_a_plan_that_only_reads_is_asked_nothing(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text(LOW)
    book = desk.runbook(
        "  - {name: Look, effect: {class: read, reason: it only looks}, local.command: {argv: [id]}}\n"
    )
    found = desk("plan", book, "--json").json
    assert [node["kind"] for node in found["plan"]["nodes"]] == ["action"]
    assert found["allowed"]["stands"] == "no gate"
    assert desk.run(book).code == 0


def test_a_higher_priority_makes_the_gate_ask_for_less_and_a_lower_one_asks_anew(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text(LOW)
    assert desk.run(desk.runbook(mark("one") + GATE + mark("two"))).code == 3
    incident = desk.status()["incident"]
    refused = desk("incident", "priority", incident, "P1", "--reason", "urgent")
    assert refused.code == 5
    assert "needs major_incident_manager or service_desk" in refused.err
    said = desk("incident", "priority", incident, "P1", "--reason", "nobody can pay", "--as", "casey")
    assert said.code == 0, said.err
    assert desk("resume", "--direct").code == 3
    assert desk.marks() == ["one"]
    assert desk.status()["waits_at"] == "2"
    shown = desk("incident", "show", incident, "--json").json
    assert (shown["priority"], shown["declared"]["by"]) == ("P1", "casey")
    assert desk("incident", "list").out.count(incident) == 1
    kinds = [entry["kind"] for entry in map(json.loads, desk("log", "show", "--json").out.splitlines())]
    assert "incident.prioritized" in kinds


def test_a_run_can_bring_the_priority_of_the_incident_that_it_opens(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text(LOW)
    book = desk.runbook(mark("one"))
    assert desk.run(book, "--priority", "P1").code == 5
    assert desk.run(book, "--priority", "P9", "--as", "casey").code == 2
    assert desk.run(book, "--priority", "P1", "--as", "casey").code == 0
    assert desk.marks() == ["one"]
    incident = desk.status()["incident"]
    assert desk.run(book, "--priority", "P2", "--as", "casey", "--incident", incident).code == 2


def test_a_freeze_holds_a_launch_by_hand_until_a_freeze_approver_allows_it(desk: Desk) -> None:
    until = freeze(desk)
    book = desk.runbook(mark("one"))
    planned = desk("plan", book)
    assert f"frozen until {until}: 'Trade fair' is closed until {until} (The fair is on)" in planned.out
    assert desk.run(book).code == 3
    assert desk.marks() == []
    said = desk("policy", "explain", "latest", "--json").json
    assert said["who"] == {"freeze_approver": ["frost"]}
    assert said["terms"]["freeze_override"] is True
    assert any(f"or wait until the calendars are open, at {until}" in line["text"] for line in said["lines"])
    assert desk("approve", "latest", "--yes", "--as", "alex").code == 5
    over = desk(
        "approve", "latest", "--yes", "--as", "frost", "--freeze-override", "--reason", "the shop is down"
    )
    assert over.code == 0, over.err
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["one"]


def test_a_freeze_that_is_taken_away_lets_the_run_go_on_and_asks_nobody(desk: Desk) -> None:
    freeze(desk)
    assert desk.run(desk.runbook(mark("one"))).code == 3
    (desk.home / "calendars" / "fair.yaml").unlink()
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["one"]


def test_a_calendar_that_cannot_be_read_holds_everything_and_is_named(desk: Desk) -> None:
    (desk.home / "calendars").mkdir()
    (desk.home / "calendars" / "team.ics").write_text("broken")
    assert desk.run(desk.runbook(mark("one"))).code == 3
    said = desk("calendar", "check")
    assert said.code == 1
    assert "frozen with no end in sight" in said.out
    assert "team.ics: is not an iCalendar file" in said.out
    assert "closed, with no end in sight" in desk("calendar", "list").out
    assert desk("policy", "lint").code == 1


def test_a_policy_that_cannot_be_read_stops_a_launch_with_its_lines(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text("on_timeout: approve\n")
    for words in (("plan", desk.runbook(mark("one"))), ("policy", "lint"), ("policy", "show")):
        said = desk(*words)
        assert said.code == 2, words
        assert "policy.yaml:1:13: 'approve': nothing is ever approved by waiting" in said.err
    assert desk.run(desk.runbook(mark("one"))).code == 2
    assert desk.marks() == []


def test_lint_names_roles_that_nobody_has_and_places_that_nobody_can_fill(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text(
        "matrix:\n  high:\n    other: {approvals: [{role: change_manger}, {role: executive}]}\n"
        "    P1: {approvals: [{role: freeze_approver, count: 2}]}\n"
    )
    said = desk("policy", "lint")
    assert said.code == 1
    assert (
        "policy.yaml:3: matrix.high.other: there is no role 'change_manger'; did you mean 'change_manager'?"
        in said.out
    )
    assert "matrix.high.other: nobody has the role executive now" in said.out
    assert "policy.yaml:4: matrix.high.P1: needs 2 different people, and there are not so many" in said.out


def test_lint_fails_when_a_runbook_names_a_role_that_there_is_not(desk: Desk) -> None:
    assert desk("policy", "lint").code == 0
    desk.runbook(mark("one") + GATE.replace("change_manager", "chnge_manager") + mark("two"))
    said = desk("policy", "lint")
    assert said.code == 1
    assert "test@1.0.0.yaml:10:" in said.out
    assert "there is no role 'chnge_manager'; did you mean 'change_manager'?" in said.out


def test_the_matrix_is_shown_with_and_without_a_policy(desk: Desk) -> None:
    said = desk("policy", "show", COLUMNS="300")
    assert "is not there: only the gates that runbooks write count" in said.out
    assert "1 change_manager, a normal change" in said.out
    (desk.home / "policy.yaml").write_text(LOW)
    shown = desk("policy", "show", COLUMNS="300").out.splitlines()
    assert [line.split()[-1] for line in shown if line.startswith(("low", "medium"))] == [
        "3",
        "4",
        *["default"] * 3,
    ]
    assert desk("policy", "show", "--json").json["policy"]["on_timeout"] == "escalate"


def test_the_rules_of_each_launch_are_on_record_and_compared(desk: Desk) -> None:
    policy = desk.home / "policy.yaml"
    policy.write_text(LOW)
    assert desk.run(desk.runbook(mark("one"))).code == 3
    policy.write_text(LOW + "signed: true\n")
    assert desk.run(desk.runbook(mark("one"))).code == 3
    shown = desk("policy", "history", "policy", "--json").json
    assert [(one["number"], one["by"]) for one in shown] == [(1, "responder"), (2, "responder")]
    assert "+signed: true" in desk("policy", "diff", "policy").out
    assert desk("policy", "diff", "polcy").code == 2


def test_explain_without_a_run_or_a_plan_is_told_what_to_say(desk: Desk) -> None:
    assert desk("policy", "explain").code == 2
    (desk.home / "policy.yaml").write_text(LOW)
    said = desk("policy", "explain", "--runbook", desk.runbook(mark("one")))
    assert said.code == 0, said.err
    assert "is not asked yet" in said.out
    assert "by a person with role responder: devon" in said.out


def test_an_ics_file_is_taken_in_shown_and_looked_ahead_in(desk: Desk, tmp_path: Path) -> None:
    start = datetime.now(UTC) + timedelta(days=2)
    (tmp_path / "team.ics").write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nX-WR-CALNAME:Team\r\nBEGIN:VEVENT\r\nUID:1\r\n"
        f"SUMMARY:Stock-taking\r\nDTSTART:{start:%Y%m%dT%H%M%S}\r\nDURATION:PT4H\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    assert desk("calendar", "import", str(tmp_path / "team.ics")).code == 2
    said = desk("calendar", "import", str(tmp_path / "team.ics"), "--timezone", "UTC")
    assert said.code == 0, said.err
    assert "it is open now" in said.out
    assert "Stock-taking" in desk("calendar", "next").out
    assert [c["reason"] for c in desk("calendar", "show", "team", "--json").json["closures"]] == [
        "Stock-taking"
    ]
    at = f"{start + timedelta(hours=1):%Y-%m-%dT%H:%M}"
    assert desk("calendar", "check", "--at", at).code == 1
    assert desk("calendar", "check").code == 0
    assert desk("calendar", "check", "--at", "soon").code == 2
    assert desk("calendar", "show", "nobody").code == 2


def test_the_doctor_says_how_policy_and_calendars_stand(desk: Desk) -> None:
    def found() -> dict[str, tuple[bool | None, str]]:
        checks = desk("doctor", "--json").json
        return {c["name"]: (c["ok"], c["found"]) for c in checks if c["name"] in ("policy", "calendar")}

    assert found() == {"policy": (None, "none: only the gates that runbooks write count")}
    (desk.home / "policy.yaml").write_text(LOW)
    freeze(desk)
    assert found()["policy"] == (True, f"{desk.home}/policy.yaml")
    assert found()["calendar"][0] is None
    (desk.home / "policy.yaml").write_text("on_timeout: approve\n")
    (desk.home / "calendars" / "fair.yaml").write_text("broken")
    assert found()["policy"][0] is False
    assert found()["calendar"][0] is False


def test_the_doctor_says_how_the_file_of_change_systems_stands(desk: Desk) -> None:
    def found() -> list[tuple[bool | None, str]]:
        return [(c["ok"], c["found"]) for c in desk("doctor", "--json").json if c["name"] == "changes"]

    assert found() == []
    file = desk.home / "changes.yaml"
    file.write_text("new_records: register\n")
    assert found() == [(True, "register; new ones in register")]
    file.write_text("new_recods: register\n")
    ((ok, said),) = found()
    assert (ok, f"{file}:1:1" in said, "did you mean 'new_records'" in said) == (False, True, True), said
    assert desk("doctor").code == 1


def test_a_policy_that_is_taken_away_does_not_open_what_it_closed_and_explain_says_one_thing(
    desk: Desk,
) -> None:
    policy = desk.home / "policy.yaml"
    policy.write_text(LOW)
    assert desk.run(desk.runbook(mark("one"))).code == 3
    policy.unlink()
    assert desk("resume", "--direct").code == 3
    said = desk("policy", "explain", "latest").out
    assert f"{policy}, which asked for this, is not there any more" in said
    assert "asks    nobody can allow it: the policy that asked" in said
    assert f"put {policy} back, or `mimrun cancel run-" in said
    for other in ("asks for nothing", "opens by itself", "--break-glass", "gates that runbooks write"):
        assert other not in said
    policy.write_text(LOW)
    assert desk("resume", "--direct").code == 3
    assert "by a person with role responder: devon" in desk("policy", "explain", "latest").out


def test_a_question_names_each_thing_that_is_missing_on_a_line_and_no_change_that_nobody_needs(
    desk: Desk,
) -> None:
    (desk.home / "policy.yaml").write_text(LOW)
    until = freeze(desk)
    assert desk.run(desk.runbook(mark("one"))).code == 3
    said = desk("status").out
    assert "change none" not in said
    missing = [line.strip() for line in said.splitlines() if line.startswith("  missing: ")]
    assert missing[0] == "missing: 1 responder, 1 freeze_approver"
    assert missing[1].startswith(f"missing: 'Trade fair' is closed until {until}")
    assert len(missing) == 2


def test_what_is_listed_as_incidents_leaves_out_sealed_packs(desk: Desk, tmp_path: Path) -> None:
    assert desk.run(desk.runbook(mark("one"))).code == 0
    incident = desk.status()["incident"]
    assert desk("breakglass", "pack", str(tmp_path / "m.pack")).code == 0
    assert [one["incident"] for one in desk("incident", "list", "--json").json] == [incident]
    assert "PACK-" not in desk("incident", "list").out
    pack, real = (one["incident"] for one in desk("incident", "list", "--all", "--json").json)
    assert (pack[:5], real) == ("PACK-", incident)
    assert desk("incident", "show", "--json").json["incident"] == incident
    assert desk("incident", "show", pack, "--json").json["incident"] == pack
