"""Targets: which hosts each step works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from mimrun.errors import InventoryError
from mimrun.runbook.allowance import allowed
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import names
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.model import ActionStep, Handler, Input
from mimrun.runbook.pattern import LOCALHOSTS, NO_INVENTORY
from mimrun.runbook.regex import fits
from mimrun.runbook.scope import Scope
from mimrun.runbook.tree import action_steps, handlers

EVERY_HOST: Final = ("all", "*", "ungrouped")
"""Words of a host pattern that no inventory has to define."""
EVERY_HINT: Final = (
    "name the hosts that are meant; an author who lets it mean every host says so by its choices"
)


class Targets:
    """Selects hosts: the runbook's own are the outer bound, and a step's pattern selects among them.

    This machine is no one's outer bound: a step with `hosts: localhost` is always allowed.

    Arguments:
        inventory: where hosts come from.
        scope: what patterns can use.
    """

    def __init__(self, inventory: Inventory, scope: Scope) -> None:
        self._inventory = inventory
        self._scope = scope
        self._bound = self._select(scope.loaded.runbook.hosts, ("hosts",))
        self._included: set[str] = set()
        self.of_step: dict[str, tuple[str, ...]] = {}
        """The hosts of each action step and handler, by its path."""
        for path, step in action_steps(scope.loaded.runbook):
            self.of_step[path] = self._of(step, scope.loaded.step_path(path, "hosts"))
        for path, handler in handlers(scope.loaded.runbook):
            self._of_handler(handler, path)

    @property
    def bound(self) -> tuple[str, ...]:
        """The hosts that the runbook's own pattern selects."""
        return self._bound or ()

    def include(self, inner: Targets) -> None:
        """Count the hosts of an included runbook among these; to be called before anybody asks for them."""
        self._included.update(inner.all)

    @cached_property
    def all(self) -> tuple[str, ...]:
        """Every host that any step may touch, in the order of the inventory."""
        used = {host for hosts in self.of_step.values() for host in hosts} | self._included
        known = [host for host in self._inventory.hosts if host in used]
        return (*known, *sorted(used - set(known)))

    @cached_property
    def failures(self) -> int:
        """How many hosts may fail in all; a percentage is of these hosts without this machine."""
        touched = sum(host not in LOCALHOSTS for host in self.all)
        return allowed(self._scope.loaded.runbook.limits.failures, touched)

    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The inventory's groups, cut down to these hosts; those that are empty then are left out."""
        used = set(self.all)
        cut = {name: tuple(h for h in hosts if h in used) for name, hosts in self._inventory.groups.items()}
        return {name: hosts for name, hosts in sorted(cut.items()) if hosts}

    def check_limit(self) -> None:
        """Hold the plan against `limits: {hosts: N}`; this machine does not count."""
        limit = self._scope.loaded.runbook.limits.hosts
        touched = [host for host in self.all if host not in LOCALHOSTS]
        if limit is not None and len(touched) > limit:
            message = f"the plan would touch {len(touched)} hosts, and the runbook allows {limit}"
            self._scope.complaints.add(("limits", "hosts"), message, "name fewer hosts")

    def _of_handler(self, handler: Handler, path: str) -> None:
        """Find the hosts of a handler: those of its pattern on which a step notifies it.

        A handler that nobody notifies has none, and is no part of the plan.
        """
        notifying = set[str]()
        steps = [
            (at, step) for at, step in action_steps(self._scope.loaded.runbook) if handler.name in step.notify
        ]
        for at, _ in steps:
            notifying.update(self.of_step[at])
        place = self._scope.loaded.step_path(path, "hosts")
        found = self._of(handler, place)
        if not steps or not found or not notifying:
            return
        self.of_step[path] = tuple(host for host in found if host in notifying)
        if not self.of_step[path]:
            message = (
                f"the hosts of the handler ({_some(found)}) are not among those of the steps that notify it"
            )
            self._scope.complaints.add(place, message, f"these work on {_some(sorted(notifying))}")

    def _of(self, step: Handler, path: ValuePath) -> tuple[str, ...]:
        if self._bound is None:
            return ()
        found: tuple[str, ...] = self._bound
        if step.hosts is not None:
            selected = self._select(step.hosts, path)
            if selected is None:
                return ()
            found = tuple(host for host in selected if host in (*self._bound, *LOCALHOSTS))
            if not found:
                self._empty(selected, path)
        return found[:1] if isinstance(step, ActionStep) and step.run_once else found

    def _select(self, text: str, path: ValuePath) -> tuple[str, ...] | None:
        """Give the hosts of a pattern, or None after a complaint."""
        pattern = self._scope.fixed_text(text, path)
        if self._is_widened(text, path):
            return None
        try:
            found = self._inventory.select(pattern, strict=True)
        except InventoryError as exc:
            for line in str(exc).splitlines():
                message, _, hint = line.partition("; ")
                self._scope.complaints.add(path, message, hint)
            return None
        if not found:
            hint = "" if self._inventory.is_given else NO_INVENTORY
            self._scope.complaints.add(path, f"the host pattern {pattern!r} selects no host", hint)
            return None
        return found

    def _is_widened(self, text: str, path: ValuePath) -> bool:
        """Complain about values of the caller that could name other hosts than the author meant."""
        runbook = self._scope.loaded.runbook
        used = names(text) & (runbook.inputs.keys() | runbook.vars.keys())
        loose = sorted(used - self._scope.trusted)
        for name in loose:
            message = f"{name!r} can widen the hosts: the caller may write any pattern"
            self._scope.complaints.add(path, message, "give the input a pattern or choices")
        for name in sorted(used & runbook.inputs.keys()):
            value = self._scope.inputs[name]
            for word in value if isinstance(value, list) else [value]:
                if word in EVERY_HOST and not _may_mean_all(runbook.inputs[name], word):
                    loose.append(name)
                    self._scope.complaints.add(
                        path, f"{name} is {word!r}, which is no host or group", EVERY_HINT
                    )
        return bool(loose)

    def _empty(self, selected: tuple[str, ...], path: ValuePath) -> None:
        message = f"the hosts of the step ({_some(selected)}) are not among the hosts of the runbook"
        hint = f"the runbook's own `hosts:` is {self._scope.loaded.runbook.hosts!r} and bounds every step"
        self._scope.complaints.add(path, message, hint)


def _some(hosts: Sequence[str]) -> str:
    return ", ".join(hosts[:3]) + (", …" if len(hosts) > 3 else "")


def _may_mean_all(spec: Input, word: str) -> bool:
    """Say whether the author of an input meant whole patterns to be written, and not just names."""
    if spec.choices or spec.pattern is None:
        return word in spec.choices
    return any(fits(spec.pattern, pattern) for pattern in ("*", "a:b", "a,b"))
