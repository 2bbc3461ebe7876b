"""Tokens through the real command line: who acts with one, what for, and how each way around it is refused."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark

from mimrun.app.home import operating_system_user

PEOPLE = """\
people:
  responder: {{roles: [responder], accounts: ['{user}']}}
  alex: {{roles: [change_manager, administrator]}}
  billie: {{roles: [change_manager]}}
  watcher: {{roles: [auditor]}}
  casey: {{active: false, roles: [change_manager]}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (desk.home / "people.yaml").write_text(PEOPLE.format(user=operating_system_user()))
    return desk


def administer(desk: Desk) -> None:
    """Let whoever types be an administrator, as the person of this account."""
    people = desk.home / "people.yaml"
    people.write_text(people.read_text().replace("[responder]", "[responder, administrator]"))


def make_as(desk: Desk, person: str, name: str, scope: str) -> str:
    """Let somebody make a token at an account of theirs, which is this one for the moment."""
    people = desk.home / "people.yaml"
    before = people.read_text()
    theirs = before.replace(f"  {person}: {{", f"  {person}: {{accounts: ['{operating_system_user()}'], ")
    people.write_text(theirs.replace(f", accounts: ['{operating_system_user()}']", ""))
    token = make(desk, name, scope, person)
    people.write_text(before)
    return token


def make(desk: Desk, name: str, scope: str, person: str, expires: str = "1h", **env: str) -> str:
    said = desk("token", "create", name, "--scope", scope, "--person", person, "--expires", expires, **env)
    assert said.code == 0, said.err
    return said.out.strip()


def test_a_token_is_shown_once_and_the_log_has_its_hash_alone(desk: Desk) -> None:
    token = make(desk, "mine", "read,launch", "responder")
    assert re.fullmatch(r"mimrun_mine_[A-Za-z0-9_-]{43}", token)
    listed = desk("token", "list", "--json")
    assert [(t["name"], t["person"], t["scopes"], t["state"]) for t in listed.json] == [
        ("mine", "responder", ["launch", "read"], "valid")
    ]
    shown = desk("token", "list").out + listed.out + desk("log", "show", "--json").out
    assert token not in shown
    with closing(sqlite3.connect(desk.home / "log.db")) as db:
        assert token[12:] not in "".join(db.iterdump())


def test_who_acts_with_a_token_is_its_person(desk: Desk) -> None:
    assert desk.run(desk.runbook(GATE + mark("two"))).code == 3
    token = make_as(desk, "alex", "desk", "approve,launch")
    said = desk("approve", "latest", "--yes", MIMRUN_TOKEN=token)
    assert said.code == 0, said.err
    decided = [e for e in entries(desk) if e["kind"] == "gate.decided"][-1]
    assert decided["actor"] == {"kind": "person", "id": "alex", "via": "cli", "auth": "token:desk"}
    assert desk("resume", "--direct", MIMRUN_TOKEN=token).code == 0
    assert desk.marks() == ["two"]


def test_whoever_made_the_token_that_launched_a_run_does_not_approve_it(desk: Desk) -> None:
    people = desk.home / "people.yaml"
    people.write_text(people.read_text().replace("[responder]", "[change_manager, administrator]"))
    token = make(desk, "pipeline", "launch", "billie")
    assert desk.run(desk.runbook(GATE + mark("two")), MIMRUN_TOKEN=token).code == 3
    said = desk("approve", "latest", "--yes")
    assert (said.code, "cannot approve it" in said.err) == (5, True), said.err
    refused = desk("token", "create", "both", "--scope", "approve", "--person", "alex")
    assert (refused.code, "alex makes a token for approve themselves" in refused.err) == (5, True)


def test_a_token_in_a_file_signs_in(desk: Desk) -> None:
    file = desk.write("token", make(desk, "mine", "read", "responder") + "\n")
    file.chmod(0o600)
    said = desk("--token-file", str(file), "whoami", "--json")
    assert said.json["auth"] == "token:mine", said.err
    assert desk("whoami", "--json", MIMRUN_TOKEN_FILE=str(file)).json["auth"] == "token:mine"
    both = desk("whoami", MIMRUN_TOKEN="x", MIMRUN_TOKEN_FILE=str(file))
    assert (both.code, "take one away" in both.err) == (2, True)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_token_file_that_others_can_get_at_signs_nobody_in(desk: Desk, mode: int) -> None:
    file = desk.write("token", make(desk, "mine", "read", "responder") + "\n")
    file.chmod(mode)
    for said in (desk("--token-file", str(file), "runs"), desk("runs", MIMRUN_TOKEN_FILE=str(file))):
        assert (said.code, f"chmod 600 {file}" in said.err) == (5, True), said.err
    pulled = desk("kill-switch", "pull", "--reason", "all of it", MIMRUN_TOKEN_FILE=str(file))
    assert "chmod 600" in pulled.out + pulled.err
    assert "all of it" in desk("kill-switch", "show").out


@pytest.mark.parametrize("name", ["MIMRUN_TOKEN", "MIMRUN_TOKEN_FILE"])
def test_an_empty_token_is_not_the_account_of_the_operating_system(desk: Desk, name: str) -> None:
    said = desk("note", "seen", **{name: ""})
    assert (said.code, f"{name} is set and empty" in said.err) == (5, True), said.err
    assert desk("whoami", "--json").json["auth"] == "os-user"


@pytest.mark.parametrize(
    ("scope", "words", "needs"),
    [
        ("read", ("note", "seen"), "record"),
        ("approve", ("runs",), "read"),
        ("launch", ("approve", "latest", "--yes"), "approve"),
        ("read", ("cancel", "latest", "--reason", "x"), "stop"),
        ("read,launch,approve,attest,stop,record", ("token", "create", "more", "--scope", "read"), "token"),
        ("read", ("log", "redact", "1", "--reason", "x"), "admin"),
    ],
)
def test_a_token_is_for_its_scopes_alone(desk: Desk, scope: str, words: tuple[str, ...], needs: str) -> None:
    said = desk(*words, MIMRUN_TOKEN=make(desk, "mine", scope, "responder"))
    assert said.code == 5, said.out + said.err
    assert f"needs the scope '{needs}'" in said.err


def test_a_token_that_is_not_good_is_refused_and_says_why(desk: Desk) -> None:
    administer(desk)
    token = make(desk, "mine", "read", "responder")
    gone = make(desk, "gone", "read", "responder")
    assert desk("token", "revoke", "gone", "--reason", "it was in a chat").code == 0
    wrong = token[:-2] + ("AA" if not token.endswith("AA") else "BB")
    for bad, why in (
        (gone, "was revoked by responder"),
        (wrong, "not known here"),
        ("hunter2", "is no token"),
    ):
        said = desk("runs", MIMRUN_TOKEN=bad)
        assert said.code == 5
        assert why in said.err
        assert bad not in said.err
    billies = make(desk, "billies", "read", "billie")
    people = desk.home / "people.yaml"
    people.write_text(people.read_text().replace("billie: {", "billie: {active: false, "))
    assert "billie is not active any more" in desk("runs", MIMRUN_TOKEN=billies).err
    people.write_text(re.sub("  billie:.*\n", "", people.read_text()))
    assert "does not know any more" in desk("runs", MIMRUN_TOKEN=billies).err
    assert desk("runs", MIMRUN_TOKEN=token).code == 0


def test_a_token_expires(desk: Desk) -> None:
    token = make(desk, "brief", "read", "responder", expires="1ms")
    said = desk("runs", MIMRUN_TOKEN=token)
    assert (said.code, "the token brief expired" in said.err) == (5, True)


def test_a_name_is_never_given_again(desk: Desk) -> None:
    make(desk, "mine", "read", "responder")
    assert desk("token", "revoke", "mine", "--reason", "done").code == 0
    said = desk("token", "create", "mine", "--scope", "read")
    assert (said.code, "a name is never given again" in said.err) == (5, True)
    assert "already" in desk("token", "revoke", "mine", "--reason", "again").err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--person", "alex"), 5, "responder cannot make a token for alex"),
        (("--as", "alex"), 5, "alex is only claimed at this account"),
        (("--as", "alex", "--person", "billie"), 5, "is only claimed"),
        (("--person", "casey"), 5, "casey is not active"),
        (("--person", "dana"), 2, "nobody is known as 'dana'"),
        (("--expires", "367d"), 2, "not between 0 and 366 days"),
        (("--expires", "0s"), 2, "up to 366 days"),
        (("--scope", "all"), 2, "no scope 'all'"),
    ],
)
def test_who_may_not_make_a_token_is_told(desk: Desk, words: tuple[str, ...], code: int, said: str) -> None:
    scope = () if "--scope" in words else ("--scope", "read")
    answer = desk("token", "create", "new", *scope, *words)
    assert answer.code == code, answer.out + answer.err
    assert said in answer.err
    assert desk("token", "list", "--json").json == []


def test_a_token_makes_no_token_that_can_do_more_or_lasts_longer(desk: Desk) -> None:
    token = make(desk, "mine", "read,token", "responder", expires="1h")
    for words, why in (
        (("--scope", "read,approve"), "does not have approve"),
        (("--scope", "read", "--expires", "2h"), "cannot make a token that lasts longer"),
        (
            ("--scope", "read", "--expires", "5m", "--person", "billie"),
            "responder cannot make a token for billie",
        ),
    ):
        said = desk("token", "create", "child", *words, MIMRUN_TOKEN=token)
        assert (said.code, why in said.err) == (5, True), said.err
    assert make(desk, "child", "read", "responder", "5m", MIMRUN_TOKEN=token)
    assert [e["actor"]["auth"] for e in entries(desk) if e["kind"] == "token.created"] == [
        "os-user",
        "token:mine",
    ]


def test_whoever_has_signed_in_is_nobody_else(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("one"))).code == 0
    token = make(desk, "mine", "record", "responder")
    said = desk("note", "seen", "--as", "alex", MIMRUN_TOKEN=token)
    assert (said.code, "responder has signed in (token:mine)" in said.err) == (5, True)
    assert desk("note", "seen", "--as", "responder", MIMRUN_TOKEN=token).code == 0


def test_an_administrator_makes_and_revokes_tokens_of_others(desk: Desk) -> None:
    administer(desk)
    make(desk, "watch", "read", "watcher")
    refused = desk("token", "create", "more", "--scope", "read,approve", "--person", "watcher")
    assert (refused.code, "is an auditor" in refused.err) == (5, True)
    assert desk("token", "revoke", "watch", "--reason", "audit is over").code == 0


def test_what_a_launch_brings_besides_needs_its_own_scope(desk: Desk) -> None:
    people = desk.home / "people.yaml"
    people.write_text(people.read_text().replace("[responder]", "[responder, service_desk]"))
    (desk.home / "policy.yaml").write_text("break_glass: {how: two_people}\n")
    token, book = make(desk, "starter", "launch,read", "responder"), desk.runbook(GATE + mark("one"))
    for words, scope in (
        (("--break-glass", "nobody answers"), "approve"),
        (("--priority", "P1"), "approve"),
        (("--change", "CHG-1"), "change"),
    ):
        said = desk.run(book, *words, MIMRUN_TOKEN=token)
        assert (said.code, f"needs the scope '{scope}'" in said.err) == (5, True), said.err
    assert desk("runs", "--json").json == []


def test_an_auditor_looks_and_does_nothing(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("one"))).code == 0
    said = desk("note", "seen", "--as", "watcher")
    assert (said.code, "watcher is an auditor" in said.err) == (5, True)
    assert desk("note", "seen", "--as", "casey").code == 5


def test_a_token_that_a_note_would_show_is_masked(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("one"))).code == 0
    token = make(desk, "mine", "record,read", "responder")
    assert desk("note", f"the token is {token}", MIMRUN_TOKEN=token).code == 0
    assert token not in desk("log", "show", "--json", "--blobs").out


def test_a_token_that_a_step_shows_is_masked(desk: Desk) -> None:
    token = make(desk, "mine", "launch,read", "responder")
    file = desk.write("token", token)
    step = f"  - {{name: Show, local.command: {{argv: [cat, '{file}']}}}}\n"
    said = desk.run(desk.runbook(step), MIMRUN_TOKEN=token)
    assert said.code == 0, said.err
    kept = desk("log", "show", "--json", "--blobs").out
    assert "*****" in kept
    assert token not in kept + said.out + said.err + (desk.home / "program.log").read_text()


def entries(desk: Desk) -> list[dict[str, dict[str, str]]]:
    return [json.loads(line) for line in desk("log", "show", "--json").out.splitlines()]
