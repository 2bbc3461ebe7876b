"""Past the gates: loud, by two people or with a page, and with a change that must tell why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark
from builders.inbox import chatting

REASON = "nobody of the change team answers"
GATED = GATE + mark("behind")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_two_people_go_past_a_gate_and_a_change_must_tell_why(desk: Desk) -> None:
    said = desk.run(desk.runbook(GATED), "--break-glass", REASON)
    assert said.code == 3, said.err
    assert "BREAK-GLASS" in said.err
    assert "People agree" in said.err
    assert desk.marks() == []
    alone = desk("breakglass", "agree", "latest")
    assert alone.code == 5
    assert "wants it already; somebody else must, too" in alone.err
    agreed = desk("breakglass", "agree", "latest", "--as", "billie", "--reason", "I see it, too")
    assert agreed.code == 0, agreed.err
    assert "close CHG-1 until" in agreed.err
    done = desk("resume", "latest", "--direct")
    assert done.code == 0, done.err
    assert desk.marks() == ["behind"]
    (glass,) = desk("breakglass", "list", "--json").json
    assert (glass["change"], glass["reason"], glass["settled"]) == ("CHG-1", REASON, False)
    kinds = [json.loads(line)["kind"] for line in desk("log", "show", "--json").out.splitlines()]
    assert kinds.index("breakglass.opened") < kinds.index("gate.opened") < kinds.index("step.intent")
    assert desk("log", "verify").code == 0


def test_one_person_and_a_page_only_where_somebody_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.home / "policy.yaml").write_text("break_glass: {how: one_and_page}\n")
    book = desk.runbook(GATED)
    nobody = desk.run(book, "--break-glass", REASON)
    assert nobody.code == 5
    assert "nobody is told" in nobody.err
    (desk.home / "notices.yaml").write_text(
        "channels: {pager: {url: env:PAGER}}\n"
        "notices: [{tell: managers, over: [pager], of: [breakglass], roles: [change_manager]}]\n"
    )
    with chatting() as chat:
        said = desk.run(book, "--break-glass", REASON, PAGER=chat.address)
        assert said.code == 0, said.err
        assert desk.marks() == ["behind"]
        assert any(message["title"].startswith("BREAK-GLASS") for message in chat.messages)


def test_the_glass_is_broken_for_one_plan_and_for_no_other_run(desk: Desk) -> None:
    book = desk.runbook(GATED)
    desk.run(book, "--break-glass", REASON)
    first = desk.status()["run"]
    desk("breakglass", "agree", first, "--as", "billie")
    assert desk.run(book).code == 3, "another run of the same runbook waits at its gate"
    assert desk.marks() == []
    assert desk("resume", first, "--direct").code == 0
    assert desk.marks() == ["behind"]


def test_neither_the_kill_switch_nor_the_log_is_skipped(desk: Desk) -> None:
    desk.run(desk.runbook(GATED), "--break-glass", REASON)
    desk("breakglass", "agree", "latest", "--as", "billie")
    assert desk("kill-switch", "pull", "--reason", "stop").code == 0
    refused = desk("resume", "latest", "--direct")
    assert refused.code == 5
    assert "kill switch" in refused.err
    assert desk.marks() == []


def test_who_is_not_known_or_has_not_the_role_breaks_no_glass(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text("break_glass: {roles: [major_incident_manager]}\n")
    refused = desk.run(desk.runbook(GATED), "--break-glass", REASON)
    assert refused.code == 5
    assert "major_incident_manager" in refused.err
    (desk.home / "people.yaml").write_text("people: {}\n")
    assert desk.run(desk.runbook(GATED), "--break-glass", REASON).code == 5


def test_without_a_reason_or_a_gate_no_glass_is_broken(desk: Desk) -> None:
    assert desk.run(desk.runbook(GATED), "--break-glass", " ").code == 2
    refused = desk.run(desk.runbook(mark("free"), name="free"), "--break-glass", "in a hurry")
    assert refused.code == 2
    assert "no gate" in refused.err
    assert desk.marks() == []


def test_it_is_shown_until_its_change_is_closed(desk: Desk) -> None:
    desk.run(desk.runbook(GATED), "--break-glass", REASON)
    run = desk.status()["run"]
    assert "breakglass agree" in desk("status", run).out
    desk("breakglass", "agree", run, "--as", "billie")
    desk("resume", run, "--direct")
    shown = desk("status", run).out
    assert "BREAK-GLASS" in shown
    assert "CHG-1" in shown
    assert "break-glass" in desk("runs").out.lower()
    for words in (
        (
            "change",
            "edit",
            "CHG-1",
            "--backout",
            "remove the line",
            "--test",
            "look",
            "--justification",
            REASON,
            "--implementation",
            "wrote a line",
            "--target",
            "localhost",
        ),
        ("change", "submit", "CHG-1"),
        ("change", "approve", "CHG-1", "--as", "alex"),
        ("change", "close", "CHG-1", "--result", "successful", "--reason", "it worked", "--as", "alex"),
    ):
        said = desk(*words)
        assert said.code == 0, (words, said.err)
    assert desk("breakglass", "list").out.startswith("nothing")
    (glass,) = desk("breakglass", "list", "--all", "--json").json
    assert glass["settled"] is True


def test_a_wish_of_a_run_that_is_over_is_given_up(desk: Desk) -> None:
    desk.run(desk.runbook(GATED), "--break-glass", REASON)
    assert desk("cancel", "latest", "--reason", "not needed").code in (0, 7)
    assert desk("breakglass", "list").out.startswith("nothing")
    assert "given up" in desk("breakglass", "list", "--all").out


def test_what_went_past_its_gates_with_a_pack_is_owed_at_home(desk: Desk, tmp_path: Path) -> None:
    pack, away = str(tmp_path / "m.pack"), tmp_path / "away"
    assert desk("breakglass", "pack", pack).code == 0
    assert desk("breakglass", "open", pack, str(away), "--unvouched").code == 0
    there = {"MIMRUN_HOME": str(away)}
    assert desk.run(desk.runbook(GATED), "--break-glass", REASON, **there).code == 3
    assert desk("breakglass", "agree", "latest", "--as", "billie", **there).code == 0
    assert desk("resume", "latest", "--direct", **there).code == 0
    wrong = desk("breakglass", "merge", str(away), "--incident", "no such incident")
    assert wrong.code == 2
    assert "Traceback" not in wrong.err
    merged = desk("breakglass", "merge", str(away), "--json")
    assert merged.code == 0, merged.err
    (glass,) = desk("breakglass", "list", "--json").json
    assert (glass["change"], glass["settled"]) == (merged.json["changes"][0], False)
    assert glass["due_at"]
    shown = desk("incident", "show", merged.json["incident"])
    assert "cannot be closed" in shown.out
    assert desk("breakglass", "merge", str(away)).code == 5


def test_an_older_copy_of_what_was_merged_is_not_called_tampering(desk: Desk, tmp_path: Path) -> None:
    pack, away = str(tmp_path / "m.pack"), tmp_path / "away"
    desk("breakglass", "pack", pack)
    desk("breakglass", "open", pack, str(away), "--unvouched")
    there = {"MIMRUN_HOME": str(away)}
    older = str(tmp_path / "older.zip")
    assert desk("log", "export", "all", "-o", older, **there).code == 0
    assert desk.run(desk.runbook(mark("one"), name="one"), **there).code == 0
    assert desk("breakglass", "merge", str(away)).code == 0
    late = desk("breakglass", "merge", older)
    assert late.code == 5
    assert "merged up to" in late.err
    (tmp_path / "text").write_text("no bundle")
    assert desk("breakglass", "merge", str(tmp_path / "text")).code == 2
