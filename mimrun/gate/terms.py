"""Terms: what must be there for a gate to open, as runbook and policy ask for it together."""

from __future__ import annotations

from typing import Literal, TypeAlias

from mimrun.runbook.model import Needed, OnTimeout, Part

ChangeKind: TypeAlias = Literal["none", "standard", "normal", "emergency"]


class Terms(Part):
    """What a gate asks for. An approval counts for the terms that it was given under, and for no others.

    Arguments:
        approvals: all of these roles and counts, each place filled by another person.
        change: the kind of change record that must be there and allow it; `none` where none is needed.
        freeze_override: a freeze approver must allow it besides, because a calendar is closed.
        refused: why nobody can allow it, or "".
        signed: only approvals that are signed with the approver's own key count.
        expires_ms: how long the gate waits, and an approval counts.
        on_timeout: what happens when nobody decided in time; never an approval.
        escalation: who is asked besides, one role after the other, each time that nobody decided in time.
        because: where this comes from, in a sentence for people.
    """

    approvals: tuple[Needed, ...] = ()
    change: ChangeKind = "none"
    freeze_override: bool = False
    refused: str = ""
    signed: bool = False
    expires_ms: int
    on_timeout: OnTimeout = OnTimeout.FAIL
    escalation: tuple[str, ...] = ()
    because: str = ""

    @property
    def asks_nothing(self) -> bool:
        """Say whether the gate opens by itself."""
        return self.asks_nobody and self.change == "none"

    @property
    def asks_nobody(self) -> bool:
        """Say whether nobody's word is needed: a standard change was allowed before, once and for all."""
        asks = self.approvals or self.freeze_override or self.refused
        return not asks and self.change in ("none", "standard")


def a_change(kind: str) -> str:
    """Give a kind of change with its article, for a sentence: `an emergency change`."""
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind} change"
