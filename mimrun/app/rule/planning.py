"""What a rule would execute: its plan, why nothing but a person may launch it, and what it must not run beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from mimrun.app.calendars import frozen_reader
from mimrun.app.change.facts import changes_of
from mimrun.app.home import Home
from mimrun.app.launching import stays_here
from mimrun.app.plans import prepare_plan, require_secrets
from mimrun.app.runs import load_plan
from mimrun.errors import BreakerError, ErasedError, InputError, LockError, PlanError
from mimrun.gate.policy import Policy, may_trigger
from mimrun.gate.policy_file import load_policy
from mimrun.incident.episode import Episode
from mimrun.incident.rule import Rule
from mimrun.incident.storm import KEPT, Budget
from mimrun.log.moment import read_moment
from mimrun.run.hold.lock import missing_locks
from mimrun.run.record.breaker import check_breaker
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.inputs import is_secret
from mimrun.runbook.launch import row_of
from mimrun.runbook.plan import Plan


def rule_plan(home: Home, rule: Rule, facets: Mapping[str, str]) -> Plan:
    """Make the plan of a rule's runbook, with inputs of the types that the runbook asks for.

    Arguments:
        facets: what the alerts say of everything that the rule groups by.

    Raises:
        InputError: runbook, inputs or inventory are wrong, such as a label that is not what the runbook allows.
    """
    words = [
        f"{name}:={json.dumps(given.value)}" for name, given in rule.inputs.items() if given.label is None
    ]
    labels = {
        name: label_value(rule, given.label, facets) for name, given in rule.inputs.items() if given.label
    }
    words += [f"{name}={value}" for name, value in labels.items()]
    inventories = [home.settings.home / path for path in rule.inventory]
    plan = prepare_plan(home, rule.runbook, words, inventories)
    for name in labels:
        # Lint refuses it; but the runbook may have become another one since.
        if is_secret(plan.inputs.get(name)):
            raise PlanError(
                f"{name} is a secret in {rule.runbook}; an alert does not say which secret is read"
            )
    return plan


def label_value(rule: Rule, label: str, facets: Mapping[str, str]) -> str:
    """Give the value of a label that all alerts of a group have in common."""
    if label in facets:
        return facets[label]
    words = rule.match.labels.get(label)
    return words.one_of[0] if words is not None and words.one_of else ""


def why_not_launch(home: Home, plan: Plan, now: datetime) -> str:
    """Say why a rule may not launch a plan by itself; "" where it may.

    1. A worker can execute it: nothing of it is in the environment of one person, and its secrets can be read.
    2. The policy lets alerts launch what has its risk.
    3. It changes nothing, or a valid standard change stands for this very runbook and all of its targets.
    4. Where it changes something, no calendar is closed.
    5. The last runs of the runbook have not failed.
    """
    try:
        if away := stays_here(plan):
            return away
        require_secrets(plan)
        check_breaker(home.store, plan)
        row, policy = row_of(plan), load_policy(home.settings.policy) or Policy()
        standard = "" if row == "read_only" else changes_of(home).standard_for(plan, now)
        if why := may_trigger(policy, row, standard=bool(standard)):
            return why
        if row == "read_only":
            return ""
        if not standard:
            return "it changes something, and no valid standard change stands for it"
        return frozen_reader(home.settings, plan)(now)
    except BreakerError as exc:
        return str(exc)
    except (InputError, ImportError) as exc:
        return f"nobody can say whether alerts may launch it: {exc}"


class UnderWay:
    """What rules launched, and what it has locked, as far as it was looked at.

    Arguments:
        home: the opened home.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._locks: dict[str, frozenset[str]] = {}

    def summary(self, run: str) -> RunSummary:
        """Give how a run stands."""
        return RunSummary.decode(self._home.store.projection(RunSummaries.name, run))

    def runbooks(self, budget: Budget, now: datetime) -> dict[str, str]:
        """Give the runbook of every run that was launched within the hour."""
        return {one.run: self.summary(one.run).runbook for one in budget.launched(now)}

    def hinders(self, plan: Plan, seen: Episode, budget: Budget, *, rest: timedelta, now: datetime) -> str:
        """Say what a plan must not run beside now; "" where that is nothing.

        Arguments:
            seen: the last episode of the group.
            rest: so long a resource is left alone after a run that rules launched.
        """
        return next(self._hindering(plan, seen, budget, rest, now), "")

    def _hindering(
        self, plan: Plan, seen: Episode, budget: Budget, rest: timedelta, now: datetime
    ) -> Iterator[str]:
        before = self.summary(seen.last_run) if seen.last_run else RunSummary()
        if before.run and before.status not in TERMINAL:
            yield f"{before.run}, which was launched for it before, is {before.status}"
        wanted, done = frozenset(plan.locks), budget.launched(now, within=KEPT)
        self._locks = {one.run: self._locks_of(one.run) for one in done}
        for one in reversed(done):
            shared = sorted(wanted & self._locks[one.run])
            if not shared:
                continue
            summary = self.summary(one.run)
            if summary.status not in TERMINAL:
                yield f"{one.run}, which is {summary.status}, is for {shared[0]} as well"
            elif now < (until := read_moment(summary.ended_at) + rest):
                yield f"{shared[0]} is left alone until {until:%H:%M} UTC, after {one.run}"
        try:
            missing_locks(self._home.store, "", plan.locks)
        except LockError as exc:
            yield str(exc)

    def _locks_of(self, run: str) -> frozenset[str]:
        if run in self._locks:
            return self._locks[run]
        try:
            return frozenset(load_plan(self._home, run).locks)
        except ErasedError:
            return frozenset()  # nothing of a run whose plan was erased is under way
