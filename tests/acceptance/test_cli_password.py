"""`mimrun password` and `mimrun session`: who signs in at the server with what, and who is signed in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.commands import Desk

from mimrun.app.home import open_home, operating_system_user
from mimrun.app.server.sessions import open_session
from mimrun.gate.people import SignedIn
from mimrun.settings import Settings

GOOD = "plum kettle orbit nine"
PEOPLE = """\
people:
  admin: {{roles: [administrator, responder], accounts: ['{user}']}}
  alex: {{roles: [change_manager]}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (desk.home / "people.yaml").write_text(PEOPLE.format(user=operating_system_user()))
    return desk


def states(desk: Desk) -> dict[str, str]:
    return {one["person"]: one["state"] for one in desk("password", "list", "--json").json}


def test_ones_own_password_is_read_and_never_shown(desk: Desk) -> None:
    assert states(desk) == {"admin": "none", "alex": "none"}
    said = desk("password", "set", stdin=GOOD + "\n")
    assert (said.code, said.out) == (0, "admin signs in with the new password\n")
    assert GOOD not in said.err
    assert states(desk)["admin"] == "set"
    assert "set" in desk("password", "list").out
    entries = [json.loads(line) for line in desk("log", "show", "--json").out.splitlines()]
    (changed,) = (entry for entry in entries if entry["kind"] == "password.changed")
    assert changed["body"] == {"person": "admin", "removed": False}


@pytest.mark.parametrize("given", ["", "short\n", "aaaaaaaaaaaaaaaa\n"])
def test_a_password_that_is_easily_guessed_is_refused(desk: Desk, given: str) -> None:
    said = desk("password", "set", stdin=given)
    assert said.code == 2
    assert states(desk)["admin"] == "none"


def test_for_somebody_else_a_word_is_printed_once_with_which_they_choose_their_own(desk: Desk) -> None:
    said = desk("password", "set", "alex")
    word = said.out.strip()
    assert (said.code, len(word)) == (0, 23)
    assert "alex chooses a password of their own, until" in said.err
    assert states(desk)["alex"] == "once"
    assert word not in (desk.home / "passwords.yaml").read_text()
    assert word not in desk("password", "list", "--json").out
    assert desk("password", "remove", "alex").code == 0
    assert states(desk)["alex"] == "none"
    assert "has no password" in desk("password", "remove", "alex").err
    assert desk("password", "set", "nobody").code == 2


def test_only_administrators_do_that(desk: Desk) -> None:
    people = desk.home / "people.yaml"
    people.write_text(people.read_text().replace("administrator, ", ""))
    said = desk("password", "set", "alex")
    assert (said.code, "administrator" in said.err) == (5, True)


def test_a_token_sets_no_password(desk: Desk) -> None:
    token = desk("token", "create", "x", "--scope", "token,admin,read").out.strip()
    said = desk("password", "set", stdin=GOOD + "\n", MIMRUN_TOKEN=token)
    assert (said.code, "a token changes no password" in said.err) == (5, True)


def test_sessions_are_listed_and_ended(desk: Desk) -> None:
    assert "nobody has a session" in desk("session", "list").out
    with open_home(Settings(home=desk.home)) as home:
        open_session(home, SignedIn("alex", "password"))
    (one,) = desk("session", "list", "--json").json
    assert (one["person"], one["auth"]) == ("alex", "password")
    assert "verifier" not in one
    assert one["name"] in desk("session", "list").out
    assert desk("session", "revoke", one["name"]).code == 0
    assert desk("session", "list", "--json").json == []
    assert desk("session", "revoke", one["name"]).code == 2
