"""Rules for whoever looks at them: which are in force, what each has done, whether there is a storm, what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.rule.loading import RulesNow, RulesReader
from mimrun.errors import InputError
from mimrun.incident.episode import Episode, Episodes
from mimrun.incident.rule import Rule
from mimrun.incident.storm import Budget, budget_in
from mimrun.runbook.suggestion import suggest


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule as a person sees it.

    Arguments:
        digest: of the content that it stands in.
        episodes: the last one of each of its groups, the newest first.
    """

    rule: Rule
    digest: str
    episodes: tuple[Episode, ...]

    @property
    def going_on(self) -> tuple[Episode, ...]:
        """The episodes that are not over."""
        return tuple(one for one in self.episodes if one.goes_on)

    def as_json(self) -> dict[str, JsonValue]:
        """The rule for `--json`."""
        rule: dict[str, JsonValue] = self.rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        shown: list[JsonValue] = [one.model_dump(mode="json") for one in self.episodes]
        return {**rule, "action": self.rule.action, "digest": self.digest, "episodes": shown}


@dataclass(frozen=True, slots=True)
class RulesView:
    """All rules, and what concerns all of them.

    Arguments:
        now: what is in force, and what is wrong with the files.
        budget: what rules have done lately, and whether there is a storm.
    """

    rules: tuple[RuleView, ...]
    now: RulesNow
    budget: Budget

    def as_json(self) -> dict[str, JsonValue]:
        """All of it for `--json`."""
        budget = self.budget
        storm: dict[str, JsonValue] = {
            "incident": budget.incident,
            "since": budget.since,
            "reason": budget.reason,
        }
        return {
            "rules": [one.as_json() for one in self.rules],
            "limits": self.now.limits.model_dump(mode="json"),
            "storm": storm if budget.storm else None,
            "problems": [str(one) for one in self.now.problems],
            "behind": list(self.now.behind),
        }


def list_rules(home: Home) -> RulesView:
    """Give the rules in force, as every worker has them, and what each has done."""
    reader = RulesReader(home, record=False)
    reader.changed()
    done: dict[str, list[Episode]] = {}
    for _, state in home.store.projections(Episodes.name):
        episode = Episode.decode(state)
        done.setdefault(episode.rule, []).append(episode)
    views = tuple(
        RuleView(
            rule,
            reader.now.of[rule.name],
            tuple(sorted(done.get(rule.name, ()), key=lambda one: one.seq, reverse=True)),
        )
        for rule in reader.now.rules
    )
    return RulesView(views, reader.now, budget_in(home.store))


def find_rule(home: Home, name: str) -> RuleView:
    """Give one rule by its name.

    Raises:
        InputError: no rule in force is called so.
    """
    every = list_rules(home).rules
    found = next((one for one in every if one.rule.name == name), None)
    if found is None:
        hint = suggest(name, [one.rule.name for one in every]) or f"there are none in {home.settings.rules}"
        raise InputError(f"no rule {name!r} is in force; {hint}")
    return found
