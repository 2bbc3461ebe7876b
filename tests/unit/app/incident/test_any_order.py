"""Whatever people do with incidents, in whatever order and however many at once: what must hold, holds."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from builders.plans import a_plan, action, check
from builders.runs import ALEX, RESPONDER, Bench
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mimrun.app.home import Home
from mimrun.app.incident import working
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.timeline import timeline
from mimrun.app.incident.view import find_incident, list_incidents
from mimrun.app.runs import create_run
from mimrun.errors import MimrunError, RefusedError
from mimrun.incident.assessment import GRADES
from mimrun.incident.incident import Incident, incident_in
from mimrun.incident.stage import MOVES, STAGES, is_contained
from mimrun.log.kinds import IncidentClosed, IncidentStaged, StepVerified
from mimrun.run.record.transitions import TERMINAL

WHO = st.sampled_from([ALEX, RESPONDER])
WORDS = st.sampled_from(["", "the lag grows"])


class AnyOrder(RuleBasedStateMachine):
    """An incident that people work on without a plan."""

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.bench = Bench(Path(self.open.enter_context(tempfile.TemporaryDirectory())))
        self.home: Home = self.open.enter_context(self.bench.home())
        self.name = declare(self.home, RESPONDER, Declaration("It is slow", "low", "low"))

    def teardown(self) -> None:
        self.open.close()

    def now(self) -> Incident:
        return incident_in(self.home.store, self.name)

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something that may be refused; then nothing of it is on record."""
        was, size = self.now(), self.home.store.head().size
        try:
            act()
        except MimrunError:
            assert self.home.store.head().size == size
            assert self.now() == was

    @rule(who=WHO, impact=st.sampled_from(GRADES), urgency=st.sampled_from(GRADES))
    def assess(self, who: object, impact: object, urgency: object) -> None:
        said = Declaration("", impact, urgency)  # type: ignore[arg-type]
        self.attempt(lambda: working.assess(self.home, who, self.name, said))  # type: ignore[arg-type]

    @rule(who=WHO, stage=st.sampled_from(STAGES), reason=WORDS)
    def move(self, who: object, stage: object, reason: str) -> None:
        was = self.now()
        self.attempt(
            lambda: working.move_stage(self.home, who, self.name, stage, reason=reason)  # type: ignore[arg-type]
        )
        now = self.now()
        if now.stage != was.stage:
            assert (was.stage, now.stage) in MOVES

    @rule(who=WHO, how=st.sampled_from(working.HOWS))
    def resolve(self, who: object, how: object) -> None:
        self.attempt(lambda: working.resolve(self.home, who, self.name, how))  # type: ignore[arg-type]

    @rule(who=WHO)
    def close(self, who: object) -> None:
        blocks = blocks_closing(self.home, self.name)
        self.attempt(lambda: working.close(self.home, who, self.name))  # type: ignore[arg-type]
        if blocks:
            assert self.home.store.entry(self.home.store.head().size).body != IncidentClosed()

    @rule(who=WHO, reason=WORDS, stage=st.sampled_from(STAGES))
    def reopen(self, who: object, reason: str, stage: object) -> None:
        self.attempt(
            lambda: working.reopen(self.home, who, self.name, reason, stage=stage)  # type: ignore[arg-type]
        )

    @rule(what=st.sampled_from(working.TIMED))
    def say_when(self, what: working.Timed) -> None:
        at = self.home.clock()
        self.attempt(lambda: working.set_time(self.home, RESPONDER, self.name, what, at))

    @rule(verified=st.booleans(), execute=st.booleans())
    def run(self, verified: bool, execute: bool) -> None:
        plan = a_plan(self.bench.world, action("1", verify=check("True") if verified else None))

        def launch() -> None:
            run = create_run(self.home, plan, RESPONDER, incident=self.name)
            if execute:
                self.bench.execute(run)

        closed = self.now().status == "closed"
        size = self.home.store.head().size
        self.attempt(launch)
        assert not closed or self.home.store.head().size == size

    @invariant()
    def what_must_hold_holds(self) -> None:
        state = self.now()
        assert (state.stage == "maintenance") == (state.status != "open")
        assert bool(state.clocks.contained) == bool(state.verified)
        assert not state.verified or is_contained(state.stage)
        if state.verified:
            shown = self.home.store.entry(state.verified).body
            assert isinstance(shown, StepVerified)
            assert shown.passed
        if state.status == "closed":
            assert all(run.status in TERMINAL for run in find_incident(self.home, self.name).runs)
        for entry in self.home.store.entries(inc=self.name):
            if isinstance(entry.body, IncidentStaged) and is_contained(entry.body.stage):
                said = entry.body.verified or entry.body.reason or entry.body.stage == "maintenance"
                # What is reopened in resolution was contained before.
                assert said or state.reopened

    @invariant()
    def everything_is_told(self) -> None:
        lines = timeline(self.home, self.name)
        assert [line.seq for line in lines] == [e.seq for e in self.home.store.entries(inc=self.name)]
        assert all(line.text for line in lines)


def test_in_any_order() -> None:
    several = settings(
        max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(AnyOrder, settings=several)  # type: ignore[no-untyped-call]


def test_of_many_who_close_and_launch_at_the_same_moment_no_run_is_left_in_a_closed_incident(
    bench: Bench,
) -> None:
    with bench.home() as home:
        for _ in range(8):
            name = declare(home, RESPONDER, Declaration("It is slow", "low", "low"))
            working.resolve(home, RESPONDER, name, "no_fault")
            plan, ready, came = a_plan(bench.world, action("1")), threading.Barrier(4), []

            def try_to(act: Callable[[], object]) -> None:
                ready.wait()  # noqa: B023 - joined within the loop
                try:
                    act()
                    came.append(act)  # noqa: B023 - likewise
                except RefusedError:
                    pass

            close = lambda: working.close(home, RESPONDER, name)  # noqa: E731, B023 - likewise
            launch = lambda: create_run(home, plan, RESPONDER, incident=name)  # noqa: E731, B023 - likewise
            threads = [threading.Thread(target=try_to, args=[act]) for act in (close, launch, close, launch)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            one = find_incident(home, name)
            assert came
            assert not (one.state.status == "closed" and one.busy)


def test_incidents_are_listed_as_each_is_shown(bench: Bench) -> None:
    with bench.home() as home:
        for number in range(5):
            name = declare(home, ALEX, Declaration(f"It is slow {number}", "high", "low"))
            create_run(home, a_plan(bench.world, action("1")), RESPONDER, incident=name)
        assert list_incidents(home) == [find_incident(home, one.name) for one in list_incidents(home)]
