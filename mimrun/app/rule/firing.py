"""A rule fires: what it does is one append, with the episode, the storm guard and the incident looked at in it.

So each episode fires once, however many workers look, and whenever one of them dies: either all of it is on record,
with the run that a worker takes up from there, or nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mimrun.app.append import append_unless
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.naming import new_proposal
from mimrun.app.rule.drafts import proposal_draft, rule_actor
from mimrun.app.rule.loading import RulesNow
from mimrun.app.rule.opening import incident_for, is_open, storm_drafts
from mimrun.app.rule.planning import UnderWay, rule_plan, why_not_launch
from mimrun.app.runs import create_run
from mimrun.errors import LogError, MimrunError, RefusedError
from mimrun.gate.people import Person
from mimrun.incident.burning import Ending, Firing
from mimrun.incident.episode import Episode, Outcome, episode_in
from mimrun.incident.incident import incident_in
from mimrun.incident.outcome import Facts, Judgement, judge
from mimrun.incident.proposal import proposal_in
from mimrun.incident.storm import Budget, Limits, budget_in, has_room
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import RuleEnded, RuleFired
from mimrun.log.moment import read_moment
from mimrun.log.store import View
from mimrun.run.hold.killswitch import Latch, pulled_in
from mimrun.run.record.summary import BY_RULE
from mimrun.runbook.plan import Plan

WAITING: Final = 1000
"""Plans of so many episodes that wait are kept, so that each need not be made again to be looked at."""
UNBOUNDED: Final = "limits.yaml cannot be read, and never could: nobody knows how much rules may launch"
LATER: Final = timedelta(minutes=1)
"""After so long it is looked again whether people may be asked anew."""


@dataclass(frozen=True, slots=True)
class Fired:
    """What a rule did about an episode.

    Arguments:
        storm: the parent incident of a storm that began with it, or "".
    """

    rule: str
    group: str
    outcome: Outcome
    reason: str = ""
    incident: str = ""
    run: str = ""
    proposal: str = ""
    storm: str = ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is about to be recorded.

    Arguments:
        rules: the digest of the file that the rule stands in.
        budget: what rules had done when this was decided; None where that does not matter.
        incident: the one that it belongs to, or "".
        first: what is recorded in front of it, such as what opens its incident.
    """

    firing: Firing
    rules: str
    outcome: Outcome
    reason: str
    budget: Budget | None = None
    incident: str = ""
    first: tuple[Draft, ...] = ()
    storm: str = ""

    @property
    def actor(self) -> Actor:
        """The rule."""
        return rule_actor(self.firing.rule.name)

    def fired(self, run: str = "", proposal: str = "") -> Draft:
        """Give the entry that says that the rule has fired."""
        body = RuleFired(
            rule=self.firing.rule.name,
            rules=self.rules,
            episode=self.firing.episode,
            group=self.firing.group,
            outcome=self.outcome or "held",
            reason=self.reason,
            proposal=proposal,
            alerts=self.firing.alerts,
            count=self.firing.count,
        )
        return Draft(self.actor, body, inc=self.incident, run=run)

    def late(self, view: View) -> bool:
        """Say whether something of what it was decided by is otherwise now."""
        firing = self.firing
        return (
            episode_in(view, firing.rule.name, firing.group) != firing.seen
            or (self.budget is not None and budget_in(view) != self.budget)
            or (bool(firing.lapsed) and bool(proposal_in(view, firing.lapsed).decided))
            or (self.outcome != "held" and bool(pulled_in(view)))
            or (bool(self.incident) and incident_in(view, self.incident).status != "open")
        )

    def told(self, run: str = "", proposal: str = "") -> Fired:
        """Say what was done."""
        firing = self.firing
        return Fired(
            firing.rule.name,
            firing.group,
            self.outcome,
            self.reason,
            self.incident,
            run,
            proposal,
            self.storm,
        )


class _ByRule(Identity):
    """A rule, as whoever asks for a run."""

    def actor(self, via: str = "") -> Actor:
        """Give the actor as the log records it: no person, and nobody's word at a gate."""
        return rule_actor(self.person.id.removeprefix(BY_RULE))


class Firings:
    """Does what rules have decided.

    Arguments:
        home: the opened home.
    """

    def __init__(self, home: Home) -> None:
        self._home, self._under_way = home, UnderWay(home)
        self._waiting: dict[str, Plan] = {}

    def held(self) -> str:
        """Say why nothing may fire at all; "" where it may."""
        return Latch(self._home.settings.kill_switch).reason() or pulled_in(self._home.store)

    def obstructed(self, limits: Limits) -> bool:
        """Say whether everything that would fire now is held back, whatever it is."""
        facts, budget = Facts(held=self.held()), budget_in(self._home.store)
        return judge("notify", "queue", facts, limits, budget, now=self._home.clock()).outcome == "held"

    def lapses(self, episode: Episode, limits: Limits) -> datetime | None:
        """Give until when nobody need be asked anew about an episode; None where somebody has seen to it.

        Whoever took its proposal, let it be, or resolved its incident, waits for no other. Asking anew leaves room for
        what is new: it begins no storm.
        """
        if not episode.goes_on or episode.outcome != "proposed":
            return None
        said = proposal_in(self._home.store, episode.proposal)
        if not said.made or said.decided or not is_open(self._home, episode.incident):
            return None
        until, now = read_moment(said.expires_at), self._home.clock()
        if until <= now and (self.held() or not has_room(limits, budget_in(self._home.store), now)):
            return now + LATER
        return until

    def end(self, ending: Ending) -> bool:
        """Record that an episode is over; says whether nobody else has done so.

        Raises:
            StoreError: the log cannot be written.
        """
        seen = ending.seen
        body = RuleEnded(rule=ending.rule, episode=seen.episode, group=ending.group, reason=ending.reason)
        draft = Draft(rule_actor(ending.rule), body, inc=seen.incident)
        return bool(
            append_unless(
                self._home, [draft], lambda view: episode_in(view, ending.rule, ending.group) != seen
            )
        )

    def fire(self, firing: Firing, rules: RulesNow) -> Fired | None:
        """Do what a firing comes to; None where that is nothing now, or somebody else was quicker.

        1. What nobody can do anything about now is held back before a plan is made.
        2. A plan that cannot be made, such as for a label that the runbook does not allow, is a failure for people.
        3. What it comes to is judged by everything that is known now, and recorded unless that has changed.

        Raises:
            StoreError: the log cannot be written.
        """
        home, rule = self._home, firing.rule
        now, budget, facts = home.clock(), budget_in(home.store), Facts(held=self.held())
        if firing.lapsed and (facts.held or not has_room(rules.limits, budget, now)):
            return None
        early = judge("notify", "queue", facts, rules.limits, budget, now=now)
        if early.outcome == "held":
            return self._hold(firing, rules, early.reason)
        if self._still_waits(firing, rules, budget):
            return None
        plan, wrong = self._plan(firing)
        if plan is not None:
            facts = self._facts(plan, firing, rules, budget)
        # What people were asked about once is not launched over their heads later.
        action = "notify" if plan is None else "propose" if firing.lapsed else rule.action
        judged = judge(action, rule.concurrency, facts, rules.limits, budget, now=now)
        if judged.outcome == "held" and plan is not None:
            self._waiting[firing.episode] = plan
            return self._hold(firing, rules, judged.reason)
        self._waiting.pop(firing.episode, None)
        return self._do(firing, rules, judged, budget, plan, wrong=wrong)

    def _plan(self, firing: Firing) -> tuple[Plan | None, str]:
        """Give the plan of a rule that has one, or why it cannot be made."""
        if firing.rule.action == "notify":
            return None, ""
        try:
            return rule_plan(self._home, firing.rule, firing.facets), ""
        except LogError:
            raise
        except MimrunError as exc:
            return None, str(exc) or "the plan cannot be made"
        except Exception as exc:  # noqa: BLE001 - a mistake in planning one runbook must not silence all other rules
            return None, f"the plan cannot be made: {exc!r}"

    def _facts(self, plan: Plan, firing: Firing, rules: RulesNow, budget: Budget) -> Facts:
        """Say what counts besides the rule, where it would launch something."""
        if firing.rule.action != "launch":
            return Facts()
        now = self._home.clock()
        return Facts(
            refused=firing.doubt
            or (UNBOUNDED if rules.unbounded else "")
            or why_not_launch(self._home, plan, now),
            busy=self._busy(plan, firing, rules, budget),
            runbook=plan.runbook.name,
            of=self._under_way.runbooks(budget, now),
        )

    def _busy(self, plan: Plan, firing: Firing, rules: RulesNow, budget: Budget) -> str:
        rest = timedelta(milliseconds=rules.limits.cool_down)
        return self._under_way.hinders(plan, firing.seen, budget, rest=rest, now=self._home.clock())

    def _still_waits(self, firing: Firing, rules: RulesNow, budget: Budget) -> bool:
        """Say whether an episode that was held back would only be held back again."""
        plan = self._waiting.get(firing.episode) if firing.seen.held else None
        return plan is not None and not budget.storm and bool(self._busy(plan, firing, rules, budget))

    def _hold(self, firing: Firing, rules: RulesNow, reason: str) -> Fired | None:
        """Record that an episode is held back, once."""
        while len(self._waiting) > WAITING:
            del self._waiting[next(iter(self._waiting))]
        if firing.seen.held:
            return None
        wanted = _Wanted(firing, rules.of[firing.rule.name], "held", reason, incident=firing.seen.incident)
        if wanted.incident and incident_in(self._home.store, wanted.incident).status != "open":
            wanted = replace(wanted, incident="")
        return wanted.told() if append_unless(self._home, [wanted.fired()], wanted.late) else None

    def _do(
        self,
        firing: Firing,
        rules: RulesNow,
        judged: Judgement,
        budget: Budget,
        plan: Plan | None,
        *,
        wrong: str,
    ) -> Fired | None:
        """Record what a firing comes to, with the incident that it belongs to."""
        home, storm = self._home, ""
        if judged.storm:
            storm, first = storm_drafts(home, firing, budget, judged.storm)
            incident = storm
        else:
            incident, first = incident_for(home, firing, budget)
        outcome: Outcome = "failed" if wrong else judged.outcome
        anew = f"nobody took {firing.lapsed} in time, and it still burns" if firing.lapsed else ""
        wanted = _Wanted(
            firing,
            rules.of[firing.rule.name],
            outcome,
            wrong or judged.reason or anew,
            budget,
            incident,
            tuple(first),
            storm,
        )
        if outcome == "launched" and plan is not None:
            return self._launch(wanted, plan)
        drafts, proposal = [*first], ""
        if outcome == "proposed" and plan is not None:
            proposal = new_proposal()
        drafts.append(wanted.fired(proposal=proposal))
        if proposal and plan is not None:
            until = home.clock() + timedelta(milliseconds=firing.rule.expires)
            drafts.append(proposal_draft(firing.rule.name, proposal, plan, incident, until))
        return wanted.told(proposal=proposal) if append_unless(home, drafts, wanted.late) else None

    def _launch(self, wanted: _Wanted, plan: Plan) -> Fired | None:
        """Launch a plan together with the firing; None where something has come in between, and it is judged anew."""
        rule = wanted.firing.rule.name
        asks = _ByRule(Person(f"{BY_RULE}{rule}", rule), "")

        def check(view: View) -> None:
            if wanted.late(view):
                raise RefusedError("somebody else was quicker")

        try:
            run = create_run(
                self._home,
                plan,
                asks,
                incident=wanted.incident,
                direct=True,
                guard=check,
                first=wanted.first,
                more=lambda _, run: [wanted.fired(run=run)],
            )
        except RefusedError:
            # A lock, the breaker of the runbook, the kill switch, another worker: whoever looks again sees which.
            return None
        return wanted.told(run=run)
