"""What rules would have done about alerts of the past: the engine itself over them, with their own clock; launching nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import JsonValue

from mimrun.app.rule.heeding import doubt_of
from mimrun.app.rule.planning import label_value
from mimrun.incident.alert import Alert
from mimrun.incident.burning import Burning, Ending, Firing
from mimrun.incident.episode import Episode
from mimrun.incident.outcome import Facts, judge
from mimrun.incident.rule import Rule
from mimrun.incident.storm import Budget, Limits
from mimrun.log.kinds import AlertReceived, RuleEnded, RuleFired, StormBegan
from mimrun.log.moment import write_moment

What: TypeAlias = Literal["notified", "proposed", "launched", "held", "failed", "ended", "storm"]
DIGEST = "sha256:" + "0" * 64
"""Stands for the digest of a file: what is tried is on no record."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An alert of the past.

    Arguments:
        number: its entry, or its line in a file; they only grow.
        at: when it came.
    """

    number: int
    at: datetime
    alert: Alert


@dataclass(frozen=True, slots=True)
class Would:
    """Something that a rule would have done, at a moment.

    Arguments:
        reason: why it would have done less than it is for, or why an episode is over.
        alerts: the numbers of the alerts that made it fire, the first ones.
        inputs: what labels would have given to the runbook.
    """

    at: datetime
    rule: str
    group: str
    what: What
    reason: str = ""
    alerts: tuple[int, ...] = ()
    count: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, JsonValue]:
        """It for `--json`."""
        return {
            "at": write_moment(self.at),
            "rule": self.rule,
            "group": self.group,
            "what": self.what,
            "reason": self.reason,
            "alerts": list(self.alerts),
            "count": self.count,
            "inputs": dict(self.inputs),
        }


def test_rules(
    rules: Iterable[Rule],
    alerts: Iterable[Recorded],
    *,
    limits: Limits,
    launchable: Collection[str],
    until: datetime,
    wrong: Callable[[Rule, Mapping[str, str]], str],
) -> Iterator[Would]:
    """Say what rules would have done about alerts, in the order in which it would have happened.

    What only the day itself can tell is left out: whether policy and standard changes would have allowed a launch, and
    what else was under way.

    Arguments:
        alerts: in the order in which they came.
        launchable: the sources whose alerts may make a rule launch something.
        until: how far time goes on behind the last alert.
        wrong: says why a rule's runbook would not take what labels give to it; "" where it would.
    """
    return _Trial(tuple(rules), limits, frozenset(launchable), wrong).of(alerts, until)


test_rules.__test__ = False  # type: ignore[attr-defined]  # pytest is not to take it for a test


class _Trial:
    """The past, with rules in it."""

    def __init__(
        self,
        rules: tuple[Rule, ...],
        limits: Limits,
        launchable: frozenset[str],
        wrong: Callable[[Rule, Mapping[str, str]], str],
    ) -> None:
        self._limits, self._launchable, self._wrong = limits, launchable, wrong
        self._burning = Burning(rules, limits.cool_down)
        self._episodes: dict[tuple[str, str], Episode] = {}
        self._budget = Budget()
        self._runbooks: dict[str, str] = {}

    def of(self, alerts: Iterable[Recorded], until: datetime) -> Iterator[Would]:
        last: datetime | None = None
        for one in alerts:
            now = one.at if last is None else max(last, one.at)
            yield from self._until(now)
            last = now
            said = AlertReceived.model_validate(
                one.alert.model_dump(exclude={"labels", "annotations", "url"})
            )
            self._burning.hear(one.number, now, one.alert, doubt=doubt_of(said, self._launchable))
            yield from self._decide(now)
        yield from self._until(until)

    def _until(self, now: datetime) -> Iterator[Would]:
        """Let time pass."""
        while (look := self._burning.next_look()) is not None and look < now:
            yield from self._decide(look)

    def _decide(self, now: datetime) -> Iterator[Would]:
        while decisions := self._burning.decide(now, self._episode):
            for decision in decisions:
                yield from (
                    self._ended(decision, now) if isinstance(decision, Ending) else self._fired(decision, now)
                )

    def _episode(self, rule: str, group: str) -> Episode:
        return self._episodes.get((rule, group), Episode())

    def _ended(self, ending: Ending, now: datetime) -> Iterator[Would]:
        body = RuleEnded(
            rule=ending.rule, episode=ending.seen.episode, group=ending.group, reason=ending.reason
        )
        self._episodes[ending.rule, ending.group] = ending.seen.after(body, write_moment(now))
        yield Would(now, ending.rule, ending.group, "ended", ending.reason)

    def _fired(self, firing: Firing, now: datetime) -> Iterator[Would]:
        rule, at = firing.rule, write_moment(now)
        inputs = {
            name: label_value(rule, given.label, firing.facets)
            for name, given in rule.inputs.items()
            if given.label is not None
        }
        wrong = self._wrong(rule, inputs)
        facts = Facts(refused=firing.doubt, runbook=rule.runbook, of=self._runbooks)
        action = "notify" if wrong else rule.action
        judged = judge(action, rule.concurrency, facts, self._limits, self._budget, now=now)
        if firing.seen.held:
            return  # a storm goes on until somebody ends it
        if judged.storm:
            begun = StormBegan(incident="the storm's", reason=judged.storm)
            self._budget = self._budget.after(begun, at, seq=1)
            yield Would(now, rule.name, firing.group, "storm", judged.storm)
        what = "failed" if wrong and judged.outcome != "held" else judged.outcome
        run = f"run-{len(self._runbooks)}" if what == "launched" else ""
        if run:
            self._runbooks[run] = rule.runbook
        body = RuleFired(
            rule=rule.name,
            rules=DIGEST,
            episode=firing.episode,
            group=firing.group,
            outcome=what,
            reason=wrong or judged.reason,
        )
        self._episodes[rule.name, firing.group] = firing.seen.after(body, at, seq=1, run=run)
        self._budget = self._budget.after(body, at, run=run)
        yield Would(now, rule.name, firing.group, what, body.reason, firing.alerts, firing.count, inputs)
