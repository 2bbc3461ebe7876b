"""The verdict on deciding again: where today's code parts from the record, in words that name the step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mimrun.log.entry import Draft, LogEntry
from mimrun.replay.board import iteration_of, step_of
from mimrun.replay.comparison import Comparison, Divergence, Ending, Verdict
from mimrun.replay.decision import decision_of
from mimrun.replay.parting import Parting
from mimrun.replay.redecide import Redecided
from mimrun.run.record.fold import fold
from mimrun.run.record.state import RunState
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan

_TAKEN = (
    "the plan: as it was frozen",
    "answers, probes and looks of targets: from the record",
    "what people said (votes, signatures, settled doubts, stops): from the record",
    "the clock, locks and takeovers by workers: from the record",
    "who had which role, and what the policy asked: as far as the record tells by what came of it",
)


def judge(run: str, entries: Sequence[LogEntry], plan: Plan, found: Redecided) -> Comparison:
    """Say what deciding a run again came to.

    Arguments:
        entries: the run's, in order.
        plan: the frozen plan.
        found: what came of it.
    """
    own = [entry for entry in entries if entry.run == run]
    recorded = ending_of(fold(own))
    first = own[0].ts
    divergence = _divergence(found.parting, plan, first) if found.parting else None
    missing = [f"entry {seq}: {why}" for seq, why in sorted(found.erased.items())]
    if found.broke:
        missing.append(f"nothing is decided without it: {found.broke}")
    verdict: Verdict = "differs" if divergence else "same"
    if not found.is_judged:
        verdict = "unknown"
    replayed = recorded if verdict == "same" else Ending("unknown", "the replay ends where it differs")
    return Comparison(
        run=run,
        how="redecide",
        verdict=verdict,
        divergence=divergence,
        compared=found.compared,
        sessions=found.sessions,
        recorded=recorded,
        replayed=replayed,
        taken=_TAKEN,
        missing=tuple(missing),
    )


def ending_of(state: RunState) -> Ending:
    """Give how a run ended, or where it was left."""
    worked = state.worked
    if state.at_work_since is not None and state.seen is not None:
        worked += state.seen - state.at_work_since
    return Ending(state.status.value, state.reason, state.recap(), int(worked.total_seconds() * 1000))


def _divergence(parting: Parting, plan: Plan, first: datetime) -> Divergence:
    recorded, today = parting.recorded, parting.today
    place = _place(recorded, today)
    step = step_of(place.step) if place is not None else ""
    names = {node.path: node for node in plan.walk()}
    node = names.get(step)
    looped = isinstance(node, PlannedAction) and node.loop is not None
    at = recorded.ts if recorded is not None else None
    return Divergence(
        step=step,
        name=node.name if node is not None else "",
        target=place.target if place is not None else "",
        item=iteration_of(place) + 1 if looped and place is not None else 0,
        seq=recorded.seq if recorded is not None else 0,
        offset_ms=int((at - first).total_seconds() * 1000) if at is not None else 0,
        recorded=decision_of(recorded) if recorded is not None else "",
        today=parting.said or _told(today, step),
        differences=parting.differences,
    )


def _told(today: Draft | None, step: str) -> str:
    """Say what today's code wants to write; of another step than the one that is named, with its path."""
    if today is None:
        return ""
    elsewhere = step_of(today.step)
    return decision_of(today) + (f" (step {elsewhere})" if elsewhere not in ("", step) else "")


def _place(recorded: LogEntry | None, today: Draft | None) -> LogEntry | Draft | None:
    """Give the one of the two that says best where it is: the end of a run says of no step."""
    if recorded is not None and recorded.step:
        return recorded
    return today if today is not None and today.step else recorded
