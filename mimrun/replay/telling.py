"""Telling: each entry of a run in a sentence that a person reads aloud.

What a target, an alert or a person said is quoted as it is: whoever shows a sentence shows it as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.replay.board import iteration_of, step_of
from mimrun.run.record.state import RunState
from mimrun.runbook.duration import format_duration

_ASKED: Final = {
    "step.resolution_proposed": "proposes that",
    "step.resolved": "settles the doubt:",
}
_RESOLUTIONS: Final = {
    "applied": "it happened",
    "not_applied": "it did not happen",
    "skip": "it is left out",
    "abort": "it counts as failed",
}
_MODES: Final = {"direct": "without Prefect", "prefect": "driven by Prefect"}
_LOOKS: Final = {".verify": "the look after it", ".capture": "the look before it"}
_CAME: Final = {"approved": "agrees", "rejected": "refuses", "withdrawn": "takes the approval back"}


class Teller:
    """Says in words what entries tell.

    Arguments:
        names: what each step is called, by its path.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)
        self._since: dict[tuple[str, str], datetime] = {}
        """Since when people are waited for, by step and target."""

    def tell(self, entry: LogEntry, state: RunState, before: str) -> str:
        """Say what an entry tells.

        Arguments:
            state: the run's, after it.
            before: the status of the run before it.
        """
        said = self._run(entry, state, before) or self._people(entry) or self._step(entry, state)
        return said or entry.kind.value

    def _name(self, path: str) -> str:
        name = self._names.get(path, "")
        return f"'{name}'" if name else f"step {path}"

    def _where(self, entry: LogEntry) -> str:
        """Name the step, the target and, behind the first one, the item that an entry is about."""
        at = f" on {entry.target}" if entry.target else ""
        number = iteration_of(entry)
        item = f", item {number + 1}" if number else ""
        return f"{self._name(step_of(entry.step))}{at}{item}"

    def _run(self, entry: LogEntry, state: RunState, before: str) -> str:
        match entry.body:
            case kinds.PlanFrozen() as body:
                return f"the plan of {body.runbook} {body.version} is frozen as {body.digest[7:19]}"
            case kinds.RunCreated() as body:
                return f"{body.launched_by} asks for '{body.title}'"
            case kinds.RunStarted(resumed=True) as body:
                died = before == "running"
                why = "the worker before has died; " if died else ""
                return f"{why}{body.worker} goes on with it, from where the log ends"
            case kinds.RunStarted() as body:
                return f"{body.worker} takes it up"
            case kinds.RunWaiting() as body:
                return _waits(body)
            case kinds.RunEnded() as body:
                said = "was cancelled" if body.status == "cancelled" else f"has {body.status}"
                return f"it {said}{_why(body.reason)}"
            case kinds.GuardTripped() as body:
                return f"a guard stops {self._name(entry.step)}{_why(body.reason)}"
            case _:
                return _way_of(entry) or self._wish(entry) or _by_rule(entry)

    def _wish(self, entry: LogEntry) -> str:
        who = entry.actor.id
        match entry.body:
            case kinds.RunPauseRequested() as body:
                return f"{who} asks for a rest{_why(body.reason)}"
            case kinds.RunResumeRequested():
                return f"{who} lets it go on"
            case kinds.RunCancelRequested() as body:
                return f"{who} asks for its end{_why(body.reason)}"
            case kinds.RunAbortRequested() as body:
                return f"{who} asks for its end at once{_why(body.reason)}"
            case kinds.KillswitchPulled() as body:
                return f"{who} pulls the kill switch{_why(body.reason)}"
            case kinds.KillswitchLiftAgreed() as body:
                return f"{who} agrees to lift the kill switch{_why(body.reason)}"
            case kinds.BreakglassOpened():
                return f"{who} breaks the glass: the gates of this plan are passed"
            case _:
                return ""

    def _people(self, entry: LogEntry) -> str:
        who, name = entry.actor.id, self._name(entry.step)
        match entry.body:
            case kinds.GateRequested() as body:
                self._since[entry.step, ""] = entry.ts
                need = ", ".join(f"{one.count} {one.role}" for one in body.approvals) or "nobody"
                return f"gate {name} asks {need} about {body.digest[7:19]}"
            case kinds.GateDecided() as body:
                waited = self._waited(entry, "")
                return f"{who} {_CAME[body.decision]} at {name} as {body.role}{waited}{_why(body.reason)}"
            case kinds.GateOpened() as body:
                how = f" by {body.by.replace('_', ' ')}" if body.by != "approvals" else ""
                return f"gate {name} is open{how}{_why(body.because)}"
            case kinds.GateClosed() as body:
                return f"gate {name} is closed, {body.reason}{_why(body.detail)}"
            case kinds.GateEscalated() as body:
                return f"nobody decided in time at {name}: {body.to} is asked besides"
            case _:
                return self._manual(entry, who, name)

    def _manual(self, entry: LogEntry, who: str, name: str) -> str:
        match entry.body:
            case kinds.ManualRequested() as body:
                self._since[entry.step, ""] = entry.ts
                return f"{body.role} is asked to do {name}"
            case kinds.ManualClaimed():
                return f"{who} takes up {name}"
            case kinds.ManualAttested(outcome="failed") as body:
                return f"{who} could not do {name}{self._waited(entry, '')}{_why(body.reason)}"
            case kinds.ManualAttested():
                return f"{who} signs that {name} is done{self._waited(entry, '')}"
            case kinds.ManualConfirmed():
                return f"{who} confirms {name}"
            case kinds.ManualDisputed() as body:
                return f"{who} says that {name} is not done{_why(body.reason)}"
            case _:
                return _in_hand(entry, who, name)

    def _step(self, entry: LogEntry, state: RunState) -> str:
        where = self._where(entry)
        match entry.body:
            case kinds.StepStarted() as body:
                self._names.setdefault(entry.step, body.name)
                count = body.count or len(body.targets)
                hosts = ", ".join(target for target in body.targets[:5] if target)
                more = f" and {count - 5} more" if count > 5 else ""
                return f"{self._name(entry.step)} begins{f' on {hosts}{more}' if hosts else ''} ({body.form})"
            case kinds.StepFinished() as body:
                return f"{self._name(entry.step)} is over: {body.status}{_why(body.reason)}"
            case kinds.StepIntent() as body:
                return _intended(entry, body, where)
            case kinds.StepOutcome() as body:
                return _came(entry, body, where)
            case kinds.StepProbed() as body:
                found = body.finding.value.replace("_", " ")
                return f"the target is asked what became of {where}: {found}{_why(body.reason)}"
            case kinds.StepInDoubt() as body:
                self._since[entry.step, entry.target] = entry.ts
                return f"{where} is in doubt{_why(body.reason)}"
            case kinds.StepResolved() | kinds.StepResolutionProposed() as body:
                waited = self._waited(entry, entry.target)
                what = f"{_ASKED[entry.kind.value]} {_RESOLUTIONS[body.resolution]}"
                return f"{entry.actor.id} looked at {where} and {what}{waited}{_why(body.reason)}"
            case _:
                return _judged(entry, where)

    def _waited(self, entry: LogEntry, target: str) -> str:
        """Say how long people were waited for; "" where that is not known."""
        since = self._since.get((entry.step, target))
        return f", after {span(entry.ts - since)}" if since else ""


def span(length: timedelta) -> str:
    """Say how long something took, for a person."""
    return (
        format_duration(max(0, int(length.total_seconds())) * 1000) if length.seconds or length.days else "0s"
    )


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _by_rule(entry: LogEntry) -> str:
    match entry.body:
        case kinds.ProposalTaken() as body:
            return f"{entry.actor.id} takes what was proposed ({body.proposal})"
        case kinds.RuleFired() as body:
            return f"the rule {body.rule} launches it"
        case _:
            return ""


def _way_of(entry: LogEntry) -> str:
    """Say how a run is driven, and what it holds; "" where an entry is about something else."""
    match entry.body:
        case kinds.RunMode() as body:
            return f"it is executed {_MODES[body.mode]}{_why(body.reason)}"
        case kinds.LockTaken() as body:
            return f"it holds {body.resource}"
        case kinds.LockReleased() as body:
            return f"it lets go of {body.resource}{_why(body.reason)}"
        case _:
            return ""


def _waits(body: kinds.RunWaiting) -> str:
    match body.on:
        case "doubt":
            return f"it waits for somebody's word{_why(body.reason)}"
        case "pause":
            return f"it rests{_why(body.reason)}"
        case _:
            return f"it waits{_why(body.reason)}"


def _in_hand(entry: LogEntry, who: str, name: str) -> str:
    """Say in whose hands a manual step is, and how far they are."""
    match entry.body:
        case kinds.ManualReleased() as body:
            return f"{who} puts {name} down{_why(body.reason)}"
        case kinds.ManualHandedOver() as body:
            return f"{who} hands {name} to {body.to}{_why(body.reason)}"
        case kinds.ManualChecked() as body:
            return f"{who} {'ticks' if body.done else 'takes back'} item {body.item} of {name}"
        case _:
            return ""


def _look(entry: LogEntry) -> str:
    """Name the look that an entry is about; "" where it is about the step itself."""
    return next((words for part, words in _LOOKS.items() if entry.step.endswith(part)), "")


def _intended(entry: LogEntry, body: kinds.StepIntent, where: str) -> str:
    again = f", attempt {entry.attempt}" if entry.attempt > 1 else ""
    look = _look(entry)
    about = f"{look}, {where}" if look else where
    return f"{about}: {body.action} ({body.effect.value}){again}"


def _came(entry: LogEntry, body: kinds.StepOutcome, where: str) -> str:
    word: str = "changed" if body.changed else body.status
    if body.status == "failed":
        word = "unreachable" if body.unreachable else "failed"
    elif body.status == "unknown":
        word = "nobody knows what came of it"
    look = _look(entry)
    about = f"{look}, {where}" if look else where
    return f"{about}: {word} in {body.dur_ms} ms{_why(body.reason)}"


def _judged(entry: LogEntry, where: str) -> str:
    match entry.body:
        case kinds.StepSkipped() as body:
            return f"{where} is left out{_why(body.reason)}"
        case kinds.StepVerified() as body:
            return f"{where} {'is as expected' if body.passed else 'is not as expected'}{_why(body.reason)}"
        case kinds.StepCaptured() as body:
            when = "before it" if body.when == "before" else "that it left"
            kept = f"cannot be read{_why(body.reason)}" if body.reason else "is kept"
            return f"the state {when}, {where}, {kept}"
        case kinds.StepEvidence() as body:
            return f"too late to count, {where}: {body.status}{_why(body.reason)}"
        case kinds.LoopExpanded() as body:
            return f"{where} has {body.count} {'item' if body.count == 1 else 'items'}"
        case _:
            return _way_back(entry, where)


def _way_back(entry: LogEntry, where: str) -> str:
    match entry.body:
        case kinds.StepCompared() as body:
            return f"{where} is compared: {body.found}{_why(body.reason)}"
        case kinds.StepRevertScheduled() as body:
            return f"{where} is taken back at {body.due_at[:19].replace('T', ' ')} UTC"
        case kinds.StepRevertCancelled() as body:
            return f"{entry.actor.id} lets {where} stand for good{_why(body.reason)}"
        case _:
            return ""
