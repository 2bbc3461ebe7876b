"""Scopes: where an answer is known by the name that a step registers it under.

A plan is one scope; an included runbook is another, which sees nothing of the one around it and keeps what
it registers; a branch of a parallel step begins with what is known around it, and hands on what it learns
when all branches are over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from mimrun.runbook.node import Node, PlannedInclude, PlannedParallel, handler_place, parts_of
from mimrun.runbook.plan import Plan


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a plan in which names mean the same.

    Arguments:
        path: where it begins; "" for the plan itself.
        include: the included runbook that it belongs to; None where that is the plan's own.
        outer: the scope that a branch begins with; None where nothing is seen of another.
    """

    path: str = ""
    include: PlannedInclude | None = None
    outer: str | None = None

    @property
    def runbook(self) -> str:
        """The path of the included runbook that it belongs to; "" for the plan's own."""
        return self.include.path if self.include else ""


def scopes_of(plan: Plan) -> Mapping[str, Scope]:
    """Give the scope of every node of a plan, by its path."""
    found: dict[str, Scope] = {}
    _note(plan.nodes, Scope(), found)
    for handler in plan.handlers:
        around = handler_place(handler.path)[0]
        include = plan.node(around.removesuffix(".include")) if around.endswith(".include") else None
        own = found[around] if around in found else Scope()
        found[handler.path] = _inside(include) if isinstance(include, PlannedInclude) else own
    return found


def _inside(node: PlannedInclude) -> Scope:
    # An include may be a branch itself, whose scope begins at the same path.
    return Scope(f"{node.path}.include", node)


def _note(nodes: Iterable[Node], scope: Scope, found: dict[str, Scope]) -> None:
    for node in nodes:
        found[node.path] = scope
        if isinstance(node, PlannedInclude):
            _note(node.steps, _inside(node), found)
        elif isinstance(node, PlannedParallel):
            for branch in node.branches:
                _note([branch], Scope(branch.path, scope.include, scope.path), found)
        else:
            _note(parts_of(node), scope, found)


@dataclass(frozen=True, slots=True)
class Answer:
    """One registered answer: its name, who gave it ("" for a person), and the entry that recorded it."""

    name: str
    target: str
    value: JsonValue
    source: int


@dataclass(slots=True)
class Answers:
    """The answers that are known in one scope.

    Arguments:
        hostvars: what templates see as `hostvars`: an entry is replaced and never changed.
        alone: the answers that just one target has given: everybody sees them.
        own: the answers of each target.
        givers: by name, the one target that has given it; None where several have.
        learned: what was registered here, in order.
    """

    hostvars: dict[str, JsonValue]
    alone: dict[str, JsonValue] = field(default_factory=dict)
    own: dict[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    givers: dict[str, str | None] = field(default_factory=dict)
    sources: dict[tuple[str, str], int] = field(default_factory=dict)
    learned: list[Answer] = field(default_factory=list)

    def register(self, answer: Answer) -> None:
        """Take an answer up."""
        name, target = answer.name, answer.target
        if self.givers.setdefault(name, target) == target:
            self.alone[name] = answer.value
        else:
            self.givers[name] = None
            self.alone.pop(name, None)
        self.own[target] = {**self.own.get(target, {}), name: answer.value}
        self.sources[name, target] = answer.source
        self.learned.append(answer)
        known = self.hostvars.get(target)
        if isinstance(known, dict):
            self.hostvars[target] = {**known, name: answer.value}

    def seen_by(self, target: str, *, apart: Collection[str] = ()) -> dict[str, JsonValue]:
        """Give what a target sees: its own answers, and those that just one target has given.

        Arguments:
            apart: names of which it sees nobody's answer but its own.
        """
        alone = {name: value for name, value in self.alone.items() if name not in apart}
        return {**alone, **self.own.get(target, {})}

    def fork(self) -> Answers:
        """Give a copy for a branch, in which nothing has been learned yet."""
        return Answers({**self.hostvars}, {**self.alone}, {**self.own}, {**self.givers}, {**self.sources})

    def listed(self, prefix: str) -> list[tuple[str, str, int]]:
        """Give name, target and source of every answer."""
        return [(f"{prefix}{name}", target, source) for (name, target), source in self.sources.items()]
