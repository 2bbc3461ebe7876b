"""A state machine over executor, lease, gate and stop verbs, on a real log, with real processes that are killed.

Hypothesis draws the rules and shrinks what goes wrong. The invariants are those of `builders.history`; they are
asked after every rule.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from builders.history import keys_of, read
from builders.kills import POINTS, Series
from builders.runs import ALEX, BILLIE, RESPONDER
from builders.share import of_heavy
from builders.world import lines
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mimrun.app.decisions import attest, decide, pending_gate
from mimrun.app.identity import Identity
from mimrun.app.killswitch import lift, pull
from mimrun.errors import GateError, RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds import (
    Body,
    RunAbortRequested,
    RunCancelRequested,
    RunPauseRequested,
    RunResumeRequested,
)
from mimrun.log.proof.verify import verify
from mimrun.log.store import View
from mimrun.run.hold.lease import is_held
from mimrun.run.record.summary import summary_in
from mimrun.run.record.transitions import TERMINAL

QUICK = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
HEAVY = settings(QUICK, max_examples=of_heavy(400), stateful_step_count=40)
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
VERBS: dict[str, type[Body]] = {
    "pause": RunPauseRequested,
    "cancel": RunCancelRequested,
    "abort": RunAbortRequested,
}


class Machine(RuleBasedStateMachine):
    """One run, everybody who may do something to it, and the moments at which its workers die."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mimrun-machine-", dir=MEMORY))

    @initialize(seed=st.integers(0, 500))
    def ask_for_a_run(self, seed: int) -> None:
        self.series = Series(seed, self.folder)
        self.bench, self.run = self.series.bench, self.series.run

    def teardown(self) -> None:
        try:
            if hasattr(self, "series"):
                self.come_to_the_end()
        finally:
            shutil.rmtree(self.folder)

    def come_to_the_end(self) -> None:
        """Whatever was done to it, a run ends when everybody does what it asks for."""
        for _ in range(30):
            if self.bench.state(self.run).status in TERMINAL:
                return
            self.go_on()
            self.lift()
            self.series.decide()
            self.series.execute("", 0)
        raise AssertionError(f"the run does not end: {self.bench.state(self.run).status}")

    @rule()
    def execute(self) -> None:
        self.series.execute("", 0)

    @rule(point=st.sampled_from(POINTS), number=st.integers(1, 8))
    def execute_and_be_killed(self, point: str, number: int) -> None:
        self.series.execute(point, number)

    @rule()
    def decide(self) -> None:
        self.series.decide()

    @rule(who=st.sampled_from([RESPONDER, ALEX, BILLIE]), agrees=st.booleans())
    def vote(self, who: Identity, agrees: bool) -> None:
        with self.bench.home() as home, suppress(RefusedError, GateError):
            pending = pending_gate(home, self.run)
            word = "approved" if agrees else "rejected"
            decide(home, pending, who, word, digest=pending.request.digest, reason="so")
            assert who is not RESPONDER, "who asked for the run has decided about it"

    @rule()
    def attest_as_somebody_without_the_role(self) -> None:
        with self.bench.home() as home, pytest.raises((RefusedError, GateError)):
            attest(home, self.run, BILLIE, {})

    @precondition(lambda self: self.open())
    @rule(verb=st.sampled_from(sorted(VERBS)))
    def stop(self, verb: str) -> None:
        self._ask(VERBS[verb](reason="enough"))  # type: ignore[call-arg]

    @rule()
    def go_on(self) -> None:
        self._ask(RunResumeRequested())

    @rule()
    def pull(self) -> None:
        pull(self.bench.settings, RESPONDER, "everything")

    @rule()
    def lift(self) -> None:
        for who in (RESPONDER, ALEX):
            with self.bench.home() as home, suppress(RefusedError, GateError):
                lift(home, who, "over")

    def _ask(self, body: Body) -> None:
        def under_way(view: View) -> None:
            if summary_in(view, self.run).status in TERMINAL:
                raise RefusedError("it is over")

        with self.bench.home() as home, suppress(RefusedError):
            incident = summary_in(home.store, self.run).incident  # type: ignore[arg-type]
            home.store.append([Draft(RESPONDER.actor(), body, inc=incident, run=self.run)], guard=under_way)

    def open(self) -> bool:
        return self.bench.state(self.run).status not in TERMINAL

    @invariant()
    def nothing_is_done_twice_or_silently(self) -> None:
        if not hasattr(self, "series"):
            return
        with self.bench.home() as home:
            entries = [e for e in home.store.entries() if e.run in (self.run, "")]
            flaws = read(entries, locks=self.series.locks).against(keys_of(lines(self.bench.world)))
            assert not flaws, flaws
            assert verify(home.store).ok
            assert home.store.rebuild()
        assert not self.series.silent
        assert not is_held(self.bench.settings.locks, self.run), "nobody works at it now"


@pytest.mark.timeout(300)
def test_whatever_is_done_to_a_run_it_keeps_its_promises_and_comes_to_its_end() -> None:
    run_state_machine_as_test(Machine, settings=QUICK)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_whatever_is_done_to_a_run_it_keeps_its_promises_and_comes_to_its_end_at_length() -> None:
    run_state_machine_as_test(Machine, settings=HEAVY)
