from __future__ import annotations

from itertools import product

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import sampled_from

from mimrun.errors import TamperError
from mimrun.run.record.transitions import (
    NEXT_CELL,
    NEXT_RUN,
    TERMINAL,
    CellEvent,
    CellStatus,
    RunEvent,
    RunStatus,
    next_cell,
    next_run,
)


def reachable(table: dict, start) -> set:
    found, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for (status, _), then in table.items():
            if status is here and then not in found:
                found.add(then)
                todo.append(then)
    return found


def test_every_status_can_be_reached_and_every_event_happens() -> None:
    assert reachable(dict(NEXT_RUN), RunStatus.NEW) == set(RunStatus)
    assert reachable(dict(NEXT_CELL), CellStatus.READY) == set(CellStatus)
    assert {event for _, event in NEXT_RUN} == set(RunEvent)
    assert {event for _, event in NEXT_CELL} == set(CellEvent)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_nothing_follows_the_end_of_a_run(status: RunStatus) -> None:
    assert [event for event in RunEvent if (status, event) in NEXT_RUN] == []


def test_every_status_of_a_run_that_is_not_its_end_leads_to_every_end() -> None:
    for status in set(RunStatus) - TERMINAL:
        assert reachable(dict(NEXT_RUN), status) >= TERMINAL


def test_the_only_way_into_an_effect_is_an_intent() -> None:
    into = {event for (_, event), then in NEXT_CELL.items() if then is CellStatus.PERFORMING}
    assert into == {CellEvent.INTEND}


def test_only_a_person_leads_out_of_doubt() -> None:
    out = {event for (status, event) in NEXT_CELL if status is CellStatus.IN_DOUBT}
    assert all(event.startswith("resolve_") for event in out)
    assert len(out) == 4
    for status, event in NEXT_CELL:
        assert event.startswith("resolve_") == (status is CellStatus.IN_DOUBT)


@pytest.mark.parametrize(("status", "event"), [*product(RunStatus, RunEvent)])
def test_a_pair_that_is_not_in_the_table_of_runs_is_refused(status: RunStatus, event: RunEvent) -> None:
    if (status, event) in NEXT_RUN:
        assert next_run(status, event) is NEXT_RUN[status, event]
    else:
        with pytest.raises(TamperError, match=f"entry 7: {event} cannot follow {status}"):
            next_run(status, event, seq=7)


@pytest.mark.parametrize(("status", "event"), [*product(CellStatus, CellEvent)])
def test_a_pair_that_is_not_in_the_table_of_cells_is_refused(status: CellStatus, event: CellEvent) -> None:
    if (status, event) in NEXT_CELL:
        assert next_cell(status, event) is NEXT_CELL[status, event]
    else:
        with pytest.raises(TamperError, match=f"entry 7: {event} cannot follow {status}"):
            next_cell(status, event, seq=7)


FOUND_BACK = (CellStatus.READY, CellStatus.FAILED, CellStatus.UNKNOWN)
"""From here an undo that looks may find that there is nothing to take back."""


def test_only_a_look_that_finds_it_done_counts_as_done_without_an_attempt() -> None:
    for status in FOUND_BACK:
        ways = {e for (before, e), after in NEXT_CELL.items() if (before, after) == (status, CellStatus.OK)}
        assert ways == {CellEvent.FIND_BACK}


class CellMachine(RuleBasedStateMachine):
    """A cell that meets any events at all: it takes those in the table and refuses the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.status, self.path = CellStatus.READY, [CellStatus.READY]

    @rule(event=sampled_from(CellEvent))
    def meets(self, event: CellEvent) -> None:
        try:
            self.status = next_cell(self.status, event)
        except TamperError:
            assert (self.status, event) not in NEXT_CELL
        else:
            self.path.append(self.status)

    @invariant()
    def an_answer_comes_from_an_attempt_a_look_or_a_person(self) -> None:
        for before, after in zip(self.path, self.path[1:], strict=False):
            if after is CellStatus.OK:
                assert before in (CellStatus.PERFORMING, CellStatus.IN_DOUBT, *FOUND_BACK)
            if after is CellStatus.IN_DOUBT:
                assert before in (CellStatus.UNKNOWN, CellStatus.READY, CellStatus.FAILED)


TestCellMachine = CellMachine.TestCase
TestCellMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
