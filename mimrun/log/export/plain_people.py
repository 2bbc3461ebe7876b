"""What people decide, do by hand, say of an incident, and are told: its sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from mimrun.log.entry import LogEntry
from mimrun.log.export.telling import Names, at, big, count, on, pick, short, span, who, why
from mimrun.log.kinds import Kind

_HOW: Final = {
    "fixed": "it is fixed",
    "workaround": "there is a way around it",
    "no_fault": "nothing was wrong",
    "duplicate": "it is the same as another incident",
    "vendor": "a supplier has mended it",
    "change_backed_out": "the change that caused it was taken back",
}
_OPENED: Final = {
    "approvals": "people agreed",
    "policy": "the policy asks nobody",
    "standard_change": "a standard change allows it",
    "break_glass": "somebody broke the glass",
}
_LINKED: Final = {
    "parent": "this incident is part of",
    "child": "part of this incident is",
    "duplicate": "this incident is the same as",
    "record": "to this incident belongs the record",
}
_TIMED: Final = {
    "started": "It began",
    "detected": "It was noticed",
    "acknowledged": "Somebody took it up",
    "restored": "Service was back",
}
_ENDED: Final = {"exit": "it was left with {}", "left": "the person left", "lost": "the connection was lost"}


def _requested(e: LogEntry, b: Any, n: Names) -> str:
    needs = [f"{need.count} x {need.role}" for need in b.approvals]
    needs += [f"a change record ({b.change})"] if b.change not in ("", "none") else []
    needs += ["a freeze approver"] if b.freeze_override else []
    asks = f"asks for {', '.join(needs)} until {at(b.expires_at)}" if needs else "asks for nobody"
    return f"The gate at {n.step(e)} {asks}"


def _decided(e: LogEntry, b: Any, n: Names) -> str:
    brought = f", brought by {b.brought_by}" if b.brought_by else ""
    if b.purpose == "freeze_override":
        what = f"{b.decision} {n.step(e)} although a calendar is closed"
    elif b.decision == "withdrawn":
        what = f"took back their approval of {n.step(e)}"
    else:
        what = f"{b.decision} {n.step(e)}"
    return f"{who(e)} {what}, as {b.role}{brought}{why(b.reason)}"


def _assessed(e: LogEntry, b: Any, _: Names) -> str:
    services = f", {', '.join(b.services)}" if b.services else ""
    flags = f", {', '.join(b.flags)}" if b.flags else ""
    told = f"impact {b.impact}, urgency {b.urgency}{services}{flags}"
    return f"{who(e)} says how bad it is: {b.severity}, {b.priority} ({told}){why(b.reason)}"


def _assigned(e: LogEntry, b: Any, _: Names) -> str:
    role = b.role.replace("_", " ")
    return (
        f"{b.person} is {role} now, says {who(e)}"
        if b.person
        else f"Nobody is {role} any more, says {who(e)}"
    )


def _staged(e: LogEntry, b: Any, _: Names) -> str:
    if b.verified:
        return f"It is contained since {at(b.contained_at)}, as entry {b.verified} shows, says {who(e)}{why(b.reason)}"
    return f"It is in {b.stage} now, says {who(e)}{why(b.reason)}"


def _attested(e: LogEntry, b: Any, n: Names) -> str:
    took = f" after {span(b.active_ms)} of work" if b.active_ms else ""
    done = "is done" if b.outcome == "done" else "cannot be done"
    return f"{who(e)} signed that {n.step(e)} {done}{took}{why(b.reason)}"


def _manual(e: LogEntry, b: Any, n: Names) -> str:
    second = f", and {b.second} must confirm it" if b.second else ""
    return f"{big(n.step(e))} is to be done by hand, by {b.role}{second}"


def _sent(_: LogEntry, b: Any, __: Names) -> str:
    return (
        f"{big(b.audience)} was told over {b.channel}: {b.event.replace('_', ' ')}"
        if b.done
        else f"{big(b.audience)} could not be told over {b.channel}{why(b.reason)}"
    )


PEOPLE: Final[Mapping[Kind, Callable[[LogEntry, Any, Names], str]]] = MappingProxyType(
    {
        Kind.INCIDENT_OPENED: lambda e, b, _n: f"{who(e)} opened the incident: {b.title}",
        Kind.INCIDENT_NOTE: lambda e, _b, _n: f"{who(e)} noted",
        Kind.INCIDENT_ATTACHED: lambda e, b, _n: f"{who(e)} attached {b.name} ({b.size} bytes)",
        Kind.INCIDENT_PRIORITIZED: lambda e, b, _n: f"{who(e)} declared it {b.priority}{why(b.reason)}",
        Kind.INCIDENT_ASSESSED: _assessed,
        Kind.INCIDENT_ASSIGNED: _assigned,
        Kind.INCIDENT_STAGED: _staged,
        Kind.INCIDENT_RESOLVED: lambda e, b, _n: (
            f"{who(e)} says that it is resolved: {pick(_HOW, b.how)}"
            + (f", cause {b.cause}" if b.cause else "")
            + (f"; service was back at {at(b.restored_at)}" if b.restored_at else "")
        ),
        Kind.INCIDENT_CLOSED: lambda e, b, _n: f"{who(e)} closed the incident{why(b.reason)}",
        Kind.INCIDENT_REOPENED: lambda e, b, _n: f"{who(e)} opened the incident again{why(b.reason)}",
        Kind.INCIDENT_TIMED: lambda e, b, _n: (
            f"{pick(_TIMED, b.what)} at {at(b.at)}, {'estimates' if b.source == 'estimate' else 'says'} {who(e)}{why(b.reason)}"
        ),
        Kind.INCIDENT_LINKED: lambda e, b, _n: f"{who(e)} says that {pick(_LINKED, b.relation)} {b.to}",
        Kind.REVIEW_ITEM_OPENED: lambda e, b, _n: (
            f"{who(e)} says what is to be done ({b.item}): {b.title}, by {b.owner}"
            + (f" until {b.due}" if b.due else "")
        ),
        Kind.REVIEW_ITEM_CLOSED: lambda e, b, _n: (
            f"{who(e)} says that {b.item} is {b.outcome}{why(b.reason)}"
        ),
        Kind.REVIEW_PUBLISHED: lambda e, b, _n: f"{who(e)} published the review ({short(b.digest)})",
        Kind.GATE_REQUESTED: _requested,
        Kind.GATE_DECIDED: _decided,
        Kind.GATE_OPENED: lambda e, b, n: (
            f"The gate at {n.step(e)} is open: {b.because or pick(_OPENED, b.by)}"
        ),
        Kind.GATE_CLOSED: lambda e, b, n: f"The gate at {n.step(e)} is closed, {b.reason}{why(b.detail)}",
        Kind.GATE_ESCALATED: lambda e, b, n: (
            f"Nobody decided in time at {n.step(e)}, so {b.to} is asked besides"
        ),
        Kind.BREAKGLASS_ASKED: lambda e, b, _n: (
            f"{who(e)} wants the run past its gates; {count(b.needs, 'person', 'people')} must{why(b.reason)}"
        ),
        Kind.BREAKGLASS_AGREED: lambda e, b, _n: f"{who(e)} wants the run past its gates, too{why(b.reason)}",
        Kind.BREAKGLASS_OPENED: lambda _e, b, _n: (
            f"The glass is broken: the run goes past its gates; {b.change} must tell why until {at(b.due_at)}"
        ),
        Kind.MANUAL_REQUESTED: _manual,
        Kind.MANUAL_CLAIMED: lambda e, _b, n: f"{who(e)} does {n.step(e)} now",
        Kind.MANUAL_RELEASED: lambda e, b, n: f"{who(e)} put {n.step(e)} down{why(b.reason)}",
        Kind.MANUAL_HANDED_OVER: lambda e, b, n: f"{who(e)} handed {n.step(e)} over to {b.to}{why(b.reason)}",
        Kind.MANUAL_CHECKED: lambda e, b, n: (
            f"{who(e)} ticked item {b.item} of {n.step(e)}"
            if b.done
            else f"{who(e)} unticked item {b.item} of {n.step(e)}"
        ),
        Kind.MANUAL_ATTESTED: _attested,
        Kind.MANUAL_CONFIRMED: lambda e, _b, n: f"{who(e)} confirmed that {n.step(e)} is done",
        Kind.MANUAL_DISPUTED: lambda e, b, n: f"{who(e)} says that {n.step(e)} is not done{why(b.reason)}",
        Kind.MANUAL_REPORTED: lambda e, b, _n: f"{who(e)} did by hand{on(e)}: {b.title}",
        Kind.SHELL_OPENED: lambda e, b, _n: f"{who(e)} opened a shell{on(e)} as {b.account}{why(b.reason)}",
        Kind.SHELL_RECORDED: lambda e, b, _n: (
            f"What the shell{on(e)} showed until {span(b.until_ms)} is on record"
        ),
        Kind.SHELL_CLOSED: lambda e, b, _n: (
            f"The shell{on(e)} is over after {span(b.dur_ms)}: {pick(_ENDED, b.ended).format(b.status)}{why(b.reason)}"
        ),
        Kind.NOTICE_SENDING: lambda _e, b, _n: (
            f"{big(b.audience)} is told over {b.channel}: {b.event.replace('_', ' ')}"
        ),
        Kind.NOTICE_SENT: _sent,
    }
)
"""The sentences of decisions, work by hand, messages, and of what is said of the incident itself."""
