"""Stages: one table of moves, and what each asks for."""

from __future__ import annotations

from itertools import product

import pytest

from mimrun.errors import InputError, RefusedError
from mimrun.incident.stage import MEANING, MOVES, STAGES, Needs, is_contained, needs_of, read_stage
from mimrun.log.kinds import Stage

TABLE = {
    # from: to containment, to resolution, to maintenance, to identification
    "identification": (Needs.NOTHING, Needs.PROOF, None, None),
    "containment": (None, Needs.PROOF, None, Needs.REASON),
    "resolution": (Needs.REASON, None, Needs.RESOLVING, None),
    "maintenance": (Needs.REOPENING, Needs.REOPENING, None, Needs.REOPENING),
}
COLUMNS: tuple[Stage, ...] = ("containment", "resolution", "maintenance", "identification")


@pytest.mark.parametrize(("was", "to"), [*product(STAGES, STAGES)], ids=str)
def test_a_move_asks_for_what_the_table_says_and_every_other_one_is_refused(was: Stage, to: Stage) -> None:
    wanted = TABLE[was][COLUMNS.index(to)]
    if wanted is not None:
        assert needs_of(was, to) is wanted
        return
    with pytest.raises(RefusedError, match="already" if was == to else "from here one goes to"):
        needs_of(was, to)


def test_nothing_is_contained_without_proof_or_a_reason() -> None:
    into = {needs for (was, to), needs in MOVES.items() if is_contained(to) and not is_contained(was)}
    assert into == {Needs.PROOF}


def test_every_stage_can_be_left_and_says_what_is_worked_on() -> None:
    assert {was for was, _ in MOVES} == {to for _, to in MOVES} == set(STAGES) == set(MEANING)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_read_as_people_type_it(stage: Stage) -> None:
    assert read_stage(stage.upper()) == stage


def test_a_word_that_is_no_stage_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(InputError, match="did you mean 'containment'"):
        read_stage("containmnet")
