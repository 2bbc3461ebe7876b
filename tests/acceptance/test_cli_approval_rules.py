"""Signed approvals under a policy: where only they count, in a freeze, and once they were taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, Said, mark
from builders.ssh_keys import make_key, signer

NOTHING = "{P1: none, P2: none, other: none, freeze: {freeze_override: true}}"
POLICY = f"matrix:\n  low: {NOTHING}\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "desk").mkdir()
    desk = Desk(tmp_path / "desk")
    for name in ("alex", "billie"):
        make_key(tmp_path, name)
    lines = [signer(name, tmp_path / name) for name in ("alex", "billie")]
    (desk.home / "allowed_signers").write_text("".join(lines))
    desk.env |= {"HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    return desk


def approve(desk: Desk, *words: str, key: str = "alex") -> Said:
    file = str(desk.folder.parent / key)
    return desk("approve", "latest", "--as", key, "--yes", "--sign", "--key", file, *words)


def signed(desk: Desk, *words: str, key: str = "alex") -> str:
    message = desk("approval", "request", "latest").out
    said = desk(
        *("approval", "sign", "-", "--yes", "--key", str(desk.folder.parent / key)), *words, stdin=message
    )
    assert said.code == 0, said.err
    return said.out


def test_where_a_policy_says_so_only_signed_approvals_count(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text(f"{POLICY}signed: true\n")
    assert desk.run(desk.runbook(GATE + mark("two"))).code == 3
    digest = desk.status()["asks"]["digest"][7:19]
    assert f" --digest {digest} --sign   or   mimrun reject" in desk("status").out
    plain = desk("approve", "latest", "--as", "alex", "--yes")
    assert plain.code == 5
    assert "only signed approvals count here" in plain.err
    assert approve(desk).code == 0
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["two"]


def test_what_was_signed_before_it_was_taken_back_does_not_count_any_more(desk: Desk) -> None:
    gate = "  - {name: Two agree, gate: {approvals: [{role: change_manager, count: 2}]}}\n"
    assert desk.run(desk.runbook(gate + mark("two"))).code == 3
    kept, later = signed(desk), signed(desk)
    assert desk("approval", "import", "-", stdin=kept).code == 0
    assert desk("withdraw", "latest", "--as", "alex", "--reason", "look again").code == 0
    again = desk("approval", "import", "-", stdin=kept)
    assert again.code == 5
    assert "was counted already" in again.err
    other = desk("approval", "import", "-", stdin=later)
    assert other.code == 5
    assert "took back what they said after this was signed" in other.err
    assert desk("approval", "import", "-", stdin=signed(desk)).code == 0
    assert approve(desk, key="billie").code == 0
    assert desk("resume", "--direct").code == 0


def test_a_freeze_is_overridden_by_a_signed_word_that_approves_nothing_else(desk: Desk) -> None:
    people = desk.home / "people.yaml"
    people.write_text(people.read_text().replace("billie: {roles: [", "billie: {roles: [freeze_approver, "))
    now = datetime.now(UTC)
    since, until = (f"{at:%Y-%m-%d %H:%M}" for at in (now - timedelta(days=1), now + timedelta(days=1)))
    (desk.home / "calendars").mkdir()
    (desk.home / "calendars" / "fair.yaml").write_text(
        f"name: Fair\ntimezone: UTC\nclosed:\n  - once: {{from: {since}, to: {until}}}\n"
    )
    (desk.home / "policy.yaml").write_text(f"{POLICY}signed: true\n")
    assert desk.run(desk.runbook(mark("two"))).code == 3
    assert approve(desk, "--freeze-override", "--reason", "x").code == 5, "alex is no freeze approver"
    message = desk("approval", "request", "latest").out
    assert "a freeze approver signs with --freeze-override" in message
    key = str(desk.folder.parent / "billie")
    words = ("approval", "sign", "-", "--yes", "--key", key, "--freeze-override")
    assert desk(*words, stdin=message).code == 2, "without a reason"
    answer = signed(desk, "--freeze-override", "--reason", "customers cannot pay", key="billie")
    said = desk("approval", "import", "-", stdin=answer)
    assert said.code == 0, said.err
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["two"]
    assert "verified" in desk("log", "verify").out


def test_a_key_that_is_taken_away_after_the_approval_closes_the_gate_again(desk: Desk) -> None:
    file = desk.home / "allowed_signers"
    kept = file.read_text()
    assert desk.run(desk.runbook(GATE + mark("two"))).code == 3
    assert approve(desk).code == 0
    dated = kept.replace(
        'alex namespaces="approval@mimrun"', 'alex namespaces="approval@mimrun",valid-before="20260101"'
    )
    for gone in (signer("billie", desk.folder.parent / "billie"), dated, ""):
        assert gone != kept
        file.write_text(gone)
        assert desk("resume", "--direct").code == 3, gone
    file.write_text("alex nonsense\n")
    assert desk("resume", "--direct").code != 0
    file.unlink()
    assert desk("resume", "--direct").code == 3
    assert desk.marks() == []
    file.write_text(kept)
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["two"]


def test_doctor_names_keys_that_count_for_nobody(desk: Desk) -> None:
    file = desk.home / "allowed_signers"

    def found() -> tuple[object, str]:
        check = next(one for one in desk("doctor", "--json").json if one["name"] == "signers")
        return check["ok"], check["found"]

    assert found() == (True, "2 keys sign approvals")
    file.write_text(signer("casey", desk.folder.parent / "alex"))
    assert found() == (False, "1 keys sign approvals; line 1: nobody is known as casey")
    file.write_text(
        signer("alex", desk.folder.parent / "alex") + signer("billie", desk.folder.parent / "alex")
    )
    assert "the key belongs to alex and billie" in found()[1]
    file.write_text("alex nonsense\n")
    assert found()[0] is False
