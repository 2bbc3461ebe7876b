"""What is approved is what runs: who counts, for what, and what voids it, through the real command line."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders.changed_blob import change_blob
from builders.commands import GATE, Desk, mark

SCRIPT = "x" * 700 + "-the-end"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def waiting(desk: Desk) -> Desk:
    assert desk.run(desk.runbook(mark("one") + GATE + mark("two"))).code == 3
    return desk


def digest(desk: Desk) -> str:
    status = desk.status()
    return str(status["gates"][status["waits_at"]]["digest"])


def edit(desk: Desk, sql: str, *values: object) -> None:
    """Change the log's file with a database shell, with its triggers out of the way."""
    with closing(sqlite3.connect(desk.home / "log.db")) as db, db:
        for (name,) in db.execute("select name from sqlite_schema where type = 'trigger'").fetchall():
            db.execute(f"drop trigger {name}")
        assert db.execute(sql, values).rowcount == 1


def test_who_asked_for_the_run_cannot_approve_it(waiting: Desk) -> None:
    people = waiting.home / "people.yaml"
    people.write_text(people.read_text().replace("[responder]", "[responder, change_manager]"))
    for words in ((), ("--as", "responder")):
        said = waiting("approve", "latest", "--yes", *words)
        assert said.code == 5
        assert "responder asked for or launched this run and cannot approve it" in said.err
    assert waiting("resume", "--direct").code == 3
    assert waiting.marks() == ["one"]


def test_another_account_of_who_asked_is_the_same_person(waiting: Desk) -> None:
    people = waiting.home / "people.yaml"
    people.write_text(people.read_text().replace("accounts: [", "accounts: ['responder-admin', "))
    said = waiting("approve", "latest", "--yes", "--as", "responder-admin")
    assert said.code == 5


def test_a_person_without_the_role_is_refused_and_told_which_it_is(waiting: Desk) -> None:
    people = waiting.home / "people.yaml"
    people.write_text(people.read_text() + "  casey: {roles: [security]}\n")
    said = waiting("approve", "latest", "--yes", "--as", "casey")
    assert said.code == 5
    assert "this gate needs change_manager" in said.err


def test_a_digest_that_is_not_what_would_run_is_refused(waiting: Desk) -> None:
    for wrong in ("0" * 12, "0" * 64, digest(waiting)[7:30] + "x", waiting.status()["plan"]):
        said = waiting("approve", "latest", "--as", "alex", "--digest", wrong)
        assert said.code == 5, said.out + said.err
        assert "what would run has changed" in said.err
    assert waiting("resume", "--direct").code == 3
    assert waiting.marks() == ["one"]


def test_one_person_counts_once(desk: Desk) -> None:
    gate = "  - {name: Two agree, gate: {approvals: [{role: change_manager, count: 2}]}}\n"
    assert desk.run(desk.runbook(gate + mark("two"))).code == 3
    first = desk("approve", "latest", "--as", "alex", "--yes")
    assert "the gate is waiting" in first.out
    assert "next: mimrun approve" in desk("status").out
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 5
    second = desk("approve", "latest", "--as", "billie", "--yes")
    assert "the gate is open" in second.out
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["two"]


def test_a_rejection_ends_the_run_and_its_reason_is_on_record(waiting: Desk) -> None:
    said = waiting("reject", "latest", "--as", "alex", "--reason", "the standby is behind")
    assert said.code == 0, said.err
    status = waiting.status()
    assert (status["status"], waiting.marks()) == ("failed", ["one"])
    assert "alex rejected: the standby is behind" in status["reason"]
    assert waiting("approve", "latest", "--as", "billie", "--yes").code == 5
    assert waiting("resume", "--direct").code == 5


def test_an_approver_sees_every_character_and_every_host(desk: Desk) -> None:
    hosts = [f"web{n:02}" for n in range(30)]
    inventory = str(desk.write("hosts.ini", "[web]\n" + "\n".join(hosts)))
    step = (
        "  - name: Long\n"
        f"    local.shell: {{cmd: 'echo {SCRIPT}'}}\n"
        "    environment: {MODE: dangerous}\n"
        "  - name: Many\n"
        '    local.shell: {cmd: "echo line one\\necho {{ item | quote }}"}\n'
        f"    loop: [{', '.join(f'item{n}' for n in range(25))}]\n"
    )
    assert desk.run(desk.runbook(GATE + step, more="hosts: web\n"), "-i", inventory).code == 3
    shown = desk("approve", "latest", "--as", "alex", "--yes").out
    assert "-the-end" in shown
    assert all(host in shown for host in hosts)
    assert re.search(r"MODE.*dangerous", shown)
    assert all(f"    | echo item{n}\n" in shown for n in range(25))


@pytest.mark.parametrize("which", ["mimsegment/1", "mimplan/1"], ids=["segment", "plan"])
def test_one_changed_character_after_the_approval_stops_the_run(waiting: Desk, which: str) -> None:
    assert waiting("approve", "latest", "--as", "alex", "--yes").code == 0
    change_blob(waiting.home / "log.db", which.encode(), b"echo two", b"echo twx")
    said = waiting("resume", "--direct")
    assert said.code == 6, said.out + said.err
    assert waiting.marks() == ["one"]
    assert waiting("log", "verify").code == 6
    as_json = waiting("resume", "--direct", "--json")
    assert (as_json.code, as_json.json["kind"]) == (6, "TamperError")


def test_a_changed_vote_is_found_at_its_entry(waiting: Desk) -> None:
    """Somebody turns a rejection into an approval in the file: nothing runs, and the entry is named."""
    people = waiting.home / "people.yaml"
    people.write_text(people.read_text() + "  dana: {roles: [change_manager]}\n")
    assert waiting("approve", "latest", "--as", "dana", "--yes").code == 0
    entries = [json.loads(line) for line in waiting("log", "show", "--json").out.splitlines()]
    seq = next(entry["seq"] for entry in entries if entry["kind"] == "gate.decided")
    edit(
        waiting,
        "update entry set data = cast(replace(cast(data as text), '\"dana\"', '\"alex\"') as blob) where seq = ?",
        seq,
    )
    assert waiting("resume", "--direct").code == 6
    verified = waiting("log", "verify", "--json")
    assert verified.code == 6
    assert f"entry {seq}" in waiting("log", "verify").out
    assert waiting.marks() == ["one"]


def test_a_claimed_identity_is_recorded_as_one(waiting: Desk) -> None:
    waiting("approve", "latest", "--as", "alex", "--yes")
    entries = [json.loads(line) for line in waiting("log", "show", "--json").out.splitlines()]
    vote = next(entry for entry in entries if entry["kind"] == "gate.decided")
    assert (vote["actor"]["id"], vote["actor"]["via"]) == ("alex", "cli")
    assert vote["actor"]["auth"].startswith("claimed")
    created = next(entry for entry in entries if entry["kind"] == "run.created")
    assert created["actor"]["auth"] == "os-user"


def test_an_empty_digest_agrees_to_nothing(waiting: Desk) -> None:
    """`--digest "$UNSET"` in a script is a mistake, and not a word of agreement."""
    said = waiting("approve", "latest", "--as", "alex", "--digest", "", "--yes")
    assert said.code == 2
    assert "at least 12 characters" in said.err
    assert waiting.status()["status"] == "waiting"
