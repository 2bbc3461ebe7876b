"""A gate on its page: what would run and where, what can be taken back, what is asked and why, who has said what."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from mimrun.app.change.facts import changes_of, linked_state
from mimrun.app.decisions import PendingGate, pending_gate, why_not_decide
from mimrun.app.explaining import Line, explain_run
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.runs import Known, RunView, find_run
from mimrun.app.shown.gate import Fact, change_kind, needs_of, standing_facts, terms_facts
from mimrun.app.shown.plan import Section, named, segment_steps
from mimrun.app.shown.plan_facts import way_back
from mimrun.app.withdrawal import why_not_withdraw
from mimrun.errors import ErasedError, InputError, MimrunError, RefusedError, TamperError
from mimrun.gate.approval import Closed, Open, Verdict, Waiting
from mimrun.gate.change_link import change_of
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.run.record.state import GateState, RunState
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.batch import together
from mimrun.runbook.node import PlannedGate
from mimrun.runbook.plan import Plan, Segment

_TARGETS: Final = 60
"""So many targets are named at once."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something that was said or came about at a gate."""

    at: datetime
    seq: int
    word: str
    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class May:
    """What whoever looks may do, and why not.

    Arguments:
        approve, reject, override, withdraw: why they may not; "" where they may.
    """

    approve: str
    reject: str
    override: str
    withdraw: str


@dataclass(frozen=True, slots=True)
class GatePage:
    """A gate.

    Arguments:
        stands: `open`, `waiting`, `closed`, or `over` where it is not asked any more.
        until: until when it can be decided, while it waits.
        back, final: steps that can be taken back, and that cannot.
        freeze: it asks for somebody who overrides a freeze.
        needs_change: it asks for a change record that allows it.
        why: which rules this comes from, and what would open it.
        gone: why what was asked cannot be shown, or "".
        pending: the question, while it is asked.
    """

    view: RunView
    plan: Plan
    node: PlannedGate
    stands: str
    digest: str
    needs: str
    change_kind: str
    until: datetime | None
    targets: str
    more_targets: int
    sections: tuple[Section, ...]
    back: tuple[str, ...]
    final: tuple[str, ...]
    facts: tuple[Fact, ...]
    standing: tuple[Fact, ...]
    history: tuple[Said, ...]
    why: tuple[Line, ...]
    change: tuple[Fact, ...]
    freeze: bool = False
    signed: bool = False
    needs_change: bool = False
    gone: str = ""
    pending: PendingGate | None = None

    @property
    def key(self) -> str:
        """Tells whether something about it is different from what somebody has before them."""
        last = self.history[-1].seq if self.history else 0
        told = repr((self.stands, self.digest, last, self.standing, self.change))
        return hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:16]

    @property
    def past_it(self) -> str:
        """The command for the same run past its gates, where nobody can be waited for; "" where there is none."""
        if self.pending is None or self.plan.undo_of or self.plan.retry_of:
            return ""
        ref, given = self.plan.runbook, (_given(name, value) for name, value in self.plan.inputs.items())
        words = (
            "mimrun",
            "run",
            f"{ref.name}@{ref.version}",
            *given,
            "--incident",
            self.view.summary.incident,
        )
        return f'{shlex.join(words)} --break-glass "why it cannot wait"'


def _given(name: str, value: JsonValue) -> str:
    """Write an input as the command line takes it."""
    if isinstance(value, Mapping) and isinstance(secret := value.get("secret"), str):
        return f"{name}={secret}"
    return f"{name}={value}" if isinstance(value, str) else f"{name}:={json.dumps(value)}"


def gate_page(home: Home, run: str, known: Known, at: str = "") -> GatePage:
    """Give the gate that a run waits at, or one that it came to before.

    Arguments:
        known: what is known of the run.
        at: the path of the gate; "" for the one that it waits at, or came to last.

    Raises:
        InputError: there is no such run, or it has come to no gate.
    """
    view = find_run(home, run)
    summary = view.summary
    if summary.waits_on == "gate" and summary.status not in TERMINAL and at in ("", summary.waits_at):
        return _asked(home, pending_gate(home, summary.run, known=known), known)
    state, plan = known.state, known.plan
    path = at or max(state.gates, key=lambda one: state.gates[one].request, default="")
    if path not in state.gates:
        raise InputError(f"{summary.run} has come to no gate{' ' + at if at else ''}")
    return _before(home, view, state, plan, path)


def may_of(home: Home, page: GatePage, identity: Identity, known: Known) -> May:
    """Say what whoever looks may do at a gate."""
    run, pending = page.view.summary.run, page.pending
    withdraw = why_not_withdraw(home, run, identity, known=known)
    if pending is None:
        over = "it is not asked any more"
        return May(over, over, over, withdraw)
    override = why_not_decide(home, pending, identity, "approved", purpose="freeze_override")
    return May(
        why_not_decide(home, pending, identity, "approved"),
        why_not_decide(home, pending, identity, "rejected"),
        override if page.freeze else "nothing is frozen",
        withdraw,
    )


def _asked(home: Home, pending: PendingGate, known: Known) -> GatePage:
    run, request = pending.run.summary.run, pending.request
    try:
        why = explain_run(home, run, known=known).lines
    except MimrunError as exc:
        why = (Line("note", str(exc)),)
    back, final = way_back(together(pending.segment.nodes))
    names = [target.name for target in pending.plan.targets]
    return GatePage(
        view=pending.run,
        plan=pending.plan,
        node=pending.node,
        stands=_stands(pending.verdict),
        digest=request.digest,
        needs=needs_of(request),
        change_kind=change_kind(pending),
        until=request.until,
        targets=named(names[:_TARGETS]),
        more_targets=max(len(names) - _TARGETS, 0),
        sections=segment_steps(pending.plan, pending.segment),
        back=tuple(back),
        final=tuple(final),
        facts=tuple(terms_facts(pending)),
        standing=tuple(standing_facts(pending.verdict)),
        history=tuple(_history(home, run, pending.node.path)),
        why=tuple(line for line in why if line.about in ("rule", "open", "note")),
        change=tuple(_change(home, run, pending.plan)),
        freeze=request.terms.freeze_override,
        signed=request.terms.signed,
        needs_change=request.terms.change != "none",
        pending=pending,
    )


def _before(home: Home, view: RunView, state: RunState, plan: Plan, path: str) -> GatePage:
    """Give a gate that is not asked any more."""
    node, asked, run = plan.node(path), state.gates[path], view.summary.run
    assert isinstance(node, PlannedGate)
    segment, gone = _segment(home, asked)
    back, final = way_back(together(segment.nodes)) if segment is not None else ([], [])
    names = [target.name for target in plan.targets]
    ended = f"closed: {asked.detail}" if asked.closed else f"opened by {asked.opened_by or 'approvals'}"
    needs = asked.question.approvals if asked.question is not None else frozenset()
    return GatePage(
        view=view,
        plan=plan,
        node=node,
        stands="closed" if asked.closed else "open" if asked.opened else "over",
        digest=asked.digest,
        needs=", ".join(f"{count} {role}" for role, count in sorted(needs)) or "nobody's approval",
        change_kind=asked.question.change if asked.question is not None else "none",
        until=None,
        targets=named(names[:_TARGETS]),
        more_targets=max(len(names) - _TARGETS, 0),
        sections=segment_steps(plan, segment) if segment is not None else (),
        back=tuple(back),
        final=tuple(final),
        facts=(),
        standing=(Fact("ended", ended if asked.closed or asked.opened else "it was not decided"),),
        history=tuple(_history(home, run, path)),
        why=(),
        change=tuple(_change(home, run, plan)),
        gone=gone,
    )


def _segment(home: Home, asked: GateState) -> tuple[Segment | None, str]:
    """Read what a gate was asked for; where that is gone, why."""
    try:
        data = home.store.blob(home.store.entry(asked.request), "segment")
    except ErasedError as exc:
        return None, str(exc)
    segment = Segment.decode(data or b"{}")
    if segment.digest != asked.digest:
        raise TamperError(f"entry {asked.request}: the steps on record are not those that the gate asks for")
    return segment, ""


def _stands(verdict: Verdict) -> str:
    match verdict:
        case Open():
            return "open"
        case Waiting():
            return "waiting"
        case Closed():
            return "closed"


def _change(home: Home, run: str, plan: Plan) -> Iterator[Fact]:
    """Give what is known of the change record of a run."""
    link = change_of(home.store, run)
    if not link.is_linked:
        return
    yield Fact("record", f"{link.name}{' ' + link.url if link.url else ''}", "place")
    try:
        reading = changes_of(home).read(link, plan)
    except (RefusedError, MimrunError) as exc:
        yield Fact("cannot be read", str(exc), "danger")
        return
    record = reading.record
    if record is None:
        yield Fact("cannot be read", reading.problem, "danger")
        return
    yield Fact("stands", linked_state(record))
    if record.window is not None:
        yield Fact(
            "planned", f"{record.window.start:%Y-%m-%d %H:%M} to {record.window.end:%Y-%m-%d %H:%M} UTC"
        )
    for vote in record.votes:
        reason = f": {vote.reason}" if vote.reason else ""
        yield Fact("approver", f"{vote.account}: {vote.decision or 'not decided'}{reason}")
    for conflict in record.conflicts:
        other = f" with {conflict.with_}" if conflict.with_ else ""
        yield Fact("conflict", f"{conflict.type}{other}", "care")
    if record.backout:
        yield Fact("backout", record.backout)


def _history(home: Home, run: str, path: str) -> Iterator[Said]:
    wanted = {
        body.kind
        for body in (
            kinds.GateRequested,
            kinds.GateDecided,
            kinds.GateOpened,
            kinds.GateClosed,
            kinds.GateEscalated,
        )
    }
    for entry in home.store.entries(run=run, kinds=wanted):
        if entry.step == path:
            yield _said(entry)


def _said(entry: LogEntry) -> Said:
    match entry.body:
        case kinds.GateRequested() as body:
            return Said(entry.ts, entry.seq, "asked", f"asked for {body.digest[7:19]}")
        case kinds.GateDecided() as body:
            what = "freeze override " if body.purpose == "freeze_override" else ""
            brought = f", brought by {body.brought_by}" if body.brought_by else ""
            signed = ", signed" if entry.actor.auth.startswith("ssh-key:") else ""
            text = f"{what}{body.decision} by {entry.actor.id} as {body.role}{signed}{brought}"
            return Said(entry.ts, entry.seq, body.decision, text, body.reason)
        case kinds.GateOpened() as body:
            return Said(entry.ts, entry.seq, "ok", f"opened by {body.by.replace('_', ' ')}", body.because)
        case kinds.GateClosed() as body:
            return Said(entry.ts, entry.seq, "rejected", f"closed: {body.reason}", body.detail)
        case kinds.GateEscalated() as body:
            return Said(
                entry.ts, entry.seq, "waiting", f"nobody decided in time; {body.to} may decide besides"
            )
        case _:
            return Said(entry.ts, entry.seq, "", entry.kind.value)
