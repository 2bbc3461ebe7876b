"""What came of a step, or of a run of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mimrun.errors import GateError
from mimrun.run.hold.stop import Halt
from mimrun.run.walk.roster import Roster


@dataclass(frozen=True, slots=True)
class Done:
    """It was done, or there was nothing to do.

    Arguments:
        left: what a way back left standing, as a person wished.
    """

    left: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed on more targets than the runbook allows. A rescue part may mend it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """People said no, or nobody said yes in time. Nothing behind it is done, not even a rescue."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person has stopped it. Nothing behind it is done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parked:
    """A person is needed before it can go on, or a lock is not free."""

    on: Literal["gate", "manual", "doubt", "lock", "pause", "killswitch"]
    step: str
    reason: str


Result: TypeAlias = Done | Failed | Denied | Cancelled | Parked


@dataclass(frozen=True, slots=True)
class Walked:
    """Where the walk stands behind a node: what came of it, and who takes part in what follows."""

    result: Result
    roster: Roster


def gravest(errors: Iterable[BaseException]) -> BaseException:
    """Give the error that weighs most of those that ended several threads; the others are noted on it.

    That this process is to end weighs most. That something cannot be recorded weighs more than that
    somebody wants to stop, for an intent may be open.
    """
    ordered = sorted(errors, key=_weight)
    for other in ordered[1:]:
        ordered[0].add_note(f"at the same time: {type(other).__name__}: {other}")
    return ordered[0]


def _weight(error: BaseException) -> int:
    if not isinstance(error, Exception):
        return 0
    return 2 if isinstance(error, Halt | GateError) else 1


@dataclass(frozen=True, slots=True)
class StepLabel:
    """How a step is shown to whatever drives the run.

    Arguments:
        path: where it stands in the plan: "3.block.1".
        name: the author's words.
        kind: `action`, `gate` or `manual`.
        targets: the hosts it works on.
    """

    path: str
    name: str
    kind: str
    targets: tuple[str, ...] = ()


class StepFailed(Exception):
    """Raised out of a step's `do`, for a driver to show; the executor knows already."""


AroundStep: TypeAlias = Callable[[StepLabel, Callable[[], None]], None]
"""Called once around each step; must call `do` exactly once and let `StepFailed` pass."""


def directly(label: StepLabel, do: Callable[[], None]) -> None:  # noqa: ARG001
    """Do a step with nothing around it."""
    do()
