"""Includes: a runbook and those that it includes, each with a scope and hosts of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import PlanError, RunbookError
from mimrun.runbook.document import ValuePath
from mimrun.runbook.finding import Level
from mimrun.runbook.inputs import complete_inputs
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.lint import lint
from mimrun.runbook.lint_include import (
    CIRCLE_HINT,
    MAX_DEPTH,
    Includes,
    circle_message,
    mismatches,
    reference_of,
    secret_named,
)
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import IncludeStep
from mimrun.runbook.pattern import LOCALHOSTS
from mimrun.runbook.scope import Complaints, Scope
from mimrun.runbook.targets import Targets
from mimrun.runbook.tree import walk_steps

MAX_UNITS: Final = 100
"""Runbooks in one plan; one that is included twice counts twice."""


def no_includes(reference: str) -> LoadedRunbook:
    """Give no runbook at all: where nobody says where runbooks are, there is nothing to include."""
    raise RunbookError(f"no library was given to find {reference} in")


@dataclass(slots=True)
class Unit:
    """A runbook of a plan: the plan's own, or one that is included.

    Arguments:
        scope: what its templates know.
        targets: on which hosts its steps work.
        prefix: what the paths of its steps begin with in the plan: "", "5.include.".
        inner: the runbooks that it includes, by the path of the step.
    """

    scope: Scope
    targets: Targets
    prefix: str = ""
    inner: dict[str, Unit] = field(default_factory=dict)

    def all(self) -> Iterator[Unit]:
        """Give this one and all inside it."""
        yield self
        for unit in self.inner.values():
            yield from unit.all()


class Opener:
    """Opens a runbook and all that it includes.

    Arguments:
        inventory: where hosts come from.
        catalog: the installed actions.
        includes: gives runbooks by `name@version`.
    """

    def __init__(self, inventory: Inventory, catalog: Catalog, includes: Includes) -> None:
        self._inventory, self._catalog, self._includes = inventory, catalog, includes
        self._count = 0

    def open(self, scope: Scope, prefix: str = "", chain: Sequence[str] = ()) -> Unit:
        """Open the runbook of a scope; what is wrong is noted in the scopes.

        Arguments:
            prefix: what the paths of its steps begin with.
            chain: the runbooks around it, the outermost first.
        """
        scope.settle_constants()
        unit = Unit(scope, Targets(self._inventory, scope), prefix)
        runbook = scope.loaded.runbook
        for path, step in walk_steps(runbook.steps):
            if isinstance(step, IncludeStep):
                inner = self._inner(unit, path, step, (*chain, reference_of(runbook)))
                if inner is not None:
                    unit.inner[path] = inner
                    unit.targets.include(inner.targets)
        unit.targets.check_limit()
        return unit

    def _inner(self, outer: Unit, path: str, step: IncludeStep, chain: Sequence[str]) -> Unit | None:
        place, complaints = outer.scope.loaded.step_path(path, "include"), outer.scope.complaints
        loaded = self._find(step.include.runbook, (*place, "runbook"), complaints, chain)
        if loaded is None:
            return None
        errors = [f.problem for f in lint(loaded, self._catalog) if f.level is Level.ERROR]
        for problem in errors:
            complaints.add_problem(problem, "")
        for message, hint in mismatches(outer.scope.loaded.runbook, loaded.runbook):
            complaints.add((*place, "runbook"), message, hint)
        given = {
            name: self._input(outer.scope, value, (*place, "inputs", name))
            for name, value in step.include.inputs.items()
        }
        try:
            inputs = complete_inputs(loaded.runbook, given)
        except PlanError as exc:
            for problem in exc.problems:
                complaints.add((*place, "inputs"), f"{step.include.runbook}: {problem.message}", problem.hint)
            return None
        if errors:
            return None
        scope = Scope(loaded, inputs, Complaints(loaded))
        inner = self.open(scope, f"{outer.prefix}{path}.include.", chain)
        _bound(outer, inner, place)
        return inner

    def _find(
        self, reference: str, place: ValuePath, complaints: Complaints, chain: Sequence[str]
    ) -> LoadedRunbook | None:
        """Find a runbook, unless that would never end; what is wrong is noted."""
        self._count += 1
        if reference in chain:
            around = (*chain[chain.index(reference) :], reference)
            complaints.add(place, circle_message(around), CIRCLE_HINT)
            return None
        if len(chain) > MAX_DEPTH or self._count > MAX_UNITS:
            message = f"too many runbooks: {MAX_DEPTH} inside each other and {MAX_UNITS} in all are the most"
            complaints.add(place, message, f"here it is {' → '.join((*chain, reference))}")
            return None
        try:
            return self._includes(reference)
        except RunbookError as exc:
            for problem in exc.problems:
                complaints.add_problem(problem, "")
            if not exc.problems:
                message, _, hint = str(exc).partition("; ")
                complaints.add(place, message, hint)
            return None

    def _input(self, scope: Scope, value: JsonValue, place: ValuePath) -> JsonValue:
        """Give what is handed in: a secret by its reference, everything else by its value."""
        secret = secret_named(value, scope.secrets)
        return scope.inputs[secret] if secret else scope.fixed_value(value, place)


def _bound(outer: Unit, inner: Unit, place: ValuePath) -> None:
    """See that what is included works on no host that the runbook around it may not touch."""
    allowed = {*outer.targets.bound, *LOCALHOSTS}
    outside = [host for host in inner.targets.all if host not in allowed]
    if outside:
        shown = ", ".join(outside[:3]) + (", …" if len(outside) > 3 else "")
        name = reference_of(inner.scope.loaded.runbook)
        message = f"{name} would work on {shown}, not among the hosts of the runbook around it"
        hint = f"its `hosts:` is {inner.scope.loaded.runbook.hosts!r}: give it other inputs"
        outer.scope.complaints.add(place, message, hint)
