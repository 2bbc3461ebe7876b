"""A day of a change manager: what was allowed beforehand, what is allowed in a hurry, and what nobody could ask for."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders.commands import Desk, mark

from mimrun.app.home import operating_system_user

ACCOUNT = operating_system_user()
PEOPLE = f"""\
people:
  responder: {{roles: [responder, service_desk], accounts: ['{ACCOUNT}']}}
  sam: {{roles: [responder]}}
  alex: {{roles: [change_manager]}}
  billie: {{roles: [major_incident_manager]}}
  casey: {{roles: [freeze_approver]}}
shared: ['{ACCOUNT}']
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (desk.home / "people.yaml").write_text(PEOPLE)
    assert desk("policy", "init").code == 0
    return desk


def book(desk: Desk, word: str, *, risk: str = "low", version: str = "1.0.0", name: str = "fix") -> str:
    path = Path(desk.runbook(mark(word), name=name, version=version))
    path.write_text(path.read_text().replace("risk: low", f"risk: {risk}"))
    return str(path)


def frozen_now(desk: Desk) -> None:
    """Close a calendar from an hour ago until in an hour."""
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(hours=h):%Y-%m-%d %H:%M}" for h in (-1, 1))
    (desk.home / "calendars").mkdir()
    (desk.home / "calendars" / "year-end.yaml").write_text(
        f"name: Year end\ntimezone: UTC\nclosed:\n  - once: {{from: {start}, to: {end}}}\n    reason: year end\n"
    )


def kinds(desk: Desk) -> list[str]:
    return [json.loads(line)["kind"] for line in desk("log", "show", "--json").out.splitlines()]


def test_a_standard_change_lets_its_runbook_run_until_somebody_edits_it(desk: Desk) -> None:
    first = book(desk, "weekly")
    assert desk.run(first).code == 3, "before anybody allowed it, a person is asked"
    desk("cancel", "latest", "--reason", "it is to be a standard change")
    added = desk(
        "change", "standard", "add", first, "--hosts", "all", "--until", "+30d", "--reason", "done weekly"
    )
    assert added.code == 0, added.err
    own = desk("change", "approve", "CHG-1")
    assert own.code == 5, "who proposes it does not allow it"
    assert desk("change", "approve", "CHG-1", "--as", "alex").code == 0
    done = desk.run(first)
    assert done.code == 0, done.err
    edited = book(desk, "more", version="1.0.1")
    assert desk.run(edited).code == 3
    assert desk.marks() == ["weekly"]
    assert desk("change", "standard", "revoke", "CHG-1", "--reason", "it failed twice").code == 0
    assert desk.run(first).code == 3
    assert desk.marks() == ["weekly"]


def test_in_an_emergency_two_people_in_two_roles_allow_exactly_this(desk: Desk) -> None:
    failover = book(desk, "failover", risk="high")
    assert desk.run(failover, "--priority", "P1").code == 3
    run = desk.status()["run"]
    assert desk("approve", run, "--yes").code == 5, "who launched it does not allow it"
    assert desk("approve", run, "--as", "sam", "--yes").code == 5, "a responder does not"
    assert desk("approve", run, "--as", "alex", "--yes").code == 0
    assert desk("resume", run, "--direct").code == 3
    assert desk.marks() == []
    assert desk("approve", run, "--as", "billie", "--yes").code == 0
    done = desk("resume", run, "--direct")
    assert done.code == 0, done.err + done.out
    assert desk.marks() == ["failover"]
    (change,) = [one for one in desk("change", "list", "--json").json if one["type"] == "emergency"]
    assert [said["person"] for said in change["said"]] == ["alex"], (
        "one word at the gate is one for the change"
    )


def test_in_a_freeze_a_freeze_approver_must_allow_it_besides(desk: Desk) -> None:
    frozen_now(desk)
    restart = book(desk, "restart", risk="medium")
    said = desk.run(restart, "--priority", "P2")
    assert said.code == 3
    assert "year end" in said.out.lower() + said.err.lower()
    run = desk.status()["run"]
    assert desk("approve", run, "--as", "alex", "--yes").code == 0
    assert desk("resume", run, "--direct").code == 3
    assert desk.marks() == []
    wrong = desk("approve", run, "--as", "billie", "--freeze-override", "--reason", "hurry", "--yes")
    assert wrong.code == 5
    given = desk("approve", run, "--as", "casey", "--freeze-override", "--reason", "nobody can pay", "--yes")
    assert given.code == 0, given.err
    done = desk("resume", run, "--direct")
    assert done.code == 0, done.err + done.out
    assert desk.marks() == ["restart"]


def test_in_a_freeze_nothing_of_high_risk_is_allowed_but_past_the_gate(desk: Desk) -> None:
    frozen_now(desk)
    wipe = book(desk, "wipe", risk="high")
    assert desk.run(wipe, "--priority", "P1").code == 3
    run = desk.status()["run"]
    refused = desk("approve", run, "--as", "alex", "--yes")
    assert refused.code == 5
    assert "breaking the glass" in refused.err
    assert desk.marks() == []
    past = desk.run(wipe, "--priority", "P1", "--break-glass", "the ransomware is spreading")
    assert past.code == 3, past.err
    broken = desk.status()["run"]
    assert desk("breakglass", "agree", broken, "--as", "billie").code == 0
    assert desk("resume", broken, "--direct").code == 0
    assert desk.marks() == ["wipe"]
    (glass,) = desk("breakglass", "list", "--json").json
    assert glass["settled"] is False
    assert kinds(desk).index("breakglass.opened") < kinds(desk).index("step.intent")


def test_an_approval_is_signed_elsewhere_and_carried_back_as_a_file(desk: Desk, tmp_path: Path) -> None:
    key = tmp_path / "alex_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alex", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().split()
    (desk.home / "allowed_signers").write_text(f'alex namespaces="approval@mimrun" {public[0]} {public[1]}\n')
    policy = (desk.home / "policy.yaml").read_text()
    (desk.home / "policy.yaml").write_text(policy.replace("signed: false", "signed: true"))
    restart = book(desk, "restart", risk="medium")
    assert desk.run(restart, "--priority", "P2").code == 3
    run = desk.status()["run"]
    spoken = desk("approve", run, "--as", "alex", "--yes")
    assert spoken.code == 5
    assert "only signed approvals count" in spoken.err
    asked = desk("approval", "request", run).out
    # Elsewhere: another home, without this log; the message came by chat, quoted and wrapped.
    (tmp_path / "away").mkdir()
    away = Desk(tmp_path / "away")
    message = away.write("message.txt", "\r\n".join(f"> {line}" for line in asked.splitlines()))
    digest = next(
        word for line in asked.splitlines() if "digest:" in line for word in line.split() if len(word) == 64
    )
    signed = away("approval", "sign", str(message), "--key", str(key), "--digest", digest)
    assert signed.code == 0, signed.err
    brought = desk("approval", "import", "-", stdin=signed.out)
    assert brought.code == 0, brought.err
    assert desk("approval", "import", "-", stdin=signed.out).code == 5, "it counts once"
    done = desk("resume", run, "--direct")
    assert done.code == 0, done.err + done.out
    assert desk.marks() == ["restart"]
    assert desk("log", "verify").code == 0


def test_a_word_that_is_taken_back_allows_nothing_any_more(desk: Desk) -> None:
    restart = book(desk, "restart", risk="medium")
    assert desk.run(restart, "--priority", "P2").code == 3
    run = desk.status()["run"]
    assert desk("approve", run, "--as", "alex", "--yes").code == 0
    taken = desk("withdraw", run, "--as", "alex", "--reason", "second thoughts")
    assert taken.code == 0, taken.err
    assert desk("resume", run, "--direct").code == 3
    assert desk.marks() == []
    assert desk("approve", run, "--as", "alex", "--yes").code == 0, "it can be given again"
    assert desk("resume", run, "--direct").code == 0


def test_a_run_that_is_called_off_leaves_no_change_in_the_way_of_the_next(desk: Desk) -> None:
    restart = book(desk, "restart", risk="medium")
    assert desk.run(restart, "--priority", "P2").code == 3
    assert desk("cancel", "latest", "--reason", "wrong host").code in (0, 7)
    assert desk.run(restart, "--priority", "P2").code == 3
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    done = desk("resume", "latest", "--direct")
    assert done.code == 0, done.err + done.out
    states = {one["ref"]: one["state"] for one in desk("change", "list", "--all", "--json").json}
    assert states["CHG-1"] == "canceled"
