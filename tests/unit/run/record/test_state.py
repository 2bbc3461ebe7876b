from __future__ import annotations

import pytest
from builders.entries import (
    AT,
    CREATED,
    DIGEST,
    FROZEN,
    OTHER,
    cell_entry,
    ended,
    entry,
    history,
    intent,
    outcome,
    started,
)
from hypothesis import given
from hypothesis import strategies as st

from mimrun.connector import Effect, Finding
from mimrun.errors import TamperError
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.run.record.fold import apply, fold
from mimrun.run.record.state import CellKey, RunState
from mimrun.run.record.summary import RunSummary, summarize
from mimrun.run.record.transitions import CellStatus, RunStatus

BEGUN = history([FROZEN, CREATED, started(1)])
CELL = CellKey("1", "a")

WAITS = kinds.RunWaiting(on="gate", reason="needs 1 change_manager")
DOUBTS = kinds.RunWaiting(on="doubt", reason="who knows")
IN_DOUBT = kinds.StepInDoubt(reason="lost", intent=4)


def resolved(how: str, of: int = 4) -> kinds.StepResolved:
    return kinds.StepResolved.model_validate({"resolution": how, "reason": "looked", "intent": of})


def requested(digest: str = DIGEST) -> kinds.GateRequested:
    return kinds.GateRequested(
        digest=digest,
        title="Gate",
        change="emergency",
        risk="high",
        approvals=(kinds.RoleCount(role="change_manager", count=1),),
        expires_at=AT,
        on_timeout="fail",
    )


def cells(*bodies: kinds.Body) -> list[LogEntry]:
    return [*BEGUN, *(cell_entry(body, seq) for seq, body in enumerate(bodies, start=4))]


def refused(entries: list[LogEntry]) -> str:
    with pytest.raises(TamperError) as caught:
        fold(entries)
    return str(caught.value)


def test_a_run_is_what_its_entries_say() -> None:
    state = fold([*cells(intent(), outcome("ok", 4, changed=True)), entry(ended(), 6)])
    assert (state.run, state.incident, state.plan) == ("run-1", "INC-1", DIGEST)
    assert (state.status, state.epoch, state.seq) == (RunStatus.SUCCEEDED, 1, 6)
    assert state.cells[CELL].status is CellStatus.OK
    assert state.recap() == {
        "ok": 1,
        "changed": 1,
        "failed": 0,
        "unreachable": 0,
        "skipped": 0,
        "in_doubt": 0,
    }


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (history([CREATED, CREATED]), "entry 2: create cannot follow created"),
        (history([started(1)]), "entry 1: start cannot follow new"),
        (history([CREATED, WAITS]), "entry 2: wait cannot follow created"),
        (history([CREATED, started(1), started(1)]), "entry 3: epoch 1 is not above 1"),
        (history([CREATED, started(2), started(1)]), "entry 3: epoch 1 is not above 2"),
        (history([CREATED, started(1), ended(), started(2)]), "entry 4: start cannot follow succeeded"),
        (history([CREATED, started(1), ended(), ended("failed")]), "entry 4: fail cannot follow succeeded"),
    ],
)
def test_an_impossible_history_of_a_run_names_the_entry(entries: list[LogEntry], says: str) -> None:
    assert says in refused(entries)


@pytest.mark.parametrize(
    ("bodies", "says"),
    [
        ([outcome("ok", 3)], "entry 4: succeed cannot follow ready"),
        ([intent(), intent()], "entry 5: a second intent of a step that happens once"),
        ([intent(Effect.READ), intent(Effect.READ)], "entry 5: intend cannot follow performing"),
        ([intent(), outcome("ok", 4), intent()], "entry 6: a second intent of a step that happens once"),
        ([intent(), outcome("failed", 4), intent()], "entry 6: a second intent of a step that happens once"),
        ([intent(), outcome("ok", 3)], "entry 5: an outcome of intent 3; the open one is 4"),
        ([intent(), outcome("ok", 4), outcome("ok", 4)], "entry 6: succeed cannot follow ok"),
        ([intent(), IN_DOUBT], "entry 5: doubt cannot follow performing"),
        ([resolved("applied")], "entry 4: resolve_applied cannot follow ready"),
        (
            [intent(), outcome("unknown", 4), IN_DOUBT, resolved("applied"), resolved("abort")],
            "entry 8: resolve_abort cannot follow ok",
        ),
        ([kinds.GateOpened(digest=DIGEST)], "entry 4: gate.opened of gate 1, which was not asked for this"),
        (
            [requested(), kinds.GateClosed(digest=OTHER, reason="void", detail="")],
            "entry 5: gate.closed of gate 1, which was not asked for this",
        ),
    ],
)
def test_an_impossible_history_of_a_step_names_the_entry(bodies: list[kinds.Body], says: str) -> None:
    assert says in refused(cells(*bodies))


def test_a_person_who_says_not_applied_allows_a_second_intent_of_what_happens_once() -> None:
    state = fold(
        cells(intent(), outcome("unknown", 4), IN_DOUBT, resolved("not_applied"), intent(), outcome("ok", 8))
    )
    assert state.cells[CELL].status is CellStatus.OK
    assert state.cells[CELL].attempts == 2
    assert not state.cells[CELL].resolved, "the last word is the target's, not the person's"


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("applied", CellStatus.OK),
        ("not_applied", CellStatus.READY),
        ("skip", CellStatus.SKIPPED),
        ("abort", CellStatus.FAILED),
    ],
)
def test_a_doubt_is_what_the_person_says(how: str, status: CellStatus) -> None:
    state = fold(cells(intent(), outcome("unknown", 4), IN_DOUBT, resolved(how)))
    assert state.cells[CELL].status is status
    assert state.in_doubt() == []
    assert state.cells[CELL].changed == (how == "applied")


def test_an_attempt_whose_worker_died_does_not_count_against_the_retries() -> None:
    entries = cells(intent(Effect.IDEMPOTENT))
    entries += [entry(started(2), 5), cell_entry(outcome("unknown", 4), 6, epoch=2)]
    assert fold(entries).cells[CELL].voided == 1
    assert fold(cells(intent(Effect.IDEMPOTENT), outcome("unknown", 4))).cells[CELL].voided == 0


def test_requests_that_never_arrived_do_not_count_but_only_twice() -> None:
    bodies: list[kinds.Body] = []
    for attempt in range(4):
        seq = 4 + 3 * attempt
        not_there = kinds.StepProbed(finding=Finding.NOT_APPLIED, reason="", intent=seq)
        bodies += [intent(Effect.PROBE), not_there, outcome("failed", seq, clean=True)]
    assert fold(cells(*bodies)).cells[CELL].voided == 2


def test_workers_that_died_leave_a_request_its_two_losses() -> None:
    def attempt(seq: int, epoch: int, ended: int) -> list[LogEntry]:
        not_there = kinds.StepProbed(finding=Finding.NOT_APPLIED, reason="", intent=seq)
        settled = [entry(started(ended), seq + 1)] if ended > epoch else []
        at = seq + 1 + len(settled)
        return [
            cell_entry(intent(Effect.PROBE), seq, epoch=epoch),
            *settled,
            cell_entry(not_there, at, epoch=ended),
            cell_entry(outcome("failed", seq, clean=True), at + 1, epoch=ended),
        ]

    died = [*attempt(4, 1, 2), *attempt(8, 2, 3), *attempt(12, 3, 4)]
    lost = [*attempt(16, 4, 4), *attempt(19, 4, 4), *attempt(22, 4, 4)]
    cell = fold([*BEGUN, *died, *lost]).cells[CELL]
    assert (cell.attempts, cell.voided, cell.lost) == (6, 5, 2)


def test_a_gate_that_is_closed_is_not_open_and_not_finished() -> None:
    bodies = [requested(), kinds.GateOpened(digest=DIGEST), kinds.StepFinished(status="ok", reason="")]
    assert fold(cells(*bodies)).finished == {"1": "ok"}
    state = fold(cells(*bodies, kinds.GateClosed(digest=DIGEST, reason="void", detail="a role is gone")))
    assert not state.gates["1"].opened
    assert state.gates["1"].closed == "void"
    assert state.finished == {}


def test_a_start_ends_what_the_run_was_waiting_for() -> None:
    state = fold(history([CREATED, started(1), WAITS, started(2)]))
    assert (state.status, state.waits_on, state.waits_at, state.reason) == (RunStatus.RUNNING, "", "", "")


def test_probes_captures_and_verifications_are_no_targets_of_the_recap() -> None:
    for path in ("1.verify", "1.capture"):
        body = [entry(b, n, step=path, target="a") for n, b in ((4, intent()), (5, outcome("ok", 4)))]
        assert sum(fold([*BEGUN, *body]).recap().values()) == 0


BODIES = st.sampled_from(
    [
        CREATED,
        WAITS,
        DOUBTS,
        kinds.RunMode(mode="direct", reason=""),
        kinds.RunCancelRequested(reason="enough"),
        ended(),
        ended("failed", "broken"),
        ended("cancelled", "enough"),
        intent(),
        intent(Effect.READ),
        IN_DOUBT,
        resolved("applied"),
        resolved("not_applied"),
        kinds.StepStarted(name="One", form="world.once", targets=("a",)),
        kinds.StepFinished(status="ok", reason=""),
        requested(),
    ]
)


@given(
    st.lists(
        st.one_of(
            BODIES, st.integers(1, 9).map(started), st.integers(1, 12).map(lambda of: outcome("unknown", of))
        )
    )
)
def test_whatever_is_appended_summary_and_fold_agree_or_both_refuse(bodies: list[kinds.Body]) -> None:
    """The list of runs and the run itself never tell two stories."""
    state, summary = RunState(), RunSummary()
    for seq, body in enumerate([FROZEN, *bodies], start=1):
        step, target = ("1", "a") if body.kind.startswith(("step.", "gate.")) else ("", "")
        one = entry(body, seq, step=step, target=target)
        before = (state.status, summary.status)
        try:
            apply(state, one)
        except TamperError:
            if body.kind.startswith("run.") and not isinstance(body, kinds.RunStarted):
                with pytest.raises(TamperError):
                    summarize(summary, one)
            assert state.status in RunStatus
            return
        summary = summarize(summary, one)
        assert state.status is summary.status, before
        for name in ("run", "incident", "plan", "title", "epoch", "mode", "waits_on", "waits_at", "reason"):
            assert getattr(state, name) == getattr(summary, name), name
        for name in ("created_at", "ended_at"):
            assert getattr(state, name) == getattr(summary, name), name
        assert state.wish == summary.wish
        assert summary.last_seq == state.seq == seq
        assert RunSummary.decode(summary.encode()) == summary
