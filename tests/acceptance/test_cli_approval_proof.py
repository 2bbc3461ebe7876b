"""Signed approvals as evidence: in the log, in a bundle, and before OpenSSH alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders.bundles import alone
from builders.commands import GATE, Desk, mark
from builders.ssh_keys import make_key, signer

from mimrun.app.home import open_home
from mimrun.app.signed.evidence import check_home
from mimrun.app.signed.openssh import key_of, sign
from mimrun.gate.signature import Statement
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import GateDecided, Kind
from mimrun.log.proof.standalone import verifier
from mimrun.settings import Settings


@pytest.fixture(params=["ed25519", "ecdsa"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def desk(tmp_path: Path, kind: str) -> Desk:
    """A run that a signed approval has let through."""
    (tmp_path / "desk").mkdir()
    desk = Desk(tmp_path / "desk")
    make_key(tmp_path, "alex", kind)
    make_key(tmp_path, "billie")
    (desk.home / "allowed_signers").write_text(signer("alex", tmp_path / "alex"))
    desk.env |= {"HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    assert desk.run(desk.runbook(mark("one") + GATE + mark("two"))).code == 3
    words = ("approve", "latest", "--as", "alex", "--yes", "--sign", "--key", str(tmp_path / "alex"))
    assert desk(*words).code == 0
    assert desk("resume", "--direct").code == 0
    return desk


def export(desk: Desk) -> Path:
    bundle = desk.folder / "evidence.mimlog"
    said = desk("log", "export", desk.status()["incident"], "-o", str(bundle))
    assert said.code == 0, said.err
    return bundle


def without_openssh(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the verifier in one file where it finds no other program."""
    program = folder / "verify.py"
    program.write_text(verifier(), "utf-8")
    return subprocess.run(
        [sys.executable, "-I", str(program), "--json", *options],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def states(report: Any) -> list[str]:
    return [one["state"] for one in report["decisions"]]


def test_the_log_says_which_signed_approvals_verify(desk: Desk) -> None:
    said = desk("log", "verify")
    assert said.code == 0, said.err
    assert "verified: approved by alex, signed with SHA256:" in said.out
    (desk.home / "allowed_signers").unlink()
    said = desk("log", "verify", "--json")
    assert (said.code, states(said.json)) == (0, ["unchecked"])


def test_a_bundle_is_checked_against_the_signers_that_are_brought_along(desk: Desk, tmp_path: Path) -> None:
    bundle = export(desk)
    right, wrong = desk.home / "allowed_signers", tmp_path / "others"
    wrong.write_text(signer("alex", tmp_path / "billie"))
    said = desk("log", "verify", str(bundle), "--json")
    assert (said.code, states(said.json)) == (0, ["unchecked"])
    said = desk("log", "verify", str(bundle), "--allowed-signers", str(right), "--json")
    assert (said.code, states(said.json)) == (0, ["verified"])
    said = desk("log", "verify", str(bundle), "--allowed-signers", str(wrong), "--json")
    assert (said.code, states(said.json)) == (1, ["foreign"])
    assert desk("log", "verify", str(bundle), "--allowed-signers", str(tmp_path / "none")).code == 5


def test_the_verifier_in_one_file_checks_them_with_openssh_and_without(
    desk: Desk, tmp_path: Path, kind: str
) -> None:
    bundle, right = export(desk), str(desk.home / "allowed_signers")
    others = tmp_path / "others"
    others.write_text(signer("alex", tmp_path / "billie", ""))
    checked = json.loads(without_openssh(tmp_path, str(bundle), "--allowed-signers", right).stdout)
    assert states(checked) == ["unchecked" if kind == "ecdsa" else "verified"], (
        "without ssh-keygen on its path"
    )
    refused = without_openssh(tmp_path, str(bundle), "--allowed-signers", str(others))
    assert states(json.loads(refused.stdout)) == (["unchecked"] if kind == "ecdsa" else ["foreign"])
    assert refused.returncode == (0 if kind == "ecdsa" else 1)


def test_the_verifier_in_one_file_asks_openssh_where_it_is(desk: Desk, tmp_path: Path) -> None:
    assert shutil.which("ssh-keygen"), "these tests need OpenSSH"
    bundle, right = export(desk), str(desk.home / "allowed_signers")
    assert states(alone(bundle, "--allowed-signers", right)) == ["verified"]
    assert states(alone(bundle)) == ["unchecked"]
    others = tmp_path / "others"
    others.write_text(signer("alex", tmp_path / "billie"))
    report = alone(bundle, "--allowed-signers", str(others))
    assert (states(report), report["ended"]) == (["foreign"], 1)
    assert alone(bundle, "--allowed-signers", str(tmp_path / "none"))["ended"] == 2


def test_a_signature_that_is_not_one_of_its_decision_is_named(desk: Desk, tmp_path: Path, kind: str) -> None:
    """Whoever writes into the log by hand can name a key, and take over a signature; it does not fit."""
    with open_home(Settings(home=desk.home)) as home:
        entry = next(iter(home.store.entries(kinds={Kind.GATE_DECIDED})))
        assert isinstance(entry.body, GateDecided)
        statement, signature = home.store.blob(entry, "statement"), home.store.blob(entry, "signature")
        assert statement is not None
        assert signature is not None
        other = Statement.decode(statement).model_copy(update={"decision": "rejected"}).encode()
        by_billie = sign(statement, key_of(tmp_path / "billie")).encode()
        actor = Actor("person", "alex", "cli", entry.actor.auth)
        forged = [
            (entry.body, (), "wrong"),
            (entry.body.model_copy(update={"digest": "sha256:" + "0" * 64}), (statement, signature), "wrong"),
            (entry.body, (other, signature), "wrong"),
            (entry.body, (statement, b"nonsense"), "wrong"),
            (entry.body.model_copy(update={"decision": "rejected"}), (other, signature), "wrong"),
            (entry.body, (statement, by_billie), "foreign"),
            (entry.body, (statement, signature), "verified"),
        ]
        for body, parts, _ in forged:
            blobs = tuple(
                Blob(n, data, "plan") for n, data in zip(("statement", "signature"), parts, strict=False)
            )
            home.store.append(
                [Draft(actor, body, inc=entry.inc, run=entry.run, step=entry.step, blobs=blobs)]
            )
        found = check_home(home, desk.home / "allowed_signers")
    assert [one.state for one in found] == ["verified", *(state for _, _, state in forged)]
    assert desk("log", "verify").code == 6
