"""Whatever happens to a run, it replays to itself: workers that die or freeze, full disks, people in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builders.memory import BEGINNING, MemoryStore
from builders.seams import seams
from builders.simulation import RUN, Simulation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimrun.app.home import PROJECTORS
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import (
    KillswitchLiftAgreed,
    KillswitchPulled,
    RunAbortRequested,
    RunCancelRequested,
    RunPauseRequested,
    StepEvidence,
)
from mimrun.replay.against import Trial
from mimrun.replay.narration import narration_of
from mimrun.replay.redecide import redecide
from mimrun.replay.weighing import weigh
from mimrun.run.record.fold import fold

QUICK = range(300)
SWITCH = (KillswitchPulled, KillswitchLiftAgreed)
STOPS = (RunPauseRequested, RunCancelRequested, RunAbortRequested, StepEvidence)


def played(seed: int) -> Simulation:
    """Play a schedule to its end, in the place of the machine."""
    with seams():
        simulation = Simulation(seed)
        assert not simulation.play(), simulation.told()
    return simulation


def recorded(simulation: Simulation) -> Sequence[LogEntry]:
    """Give the entries of its run, and those of the kill switch."""
    entries = simulation.disk.entries
    return [entry for entry in entries if entry.run == RUN or isinstance(entry.body, SWITCH)]


def replays_to_itself(simulation: Simulation) -> None:
    store: Any = MemoryStore(simulation.disk, PROJECTORS, lambda: BEGINNING)
    found = redecide(RUN, recorded(simulation), simulation.plan, store)
    assert found.parting is None, f"{found.parting}\n{simulation.told()}"
    assert not found.broke


def test_every_schedule_of_a_row_replays_to_itself() -> None:
    simulations = []
    with seams():
        for seed in QUICK:
            simulations.append(Simulation(seed))
            simulations[-1].play()
    for simulation in simulations:
        replays_to_itself(simulation)


def test_the_plan_of_a_schedule_takes_the_same_course_over_its_record() -> None:
    """Where nobody asks for a stop: when exactly that was noticed hangs on more than the plan."""
    tried = 0
    for seed in range(150):
        simulation = played(seed)
        entries, plan = recorded(simulation), simulation.plan
        if any(isinstance(entry.body, (*SWITCH, *STOPS)) for entry in entries):
            continue
        store: Any = MemoryStore(simulation.disk, PROJECTORS, lambda: BEGINNING)
        found = weigh(RUN, entries, Trial(RUN, entries, plan, plan, store).play(), taken=())
        assert found.verdict == "same", f"{found.divergence}\n{simulation.told()}"
        tried += 1
    assert tried > 80


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(min_value=0, max_value=2**40))
def test_any_schedule_replays_to_itself_and_is_told_to_its_end(seed: int) -> None:
    simulation = played(seed)
    replays_to_itself(simulation)
    narration = narration_of(recorded(simulation), simulation.plan)
    state = fold(entry for entry in recorded(simulation) if entry.run == RUN)
    assert narration.status == state.status
    assert narration.recap == state.recap()
    board = narration.board_at(len(narration.frames) - 1)
    for path, word in state.finished.items():
        assert board[path][""] in (word, "in_doubt")
