"""What to do next with a cell: one pure decision, for a first attempt, a retry and a resume alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from mimrun.connector import Effect, Failed, Outcome, Unknown
from mimrun.run.record.state import Cell
from mimrun.run.record.transitions import CellStatus
from mimrun.runbook.node import StepOptions


class Move(StrEnum):
    """What to do next."""

    TRY = "try"  #: write an intent and perform
    SETTLE = "settle"  #: find out what became of the open intent
    DOUBT = "doubt"  #: nobody can find out: ask a person
    STOP = "stop"  #: nothing more is to be done here


def next_move(
    cell: Cell, effect: Effect, *, retries: int, until_unmet: bool = False, late: bool = False
) -> Move:
    """Decide what to do next with a cell.

    Arguments:
        cell: what the log says about it.
        effect: the class of its action.
        retries: how many more attempts the author allows after the first.
        until_unmet: the last answer did not satisfy the author's `until`.
        late: the author's deadline comes before another attempt could begin. What was lost is repeated
            all the same where that is harmless: its end is not known otherwise.
    """
    left = cell.attempts - cell.voided <= retries and not late
    match cell.status:
        case CellStatus.READY:
            return Move.STOP if cell.passed is False else Move.TRY
        case CellStatus.PERFORMING:
            return Move.SETTLE
        case CellStatus.OK:
            return Move.TRY if until_unmet and left and effect is not Effect.ONCE else Move.STOP
        case CellStatus.FAILED:
            return Move.TRY if left and _may_repeat(cell, effect) else Move.STOP
        case CellStatus.UNKNOWN:
            return Move.TRY if effect in (Effect.READ, Effect.IDEMPOTENT) else Move.DOUBT
        case CellStatus.IN_DOUBT | CellStatus.SKIPPED:
            return Move.STOP
        case _:
            assert_never(cell.status)


def _may_repeat(cell: Cell, effect: Effect) -> bool:
    """A failure may be repeated where repeating is harmless, or where it provably had no effect."""
    match effect:
        case Effect.READ | Effect.IDEMPOTENT:
            return True
        case Effect.PROBE:
            return cell.clean
        case Effect.ONCE:
            return False
        case _:
            assert_never(effect)


def is_late(cell: Cell, options: StepOptions, now: datetime) -> bool:
    """Say whether the author's deadline comes before another attempt of a cell could begin.

    It is counted from the first intent on, over all attempts, waiting and restarts.

    Arguments:
        now: the present moment, UTC.
    """
    left = _left(cell, options, now)
    return left is not None and left <= timedelta(milliseconds=options.delay_ms)


def timeout_ms(cell: Cell, options: StepOptions, now: datetime) -> int:
    """Give how long the next attempt of a cell may take: no longer than until the author's deadline.

    Arguments:
        now: the present moment, UTC.
    """
    left = _left(cell, options, now)
    if left is None or left <= timedelta():
        return options.timeout_ms  # it only repeats what was lost
    return min(options.timeout_ms, max(1, int(left / timedelta(milliseconds=1))))


def within(options: StepOptions, bound_ms: int) -> StepOptions:
    """Give the options with an attempt that takes no longer than so many milliseconds."""
    if bound_ms == options.timeout_ms:
        return options
    return options.model_copy(update={"timeout_ms": bound_ms})


def _left(cell: Cell, options: StepOptions, now: datetime) -> timedelta | None:
    if options.deadline_ms is None:
        return None
    return (cell.since or now) + timedelta(milliseconds=options.deadline_ms) - now


def last_word(outcome: Outcome, effect: Effect, *, attempts: int, retries: int) -> Outcome:
    """Turn the last unknown answer of a repeatable action into a failure, so that the step ends.

    An action that may be repeated is not in doubt when its answers keep getting lost: it failed, and
    whoever repeats the step repeats it safely.
    """
    if isinstance(outcome, Unknown) and effect in (Effect.READ, Effect.IDEMPOTENT) and attempts > retries:
        reason = f"{outcome.reason} (attempt {attempts} of {max(attempts, retries + 1)})"
        return Failed(reason, clean=effect is Effect.READ, data=outcome.data)
    return outcome
