"""Erasing on the command line: two people, what a run still needs stays, and everything says what is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders.commands import GATE, Desk, mark

ADDRESS = "14 Elm Row, Springfield"
WHY = ("--reason", "an address of a customer")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def entries(desk: Desk, kind: str) -> list[dict[str, Any]]:
    lines = desk("log", "show", "--json").out.splitlines()
    return [entry for line in lines if (entry := json.loads(line))["kind"] == kind]


def say(words: str) -> str:
    return f"  - {{name: Say it, local.shell: {{cmd: 'echo {words}'}}}}\n"


def test_two_people_erase_an_output_and_everything_goes_on(desk: Desk) -> None:
    book = desk.runbook(say(ADDRESS) + mark("one"))
    desk.run(book)
    run = desk.status()["run"]
    seq = entries(desk, "step.outcome")[0]["seq"]
    assert ADDRESS in desk("log", "show", "--blobs").out
    asked = desk("log", "redact", str(seq), "--blob", "data", *WHY)
    assert (asked.code, "nothing is erased yet" in asked.out) == (0, True), asked.err
    assert ADDRESS in desk("log", "show", "--blobs").out
    again = desk("log", "redact", str(seq), *WHY)
    assert (again.code, "another person must agree" in again.err) == (5, True)
    agreed = desk("log", "redact", str(seq), "--blob", "data", *WHY, "--as", "alex")
    assert (agreed.code, "alex erased 1 blob of one entry" in agreed.out) == (0, True), agreed.err

    shown = desk("log", "show", "--blobs")
    applied = entries(desk, "redact.applied")
    assert [entry["body"]["name"] for entry in applied] == ["data"]
    assert f"blob 'data' of log entry {seq} was erased by alex (entry {applied[0]['seq']})" in shown.out
    as_json = [json.loads(line) for line in desk("log", "show", "--blobs", "--json").out.splitlines()]
    (one,) = [line for line in as_json if line["entry"]["seq"] == seq]
    assert one["blobs"]["data"] is None
    assert "was erased by alex" in one["erased"]["data"]
    # The words stand in the plan still, which the run's status and its undo go by.
    assert (desk("status").code, desk("runs").code) == (0, 0)
    assert desk("log", "rebuild").out.startswith("every state is the same")
    assert desk.run(book).code == 0
    assert run in desk("runs").out
    done = desk("log", "redact", str(seq), "--blob", "data", *WHY)
    assert (done.code, "was erased already" in done.err) == (2, True)


def test_the_second_person_may_name_the_proposal(desk: Desk) -> None:
    desk.run(desk.runbook(say(ADDRESS)))
    seq = entries(desk, "step.outcome")[0]["seq"]
    asked = desk("log", "redact", str(seq), *WHY, "--json").json
    assert asked["done"] is False
    agreed = desk("log", "redact", str(asked["first"]), *WHY, "--as", "billie", "--json").json
    assert (agreed["done"], agreed["blobs"]) == (True, asked["blobs"])


def test_what_a_run_still_needs_is_not_erased(desk: Desk) -> None:
    waiting = desk.run(desk.runbook(say(ADDRESS) + GATE + mark("one")))
    assert waiting.code == 3
    plan, intent = (entries(desk, kind)[0]["seq"] for kind in ("plan.frozen", "step.intent"))
    for seq in (plan, intent):
        refused = desk("log", "redact", str(seq), *WHY)
        assert (refused.code, "is waiting and still needs" in refused.err) == (5, True), refused.err
    incident = entries(desk, "plan.frozen")[0]["inc"]
    assert desk("log", "redact", "--all", "--incident", incident, *WHY).code == 5
    # What no run goes on from may be erased at any time.
    assert desk("note", f"they live at {ADDRESS}", "--incident", incident).code == 0
    written = str(entries(desk, "incident.note")[0]["seq"])
    assert desk("log", "redact", written, *WHY).code == 0
    assert desk("log", "redact", written, *WHY, "--as", "alex").code == 0
    assert f"they live at {ADDRESS}" not in desk("log", "show", "--blobs").out
    assert desk("approve", "--as", "alex", "--yes").code == 0
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["one"]
    assert desk("log", "redact", str(plan), *WHY).code == 0


def test_a_whole_incident_is_erased_with_its_key_and_runs_and_status_say_so(desk: Desk) -> None:
    desk.run(desk.runbook(say(ADDRESS) + mark("one")))
    incident = entries(desk, "plan.frozen")[0]["inc"]
    plan = entries(desk, "plan.frozen")[0]["seq"]
    asked = desk("log", "redact", "--all", "--incident", incident, *WHY, "--json").json
    assert (asked["done"], asked["entries"] > 3) == (False, True)
    agreed = desk("log", "redact", "--all", "--incident", incident, *WHY, "--as", "alex")
    assert agreed.code == 0, agreed.err
    assert ADDRESS not in desk("log", "show", "--blobs", "--json").out
    assert not any(ADDRESS.encode() in file.read_bytes() for file in desk.home.glob("log.db*"))
    shown = desk("status")
    assert (shown.code, f"'plan' of log entry {plan} was erased by alex" in shown.out) == (0, True)
    assert desk("runs").code == 0
    for words in (["undo", "latest", "--yes"], ["retry", "latest", "--yes"]):
        refused = desk(*words)
        assert refused.code in (1, 5), words
        assert "Traceback" not in refused.err
    assert desk("log", "rebuild").out.startswith("every state is the same")
    assert desk("log", "redact", "--all", "--incident", incident, *WHY).code == 2
    # The incident itself goes on, under another key.
    desk("note", "it was the wrong customer", "--incident", incident)
    assert "it was the wrong customer" in desk("log", "show", "--blobs").out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["1", *WHY], 2, "has no blob"),
        (["999", *WHY], 6, "has no entry 999"),
        (["PLAN"], 2, "--reason"),
        (["PLAN", "--blob", "nothing", *WHY], 2, "has no blob 'nothing'"),
        ([*WHY], 2, "name an entry"),
        (["--all", *WHY], 2, "--all --incident INC"),
        (["--all", "--incident", "INC-404", *WHY], 2, "no output, text or file"),
        (["PLAN", *WHY, "--as", "nobody"], 2, "nobody"),
    ],
)
def test_what_cannot_be_meant_is_refused(desk: Desk, words: list[str], code: int, told: str) -> None:
    desk.run(desk.runbook(mark("one")))
    plan = str(entries(desk, "plan.frozen")[0]["seq"])
    said = desk("log", "redact", *(plan if word == "PLAN" else word for word in words))
    assert (said.code, told in said.err) == (code, True), said.err
    assert entries(desk, "redact.proposed") == []


TIMED = (
    "  - name: Raise\n    local.shell: {cmd: 'echo raised >> marks'}\n"
    "    undo: {local.shell: {cmd: 'echo lowered >> marks'}}\n    revert_after: 1h\n"
)


def plan_of(desk: Desk, run: str) -> str:
    (seq,) = [entry["seq"] for entry in entries(desk, "plan.frozen") if entry["run"] == run]
    return str(seq)


def test_what_is_to_be_taken_back_is_not_erased_and_what_was_is_not_taken_back_twice(desk: Desk) -> None:
    desk.run(desk.runbook(TIMED))
    forward = desk.status()["run"]
    refused = desk("log", "redact", plan_of(desk, forward), *WHY)
    assert (refused.code, "is to be taken back at" in refused.err) == (5, True), refused.err
    undone = desk("undo", forward, "--direct", "--yes")
    assert undone.code == 0, undone.err
    undo = desk.status()["run"]
    assert undo != forward
    refused = desk("log", "redact", plan_of(desk, undo), *WHY)
    assert (refused.code, f"erase the plan of {forward} first" in refused.err) == (5, True), refused.err
    for run in (forward, undo):
        for who in ("responder", "alex"):
            said = desk("log", "redact", plan_of(desk, run), *WHY, "--as", who)
            assert said.code == 0, said.err
    shown = desk("reverts", "list", "--all", "--json").json
    assert [one["status"] for one in shown] == ["cancelled"]
    assert "its plan was erased" in shown[0]["why"]
    assert (desk("runs").code, desk("status", forward).code, desk("status", undo).code) == (0, 0, 0)
    assert desk("undo", forward, "--direct", "--yes").code != 0
    assert desk.marks() == ["raised", "lowered"]
