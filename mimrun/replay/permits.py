"""Recorded permits: what gates asked for, and who had which role, as far as the record tells.

Votes are counted by today's code. The rules of then (the people file, the policy, calendars and change records)
are known by what came of them: what a gate asked, in which role somebody spoke, and that it opened or stayed closed.
So where the rules of then said no, that is taken as it was; that it opened is counted again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from mimrun.gate.approval import (
    FREEZE_ROLE,
    ChangeStanding,
    Closed,
    ClosedBy,
    Decision,
    Open,
    Verdict,
    Vote,
    Waiting,
    check_gate,
)
from mimrun.gate.people import CLAIMED, People, Person
from mimrun.gate.terms import Terms
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment
from mimrun.replay.board import step_of
from mimrun.replay.steps import Pairs
from mimrun.replay.tape import GUARDED, Cursor, Lane, Tape
from mimrun.run.cell.guard import Guard
from mimrun.run.cell.permit import Known, request_of
from mimrun.run.record.state import RunState
from mimrun.runbook.model import Needed, OnTimeout
from mimrun.runbook.node import PlannedGate

_SLACK: Final = timedelta(minutes=5)
"""So much may pass between reading the clock for a request and recording it."""


class RecordedPermit:
    """What the gates of a run ask for, by its record.

    Arguments:
        tape: the record.
        cursor: gives how far it has been replayed.
        clock: between which moments of the record it is now.
    """

    def __init__(
        self, tape: Tape, cursor: Callable[[], Cursor], clock: Callable[[], tuple[datetime, datetime]]
    ) -> None:
        self._tape, self._cursor, self._clock = tape, cursor, clock
        self._people = people_of(tape.entries)
        self._told = gates_told(tape.entries)
        self._linked = is_linked(tape.entries)
        self._terms: dict[tuple[str, int], Terms] = {}

    def terms(self, gate: PlannedGate) -> Terms:
        """Give what a gate asked for when it was asked, or will be asked next."""
        return self._terms_of(gate, self._next_request(gate) or self._last_request(gate))

    def _terms_of(self, gate: PlannedGate, asked: LogEntry | None) -> Terms:
        key = (gate.path, asked.seq if asked is not None else 0)
        if key not in self._terms:
            self._terms[key] = terms_of(gate, self._told.get(gate.path, ()), asked)
        return self._terms[key]

    def verdict(self, gate: PlannedGate, state: RunState) -> Verdict:
        """Say how a gate stands, by the votes on record."""
        first, now = self._clock()
        request = request_of(gate, self._known(gate), state)
        votes = state.gates[gate.path].votes
        then = self._then(gate, now)
        today = check_gate(request, votes, self._people, now=now)
        if _is_expired(today) and not _is_expired(then):
            # The clock was read some time before what came of it was recorded.
            today = check_gate(request, votes, self._people, now=first)
        if then is None and isinstance(today, Closed) and today.by is ClosedBy.REJECTED:
            # Whoever rejected had lost the role by then.
            votes = [vote for vote in votes if vote.decision is not Decision.REJECTED]
            today = check_gate(request, votes, self._people, now=first)
        few = not self._linked and _too_few(state.gates[gate.path].votes, request.digest, request.terms)
        if then is not None and _may_stand_for(then, today, linked=self._linked, few=few):
            return then
        opened = self._opened(gate) if self._linked else None
        return opened if opened is not None and not isinstance(today, Open) else today

    def _opened(self, gate: PlannedGate) -> Open | None:
        """Give how the gate opened in the record, where it did so at this point."""
        entry = next(self._cursor().coming(Lane(gate.path, "")), None)
        body = entry.body if entry is not None else None
        return Open((), body.by, body.because) if isinstance(body, kinds.GateOpened) else None

    def _known(self, gate: PlannedGate) -> Known:
        terms = self._terms_of(gate, self._last_request(gate))
        change = ChangeStanding(ref="of then") if terms.change != "none" else None
        return Known(terms, by_policy=True, change=change)

    def _then(self, gate: PlannedGate, now: datetime) -> Verdict | None:
        """Give how the gate stood in the record, where that was no."""
        entry = next(self._cursor().coming(Lane(gate.path, "")), None)
        match entry.body if entry is not None else None:
            case kinds.GateClosed(reason=reason, detail=detail):
                return Closed(ClosedBy(reason), detail)
            case None:
                ahead = self._cursor().next()
                body = ahead.body if ahead is not None else None
                if isinstance(body, kinds.RunWaiting) and body.on == "gate":
                    return Waiting({}, now, (body.reason,))
            case _:
                pass
        return None

    def asked(self, gate: PlannedGate, state: RunState) -> None:
        """Make no change record: there was one, or there was none."""

    def ungated(self) -> str:
        """Ask for nothing: where the rules of then did, nothing was done."""
        return ""

    def _requests(self, gate: PlannedGate) -> Iterator[LogEntry]:
        told = self._told.get(gate.path, ())
        return (entry for entry in told if isinstance(entry.body, kinds.GateRequested))

    def _next_request(self, gate: PlannedGate) -> LogEntry | None:
        coming = self._cursor().coming(Lane(gate.path, ""))
        return next((entry for entry in coming if isinstance(entry.body, kinds.GateRequested)), None)

    def _last_request(self, gate: PlannedGate) -> LogEntry | None:
        """Give the last request that was replayed by now."""
        place = self._cursor().place
        behind = self._tape.entries[place].seq if place < len(self._tape) else 2**53
        return max((e for e in self._requests(gate) if e.seq < behind), key=lambda e: e.seq, default=None)


class GuardPermit(RecordedPermit):
    """The same, as it is asked in front of each change: a gate may have closed since it opened."""

    asks: dict[int, str]
    """By thread, the step that it asks for."""

    def _then(self, gate: PlannedGate, now: datetime) -> Verdict | None:
        path = self.asks.get(threading.get_ident(), "")
        tripped = next(self._cursor().coming(Lane(path, GUARDED)), None)
        if (
            tripped is None
            or not isinstance(tripped.body, kinds.GuardTripped)
            or tripped.body.guard != "gate"
        ):
            return None
        before = (entry for entry in self._cursor().left() if entry.seq < tripped.seq)
        begun = any(e.kind is Kind.STEP_INTENT and step_of(e.step) == path for e in before)
        return None if begun else self._tripped(tripped.body.reason, tripped, now)

    def _opened(self, gate: PlannedGate) -> Open | None:
        """Nothing tripped in front of this change: the gate was open."""
        told = self._told.get(gate.path, ())
        last = next((e.body for e in reversed(told) if isinstance(e.body, kinds.GateOpened)), None)
        return Open((), last.by, last.because) if last is not None else None

    def _tripped(self, reason: str, tripped: LogEntry, now: datetime) -> Verdict:
        """Say how the gate stood when a guard tripped: closed for good, or waiting for something to pass."""
        detail = reason.partition("is not open any more: ")[2] or reason
        for entry in self._cursor().left():
            if (
                entry.seq > tripped.seq
                and isinstance(entry.body, kinds.RunWaiting)
                and entry.body.on == "gate"
            ):
                return Waiting({}, now, (detail.removeprefix("it needs "),))
            if entry.seq > tripped.seq and isinstance(entry.body, kinds.GateClosed):
                return Closed(ClosedBy.VOID, detail)
        return Closed(ClosedBy.VOID, detail)


class AskingGuard(Guard):
    """The guard, which lets its permit know which step asks."""

    asks: dict[int, str]

    def check(self, path: str, *, changes: bool) -> None:
        """Refuse the effect of a step; see `Guard.check`."""
        self.asks[threading.get_ident()] = path
        super().check(path, changes=changes)


def is_linked(entries: Iterable[LogEntry]) -> bool:
    """Say whether a run was part of a change record: who approved that is not on record of the run."""
    return any(isinstance(entry.body, kinds.ChangeLinked) for entry in entries)


def _may_stand_for(then: Verdict, today: Verdict, *, linked: bool, few: bool) -> bool:
    """Say whether the rules of then, which are not on record, may be why a gate was not open.

    That what was asked was void hangs on these rules alone, and that it was rejected perhaps on a change record. Where
    too few people had agreed, or somebody had rejected, that is why, and no rule is needed to say so.
    """
    if isinstance(then, Closed) and (then.by is ClosedBy.VOID or (linked and then.by is ClosedBy.REJECTED)):
        return True
    told = few or (isinstance(then, Closed) and then.by is ClosedBy.REJECTED)
    return (isinstance(today, Open) and not told) or (
        isinstance(today, Closed) and today.by is ClosedBy.REJECTED
    )


def _too_few(votes: Iterable[Vote], digest: str, terms: Terms) -> bool:
    """Say whether fewer people have agreed to something than were asked, whoever they are: each fills one place."""
    last = {vote.person: vote.decision for vote in votes if vote.digest == digest}
    agreed = sum(decision is Decision.APPROVED for decision in last.values())
    return agreed < sum(need.count for need in terms.approvals) + terms.freeze_override


def _is_expired(verdict: Verdict | None) -> bool:
    return isinstance(verdict, Closed) and verdict.by is ClosedBy.EXPIRED


_TOLD: Final = (kinds.GateRequested, kinds.GateOpened, kinds.GateEscalated, kinds.GateClosed)


def gates_told(entries: Iterable[LogEntry]) -> dict[str, list[LogEntry]]:
    """Give what workers recorded of each gate, by its path."""
    told: dict[str, list[LogEntry]] = {}
    for entry in entries:
        if isinstance(entry.body, _TOLD):
            told.setdefault(entry.step, []).append(entry)
    return told


def people_of(entries: Iterable[LogEntry]) -> People:
    """Give everybody who decided something in a run, in the roles in which they did."""
    roles: dict[str, set[str]] = {}
    shared = set()
    for entry in entries:
        auth = entry.actor.auth
        if auth.startswith(CLAIMED):
            shared.add(auth.removeprefix(CLAIMED))
        if isinstance(entry.body, kinds.GateDecided):
            own = roles.setdefault(entry.actor.id, set())
            own.add(FREEZE_ROLE if entry.body.purpose == "freeze_override" else entry.body.role)
            own.add(entry.body.role)
    known = {name: Person(name, name, frozenset(own)) for name, own in roles.items()}
    return People(by_id=known, file="the record", shared=frozenset(shared))


def terms_of(gate: PlannedGate, told: Iterable[LogEntry], asked: LogEntry | None) -> Terms:
    """Give the terms of a request, as far as it says them.

    Arguments:
        told: what is on record of the gate.
        asked: the request; None where there is none, and the runbook's own terms stand alone.
    """
    if asked is None or not isinstance(asked.body, kinds.GateRequested):
        return Terms(approvals=gate.approvals, expires_ms=gate.expires_ms, on_timeout=gate.on_timeout)
    body = asked.body
    return Terms.model_validate(
        {
            "approvals": tuple(Needed(role=one.role, count=one.count) for one in body.approvals),
            "change": _change(asked, body, told),
            "freeze_override": body.freeze_override,
            "signed": body.signed,
            "expires_ms": _expires_ms(gate, asked, body),
            "on_timeout": OnTimeout(body.on_timeout),
            "escalation": _escalation(told, body.escalation),
            "because": body.because,
        }
    )


_CHANGES: Final = frozenset({"none", "standard", "normal", "emergency"})


def _expires_ms(gate: PlannedGate, asked: LogEntry, body: kinds.GateRequested) -> int:
    """Give how long a gate waits: the request says until when, by a clock that was read just before."""
    length = read_moment(body.expires_at) - asked.ts
    own = timedelta(milliseconds=gate.expires_ms)
    if own - _SLACK <= length <= own:
        return gate.expires_ms
    return max(1000, round(length.total_seconds()) * 1000)


def _change(asked: LogEntry, body: kinds.GateRequested, told: Iterable[LogEntry]) -> str:
    """Give the kind of change record that was needed. The author's word for one asks for no record by itself."""
    later = (e.body for e in told if e.seq > asked.seq)
    opened = next((one for one in later if isinstance(one, kinds.GateOpened | kinds.GateRequested)), None)
    by_policy = isinstance(opened, kinds.GateOpened) and opened.by == "policy"
    return body.change if body.change in _CHANGES and not by_policy else "none"


def _escalation(told: Iterable[LogEntry], count: int) -> tuple[str, ...]:
    """Give who is asked besides, one after the other; who was never asked has no name in the record."""
    named = {body.round: body.to for body in (e.body for e in told) if isinstance(body, kinds.GateEscalated)}
    return tuple(named.get(number, "a role that was not asked") for number in range(1, count + 1))


class PlayedPermit:
    """What the gates of a changed plan ask for: what their runbook says, and what the rules of then said besides.

    Arguments:
        tape: the record.
        pairs: which step is which.
        clock: the moment.
    """

    def __init__(self, tape: Tape, pairs: Pairs, clock: Callable[[], datetime]) -> None:
        self._pairs, self._clock = pairs, clock
        self._told = gates_told(tape.entries)
        self._people = people_of(tape.entries)
        self._linked, self._assumes = is_linked(tape.entries), False

    def know(self, person: Person) -> None:
        """Let somebody count who is not in the record."""
        self._people = replace(self._people, by_id={**self._people.by_id, person.id: person})
        self._assumes = True

    def terms(self, gate: PlannedGate) -> Terms:
        """Give what a gate asks for."""
        own = terms_of(gate, (), None)
        was = self._pairs.was(gate.path)
        told = self._last_round(gate)
        asked = next(iter(told), None)
        if was is None or asked is None or not isinstance(was.node, PlannedGate):
            return own
        then = terms_of(was.node, told, asked)
        rules = then.model_copy(update={"approvals": _besides(was.node, then)})
        expires = own.expires_ms if then.expires_ms == was.node.expires_ms else then.expires_ms
        late = own.on_timeout if then.on_timeout == was.node.on_timeout else then.on_timeout
        approvals = _joined(gate.approvals, rules.approvals)
        changes = {"approvals": approvals, "expires_ms": expires, "on_timeout": late}
        return rules.model_copy(update=changes)

    def _last_round(self, gate: PlannedGate) -> list[LogEntry]:
        """Give what is on record of the last time that the gate was asked then."""
        was = self._pairs.was(gate.path)
        told = self._told.get(was.path, []) if was is not None else []
        asked = [n for n, entry in enumerate(told) if isinstance(entry.body, kinds.GateRequested)]
        return told[asked[-1] :] if asked else []

    def verdict(self, gate: PlannedGate, state: RunState) -> Verdict:
        """Say how a gate stands, by what people said."""
        terms = self.terms(gate)
        change = ChangeStanding(ref="of then") if terms.change != "none" else None
        request = request_of(gate, Known(terms, by_policy=True, change=change), state)
        now = self._clock()
        today = check_gate(request, state.gates[gate.path].votes, self._people, now=now)
        then = self._then(gate, now)
        if then is not None and _may_stand_for(then, today, linked=self._linked, few=self._few(gate, state)):
            return then
        opened = (e.body for e in self._last_round(gate) if isinstance(e.body, kinds.GateOpened))
        by = next(opened, None) if self._linked and not isinstance(today, Open) else None
        return Open((), by.by, by.because) if by is not None else today

    def _then(self, gate: PlannedGate, now: datetime) -> Verdict | None:
        """Give how the gate stood in the end, where it did not open although people agreed: rules of then said no."""
        told = self._last_round(gate)
        if self._assumes or not told or any(isinstance(entry.body, kinds.GateOpened) for entry in told):
            return None
        closed = next((entry.body for entry in told if isinstance(entry.body, kinds.GateClosed)), None)
        if closed is not None:
            return Closed(ClosedBy(closed.reason), closed.detail)
        return Waiting({}, now, ("what the rules of then asked for",))

    def _few(self, gate: PlannedGate, state: RunState) -> bool:
        """Say whether fewer people agreed then than were asked then."""
        was, asked = self._pairs.was(gate.path), next(iter(self._last_round(gate)), None)
        if self._linked or was is None or asked is None or not isinstance(was.node, PlannedGate):
            return False
        now = state.gates[gate.path]
        return _too_few(now.votes, now.digest, terms_of(was.node, (), asked))

    def asked(self, gate: PlannedGate, state: RunState) -> None:
        """Make no change record."""

    def ungated(self) -> str:
        """Ask for nothing: what the rules of now would ask is not known here."""
        return ""


def _besides(gate: PlannedGate, terms: Terms) -> tuple[Needed, ...]:
    """Give what was asked besides what the runbook asks."""
    own = {need.role: need.count for need in gate.approvals}
    return tuple(need for need in terms.approvals if need.count > own.get(need.role, 0))


def _joined(one: Iterable[Needed], other: Iterable[Needed]) -> tuple[Needed, ...]:
    """Give every role with the larger count."""
    counts: dict[str, int] = {}
    for need in (*one, *other):
        counts[need.role] = max(need.count, counts.get(need.role, 0))
    return tuple(Needed(role=role, count=count) for role, count in counts.items())
