"""Spans: a run, its steps and its attempts as OpenTelemetry draws them, made from log entries alone.

Names of traces and spans follow from the log, the run and the entry that a span begins with. Whoever reads
the same entries makes the same spans, so that a run is one trace however many processes executed it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind

Fact: TypeAlias = str | int | bool

_TOLD: Final = frozenset(
    {Kind.RUN_STARTED, Kind.RUN_MODE, Kind.RUN_WAITING, Kind.RUN_PAUSE_REQUESTED, Kind.RUN_RESUME_REQUESTED}
    | {Kind.RUN_CANCEL_REQUESTED, Kind.RUN_ABORT_REQUESTED, Kind.GATE_REQUESTED, Kind.GATE_DECIDED}
    | {Kind.GATE_OPENED, Kind.GATE_CLOSED, Kind.MANUAL_REQUESTED, Kind.MANUAL_ATTESTED, Kind.STEP_PROBED}
    | {Kind.STEP_VERIFIED, Kind.STEP_IN_DOUBT, Kind.STEP_RESOLVED, Kind.GUARD_TRIPPED}
)
"""Kinds that are told as events of the span that they fall into, by their name alone."""


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened in a span: the kind of an entry, when, and which entry."""

    at: datetime
    name: str
    seq: int


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work with a beginning and an end. It holds no argument, no output, no reason and no person.

    Arguments:
        trace: 128 bits, the same for the whole run.
        id: 64 bits, of the entry that it begins with.
        parent: the span that it is part of; None for the run.
        outside: it is a call to a target.
        end: when it was over; the beginning while it is not.
        failed: what went wrong, as a word: `failed`, `unknown`, `unreachable`, `in_doubt`; or "".
        done: it went well; neither this nor `failed` where nothing is to be said.
    """

    trace: int
    id: int
    parent: int | None
    name: str
    start: datetime
    end: datetime
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))
    events: tuple[SpanEvent, ...] = ()
    outside: bool = False
    failed: str = ""
    done: bool = False


class Spans:
    """Makes the spans of one run. Give it every entry of the run from the first, in order.

    Arguments:
        log: the origin of the log.
        run: the run's full name.
    """

    def __init__(self, log: str, run: str) -> None:
        self._log, self._run = log, run
        self._trace = _number(16, "trace", log, run)
        self._runbook: dict[str, Fact] = {}
        self._root: Span | None = None
        self._steps: dict[str, Span] = {}
        self._attempts: dict[int, tuple[tuple[str, str, int], Span]] = {}

    def take(self, entry: LogEntry) -> tuple[Span, ...]:
        """Take the next entry, and give the spans that are over with it."""
        found = tuple(self._take(entry))
        if entry.kind in _TOLD:
            self._tell(entry)
        return found

    def _take(self, entry: LogEntry) -> Iterator[Span]:
        match entry.body:
            case kinds.PlanFrozen() as body:
                self._runbook = {
                    "mimrun.runbook": body.runbook,
                    "mimrun.runbook.version": body.version,
                    "mimrun.risk": body.risk,
                }
            case kinds.RunCreated() as body:
                name = f"run {self._runbook.get('mimrun.runbook', '')}".strip()
                self._root = self._begin(entry, None, name, {**self._runbook, **_run_facts(entry, body)})
            case kinds.RunEnded() as body:
                yield from self._end_all(entry, body)
            case kinds.StepStarted() as body:
                self._start_step(entry, body)
            case kinds.GateRequested() | kinds.ManualRequested():
                self._ask(entry)
            case kinds.GateOpened() | kinds.ManualAttested() if span := self._steps.pop(entry.step, None):
                yield _ended(span, entry, {"mimrun.outcome": "ok"}, done=True)
            case kinds.GateClosed() as body if span := self._steps.pop(entry.step, None):
                yield _ended(span, entry, {"mimrun.outcome": body.reason}, failed=body.reason)
            case kinds.StepFinished() as body if span := self._steps.pop(entry.step, None):
                facts: dict[str, Fact] = {"mimrun.outcome": body.status}
                failed = "failed" if body.status == "failed" else ""
                yield _ended(span, entry, facts, failed=failed, done=body.status == "ok")
            case _:
                yield from self._take_attempt(entry)

    def _take_attempt(self, entry: LogEntry) -> Iterator[Span]:
        match entry.body:
            case kinds.StepIntent() as body:
                yield from self._start_attempt(entry, body)
            case kinds.StepOutcome() as body if known := self._attempts.pop(body.intent, None):
                yield _came(known[1], entry, body)
            case kinds.StepInDoubt() as body if known := self._attempts.pop(body.intent, None):
                yield _ended(known[1], entry, {"mimrun.outcome": "in_doubt"}, failed="in_doubt")
            case _:
                pass

    def _begin(
        self,
        entry: LogEntry,
        parent: Span | None,
        name: str,
        told: Mapping[str, Fact],
        *,
        outside: bool = False,
    ) -> Span:
        facts = {"mimrun.run": self._run, "mimrun.incident": entry.inc, **told}
        id_ = _number(8, "span", self._log, self._run, str(entry.seq))
        parent_id = parent.id if parent is not None else None
        return Span(self._trace, id_, parent_id, name, entry.ts, entry.ts, facts, outside=outside)

    def _start_step(self, entry: LogEntry, body: kinds.StepStarted) -> None:
        if entry.step in self._steps:
            return  # another worker goes on with it: it is the same piece of work
        facts: dict[str, Fact] = {
            "mimrun.step": entry.step,
            "mimrun.step.form": body.form,
            "mimrun.targets": body.count,
        }
        parent = self._around(entry.step)
        self._steps[entry.step] = self._begin(entry, parent, body.name or f"step {entry.step}", facts)

    def _ask(self, entry: LogEntry) -> None:
        """Begin to wait for people: that is a step, too, and often the longest."""
        form = entry.kind.value.split(".", maxsplit=1)[0]
        if entry.step not in self._steps:
            facts: dict[str, Fact] = {"mimrun.step": entry.step, "mimrun.step.form": form}
            self._steps[entry.step] = self._begin(entry, self._around(entry.step), form, facts)

    def _around(self, step: str) -> Span | None:
        """Give the innermost step under way that a step is part of, by its path, or the run."""
        words = step.split(".")
        for length in range(len(words) - 1, 0, -1):
            if span := self._steps.get(".".join(words[:length])):
                return span
        return self._root

    def _start_attempt(self, entry: LogEntry, body: kinds.StepIntent) -> Iterator[Span]:
        cell = (entry.step, entry.target, body.iteration)
        for seq, (other, span) in list(self._attempts.items()):
            if other == cell:  # its worker has died, and it is done again
                del self._attempts[seq]
                yield _ended(span, entry, {"mimrun.outcome": "lost"}, failed="lost")
        facts: dict[str, Fact] = {
            "mimrun.step": entry.step,
            "mimrun.target": entry.target,
            "mimrun.action": body.action,
            "mimrun.effect": body.effect.value,
            "mimrun.attempt": entry.attempt,
            "mimrun.iteration": body.iteration,
            "mimrun.epoch": entry.epoch,
        }
        parent = self._steps.get(entry.step) or self._around(entry.step)
        self._attempts[entry.seq] = cell, self._begin(entry, parent, body.action, facts, outside=True)

    def _end_all(self, entry: LogEntry, body: kinds.RunEnded) -> Iterator[Span]:
        """End what was left under way, and the run itself."""
        for _, span in self._attempts.values():
            yield _ended(span, entry, {"mimrun.outcome": "unknown"}, failed="unknown")
        for span in self._steps.values():
            yield _ended(span, entry, {"mimrun.outcome": body.status})
        self._attempts.clear()
        self._steps.clear()
        if self._root is not None:
            recap = {f"mimrun.recap.{name}": count for name, count in body.recap.model_dump().items()}
            facts = {"mimrun.outcome": body.status, **recap}
            failed = "failed" if body.status == "failed" else ""
            yield _ended(self._root, entry, facts, failed=failed, done=body.status == "succeeded")

    def _tell(self, entry: LogEntry) -> None:
        event = SpanEvent(entry.ts, entry.kind.value, entry.seq)
        if span := self._steps.get(entry.step):
            self._steps[entry.step] = replace(span, events=(*span.events, event))
        elif self._root is not None:
            self._root = replace(self._root, events=(*self._root.events, event))


def _run_facts(entry: LogEntry, body: kinds.RunCreated) -> dict[str, Fact]:
    known = {"mimrun.log": entry.log, "mimrun.undo_of": body.undo_of, "mimrun.retry_of": body.retry_of}
    return {name: value for name, value in known.items() if value}


def _came(span: Span, entry: LogEntry, body: kinds.StepOutcome) -> Span:
    facts: dict[str, Fact] = {
        "mimrun.outcome": body.status,
        "mimrun.changed": body.changed,
        "mimrun.clean": body.clean,
        "mimrun.performed": body.performed,
    }
    wrong = "" if body.status == "ok" else "unreachable" if body.unreachable else body.status
    return _ended(span, entry, facts, failed=wrong, done=body.status == "ok")


def _ended(
    span: Span, entry: LogEntry, facts: Mapping[str, Fact], *, failed: str = "", done: bool = False
) -> Span:
    told = {**span.facts, **facts}
    if failed:
        told["error.type"] = failed
    return replace(span, end=entry.ts, facts=told, failed=failed, done=done)


def _number(size: int, *words: str) -> int:
    """Give a number of so many bytes that follows from the words; never 0, which names nothing."""
    data = hashlib.sha256("\0".join(("mimrun", *words)).encode()).digest()[:size]
    return int.from_bytes(data) or 1
