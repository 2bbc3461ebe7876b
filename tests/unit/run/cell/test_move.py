"""What is done next with a cell, as one table: effect class, status, retries left."""

from __future__ import annotations

from itertools import product

import pytest

from mimrun.connector import Effect, Failed, Ok, Unknown
from mimrun.run.cell.move import Move, last_word, next_move
from mimrun.run.record.state import Cell
from mimrun.run.record.transitions import CellStatus

READ, IDEMPOTENT, PROBE, ONCE = Effect.READ, Effect.IDEMPOTENT, Effect.PROBE, Effect.ONCE
S = CellStatus


def move(status: CellStatus, effect: Effect, *, tried: int = 1, retries: int = 0, **known) -> Move:
    unmet = known.pop("unmet", False)
    return next_move(Cell(status=status, attempts=tried, **known), effect, retries=retries, until_unmet=unmet)


@pytest.mark.parametrize("effect", Effect)
def test_what_was_never_tried_is_tried(effect: Effect) -> None:
    assert move(S.READY, effect, tried=0) is Move.TRY


@pytest.mark.parametrize("effect", Effect)
def test_what_cannot_be_filled_in_is_never_tried(effect: Effect) -> None:
    assert move(S.READY, effect, tried=0, passed=False) is Move.STOP


@pytest.mark.parametrize("effect", Effect)
def test_an_open_intent_is_settled_before_anything_else(effect: Effect) -> None:
    assert move(S.PERFORMING, effect, retries=9) is Move.SETTLE


@pytest.mark.parametrize(("effect", "status"), [*product(Effect, [S.OK, S.SKIPPED, S.IN_DOUBT])])
def test_what_is_at_rest_stays_at_rest(effect: Effect, status: CellStatus) -> None:
    assert move(status, effect, retries=9) is Move.STOP


@pytest.mark.parametrize(
    ("effect", "then"), [(READ, Move.TRY), (IDEMPOTENT, Move.TRY), (PROBE, Move.DOUBT), (ONCE, Move.DOUBT)]
)
def test_an_unknown_effect_is_repeated_only_where_that_is_harmless(effect: Effect, then: Move) -> None:
    assert move(S.UNKNOWN, effect, retries=9) is then
    assert move(S.UNKNOWN, effect, retries=0) is then


@pytest.mark.parametrize(
    ("effect", "clean", "then"),
    [
        (READ, False, Move.TRY),
        (IDEMPOTENT, False, Move.TRY),
        (PROBE, False, Move.STOP),
        (PROBE, True, Move.TRY),
        (ONCE, False, Move.STOP),
        (ONCE, True, Move.STOP),
    ],
)
def test_a_failure_is_repeated_by_its_class_while_retries_are_left(
    effect: Effect, clean: bool, then: Move
) -> None:
    assert move(S.FAILED, effect, tried=1, retries=1, clean=clean) is then
    assert move(S.FAILED, effect, tried=2, retries=1, clean=clean) is Move.STOP
    assert move(S.FAILED, effect, tried=1, retries=0, clean=clean) is Move.STOP


def test_attempts_that_do_not_count_leave_the_retries_untouched() -> None:
    assert move(S.FAILED, IDEMPOTENT, tried=3, retries=1, voided=2) is Move.TRY
    assert move(S.FAILED, IDEMPOTENT, tried=4, retries=1, voided=2) is Move.STOP


@pytest.mark.parametrize(
    ("effect", "then"), [(READ, Move.TRY), (IDEMPOTENT, Move.TRY), (PROBE, Move.TRY), (ONCE, Move.STOP)]
)
def test_an_answer_that_until_does_not_want_is_asked_for_again_but_for_what_happens_once(
    effect: Effect, then: Move
) -> None:
    assert move(S.OK, effect, tried=1, retries=1, unmet=True) is then
    assert move(S.OK, effect, tried=2, retries=1, unmet=True) is Move.STOP


@pytest.mark.parametrize("effect", [READ, IDEMPOTENT])
def test_the_last_lost_answer_of_a_repeatable_action_is_a_failure(effect: Effect) -> None:
    lost = Unknown("no answer", {"rc": 1})
    assert last_word(lost, effect, attempts=1, retries=1) is lost
    failed = last_word(lost, effect, attempts=2, retries=1)
    assert failed == Failed("no answer (attempt 2 of 2)", clean=effect is READ, data={"rc": 1})


@pytest.mark.parametrize("effect", [PROBE, ONCE])
def test_a_lost_answer_of_anything_else_stays_unknown(effect: Effect) -> None:
    lost = Unknown("no answer")
    assert last_word(lost, effect, attempts=9, retries=0) is lost


def test_an_answer_is_left_as_it_is() -> None:
    done = Ok(changed=True)
    assert last_word(done, IDEMPOTENT, attempts=9, retries=0) is done
