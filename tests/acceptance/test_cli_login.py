"""Signing in with OpenID Connect through the real command line, and what the log says of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark
from builders.oidc_provider import Provider

from mimrun.app.home import operating_system_user

PEOPLE = """\
people:
  responder: {{roles: [responder], accounts: ['{user}']}}
  alex:
    roles: [change_manager]
    email: alex@example.org
    identities: {{oidc: ['{issuer}|8d1f']}}
  watcher: {{roles: [auditor], identities: {{oidc: ['{issuer}|audit']}}}}
"""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as one:
        yield one


@pytest.fixture
def desk(tmp_path: Path, provider: Provider) -> Desk:
    desk = Desk(tmp_path)
    text = PEOPLE.format(user=operating_system_user(), issuer=provider.issuer)
    (desk.home / "people.yaml").write_text(text)
    desk.env |= {"MIMRUN_OIDC_ISSUER": provider.issuer, "XDG_STATE_HOME": str(tmp_path / "state")}
    return desk


def session(desk: Desk) -> Path:
    return Path(desk.env["XDG_STATE_HOME"]) / "mimrun-session.json"


def test_whoever_signs_in_approves_as_themselves(desk: Desk, provider: Provider) -> None:
    assert desk.run(desk.runbook(GATE + mark("two"))).code == 3
    said = desk("login")
    assert (said.code, "you are alex until" in said.out) == (0, True), said.err
    assert "ABCD-EFGH" in said.err
    assert desk("whoami", "--json").json["auth"] == f"oidc:{provider.issuer}"
    assert desk("approve", "latest", "--yes").code == 0
    entries = [json.loads(line) for line in desk("log", "show", "--json").out.splitlines()]
    decided = [entry["actor"] for entry in entries if entry["kind"] == "gate.decided"]
    assert decided == [{"kind": "person", "id": "alex", "via": "cli", "auth": f"oidc:{provider.issuer}"}]
    assert desk("logout").out == "the session is ended\n"
    assert desk("whoami", "--json").json["auth"] == "os-user"
    assert desk("logout").out == "nobody was signed in\n"


def test_whoever_has_signed_in_is_nobody_else(desk: Desk) -> None:
    assert desk("login").code == 0
    said = desk("whoami", "--as", "responder")
    assert (said.code, "end the session with `mimrun logout`" in said.err) == (5, True)


def test_somebody_whom_nobody_knows_is_told_their_account(desk: Desk, provider: Provider) -> None:
    provider.subject = "stranger"  # with alex's e-mail address
    said = desk("login")
    assert said.code == 5
    assert f"oidc: ['{provider.issuer}|stranger']" in said.err
    assert not session(desk).exists()


def test_a_session_that_is_over_looks_and_does_nothing(desk: Desk) -> None:
    assert desk.run(desk.runbook(GATE + mark("two"))).code == 3
    assert desk("login").code == 0
    kept = json.loads(session(desk).read_text())
    session(desk).write_text(json.dumps({**kept, "expires_at": kept["signed_in_at"]}))
    assert desk("runs").code == 0
    said = desk("approve", "latest", "--yes")
    assert (said.code, "has ended; sign in again" in said.err) == (5, True)


def test_a_session_ends_with_the_person(desk: Desk) -> None:
    assert desk("login").code == 0
    people = desk.home / "people.yaml"
    people.write_text(people.read_text().replace("roles: [change_manager]", "active: false"))
    said = desk("whoami")
    assert (said.code, "alex is not active any more" in said.err) == (5, True)


def test_an_auditor_signs_in_and_looks(desk: Desk, provider: Provider) -> None:
    provider.subject = "audit"
    assert desk("login", "--json").json["person"] == "watcher"
    assert desk("runs").code == 0
    said = desk("kill-switch", "lift", "--reason", "x")
    assert (said.code, "watcher is an auditor" in said.err) == (5, True)


def test_without_a_provider_nobody_signs_in(desk: Desk) -> None:
    said = desk("login", MIMRUN_OIDC_ISSUER="")
    assert (said.code, "set MIMRUN_OIDC_ISSUER" in said.err) == (2, True)
    said = desk("login", MIMRUN_OIDC_ISSUER="http://login.example.org")
    assert (said.code, "must begin with https://" in said.err) == (2, True)
