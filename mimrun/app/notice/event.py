"""Events that people are told of, and what an entry of the log says of one: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from mimrun.incident.refused import GUARD as RULES_GUARD
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment
from mimrun.run.record.notices import Told


class NoticeEvent(StrEnum):
    """What people can be told of. The words stand in `notices.yaml`."""

    GATE_REACHED = "gate_reached"  #: a run waits for people to agree
    GATE_REMINDER = "gate_reminder"  #: it still does
    GATE_ESCALATED = "gate_escalated"  #: nobody decided in time, so others are asked besides
    GATE_DECIDED = "gate_decided"  #: somebody approved, rejected, or took their approval back
    GATE_CLOSED = "gate_closed"  #: the gate will not open for this any more
    IN_DOUBT = "in_doubt"  #: nobody knows whether a step happened: a person must say
    DOUBT_REMINDER = "doubt_reminder"  #: that is still so
    MANUAL_ASKED = "manual_asked"  #: a person is to do something by hand
    MANUAL_REMINDER = "manual_reminder"  #: it is still to be done
    BREAKGLASS = "breakglass"  #: somebody goes past the gates, or wants to
    KILLSWITCH = "killswitch"  #: somebody stopped everything
    RUN_ENDED = "run_ended"  #: a run is over
    RULE_FIRED = "rule_fired"  #: a rule has heeded alerts: it tells people, has launched a run, or could not do what it is for
    PROPOSED = "proposed"  #: a rule proposes a plan, which waits for somebody to launch it
    STORM = "storm"  #: more was asked for than rules may do: they only propose now
    RULES_REFUSED = "rules_refused"  #: a file of rules is wrong; what was good of it last stays in force


REMINDERS: Final[Mapping[NoticeEvent, NoticeEvent]] = {
    NoticeEvent.GATE_REACHED: NoticeEvent.GATE_REMINDER,
    NoticeEvent.GATE_ESCALATED: NoticeEvent.GATE_REMINDER,
    NoticeEvent.IN_DOUBT: NoticeEvent.DOUBT_REMINDER,
    NoticeEvent.MANUAL_ASKED: NoticeEvent.MANUAL_REMINDER,
}
"""What people are reminded of, and as what, for as long as the run waits for it."""

TELLING: Final = frozenset(
    {
        Kind.GATE_REQUESTED,
        Kind.GATE_ESCALATED,
        Kind.GATE_DECIDED,
        Kind.GATE_CLOSED,
        Kind.STEP_IN_DOUBT,
        Kind.MANUAL_REQUESTED,
        Kind.BREAKGLASS_ASKED,
        Kind.BREAKGLASS_OPENED,
        Kind.KILLSWITCH_PULLED,
        Kind.RUN_ENDED,
        Kind.RULE_FIRED,
        Kind.PROPOSAL_MADE,
        Kind.STORM_BEGAN,
        Kind.GUARD_TRIPPED,
    }
)
"""Kinds of entries that people can be told of."""

LONGEST_PAUSE_S: Final = 900.0
TRIES: Final = 6
"""So often it is tried to tell the same people the same thing."""
LOST_S: Final = 60.0
"""After so many seconds a try of which nothing is known counts as one that came to nothing."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people are to be told.

    Arguments:
        about: the entry that says it.
        roles: of whoever is asked to decide or to act; none where it is for everybody of the audience.
        remind_ms: how often people are reminded where `notices.yaml` says nothing else, as the runbook says.
        facts: what a text may name.
    """

    about: int
    event: NoticeEvent
    incident: str
    run: str = ""
    step: str = ""
    roles: tuple[str, ...] = ()
    remind_ms: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)


def notice_of(entry: LogEntry) -> Notice | None:
    """Say what an entry tells people; None where it tells them nothing."""
    found = _told_by(entry)
    if found is None:
        return None
    event, roles, facts = found
    facts = {"who": entry.actor.id, **facts}
    remind = entry.body.remind_ms if isinstance(entry.body, kinds.ManualRequested) else 0
    return Notice(entry.seq, event, entry.inc, entry.run, entry.step, roles, remind, facts)


def _told_by(entry: LogEntry) -> tuple[NoticeEvent, tuple[str, ...], dict[str, str]] | None:
    return _asked_by(entry) or _decided_by(entry) or _heeded_by(entry)


def _asked_by(entry: LogEntry) -> tuple[NoticeEvent, tuple[str, ...], dict[str, str]] | None:
    """Read what asks somebody for something."""
    match entry.body:
        case kinds.GateRequested() as body:
            need = ", ".join(f"{need.count} {need.role}" for need in body.approvals)
            facts = {"title": body.title, "risk": body.risk, "until": body.expires_at, "need": need}
            roles = tuple(need.role for need in body.approvals)
            return NoticeEvent.GATE_REACHED, roles, facts | {"digest": body.digest, "reason": body.because}
        case kinds.GateEscalated() as body:
            return NoticeEvent.GATE_ESCALATED, (body.to,), {"need": body.to, "digest": body.digest}
        case kinds.StepInDoubt() as body:
            return NoticeEvent.IN_DOUBT, (), {"reason": body.reason, "target": entry.target}
        case kinds.ManualRequested() as body:
            return NoticeEvent.MANUAL_ASKED, (body.role,), {"need": body.role}
        case _:
            return None


def _decided_by(entry: LogEntry) -> tuple[NoticeEvent, tuple[str, ...], dict[str, str]] | None:
    """Read what somebody decided, and what came of it."""
    facts: dict[str, str]
    match entry.body:
        case kinds.GateDecided() as body:
            facts = {
                "decision": body.decision,
                "role": body.role,
                "reason": body.reason,
                "digest": body.digest,
            }
            event = NoticeEvent.GATE_DECIDED
        case kinds.GateClosed() as body:
            event, facts = NoticeEvent.GATE_CLOSED, {"decision": body.reason, "reason": body.detail}
        case kinds.BreakglassAsked() as body:
            event, facts = NoticeEvent.BREAKGLASS, {"reason": body.reason, "decision": "wants to go"}
        case kinds.BreakglassOpened() as body:
            facts = {"until": body.due_at, "reason": f"{body.how}, {body.change}", "decision": "goes"}
            event = NoticeEvent.BREAKGLASS
        case kinds.KillswitchPulled() as body:
            event, facts = NoticeEvent.KILLSWITCH, {"reason": body.reason}
        case kinds.RunEnded() as body:
            facts = {"title": body.runbook, "status": body.status, "reason": body.reason}
            event = NoticeEvent.RUN_ENDED
        case _:
            return None
    return event, (), facts


def _heeded_by(entry: LogEntry) -> tuple[NoticeEvent, tuple[str, ...], dict[str, str]] | None:
    """Read what came of alerts. What is held back is told when something is done about it."""
    facts: dict[str, str]
    match entry.body:
        case kinds.RuleFired() as body if body.outcome not in ("held", "proposed"):
            facts = {"decision": body.outcome, "target": body.group, "reason": body.reason}
            return NoticeEvent.RULE_FIRED, (), facts | {"title": body.rule, "need": f"{body.count} alerts"}
        case kinds.ProposalMade() as body:
            facts = {"title": body.title, "risk": body.risk, "until": body.expires_at, "digest": body.digest}
            return NoticeEvent.PROPOSED, (), facts | {"proposal": body.proposal}
        case kinds.StormBegan() as body:
            return NoticeEvent.STORM, (), {"reason": body.reason}
        case kinds.GuardTripped() as body if body.guard == RULES_GUARD:
            return NoticeEvent.RULES_REFUSED, (), {"reason": body.reason}
        case _:
            return None


def due_event(notice: Notice, told: Told, *, remind_s: float, now: datetime) -> NoticeEvent | None:
    """Say what is to be told now, given what was told: the event, a reminder of it, or nothing.

    1. A try of which nothing is known is left alone for a while, and then counts as failed.
    2. What failed is tried again, each time after twice as long, and not for ever.
    3. What was never told is told.
    4. What people are asked for is told again after `remind_s`; 0 is never.

    Arguments:
        told: what was done for this audience and channel.
        now: the present moment, UTC.
    """
    since = (now - read_moment(told.at)).total_seconds() if told.at else 0.0
    if told.sending and since < LOST_S:
        return None
    failures = told.failures + (1 if told.sending else 0)
    if failures >= TRIES:
        return None
    if failures and since < min(5.0 * 2**failures, LONGEST_PAUSE_S):
        return None
    if notice.event.value not in told.events:
        return notice.event
    reminder = REMINDERS.get(notice.event)
    if reminder is not None and remind_s and since >= remind_s:
        return reminder
    return None
