"""`kill -9` around every append about manual steps, of workers and of people: each word counts once or not at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from builders.crash import appends_until_death, the
from builders.plans import a_plan, action, block, manual
from builders.runs import ALEX, BILLIE, Bench
from builders.world import words

from mimrun.app import manual_steps
from mimrun.app.manual_steps import Attestation
from mimrun.log.kinds import Kind
from mimrun.run.record.manual_state import ManualStatus
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.runbook.plan import Plan

MOST = 60
"""More appends than the run and its people make."""


def the_plan(world: Path) -> Plan:
    """A step that two people sign, with a checklist, and one that cannot be done and is rescued."""
    signed = manual("2").model_copy(update={"checklist": ("one", "two"), "second": "change_manager"})
    return a_plan(
        world,
        action("1", "probe"),
        signed,
        block("3", [manual("3.block.1", role=None)], rescue=[action("3.rescue.1", "probe")]),
        action("4", "probe"),
    )


def act(bench: Bench, run: str) -> None:
    """Do the next thing that a worker or a person has to do, as the log says."""
    state = bench.state(run)
    if state.status is not RunStatus.WAITING:
        bench.execute(run)
        return
    step = state.manuals[state.waits_at]
    with bench.home() as home:
        if step.is_done or step.status is ManualStatus.FAILED:
            pass
        elif state.waits_at == "3.block.1":
            manual_steps.attest(home, run, ALEX, {}, Attestation(failed=True, reason="no portal"))
            return
        elif step.status is ManualStatus.ASKED:
            manual_steps.claim(home, run, ALEX)
            return
        elif step.status is ManualStatus.CLAIMED and step.unticked:
            manual_steps.check(home, run, ALEX, step.unticked[0])
            return
        elif step.status is ManualStatus.CLAIMED:
            manual_steps.attest(home, run, ALEX, {})
            return
        elif not disputed(bench, run):
            manual_steps.dispute(home, run, BILLIE, "look again")
            return
        else:
            manual_steps.confirm(home, run, BILLIE)
            return
    bench.execute(run)


def disputed(bench: Bench, run: str) -> bool:
    return Kind.MANUAL_DISPUTED.value in bench.kinds(run)


def counts(bench: Bench, run: str) -> dict[str, int]:
    kinds = bench.kinds(run)
    wanted = (kind for kind in dict.fromkeys(kinds) if kind.startswith("manual."))
    return {kind: kinds.count(kind) for kind in wanted}


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    "stride", [pytest.param(1, marks=pytest.mark.heavy), 5], ids=["every append", "every fifth append"]
)
def test_kill_around_appends_of_worker_and_people(memory: Path, before: bool, stride: int) -> None:
    killed = 0
    for at in range(1, MOST, stride):
        (memory / f"{at}").mkdir()
        bench = Bench(memory / f"{at}")
        run, left = bench.create(the_plan(bench.world)), at
        while bench.state(run).status not in TERMINAL and left:
            made = appends_until_death(partial(act, bench, run), the(left), before=before)
            left = 0 if made is None else left - made
        killed += not left
        over = bool(left)
        for _ in range(40):
            if bench.state(run).status in TERMINAL:
                break
            act(bench, run)
        state = bench.state(run)
        assert state.status is RunStatus.SUCCEEDED, state.reason
        assert sorted(words(bench.world)) == ["a:w1", "a:w3.rescue.1", "a:w4"]
        assert counts(bench, run) == {
            "manual.requested": 2,
            "manual.claimed": 2,
            "manual.checked": 2,
            "manual.attested": 3,
            "manual.disputed": 1,
            "manual.confirmed": 1,
        }
        assert bench.is_intact()
        if over:
            break
    assert killed >= 20 // stride, "there are fewer appends than there should be"
