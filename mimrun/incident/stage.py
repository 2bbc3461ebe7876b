"""The stages of an incident, and which of them may follow which: one table, and what each move asks for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, get_args

from mimrun.errors import InputError, RefusedError
from mimrun.log.kinds import Stage
from mimrun.runbook.suggestion import suggest

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
"""In the order in which an incident goes through them."""

MEANING: Final[Mapping[Stage, str]] = MappingProxyType(
    {
        "identification": "what is broken, for whom, and what helps",
        "containment": "stop it from getting worse, and bring service back",
        "resolution": "it is contained; mend what is left",
        "maintenance": "service is back; watch it, and learn from it",
    }
)
"""What is worked on in each stage."""


class Needs(StrEnum):
    """What a move from one stage to another asks for."""

    NOTHING = "nothing"
    REASON = "a reason"
    PROOF = "a step that a run has verified, or a reason why nothing had to be contained"
    RESOLVING = "`mimrun incident resolve`, which says how it was resolved"
    REOPENING = "`mimrun incident reopen`, which says why"


MOVES: Final[Mapping[tuple[Stage, Stage], Needs]] = MappingProxyType(
    {
        ("identification", "containment"): Needs.NOTHING,
        ("identification", "resolution"): Needs.PROOF,
        ("containment", "identification"): Needs.REASON,
        ("containment", "resolution"): Needs.PROOF,
        ("resolution", "containment"): Needs.REASON,
        ("resolution", "maintenance"): Needs.RESOLVING,
        ("maintenance", "containment"): Needs.REOPENING,
        ("maintenance", "identification"): Needs.REOPENING,
        ("maintenance", "resolution"): Needs.REOPENING,
    }
)
"""Every move that there is; what is not here is refused."""


def read_stage(text: str) -> Stage:
    """Read a stage as a person types it.

    Raises:
        InputError: it is none.
    """
    found = next((stage for stage in STAGES if stage == text.lower()), None)
    if found is None:
        raise InputError(f"{text!r} is no stage; {suggest(text, STAGES)}")
    return found


def needs_of(was: Stage, to: Stage) -> Needs:
    """Say what a move asks for.

    Raises:
        RefusedError: there is no such move; says which there are.
    """
    if was == to:
        raise RefusedError(f"it is in {to} already")
    needs = MOVES.get((was, to))
    if needs is None:
        ways = ", ".join(stage for stage in STAGES if (was, stage) in MOVES)
        raise RefusedError(f"from {was} one does not go to {to}; from here one goes to {ways}")
    return needs


def is_contained(stage: Stage) -> bool:
    """Say whether an incident in this stage is contained."""
    return stage in ("resolution", "maintenance")
