"""Changes on the command line: opened from a plan, decided by somebody else, and the run under them."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark
from builders.pty import Screen

POLICY = """\
matrix:
  medium:
    other: {approvals: [{role: change_manager}], change: normal, pre_authorised: true}
    freeze: {freeze_override: true}
  low:
    other: {approvals: [{role: change_manager}], change: normal, pre_authorised: true}
    freeze: {freeze_override: true}
  high:
    other: {approvals: [{role: change_manager}], change: normal, pre_authorised: true}
    freeze: {freeze_override: true}
"""
TEXTS = ("--justification", "it is due", "--backout", "put it back", "--test", "look at it")
WHEN = ("--from", "now", "--until", "+2h")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.write("home/policy.yaml", POLICY)
    return desk


def said(desk: Desk, *words: str) -> str:
    """Do what must work."""
    done = desk(*words)
    assert done.code == 0, done.err + done.out
    return done.out


def opened(desk: Desk, book: str) -> None:
    said(desk, "change", "open", "--from-plan", book, *TEXTS, *WHEN, "--as", "billie")
    said(desk, "change", "submit", "CHG-1", "--as", "billie")
    said(desk, "change", "submit", "CHG-1", "--as", "billie")


def test_a_normal_change_is_opened_from_a_plan_decided_and_its_run_goes_through(desk: Desk) -> None:
    book = desk.runbook(GATE + mark("one"))
    opened(desk, book)
    run = desk.run(book, "--change", "CHG-1")
    assert run.code == 3, run.err
    assert "change register:CHG-1" in said(desk, "status")
    assert desk.status()["change"]["change"] == "register:CHG-1"
    assert desk("change", "approve", "CHG-1", "--as", "billie").code == 5, (
        "who asked for it does not allow it"
    )
    said(desk, "change", "approve", "CHG-1", "--as", "alex", "--reason", "looks right")
    assert desk("resume", "latest", "--direct").code == 0
    assert desk.marks() == ["one"]
    shown = desk("change", "show", "CHG-1", "--json").json
    assert (shown["state"], shown["runs"]) == ("review", [desk.status()["run"]])
    said(desk, "change", "close", "CHG-1", "--result", "successful", "--reason", "verified", "--as", "alex")
    assert desk("change", "show", "CHG-1", "--json").json["result"] == "successful"
    assert said(desk, "change", "list") == "there is no change\n"


def test_a_person_who_stays_at_the_gate_sees_the_run_go_on_when_the_change_is_approved(desk: Desk) -> None:
    book = desk.runbook(GATE + mark("one"))
    opened(desk, book)
    words = desk.cold("run", "--direct", "--yes", book, "--change", "CHG-1")
    with Screen(words, cwd=desk.folder, env=desk.env) as screen:
        screen.see("waiting for people")
        said(desk, "change", "approve", "CHG-1", "--as", "alex")
        assert screen.end() == 0
    assert desk.marks() == ["one"]


def test_the_same_approval_is_not_good_for_an_edited_runbook(desk: Desk) -> None:
    opened(desk, desk.runbook(GATE + mark("one")))
    said(desk, "change", "approve", "CHG-1", "--as", "alex")
    edited = desk.runbook(GATE + mark("another"), version="1.0.1")
    assert desk.run(edited, "--change", "CHG-1").code == 3
    assert desk("resume", "latest", "--direct").code == 3
    assert desk.marks() == []


def test_a_standard_change_opens_the_gate_until_it_is_revoked(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    add = ("change", "standard", "add", book, "--hosts", "all", "--until", "+30d", "--reason", "done weekly")
    said(desk, *add, "--as", "billie")
    assert desk("change", "approve", "CHG-1", "--as", "billie").code == 5
    said(desk, "change", "approve", "CHG-1", "--as", "alex")
    assert desk.run(book).code == 0
    said(desk, "change", "standard", "revoke", "CHG-1", "--reason", "it failed", "--as", "billie")
    assert desk.run(book).code == 3
    assert desk.marks() == ["one"]


def test_an_edit_makes_it_a_draft_again_and_what_is_missing_is_listed(desk: Desk) -> None:
    said(desk, "change", "open", "--title", "Swap", "--target", "db1", *WHEN, "--as", "billie")
    lacks = desk("change", "submit", "CHG-1", "--as", "billie")
    assert lacks.code == 5
    assert "lacks justification, implementation, backout, test" in lacks.err
    said(desk, "change", "edit", "CHG-1", *TEXTS, "--implementation", "swap it", "--as", "billie")
    for _ in range(2):
        said(desk, "change", "submit", "CHG-1", "--as", "billie")
    said(desk, "change", "approve", "CHG-1", "--as", "alex")
    assert "draft" in said(desk, "change", "edit", "CHG-1", "--title", "Swap two", "--as", "billie")
    assert desk("change", "show", "CHG-1", "--json").json["said"] == []


def test_two_changes_of_a_host_at_a_time_are_a_conflict_that_somebody_answers_for(desk: Desk) -> None:
    for number in (1, 2):
        more = ("--title", f"Swap {number}", "--target", "db1", "--implementation", "swap it")
        said(desk, "change", "open", *more, *TEXTS, *WHEN, "--as", "billie")
        for _ in range(2):
            said(desk, "change", "submit", f"CHG-{number}", "--as", "billie")
    assert said(desk, "change", "conflicts", "CHG-2") == "ci_already_scheduled CHG-1\n"
    assert desk("change", "approve", "CHG-2", "--as", "alex").code == 5
    said(desk, "change", "approve", "CHG-2", "--as", "alex", "--despite-conflicts")
    moved = said(desk, "change", "schedule", "CHG-2", "--from", "+5h", "--until", "+6h", "--as", "billie")
    assert "it is in authorize" in moved
    assert said(desk, "change", "conflicts", "CHG-2") == "nothing speaks against it\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "CHG-9"), "no change 'CHG-9'"),
        (("link", "latest", "CHG-9"), "no change 'CHG-9' can be read"),
        (("open", "--title", "x", "--from", "whenever"), "is no moment"),
        (("open", "--title", "x", "--from", "+2h", "--until", "+1h"), "ends before it begins"),
        (("open",), "--title"),
        (("edit", "CHG-9"), "say what is to be another"),
        (("cancel", "CHG-9"), "say why"),
        (("show", "itsm:7"), "has no change system 'itsm'"),
    ],
)
def test_bad_input_is_explained(desk: Desk, words: tuple[str, ...], message: str) -> None:
    done = desk("change", *words)
    assert done.code == 2
    assert message in done.err
