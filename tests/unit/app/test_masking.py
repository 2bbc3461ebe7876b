"""What people write goes into the record without the secrets that are known here, whatever they write it for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builders.plans import a_plan, action, gate, manual
from builders.runs import ALEX, RESPONDER, Bench

from mimrun.app.decisions import decide, pending_gate
from mimrun.app.home import Home
from mimrun.app.killswitch import lift, pull
from mimrun.app.locks import unlock
from mimrun.app.manual_steps import Attestation, attest, claim, hand_over, release
from mimrun.app.resolving import Word, settle
from mimrun.app.stopping import request_stop
from mimrun.app.withdrawal import withdraw
from mimrun.run.record.wish import Level
from mimrun.runbook.model import Evidence
from mimrun.runbook.node import Node
from mimrun.secret import MASK

PASSWORD = "desk-password-4711"
SAID = f"it only went with {PASSWORD}"


@pytest.fixture
def bench(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A home whose inventory names a secret."""
    monkeypatch.setenv("DESK_PASSWORD", PASSWORD)
    (tmp_path / "hosts").write_text("[desk]\na desk_password=env:DESK_PASSWORD\n")
    bench.settings = replace(bench.settings, inventory=tmp_path / "hosts")
    return bench


def rejected(home: Home, run: str) -> None:
    pending = pending_gate(home, run)
    decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason=SAID)


def taken_back(home: Home, run: str) -> None:
    pending = pending_gate(home, run)
    decide(home, pending, ALEX, "approved", digest=pending.request.digest, reason=SAID)
    withdraw(home, run, ALEX, SAID)


def stopped(home: Home, run: str) -> None:
    request_stop(home, run, RESPONDER, Level.PAUSE, SAID)


def brought_to_a_stand(home: Home, run: str) -> None:
    pull(home.settings, RESPONDER, SAID)
    lift(home, ALEX, SAID)


def settled(home: Home, run: str) -> None:
    settle(home, run, RESPONDER, ("1", "a"), Word("applied", SAID, SAID.encode()))


def unlocked(home: Home, run: str) -> None:
    unlock(home, ALEX, "host/a", SAID)


def handed_over(home: Home, run: str) -> None:
    hand_over(home, run, RESPONDER, "alex", SAID)
    claim(home, run, ALEX)
    release(home, run, ALEX, SAID)
    claim(home, run, RESPONDER)
    claim(home, run, ALEX, SAID)


def attested(home: Home, run: str) -> None:
    attest(home, run, RESPONDER, {"note": SAID}, Attestation({}, reason=SAID))


WAITS_FOR_APPROVAL = (gate("1"), action("2"))
NOTED = {"evidence": {"note": Evidence()}}
WAITS_FOR_WORK = (manual("1", None).model_copy(update=NOTED),)
IN_DOUBT = (action("1", word="x", answer="lost"),)


@pytest.mark.parametrize(
    ("nodes", "act"),
    [
        (WAITS_FOR_APPROVAL, rejected),
        (WAITS_FOR_APPROVAL, taken_back),
        (WAITS_FOR_APPROVAL, stopped),
        (WAITS_FOR_APPROVAL, brought_to_a_stand),
        (IN_DOUBT, settled),
        (IN_DOUBT, unlocked),
        (WAITS_FOR_WORK, handed_over),
        (WAITS_FOR_WORK, attested),
    ],
)
def test_a_secret_that_is_known_here_is_in_no_word_of_a_person(
    bench: Bench, nodes: tuple[Node, ...], act: Callable[[Home, str], None]
) -> None:
    plan = a_plan(bench.world, *nodes).model_copy(update={"locks": ("host/a",)})
    run, _ = bench.run(plan)
    with bench.home() as home:
        before = home.store.head().size
        act(home, run)
        entries = [*home.store.entries(after=before)]
        blobs = [home.store.blob(entry, blob.n) for entry in entries for blob in entry.blobs]
    told = json.dumps([entry.body.model_dump(mode="json") for entry in entries]) + repr(blobs)
    assert PASSWORD not in told
    assert f"it only went with {MASK}" in told
    if bench.settings.kill_switch.exists():
        assert PASSWORD not in bench.settings.kill_switch.read_text()
