"""Why a gate is closed, in words: which rule that comes from, what would open it, and who could."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from mimrun.app.calendars import Outlook, outlook, touched_by
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.permits import GONE, Permits, permits_of
from mimrun.app.persons import why_not
from mimrun.app.priority import declared_in
from mimrun.app.runs import Known, find_run, known_run
from mimrun.gate.approval import Closed, Open, Request, Verdict, Waiting
from mimrun.gate.people import People, acted
from mimrun.gate.policy import FREEZE_APPROVER, Policy, Priority, Situation, rule_of, terms
from mimrun.gate.policy_file import load_policy
from mimrun.gate.terms import Terms, a_change
from mimrun.log.moment import write_moment
from mimrun.run.record.state import RunState
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.duration import format_duration
from mimrun.runbook.model import OnTimeout
from mimrun.runbook.node import PlannedGate
from mimrun.runbook.plan import Plan

_NAMED: Final = 8
"""So many people are named who could."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing about a gate.

    Arguments:
        about: what it is about: `gate`, `rule`, `asks`, `stands`, `missing`, `open`, `note`.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a gate stands as it does.

    Arguments:
        run: "" for a plan that was not launched.
        gate: its path; "" where there is no gate at all.
        stands: `open`, `waiting`, `closed`, `not asked`, or `no gate`.
        terms: what it asks for now; None where there is no gate.
        who: by role that is missing, the people who could.
    """

    run: str
    gate: str
    stands: str
    lines: tuple[Line, ...]
    terms: Terms | None = None
    who: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        """The explanation for `--json`."""
        return {
            "run": self.run,
            "gate": self.gate,
            "stands": self.stands,
            "lines": [{"about": line.about, "text": line.text} for line in self.lines],
            "terms": self.terms.model_dump(mode="json") if self.terms else None,
            "who": {role: list(people) for role, people in self.who},
        }


def explain_run(home: Home, name: str, *, known: Known | None = None) -> Explanation:
    """Explain the gate that a run waits at, or that it came to last, or that it will come to.

    Raises:
        InputError: there is no such run.
        RefusedError: a rules file cannot be read, so that nobody knows.
    """
    summary = find_run(home, name).summary
    state, plan = known_run(home, summary.run, known)
    node = _gate_of(plan, state, summary.waits_at if summary.waits_on == "gate" else "")
    if summary.status in TERMINAL:
        over = Line(
            "note", f"{summary.run} is over: {summary.status.value}; its gates let nothing through any more"
        )
        return Explanation(summary.run, node.path if node else "", "closed" if node else "no gate", (over,))
    if node is None:
        return _without_gate(home, plan, summary.run)
    asking = _Asking(home, plan, summary.run, summary.incident, state=state)
    return asking.explain(node)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How somebody would launch a plan.

    Arguments:
        identity: who would, and so would not count at its gates.
        incident: which it would belong to; without one it opens its own.
        priority: that would be declared of the incident that it opens.
    """

    identity: Identity
    incident: str = ""
    priority: Priority | None = None


def explain_plan(home: Home, plan: Plan, wanted: Wanted) -> Explanation:
    """Explain the first gate of a plan as it would stand if somebody launched it now.

    Raises:
        RefusedError: a rules file cannot be read, so that nobody knows.
    """
    node = _gate_of(plan, None, "")
    if node is None:
        return _without_gate(home, plan, "")
    return _Asking(home, plan, "", wanted.incident, wanted=wanted).explain(node)


def _gate_of(plan: Plan, state: RunState | None, waits_at: str) -> PlannedGate | None:
    gates = [node for node in plan.walk() if isinstance(node, PlannedGate)]
    if waits_at:
        return next((gate for gate in gates if gate.path == waits_at), None)
    asked = [gate for gate in gates if state is not None and gate.path in state.gates]
    if asked and state is not None:
        return max(asked, key=lambda gate: state.gates[gate.path].request)
    return gates[0] if gates else None


def _without_gate(home: Home, plan: Plan, run: str) -> Explanation:
    row = touched_by(plan).risk
    if row == "read_only":
        why = "nothing is changed, so nobody is asked: there is no gate"
    elif not home.settings.policy.exists():
        why = (
            f"there is no gate: the runbook writes none, and {home.settings.policy} is not there;"
            " `mimrun policy init` writes one"
        )
    else:
        why = "there is no gate: the plan was made when there was no policy"
    return Explanation(run, "", "no gate", (Line("note", why),))


class _Asking:
    """Asks the rules about one gate.

    Arguments:
        state: of the run; None for a plan that was not launched.
        wanted: how such a plan would be launched.
    """

    def __init__(
        self,
        home: Home,
        plan: Plan,
        run: str,
        incident: str,
        *,
        state: RunState | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self.home, self.plan, self.run, self.incident = home, plan, run, incident
        self.state, self.wanted = state, wanted
        self.now = home.clock()
        self.permits: Permits = permits_of(home, plan, run, incident)
        self.policy: Policy | None = load_policy(home.settings.policy)
        self.people: People = home.people(plan.runbook.owner)
        self.outlook: Outlook = outlook(home.settings, self.now, touched_by(plan))

    def explain(self, gate: PlannedGate) -> Explanation:
        situation = self.permits.situation()
        if self.wanted is not None and self.wanted.priority is not None:
            situation = replace(situation, priority=self.wanted.priority)
        asks = terms(self.policy, situation, gate)
        request = verdict = None
        if self.state is not None and gate.path in self.state.gates and self.state.gates[gate.path].request:
            request = self.permits.request(gate, self.state)
            verdict = self.permits.verdict(gate, self.state)
            # What was asked counts besides: a policy that is taken away does not take its question back.
            asks = request.terms
        stands = _stands(verdict)
        missing = _missing(asks, verdict)
        who = tuple((role, self._who(role, request)) for role in missing) if stands != "open" else ()
        lines = [
            Line("gate", f"'{gate.name}' ({gate.path}) {_WORDS[stands]}"),
            *self._rule(gate, situation, asks),
            *self._asks(asks),
            *_standing(verdict),
        ]
        if stands != "open" and not asks.asks_nothing:
            lines += self._opens(asks, missing, who, verdict)
            lines += self._other_priority(gate, situation, asks)
        return Explanation(self.run, gate.path, stands, tuple(lines), asks, who)

    def _rule(self, gate: PlannedGate, situation: Situation, asks: Terms) -> Iterator[Line]:
        if asks.refused == GONE:
            yield Line("rule", f"{self.home.settings.policy}, which asked for this, is not there any more")
            return
        yield Line("rule", asks.because)
        if self.policy is None:
            missing = f"{self.home.settings.policy} is not there: only the gates that runbooks write count"
            yield Line("rule", f"{missing}; `mimrun policy init` writes one")
        elif situation.risk != "read_only":
            rule, _ = rule_of(self.policy, situation)
            yield Line("rule", f"{self.policy.place(rule)}: {rule}")
            if situation.frozen:
                freeze = f"matrix.{situation.risk}.freeze"
                yield Line("rule", f"{self.policy.place(freeze)}: {freeze}")
        if gate.approvals:
            runbook = self.plan.runbook
            yield Line("rule", f"{runbook.name}@{runbook.version}, step {gate.path}: the runbook's own gate")
        if self.outlook.words and situation.frozen:
            yield Line("rule", self.outlook.words)
        if self.incident and situation.priority:
            declared = declared_in(self.home.store, self.incident)
            yield Line("rule", f"{self.incident} is {declared.priority}: {declared.by}, {declared.reason}")

    def _asks(self, asks: Terms) -> Iterator[Line]:
        if asks.asks_nothing:
            yield Line("asks", "it asks for nothing, and opens by itself")
            return
        yield Line("asks", terms_words(asks))

    def _opens(
        self,
        asks: Terms,
        missing: Sequence[str],
        who: Sequence[tuple[str, tuple[str, ...]]],
        verdict: Verdict | None,
    ) -> Iterator[Line]:
        """Say what would open it, and who could."""
        run = self.run or "RUN"
        if isinstance(verdict, Closed):
            yield Line(
                "open", f"nothing opens it any more; `mimrun resume {run}` asks anew where the run goes on"
            )
            return
        if asks.refused == GONE:
            yield Line(
                "open", f"put {self.home.settings.policy} back, or `mimrun cancel {run}` and launch it anew"
            )
            return
        if asks.refused:
            yield Line(
                "open", "nobody can allow it; `mimrun run … --break-glass REASON` goes past it, on the record"
            )
            yield from self._when_open()
            return
        known = dict(who)
        for role in missing:
            option = " --freeze-override" if role == FREEZE_APPROVER and asks.freeze_override else ""
            sign = " --sign" if asks.signed else ""
            verb = f"`mimrun approve {run}{option}{sign}`"
            yield Line("open", f"{verb} by a person with role {role}: {_named(known.get(role, ()), role)}")
        if asks.change == "standard":
            yield Line("open", "a valid standard change for this runbook and all of these targets")
        elif asks.change != "none":
            cure = f"`mimrun change link {run} REF`" if self.run else "`mimrun run … --change REF`"
            yield Line("open", f"a change record ({asks.change}) that allows it; {cure} names it")
        if asks.freeze_override:
            yield from self._when_open()

    def _when_open(self) -> Iterator[Line]:
        if self.outlook.closures and self.outlook.opens is not None:
            yield Line(
                "open", f"or wait until the calendars are open, at {self.outlook.opens:%Y-%m-%d %H:%M} UTC"
            )

    def _other_priority(self, gate: PlannedGate, situation: Situation, asks: Terms) -> Iterator[Line]:
        """Say what an incident of the highest priority would ask for, where nobody declared one."""
        if self.policy is None or situation.priority is not None or situation.risk == "read_only":
            return
        urgent = Situation(situation.risk, "P1", frozen=situation.frozen, standard=situation.standard)
        other = terms(self.policy, urgent, gate)
        if terms_words(other) == terms_words(asks):
            return
        who = " or ".join(self.policy.prioritize)
        incident = self.incident or "INC"
        yield Line(
            "note",
            f"nobody declared how urgent {self.incident or 'the incident'} is; at P1 it asks for:"
            f" {terms_words(other)} (`mimrun incident priority {incident} P1 --reason …`, by {who})",
        )

    def _who(self, role: str, request: Request | None) -> tuple[str, ...]:
        """Give the people who could fill a place: in the role now, and not excluded."""
        excluded = self.people.behind(request.excluded if request is not None else self._would_exclude())
        return tuple(
            person.id
            for person in self.people.by_id.values()
            if role in person.roles
            and person.id not in excluded
            and not why_not(person, self.now)
            and not self._has_said(person.id, request)
        )

    def _has_said(self, person: str, request: Request | None) -> bool:
        if request is None or self.state is None:
            return False
        votes = [vote for gate in self.state.gates.values() for vote in gate.votes]
        now = [vote for vote in votes if vote.digest == request.digest and vote.at >= request.asked_at]
        said = [vote for vote in now if self.people.behind(acted(vote.person, vote.auth)) == {person}]
        return bool(said) and said[-1].decision.value == "approved"

    def _would_exclude(self) -> frozenset[str]:
        owner = self.plan.runbook.owner
        counts = self.policy is not None and "author" in self.policy.excluded and self.people.knows(owner)
        author = {owner} if counts else set()
        who = self.wanted.identity if self.wanted is not None else None
        return frozenset(author) | (acted(who.person.id, who.auth) if who is not None else frozenset())


_WORDS: Final = {
    "open": "is open",
    "waiting": "is closed: something is missing",
    "closed": "is closed for good",
    "not asked": "is not asked yet",
}


def terms_words(asks: Terms, *, brief: bool = False) -> str:
    """Say what a gate asks for, on one line.

    Arguments:
        brief: not for how long, and what happens then.
    """
    if asks.refused:
        return f"nobody can allow it: {asks.refused}"
    needs = [f"{need.count} {need.role}" for need in asks.approvals]
    if asks.freeze_override:
        needs.append(f"1 {FREEZE_APPROVER} (freeze override)")
    if asks.change != "none":
        needs.append(a_change(asks.change))
    if not needs:
        return "nothing"
    late = {
        OnTimeout.FAIL: "then the run fails",
        OnTimeout.UNDO: "then the run fails, and what it did is taken back",
        OnTimeout.ESCALATE: f"then {' and '.join(asks.escalation) or 'they'} are asked",
    }[asks.on_timeout]
    signed = ", signed with their own keys" if asks.signed else ""
    if brief:
        return f"{', '.join(needs)}{signed}"
    return f"{', '.join(needs)}{signed}; for {format_duration(asks.expires_ms)}, {late}"


def _stands(verdict: Verdict | None) -> str:
    match verdict:
        case None:
            return "not asked"
        case Open():
            return "open"
        case Waiting():
            return "waiting"
        case Closed():
            return "closed"


def _missing(asks: Terms, verdict: Verdict | None) -> tuple[str, ...]:
    if isinstance(verdict, Waiting):
        return tuple(verdict.missing)
    if verdict is not None or asks.refused:
        return ()
    freeze = (FREEZE_APPROVER,) if asks.freeze_override else ()
    return tuple(dict.fromkeys((*(need.role for need in asks.approvals), *freeze)))


def _standing(verdict: Verdict | None) -> Iterator[Line]:
    match verdict:
        case None:
            return
        case Open(approvers):
            yield Line("stands", f"open: {', '.join(approvers) or verdict.because}")
        case Waiting(missing, until):
            people = ", ".join(f"{count} {role}" for role, count in missing.items())
            if people:
                yield Line("missing", f"{people}, until {_clock(until)}")
            for reason in verdict.reasons:
                yield Line("missing", reason)
        case Closed(by, detail):
            yield Line("stands", f"closed ({by.value}): {detail}")


def _named(people: Sequence[str], role: str) -> str:
    if not people:
        return f"nobody is left who could; give somebody else the role {role} in people.yaml"
    more = f" and {len(people) - _NAMED} more" if len(people) > _NAMED else ""
    return ", ".join(people[:_NAMED]) + more


def _clock(at: datetime) -> str:
    return write_moment(at)[:19] + "Z"
