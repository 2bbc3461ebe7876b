"""What a run needs of people now, and what whoever looks may do about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from mimrun.app.boards import asked_of
from mimrun.app.breakglass.glass import GlassView, glass_view
from mimrun.app.decisions import PendingGate, pending_gate
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.locks import list_locks
from mimrun.app.manual_steps import (
    PendingManual,
    does_it,
    pending_manual,
    why_not_second,
    why_not_work,
)
from mimrun.app.persons import require_known, why_not
from mimrun.app.resolving import doubts, meanings
from mimrun.app.runs import Known, RunView
from mimrun.app.shown.board import Board
from mimrun.app.shown.gate import needs_of
from mimrun.app.shown.manual import instructions_of, standing
from mimrun.app.shown.tone import Tone
from mimrun.errors import GateError, LogError, MimrunError
from mimrun.gate.approval import Closed, Open, Waiting
from mimrun.log.kinds import StepEvidence
from mimrun.run.record.manual_state import ManualStatus
from mimrun.run.record.state import CellKey
from mimrun.run.record.transitions import TERMINAL
from mimrun.run.record.wish import Level
from mimrun.runbook.model import Evidence, Risk

DOUBTS: Final = 10
"""So many doubts are asked about at once."""
_PEOPLE: Final = 50


@dataclass(frozen=True, slots=True)
class GateBrief:
    """The gate that a run waits at, in short.

    Arguments:
        stands: `open`, `waiting` or `closed`.
        says: who or what is missing, or why it stands so.
    """

    name: str
    stands: str
    says: str
    needs: str
    until: datetime


@dataclass(frozen=True, slots=True)
class EvidenceField:
    """Something that a person leaves as evidence."""

    name: str
    type: str
    required: bool
    help: str


@dataclass(frozen=True, slots=True)
class ByHand:
    """The manual step that a run waits for.

    Arguments:
        says: how it stands, a line each with its tone.
        items: of the checklist: number, text, ticked.
        may: what whoever looks may do: `claim`, `take`, `release`, `hand-over`, `check`, `attest`, `confirm`.
        why_not: why they may not do it, or confirm it.
        others: to whom it can be handed: id and name.
    """

    name: str
    role: str
    instructions: str
    says: tuple[tuple[str, Tone], ...]
    items: tuple[tuple[int, str, bool], ...]
    fields: tuple[EvidenceField, ...]
    second: str
    may: frozenset[str]
    why_not: str
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """A step of which a person must say what became of it.

    Arguments:
        number: tells its form from the others.
        answers: what may be said, and what each means here.
        late: what came of it after its worker had lost the run, if anything did.
        proposal: what a first person said, or "".
        why_not: why whoever looks may not say it.
    """

    number: int
    step: str
    name: str
    target: str
    reason: str
    answers: Mapping[str, str]
    late: tuple[str, ...] = ()
    proposal: str = ""
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run needs.

    Arguments:
        what: `begin`, `glass`, `gate`, `manual`, `doubt`, `lock`, `pause`, `killswitch`, `interrupted`, `problem`, or ""
            where it needs nobody.
        says: in words.
        wish: what somebody wants of it: `pause`, `cancel`, `abort`, or "".
        stops: what can still be asked for: `pause`, `cancel`, `abort`.
        why_not_resume: why whoever looks may not let it go on; "" where they may.
    """

    what: str
    says: str = ""
    gate: GateBrief | None = None
    by_hand: ByHand | None = None
    doubts: tuple[Doubt, ...] = ()
    more_doubts: int = 0
    two_people: bool = False
    locks: tuple[tuple[str, str, str], ...] = ()
    glass: GlassView | None = None
    wish: str = ""
    wish_reason: str = ""
    stops: tuple[str, ...] = ()
    why_not_resume: str = ""
    key: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a run's board says what it needs, taken while somebody held it: to ask the rules may take a while.

    Arguments:
        known: its gates and manual steps; None where its plan was erased.
        doubts: the first of what is in doubt, and `more_doubts` how many there are besides.
    """

    known: Known | None
    doubts: tuple[Doubt, ...] = ()
    more_doubts: int = 0


def asked_by(home: Home, board: Board) -> Asked:
    """Take from a board what says what its run needs."""
    found = doubts(board.state)
    shown = (_doubt(home, board, number, key) for number, key in enumerate(found[:DOUBTS], 1))
    return Asked(asked_of(board), tuple(shown), max(len(found) - DOUBTS, 0))


def needs_of_run(home: Home, identity: Identity, view: RunView, asked: Asked) -> Needs:
    """Say what a run needs now; what cannot be told is told as that."""
    try:
        found = _Looking(home, identity, view, asked).needs()
    except MimrunError as exc:
        found = Needs("problem", str(exc))
    key = hashlib.sha256(repr(found).encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return replace(found, key=key)


@dataclass(frozen=True, slots=True)
class _Looking:
    home: Home
    identity: Identity
    view: RunView
    asked: Asked

    def needs(self) -> Needs:
        summary, status = self.view.summary, self.view.status
        if summary.status in TERMINAL:
            return Needs("")
        match status, summary.waits_on:
            case "waiting", "gate":
                found = Needs("gate", gate=self._gate())
            case "waiting", "manual":
                found = Needs("manual", by_hand=self._by_hand())
            case "waiting", "lock":
                found = Needs("lock", summary.reason, locks=tuple(self._locks()))
            case "waiting", on:
                found = Needs(on, summary.reason)
            case "in_doubt", _:
                found = self._doubts()
            case "interrupted", _:
                found = Needs("interrupted")
            case "created", _:
                glass = glass_view(self.home, summary.run)
                waits = glass is not None and glass.glass.missing
                found = Needs("glass" if waits else "begin", glass=glass) if not self.view.held else Needs("")
            case _:
                found = Needs("")
        return self._stopping(found)

    def _stopping(self, found: Needs) -> Needs:
        """Add what somebody wants of the run, and what can still be asked for."""
        wish = self.view.summary.wish
        left = [level for level in (Level.PAUSE, Level.CANCEL, Level.ABORT) if level > wish.level]
        if self.view.status in ("waiting", "in_doubt", "created", "interrupted"):
            left = [level for level in left if level is not Level.PAUSE]
        paused = wish.level is Level.PAUSE
        return replace(
            found,
            wish=wish.level.name.lower() if wish.level else "",
            wish_reason=wish.reason,
            stops=tuple(level.name.lower() for level in left),
            why_not_resume=_refusal(self.home, self.identity, "let a paused run go on") if paused else "",
        )

    def _gate(self) -> GateBrief:
        pending = pending_gate(self.home, self.view.summary.run, known=self.asked.known)
        stands, says = _standing(pending)
        return GateBrief(pending.node.name, stands, says, needs_of(pending.request), pending.request.until)

    def _by_hand(self) -> ByHand:
        pending = pending_manual(self.home, self.view.summary.run, known=self.asked.known)
        state, node = pending.state, pending.node
        second = state.status is ManualStatus.ATTESTED and bool(state.second)
        refusal = why_not_second if second else why_not_work
        why = refusal(self.home, pending, self.identity)
        return ByHand(
            node.name,
            node.role or "",
            instructions_of(self.home, state),
            tuple(standing(state, self.home.clock())),
            tuple((number, item, number in state.ticked) for number, item in enumerate(state.checklist, 1)),
            tuple(_field(name, wanted) for name, wanted in node.evidence.items()),
            state.second,
            frozenset() if why else frozenset(self._acts(pending, second=second)),
            why,
            self._others(pending),
        )

    def _acts(self, pending: PendingManual, *, second: bool) -> Sequence[str]:
        state = pending.state
        if second:
            return ("confirm", "dispute")
        if state.attested:
            return ()
        if state.holder and not does_it(self.home, pending, self.identity):
            return ("take",)
        if not state.holder:
            return ("claim", "hand-over", "check", "attest")
        taken = state.at_work_since is not None
        return (*(() if taken else ("claim",)), "release", "hand-over", "check", "attest")

    def _others(self, pending: PendingManual) -> tuple[tuple[str, str], ...]:
        role, now = pending.node.role, self.home.clock()
        people = self.home.people(pending.team).by_id.values()
        fit = [one for one in people if (not role or role in one.roles) and not why_not(one, now)]
        others = sorted((one.id, one.name) for one in fit if one.id != self.identity.person.id)
        return tuple(others[:_PEOPLE])

    def _locks(self) -> Sequence[tuple[str, str, str]]:
        needed = set(self.asked.known.plan.locks) if self.asked.known is not None else set()
        held = (one for one in list_locks(self.home) if one.resource in needed)
        own = self.view.summary.run
        return [(one.resource, one.holding.holder, one.why) for one in held if one.holding.holder != own]

    def _doubts(self) -> Needs:
        if not self.asked.doubts:
            return Needs("interrupted", "nothing is in doubt any more")
        why = _refusal(self.home, self.identity, "settle a doubt")
        return Needs(
            "doubt",
            doubts=tuple(replace(one, why_not=why) for one in self.asked.doubts),
            more_doubts=self.asked.more_doubts,
            two_people=self.view.summary.risk == Risk.HIGH,
        )


def _doubt(home: Home, board: Board, number: int, key: CellKey) -> Doubt:
    state = board.state
    proposal, node = state.proposals.get(key), board.nodes.get(key.step)
    said = ""
    if proposal is not None:
        said = f"{proposal.by} said {proposal.resolution.replace('_', ' ')}: {proposal.reason}"
    return Doubt(
        number,
        key.step,
        node.name if node is not None else "",
        key.target,
        state.cell(key).reason,
        {str(word): meaning for word, meaning in meanings(state, key).items()},
        tuple(_late(home, board, key)),
        said,
    )


def _late(home: Home, board: Board, key: CellKey) -> Sequence[str]:
    """Say what came after the worker had lost the run."""
    found = []
    for seq in board.entries.get((key.step, key.target), ())[-20:]:
        try:
            entry = home.store.entry(seq)
        except LogError:
            continue
        if isinstance(entry.body, StepEvidence) and entry.body.iteration == key.iteration:
            found.append(f"entry {seq}: {entry.body.status}: {entry.body.reason or 'no reason given'}")
    return found


def _refusal(home: Home, identity: Identity, what: str) -> str:
    try:
        require_known(home, identity, what)
    except GateError as exc:
        return str(exc)
    return ""


def _standing(pending: PendingGate) -> tuple[str, str]:
    match pending.verdict:
        case Open(approvers):
            return "open", ", ".join(approvers) or pending.verdict.because
        case Waiting():
            return "waiting", pending.verdict.needs
        case Closed(_, detail):
            return "closed", detail


def _field(name: str, wanted: Evidence) -> EvidenceField:
    return EvidenceField(name, wanted.type.value, wanted.required, wanted.help)
