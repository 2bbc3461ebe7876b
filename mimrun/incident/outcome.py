"""What a firing comes to: what its rule is for, or less, and why. One pure decision for every process, and for tests of rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from mimrun.incident.rule import Action, Concurrency
from mimrun.incident.storm import Budget, Limits, floods, trips

Comes: TypeAlias = Literal["notified", "proposed", "launched", "held"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What counts besides the rule.

    Arguments:
        held: why nothing may be done at all now, such as the kill switch; "" where it may.
        refused: why nothing may launch this by itself; "" where it may be launched.
        busy: what is under way that it must not run beside; "" for nothing.
        runbook: the name of the runbook.
        of: by run that rules launched, its runbook.
    """

    held: str = ""
    refused: str = ""
    busy: str = ""
    runbook: str = ""
    of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a firing comes to.

    Arguments:
        reason: why it is not what the rule is for; "" where it is.
        storm: why a storm begins with it; "" where none does.
    """

    outcome: Comes
    reason: str = ""
    storm: str = ""


def judge(
    action: Action, concurrency: Concurrency, facts: Facts, limits: Limits, budget: Budget, *, now: datetime
) -> Judgement:
    """Say what a firing comes to. The steps, in order:

    1. While the kill switch is pulled nothing is done; it is held back.
    2. What may not be launched is proposed.
    3. In a storm nothing is launched; it is proposed. What would be one run too many begins a storm.
    4. What must not run beside something waits for it, or, where the rule skips it, people are told.
    5. Asking people once more than the limits say begins a storm; in one, it is held back until that is over.
    """
    if facts.held:
        return Judgement("held", facts.held)
    reason = storm = ""
    if action == "launch":
        reason = facts.refused or (_stormy(budget) if budget.storm else "")
        if not reason:
            storm = trips(limits, budget, now, runbook=facts.runbook, of=facts.of)
            reason = f"a storm begins: {storm}" if storm else ""
        if not reason and not facts.busy:
            return Judgement("launched")
        if not reason and concurrency == "queue":
            return Judgement("held", f"it waits: {facts.busy}")
        if not reason:
            action, reason = "notify", f"it is skipped: {facts.busy}"
    outcome: Comes = "notified" if action == "notify" else "proposed"
    flood = "" if storm else floods(limits, budget, now)
    if not flood:
        return Judgement(outcome, reason, storm)
    if budget.storm:
        return Judgement("held", f"{_stormy(budget)}; {flood}")
    return Judgement(outcome, reason or f"a storm begins: {flood}", flood)


def _stormy(budget: Budget) -> str:
    return f"there is a storm since {budget.since[:16].replace('T', ' ')} UTC ({budget.incident})"
