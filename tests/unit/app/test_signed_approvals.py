"""Signed words that somebody else carries: each counts once, and not against the will of whoever signed it."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, Bench
from builders.ssh_keys import make_key, signer

from mimrun.app import decisions
from mimrun.app.decisions import Signed
from mimrun.app.home import Home
from mimrun.app.signed.approvals import Word, ask_for, import_signed, sign_word
from mimrun.app.signed.openssh import key_of
from mimrun.app.withdrawal import withdraw
from mimrun.errors import RefusedError
from mimrun.log.entry import Actor
from mimrun.log.moment import utc_now


@pytest.fixture
def run(bench: Bench, tmp_path: Path) -> str:
    """A run that waits at a gate, and alex has a key."""
    make_key(tmp_path, "alex")
    bench.settings.allowed_signers.write_text(signer("alex", tmp_path / "alex"))
    return bench.run(a_plan(bench.world, gate("1"), action("2")))[0]


def signed(bench: Bench, run: str, folder: Path) -> Signed:
    with bench.home() as home:
        key = key_of(folder / "alex")
        return sign_word(ask_for(home, run), Word("approved"), key, person="alex", at=utc_now())


def test_a_word_that_is_held_up_does_not_outlive_its_withdrawal(
    bench: Bench, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever carries it stops between the last look and the record, while its signer takes it back."""
    proof, note_rules, held = signed(bench, run, tmp_path), decisions.note_rules, []

    def stops(home: Home, actor: Actor) -> object:
        if not held:
            held.append(True)
            with bench.home() as meanwhile:
                import_signed(meanwhile, proof)
                withdraw(meanwhile, run, ALEX, "I was wrong")
        return note_rules(home, actor)

    monkeypatch.setattr(decisions, "note_rules", stops)
    with bench.home() as home, pytest.raises(RefusedError, match="at this moment"):
        import_signed(home, proof)
    assert bench.execute(run).status == "waiting"
    with bench.home() as home, pytest.raises(RefusedError, match="counted already"):
        import_signed(home, proof)
