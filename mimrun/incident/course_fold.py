"""Folding the entries of an incident into its course. Pure: what is not in the entries is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from mimrun.incident.course import Automated, ByHand, Course, Decision, Message, RunPart, Vote, What
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment

LEADER: Final = "major_incident_manager"
TECHNICAL: Final = frozenset({"technical_lead", "technical_staff"})
"""Roles of which, besides the leader's, one must be there for people to have come together."""

_Place: TypeAlias = tuple[str, str]
_Cell: TypeAlias = tuple[str, str, str]
_NOTHING: Final[Mapping[_Place, str]] = MappingProxyType({})


def course_of(entries: Iterable[LogEntry], names: Mapping[_Place, str] = _NOTHING) -> Course:
    """Give the course of an incident.

    Arguments:
        entries: of the incident, in the order of the log.
        names: what steps are called, by run and step; those of automated steps are in the entries.
    """
    fold = _Fold(names)
    for entry in entries:
        take = _TAKES.get(entry.kind)
        if take is not None:
            take(fold, entry, entry.body)
    return fold.course


class _Fold:
    """What is under way while entries are read."""

    def __init__(self, names: Mapping[_Place, str]) -> None:
        self.course = Course()
        self._names = names
        self._steps: dict[_Place, Automated] = {}
        self._gates: dict[_Place, Decision] = {}
        self._manual: dict[_Place, ByHand] = {}
        self._doubts: dict[_Cell, Decision] = {}
        self._proposals: dict[str, Decision] = {}
        self._asked: dict[str, Decision] = {}
        self._shells: dict[int, ByHand] = {}
        self._roles: dict[str, str] = {}

    def run_created(self, entry: LogEntry, body: kinds.RunCreated) -> None:
        automatic = entry.actor.kind != "person"
        self.course.runs[entry.run] = RunPart(entry.run, body.title, body.launched_by, automatic, entry.ts)

    def run_ended(self, entry: LogEntry, body: kinds.RunEnded) -> None:
        run = self.course.runs.get(entry.run)
        if run is not None:
            run.ended, run.status = entry.ts, body.status
        for place in [place for place in self._gates if place[0] == entry.run]:
            self._settle(self._gates.pop(place), entry, f"the run ended: {body.status}")

    def step_started(self, entry: LogEntry, body: kinds.StepStarted) -> None:
        place, known = (entry.run, entry.step), self._steps.get((entry.run, entry.step))
        if known is not None:  # somebody went on with the run
            known.ended, known.status = None, ""
            return
        targets = max(body.count or len(body.targets), 1)
        step = Automated(entry.run, entry.step, body.name, body.form, targets, entry.ts)
        self._steps[place] = step
        self.course.automated.append(step)

    def step_intent(self, entry: LogEntry, _: kinds.StepIntent) -> None:
        step = self._steps.get((entry.run, entry.step))
        if step is not None:
            step.begun = True

    def step_outcome(self, entry: LogEntry, body: kinds.StepOutcome) -> None:
        step = self._steps.get((entry.run, entry.step))
        if step is not None:
            step.changed |= body.changed

    def step_finished(self, entry: LogEntry, body: kinds.StepFinished) -> None:
        step = self._steps.get((entry.run, entry.step))
        if step is not None:
            step.ended, step.status = entry.ts, body.status

    def in_doubt(self, entry: LogEntry, _: kinds.StepInDoubt) -> None:
        cell, title = (entry.run, entry.step, entry.target), self._name(entry)
        if cell not in self._doubts:
            where = f"{title} on {entry.target}" if entry.target else title
            self._doubts[cell] = self._ask("doubt", f"What became of {where}", entry)

    def resolved(self, entry: LogEntry, body: kinds.StepResolved) -> None:
        doubt = self._doubts.pop((entry.run, entry.step, entry.target), None)
        if doubt is not None:
            doubt.votes.append(Vote(entry.actor.id, body.resolution, "", body.reason, entry.ts))
            self._settle(doubt, entry, body.resolution.replace("_", " "))

    def gate_requested(self, entry: LogEntry, body: kinds.GateRequested) -> None:
        gate = self._gates.get((entry.run, entry.step))
        if gate is None:
            self._gates[entry.run, entry.step] = self._ask("gate", body.title, entry)
        else:  # it is asked anew, and has been waited for all the time
            gate.title = body.title

    def gate_decided(self, entry: LogEntry, body: kinds.GateDecided) -> None:
        gate, run = self._gates.get((entry.run, entry.step)), self.course.runs.get(entry.run)
        overridden = body.purpose == "freeze_override" and body.decision == "approved"
        if gate is not None:
            said = f"{body.decision} in spite of the freeze" if overridden else body.decision
            at = read_moment(body.at) if body.at else entry.ts
            gate.votes.append(Vote(entry.actor.id, said, body.role, body.reason, at))
        if run is not None and overridden:
            run.bypass = run.bypass or "freeze override"

    def gate_opened(self, entry: LogEntry, body: kinds.GateOpened) -> None:
        gate, run = self._gates.pop((entry.run, entry.step), None), self.course.runs.get(entry.run)
        if gate is not None:
            self._settle(gate, entry, f"opened by {body.by.replace('_', ' ')}")
            if body.by == "approvals":
                gate.decided = _last_word(gate, "approved")
        if run is not None and body.by == "break_glass":
            run.bypass = "break-glass"

    def gate_closed(self, entry: LogEntry, body: kinds.GateClosed) -> None:
        gate = self._gates.pop((entry.run, entry.step), None)
        if gate is not None:
            self._settle(gate, entry, f"closed: {body.reason}")
            if body.reason == "rejected":
                gate.decided = _last_word(gate, "rejected")

    def glass_asked(self, entry: LogEntry, body: kinds.BreakglassAsked) -> None:
        asked = self._ask("break-glass", "Go past the gates", entry)
        asked.votes.append(Vote(entry.actor.id, "asked", "", body.reason, entry.ts))
        self._asked[entry.run] = asked

    def glass_agreed(self, entry: LogEntry, body: kinds.BreakglassAgreed) -> None:
        if entry.run in self._asked:
            vote = Vote(entry.actor.id, "agreed", "", body.reason, entry.ts)
            self._asked[entry.run].votes.append(vote)

    def glass_opened(self, entry: LogEntry, body: kinds.BreakglassOpened) -> None:
        asked = self._asked.pop(entry.run, None) or self._ask("break-glass", "Go past the gates", entry)
        self._settle(asked, entry, f"opened; to be reviewed under {body.change} until {body.due_at[:16]}Z")
        if entry.run in self.course.runs:
            self.course.runs[entry.run].bypass = "break-glass"

    def proposed(self, entry: LogEntry, body: kinds.ProposalMade) -> None:
        self._proposals[body.proposal] = self._ask("proposal", body.title, entry)

    def proposal_taken(self, entry: LogEntry, body: kinds.ProposalTaken) -> None:
        self._decide_proposal(entry, body.proposal, "launched", "")

    def proposal_dismissed(self, entry: LogEntry, body: kinds.ProposalDismissed) -> None:
        self._decide_proposal(entry, body.proposal, "dismissed", body.reason)

    def _decide_proposal(self, entry: LogEntry, proposal: str, outcome: str, reason: str) -> None:
        asked = self._proposals.pop(proposal, None)
        if asked is not None:
            asked.run = entry.run
            asked.votes.append(Vote(entry.actor.id, outcome, "", reason, entry.ts))
            self._settle(asked, entry, outcome)

    def prioritized(self, entry: LogEntry, body: kinds.IncidentPrioritized) -> None:
        said = self._ask("priority", "How urgent it is", entry)
        said.votes.append(Vote(entry.actor.id, body.priority, "", body.reason, entry.ts))
        self._settle(said, entry, body.priority)

    def pulled(self, entry: LogEntry, body: kinds.KillswitchPulled) -> None:
        said = self._ask("kill-switch", "Stop everything", entry)
        said.votes.append(Vote(entry.actor.id, "pulled", "", body.reason, entry.ts))
        self._settle(said, entry, "pulled")

    def assigned(self, entry: LogEntry, body: kinds.IncidentAssigned) -> None:
        self._roles[body.role] = body.person
        held = {role for role, person in self._roles.items() if person}
        if self.course.assembled is None and LEADER in held and not TECHNICAL.isdisjoint(held):
            self.course.assembled = entry.ts

    def manual_requested(self, entry: LogEntry, _: kinds.ManualRequested) -> None:
        if (entry.run, entry.step) not in self._manual:
            work = ByHand("step", self._name(entry), entry.run, entry.step, asked=entry.ts)
            self._manual[entry.run, entry.step] = work
            self.course.by_hand.append(work)

    def manual_claimed(self, entry: LogEntry, _: kinds.ManualClaimed) -> None:
        work = self._manual.get((entry.run, entry.step))
        if work is not None:
            work.who, work.claimed = entry.actor.id, entry.ts

    def manual_released(self, entry: LogEntry, _: kinds.ManualReleased) -> None:
        work = self._manual.get((entry.run, entry.step))
        if work is not None:
            work.held_ms += _since(work.claimed, entry.ts)
            work.who, work.claimed = "", None

    def manual_handed_over(self, entry: LogEntry, body: kinds.ManualHandedOver) -> None:
        work = self._manual.get((entry.run, entry.step))
        if work is not None:
            work.held_ms += _since(work.claimed, entry.ts)
            work.who, work.claimed = body.to, entry.ts

    def manual_attested(self, entry: LogEntry, body: kinds.ManualAttested) -> None:
        work = self._manual.get((entry.run, entry.step))
        if work is not None:
            work.who, work.done, work.outcome = entry.actor.id, entry.ts, body.outcome
            work.held_ms += _since(work.claimed, entry.ts)
            work.claimed = None
            if body.active_ms:
                work.active_ms = (work.active_ms or 0) + body.active_ms

    def manual_disputed(self, entry: LogEntry, _: kinds.ManualDisputed) -> None:
        work = self._manual.get((entry.run, entry.step))
        if work is not None:
            work.done, work.outcome = None, ""

    def reported(self, entry: LogEntry, body: kinds.ManualReported) -> None:
        at = read_moment(body.at) if body.at else entry.ts
        work = ByHand("reported", body.title, entry.run, who=entry.actor.id, done=at, outcome="done")
        self.course.by_hand.append(work)

    def shell_opened(self, entry: LogEntry, _: kinds.ShellOpened) -> None:
        title = f"A shell on {entry.target}" if entry.target else "A shell"
        work = ByHand("shell", title, entry.run, who=entry.actor.id, claimed=entry.ts)
        self._shells[entry.seq] = work
        self.course.by_hand.append(work)

    def shell_closed(self, entry: LogEntry, body: kinds.ShellClosed) -> None:
        work = self._shells.get(body.shell)
        if work is not None:
            work.done, work.outcome = entry.ts, "done" if body.ended != "lost" else "lost"
            work.active_ms = body.dur_ms

    def sent(self, entry: LogEntry, body: kinds.NoticeSent) -> None:
        if body.done:
            self.course.messages.append(Message(entry.ts, body.audience, body.channel, body.event))

    def _ask(self, what: What, title: str, entry: LogEntry) -> Decision:
        run = self.course.runs.get(entry.run)
        # A worker asks in the name of whoever wanted the run.
        by = run.by if run is not None and entry.actor.kind == "worker" else entry.actor.id
        asked = Decision(what, title, entry.ts, by, entry.run, entry.step)
        self.course.decisions.append(asked)
        return asked

    def _settle(self, decision: Decision, entry: LogEntry, outcome: str) -> None:
        decision.decided, decision.outcome = entry.ts, outcome

    def _name(self, entry: LogEntry) -> str:
        known = self._steps.get((entry.run, entry.step))
        if known is not None:
            return known.name
        return self._names.get((entry.run, entry.step)) or f"step {entry.step}"


def _last_word(gate: Decision, decision: str) -> datetime | None:
    """Give when the vote came that decided it; what the run did with it later is not waited for by anybody."""
    votes = [vote.at for vote in gate.votes if vote.decision.startswith(decision)]
    return max(votes[-1], gate.asked) if votes else gate.decided


def _since(then: datetime | None, now: datetime) -> int:
    return 0 if then is None else max(0, (now - then) // timedelta(milliseconds=1))


_TAKES: Final[Mapping[Kind, Callable[[_Fold, LogEntry, Any], None]]] = MappingProxyType(
    {
        Kind.RUN_CREATED: _Fold.run_created,
        Kind.RUN_ENDED: _Fold.run_ended,
        Kind.STEP_STARTED: _Fold.step_started,
        Kind.STEP_INTENT: _Fold.step_intent,
        Kind.STEP_OUTCOME: _Fold.step_outcome,
        Kind.STEP_FINISHED: _Fold.step_finished,
        Kind.STEP_IN_DOUBT: _Fold.in_doubt,
        Kind.STEP_RESOLVED: _Fold.resolved,
        Kind.GATE_REQUESTED: _Fold.gate_requested,
        Kind.GATE_DECIDED: _Fold.gate_decided,
        Kind.GATE_OPENED: _Fold.gate_opened,
        Kind.GATE_CLOSED: _Fold.gate_closed,
        Kind.BREAKGLASS_ASKED: _Fold.glass_asked,
        Kind.BREAKGLASS_AGREED: _Fold.glass_agreed,
        Kind.BREAKGLASS_OPENED: _Fold.glass_opened,
        Kind.PROPOSAL_MADE: _Fold.proposed,
        Kind.PROPOSAL_TAKEN: _Fold.proposal_taken,
        Kind.PROPOSAL_DISMISSED: _Fold.proposal_dismissed,
        Kind.INCIDENT_PRIORITIZED: _Fold.prioritized,
        Kind.INCIDENT_ASSIGNED: _Fold.assigned,
        Kind.KILLSWITCH_PULLED: _Fold.pulled,
        Kind.MANUAL_REQUESTED: _Fold.manual_requested,
        Kind.MANUAL_CLAIMED: _Fold.manual_claimed,
        Kind.MANUAL_RELEASED: _Fold.manual_released,
        Kind.MANUAL_HANDED_OVER: _Fold.manual_handed_over,
        Kind.MANUAL_ATTESTED: _Fold.manual_attested,
        Kind.MANUAL_DISPUTED: _Fold.manual_disputed,
        Kind.MANUAL_REPORTED: _Fold.reported,
        Kind.SHELL_OPENED: _Fold.shell_opened,
        Kind.SHELL_CLOSED: _Fold.shell_closed,
        Kind.NOTICE_SENT: _Fold.sent,
    }
)
"""What each kind of entry that counts changes."""
