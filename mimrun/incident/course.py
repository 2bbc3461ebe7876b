"""The course of an incident: what automation did, what people did, what was decided and how long that took.

What was not recorded is not made up: a moment that nobody recorded is None. `course_fold` makes it of the entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

What: TypeAlias = Literal["gate", "break-glass", "proposal", "doubt", "priority", "kill-switch"]


@dataclass(slots=True)
class RunPart:
    """A run of the incident.

    Arguments:
        automatic: no person launched it.
        bypass: how it went past its gates: `break-glass`, `freeze override`; "" where it did not.
        status: how it ended, or "".
    """

    run: str
    title: str
    by: str
    automatic: bool
    created: datetime
    ended: datetime | None = None
    status: str = ""
    bypass: str = ""


@dataclass(slots=True)
class Automated:
    """A step that a worker did.

    Arguments:
        action: what it did, such as `postgres.promote`.
        targets: on how many.
        status: `ok`, `failed`, `skipped`; "" where it did not come to an end.
        begun: whether anything of it was done at all.
    """

    run: str
    step: str
    name: str
    action: str
    targets: int
    at: datetime
    ended: datetime | None = None
    status: str = ""
    begun: bool = False
    changed: bool = False

    @property
    def executed(self) -> bool:
        """Say whether it was done, or begun at least."""
        return self.status in ("ok", "failed") or (not self.status and self.begun)


@dataclass(slots=True)
class ByHand:
    """Something that a person did.

    Arguments:
        what: a step of a runbook, work outside of one, or a shell.
        who: the person; "" where nobody took it up.
        asked: when a run asked for it.
        claimed: when somebody took it up.
        done: when it was over.
        active_ms: how long it took them; None where nobody said.
        held_ms: how long they had taken it up.
        outcome: `done`, `failed`, or "" where it is not over.
    """

    what: Literal["step", "reported", "shell"]
    title: str
    run: str = ""
    step: str = ""
    who: str = ""
    asked: datetime | None = None
    claimed: datetime | None = None
    done: datetime | None = None
    active_ms: int | None = None
    held_ms: int = 0
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said."""

    who: str
    decision: str
    role: str
    reason: str
    at: datetime


@dataclass(slots=True)
class Decision:
    """Something that had to be decided, or was.

    Arguments:
        asked, by: when, and by whom; a decision that nobody waited for was asked when it was made.
        decided: when; None while it is waited for.
        outcome: what came of it; "" while it is waited for.
    """

    what: What
    title: str
    asked: datetime
    by: str
    run: str = ""
    step: str = ""
    decided: datetime | None = None
    outcome: str = ""
    votes: list[Vote] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Message:
    """People were told something."""

    at: datetime
    audience: str
    channel: str
    event: str


@dataclass(slots=True)
class Course:
    """What happened in an incident, by what it was.

    Arguments:
        assembled: when somebody led it, and somebody who can mend it was there.
    """

    runs: dict[str, RunPart] = field(default_factory=dict)
    automated: list[Automated] = field(default_factory=list)
    by_hand: list[ByHand] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    assembled: datetime | None = None
