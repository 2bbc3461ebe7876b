from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.run.record.due import Candidate, Why, due_work
from mimrun.run.record.summary import RunSummary
from mimrun.run.record.transitions import TERMINAL, RunStatus

WAITS = ["gate", "manual", "doubt", "lock", "pause", "killswitch", ""]


def candidate(status: RunStatus, waits_on: str = "", **more: bool | str) -> Candidate:
    summary = RunSummary(run="run-a", status=status, waits_on=waits_on, first_seq=1)
    return Candidate(summary, **{"held": False, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (candidate(RunStatus.RUNNING), Why.DIED),
        (candidate(RunStatus.CREATED, by_timer=True), Why.TIMER),
        (candidate(RunStatus.WAITING, "gate", ready=True), Why.GATE),
        (candidate(RunStatus.WAITING, "lock", ready=True), Why.LOCK),
    ],
)
def test_what_nobody_is_there_for_is_gone_on_with(one: Candidate, why: Why) -> None:
    assert due_work([one]) == [("run-a", why)]


CANDIDATES = st.builds(
    candidate,
    st.sampled_from(RunStatus),
    st.sampled_from(WAITS),
    held=st.booleans(),
    ready=st.booleans(),
    by_timer=st.booleans(),
    away=st.sampled_from(["", "a secret is elsewhere"]),
)


@given(CANDIDATES)
def test_what_a_person_goes_on_with_is_left_alone(one: Candidate) -> None:
    summary = one.summary
    persons = (
        one.held
        or bool(one.away)
        or summary.status in TERMINAL | {RunStatus.IN_DOUBT, RunStatus.NEW}
        or (summary.status is RunStatus.WAITING and not (one.ready and summary.waits_on in ("gate", "lock")))
        or (summary.status is RunStatus.CREATED and not one.by_timer)
    )
    assert (due_work([one]) == []) == persons


def test_the_oldest_is_gone_on_with_first() -> None:
    runs = [RunSummary(run=f"run-{n}", status=RunStatus.RUNNING, first_seq=n) for n in (3, 1, 2)]
    assert [run for run, _ in due_work(Candidate(run, held=False) for run in runs)] == [
        "run-1",
        "run-2",
        "run-3",
    ]
