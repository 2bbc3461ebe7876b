"""A plan on a page: what it is of, what holds it, its steps, and what must be known before the go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mimrun.app.checking import Forecast, Prospect
from mimrun.app.shown.call import shown_value
from mimrun.app.shown.plan import Section, first, named, plan_steps
from mimrun.app.shown.plan_facts import bounds, judgement
from mimrun.app.shown.tone import Told
from mimrun.runbook.batch import written
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan

_TARGETS: Final = 100
"""So many targets are named."""
_WHOLE: Final = 2000
"""So many steps on hosts are shown in full; of more, what repeats itself is cut short."""
_FORECASTS: Final = 500
_ALIKE: Final = 20
"""So many hosts are named where the same would come of a step."""
_SIGNS: Final = {
    Prospect.CHANGES: "changed",
    Prospect.UNCHANGED: "ok",
    Prospect.READ: "ready",
    Prospect.SKIPPED: "skipped",
    Prospect.UNKNOWN: "in_doubt",
    Prospect.FAILS: "failed",
    Prospect.ASKS: "waiting",
}


@dataclass(frozen=True, slots=True)
class PlanPage:
    """A plan.

    Arguments:
        inputs: name and value; of a secret, where it comes from.
        targets: the first of them; `more_targets` how many there are besides.
        bounds: what holds it, each with what it is about.
        judgement: what one must know before the go.
        cut: what repeats itself many times is left out.
    """

    plan: Plan
    inputs: tuple[tuple[str, str], ...]
    targets: str
    more_targets: int
    bounds: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    judgement: tuple[Told, ...]
    cut: bool

    @property
    def digest(self) -> str:
        """The digest of the plan."""
        return self.plan.digest


@dataclass(frozen=True, slots=True)
class CheckRow:
    """What would come of a step on hosts where it is the same.

    Arguments:
        sign: the status that it looks like.
    """

    step: str
    name: str
    targets: str
    prospect: str
    sign: str
    detail: str


@dataclass(frozen=True, slots=True)
class CheckPage:
    """What a plan would change on its targets as they are now.

    Arguments:
        left_out: forecasts that are counted and not shown.
        unknown: some of it nobody can tell before it is done.
    """

    rows: tuple[CheckRow, ...]
    counts: tuple[tuple[str, str, int], ...]
    left_out: int
    unknown: bool


def plan_page(plan: Plan) -> PlanPage:
    """Give what a page shows of a plan."""
    names = [target.name for target in plan.targets]
    full = _size(plan) <= _WHOLE
    return PlanPage(
        plan,
        tuple((name, shown_value(value)) for name, value in plan.inputs.items()),
        named(names[:_TARGETS]),
        max(len(names) - _TARGETS, 0),
        tuple(bounds(plan)),
        plan_steps(plan, full=full, where="mimrun plan --json shows all"),
        tuple(judgement(plan)),
        not full,
    )


def _size(plan: Plan) -> int:
    nodes = written((*plan.nodes, *plan.handlers))
    return sum(len(node.targets) for node in nodes if isinstance(node, PlannedAction))


def check_page(steps: Iterable[Sequence[Forecast]]) -> CheckPage:
    """Give what a page shows of a plan that was held against its targets."""
    every = [forecast for step in steps for forecast in step]
    alike: dict[tuple[str, str, Prospect, str, bool], list[Forecast]] = {}
    for one in every:
        alike.setdefault((one.step, one.name, one.prospect, one.detail, one.tolerated), []).append(one)
    groups = list(alike.values())
    if len(groups) > _FORECASTS:
        # What needs a look comes first where not everything can be shown.
        quiet = {Prospect.UNCHANGED, Prospect.READ, Prospect.SKIPPED}
        groups = [group for group in groups if group[0].prospect not in quiet][:_FORECASTS]
    counts = Counter(one.prospect for one in every)
    told = tuple((one.value, _SIGNS[one], counts[one]) for one in Prospect if counts[one])
    left_out = len(every) - sum(map(len, groups))
    return CheckPage(tuple(map(_check_row, groups)), told, left_out, counts[Prospect.UNKNOWN] > 0)


def _check_row(group: Sequence[Forecast]) -> CheckRow:
    first_ = group[0]
    targets = [f"{one.target} item {one.iteration + 1}" if one.iteration else one.target for one in group]
    return CheckRow(
        first_.step,
        first_.name,
        first(targets, _ALIKE),
        first_.prospect.value + (" (the run would go on)" if first_.tolerated else ""),
        _SIGNS[first_.prospect],
        first_.detail,
    )
