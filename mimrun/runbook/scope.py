"""Scope: what is known while a plan is made, and who complained about what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import JsonValue

from mimrun.canonical import MAX_INTEGER, Json
from mimrun.errors import Problem
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import has_template, names, optional_names
from mimrun.runbook.inputs import is_confined, is_secret
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.render import fill
from mimrun.secret import REFERENCE

_SECRET: Final = re.compile(
    r"(?:^|_)(?:pass|passwd|password|passphrase|secret|token|api_?key|private_key)s?$", re.I
)
SHOWN: Final = 3
"""So many hosts are named in a complaint that concerns several."""


@dataclass(slots=True)
class Complaints:
    """Collects problems; what is wrong in the same way on many hosts is said once.

    Arguments:
        loaded: the runbook whose file is meant.
    """

    loaded: LoadedRunbook
    found: dict[Problem, list[str]] = field(default_factory=dict)

    def add(self, path: ValuePath, message: str, hint: str = "", target: str = "") -> None:
        """Note a problem, and for which target."""
        self.add_problem(self.loaded.problem(path, message, hint), target)

    def add_problem(self, problem: Problem, target: str) -> None:
        """Note a problem that somebody else found."""
        self.found.setdefault(problem, []).append(target)

    def problems(self) -> list[Problem]:
        """Give what was noted."""
        return [replace(p, message=p.message + _on(targets)) for p, targets in self.found.items()]


@dataclass(slots=True)
class Scope:
    """What the names in templates stand for before the run begins.

    Arguments:
        loaded: the runbook.
        inputs: complete and checked.
        hostvars: the frozen variables of every target of the plan.
        groups: the inventory's groups, cut down to these targets.
        complaints: where problems go.
        constants: the runbook's vars, rendered.
        registered: names that the steps so far register.
    """

    loaded: LoadedRunbook
    inputs: Mapping[str, JsonValue]
    complaints: Complaints
    constants: dict[str, JsonValue] = field(default_factory=dict)
    hostvars: dict[str, JsonValue] = field(default_factory=dict)
    groups: dict[str, JsonValue] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)

    @property
    def secrets(self) -> frozenset[str]:
        """The inputs whose values no plan knows."""
        return frozenset(name for name, value in self.inputs.items() if is_secret(value))

    @property
    def fixed(self) -> dict[str, JsonValue]:
        """What is known without any host: vars, and inputs that are no secrets."""
        plain = {name: value for name, value in self.inputs.items() if not is_secret(value)}
        return {**self.constants, **plain}

    @property
    def trusted(self) -> frozenset[str]:
        """Names whose values the author wrote or limits."""
        runbook = self.loaded.runbook
        trusted = {name for name, spec in runbook.inputs.items() if is_confined(spec)}
        for name, value in runbook.vars.items():
            # A constant that an input goes into is worth what the input is worth; those above it are judged.
            if names(value) <= trusted:
                trusted.add(name)
        return frozenset(trusted)

    def settle_constants(self) -> None:
        """Render the vars in the order in which they are written."""
        for name, value in self.loaded.runbook.vars.items():
            self.constants[name] = self.fixed_value(value, ("vars", name))

    def fixed_value(self, value: JsonValue, path: ValuePath) -> JsonValue:
        """Render something that can use inputs and vars only; what cannot be is noted and given back."""
        if not has_template(value):
            return value
        filled, faults = fill(value, self.fixed)
        for fault in faults:
            self.complaints.add((*path, *fault.path), fault.message, fault.hint)
        return filled

    def fixed_text(self, text: str, path: ValuePath) -> str:
        """Render a text that can use inputs and vars only."""
        value = self.fixed_value(text, path)
        if isinstance(value, str):
            return value
        self.complaints.add(path, f"must give a text, and gives {value!r}")
        return text

    def variables(self, target: str) -> dict[str, JsonValue]:
        """Give what is known for a target, "" for none: vars, then the inventory's, then inputs."""
        own = self.hostvars.get(target)
        known = {**self.constants, **(own if isinstance(own, dict) else {})}
        for name in self.registered | self.secrets:
            known.pop(name, None)
        known |= {name: value for name, value in self.inputs.items() if not is_secret(value)}
        known["inventory_hostname"] = target
        known["groups"] = self.groups
        known["hostvars"] = self.hostvars
        return known

    def late(
        self, value: JsonValue, variables: Mapping[str, JsonValue], more: frozenset[str]
    ) -> tuple[str, ...]:
        """Give the names that a value has to wait for, sorted.

        Arguments:
            variables: what is known.
            more: names that this place will know later: `item`, `captured`.
        """
        coming = (self.registered | self.secrets | more) - variables.keys()
        needed = names(value)
        found = needed & coming
        if "hostvars" in needed and self.registered:
            found |= {"hostvars"}  # an earlier answer may stand there by the time it is needed
        return tuple(sorted(found))

    def undefined(
        self, value: JsonValue, variables: Mapping[str, JsonValue], late: tuple[str, ...]
    ) -> frozenset[str]:
        """Give the names of a value that will never be known."""
        optional: frozenset[str] = frozenset()
        for text in _texts(value):
            optional |= optional_names(text)
        return names(value) - variables.keys() - set(late) - optional


def frozen_vars(variables: Mapping[str, Json], complain: Complaints, host: str) -> dict[str, JsonValue]:
    """Give a host's inventory variables in the form in which a plan can hold them.

    A plan holds no secret: a variable that is called like one stays out, unless it is a reference
    (`env:NAME`, `file:PATH`). Numbers that have no canonical form, fractions and integers beyond 2**53 - 1,
    become texts, as they were written in the inventory.
    """
    frozen: dict[str, JsonValue] = {}
    for name, value in variables.items():
        try:
            if not is_withheld(name, value):
                frozen[name] = _frozen(value)
        except ValueError as exc:
            complain.add(("hosts",), f"the inventory variable {name!r}: {exc}", target=host)
    return frozen


def is_withheld(name: str, value: Json) -> bool:
    """Say whether a variable looks like a secret in plain text."""
    plain = isinstance(value, str) and not REFERENCE.fullmatch(value)
    return (
        bool(_SECRET.search(name))
        and (plain or isinstance(value, int | float))
        and not isinstance(value, bool)
    )


def _frozen(value: Json) -> JsonValue:
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= MAX_INTEGER else str(value)
        case float():
            return repr(value)
        case Mapping():
            for key in value:
                if not key.isascii():
                    raise ValueError(f"the key {key!r} is not ASCII, so a plan cannot hold it")
            return {key: _frozen(part) for key, part in value.items() if not is_withheld(key, part)}
        case _:
            return [_frozen(part) for part in value]


def _texts(value: JsonValue) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for part in value.values() for text in _texts(part)]
        case list():
            return [text for part in value for text in _texts(part)]
        case _:
            return []


def _on(targets: list[str]) -> str:
    hosts = list(dict.fromkeys(target for target in targets if target))
    if not hosts:
        return ""
    more = f" and {len(hosts) - SHOWN} more" if len(hosts) > SHOWN else ""
    return f" (on {', '.join(hosts[:SHOWN])}{more})"
