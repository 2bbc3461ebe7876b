"""Names in templates and expressions: what is known where."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import (
    check_expression,
    check_template,
    expression_names,
    has_template,
    names,
    optional_names,
)
from mimrun.runbook.finding import Report
from mimrun.runbook.habit import NAME_HABITS
from mimrun.runbook.model import InputType, Runbook
from mimrun.runbook.suggestion import suggest

GIVEN: Final = frozenset(
    {"inventory_hostname", "inventory_hostname_short", "group_names", "groups", "hostvars"}
)
"""Names that every step on a host knows."""

PLACES: Final = {
    "item": "in a step with `loop`",
    "result": "in `until`, `expect` and `verify.expect`",
    "captured": "in `undo`, where the step has `capture`",
}
"""Names that are known in some places only."""

RESERVED: Final = GIVEN | PLACES.keys() | {"loop", "range"}


@dataclass(slots=True)
class NameCheck:
    """Knows which names there are, while a runbook is walked from top to bottom.

    Arguments:
        report: where findings go.
        runbook: what is walked.
        host_names: the names of all inventory variables, or None where no inventory is given.
        lost: names that parts of the file may define that could not be read; nobody complains about them.
    """

    report: Report
    runbook: Runbook
    host_names: frozenset[str] | None = None
    registered: set[str] = field(default_factory=set)
    registers: frozenset[str] = frozenset()
    """Every name that any step registers, later ones included."""
    lost: frozenset[str] = frozenset()

    @property
    def secrets(self) -> frozenset[str]:
        """The secret inputs."""
        return frozenset(n for n, spec in self.runbook.inputs.items() if spec.type is InputType.SECRET)

    @property
    def constant(self) -> frozenset[str]:
        """What is known before any host is: inputs without the secrets, and vars."""
        return frozenset(self.runbook.inputs.keys() | self.runbook.vars.keys()) - self.secrets

    def constant_text(self, value: JsonValue, path: ValuePath, what: str) -> None:
        """Check a template that can use inputs and vars, and nothing else."""
        for text, place in texts_at(value, path):
            found = self._read(text, place)
            for name in sorted(found - self.constant - self.lost):
                if name in self.secrets:
                    self.report.error(
                        place, f"{what} would show the secret {name!r}", "only arguments can have it"
                    )
                    continue
                hint = suggest(name, self.constant)
                if not hint.startswith("did"):
                    hint = "only inputs and vars are known here"
                self.report.error(place, f"{what}: {name!r} is undefined", hint)

    def template(
        self, value: JsonValue, path: ValuePath, extra: frozenset[str] = frozenset(), *, secrets: bool = False
    ) -> None:
        """Check the templates of a step.

        Arguments:
            extra: names that this place knows besides.
            secrets: secret inputs may stand here.
        """
        for text, place in texts_at(value, path):
            found = self._read(text, place)
            self._names(found, _optional(text, bare=False), place, extra, secrets=secrets)

    def expression(self, text: str | None, path: ValuePath, extra: frozenset[str] = frozenset()) -> None:
        """Check a bare expression of a step."""
        if text is None:
            return
        try:
            check_expression(text)
        except ExpressionError as exc:
            self.report.error(path, exc.message, exc.hint)
            return
        if has_template(text):
            self.report.warn(
                path, "braces in a bare expression are plain text", "write the name without {{ }}"
            )
        self._names(expression_names(text), _optional(text, bare=True), path, extra, secrets=False)

    def register(self, name: str | None, path: ValuePath) -> None:
        """Take note of a registered name, and complain where it hides another one."""
        if name is None:
            return
        if name in RESERVED:
            self.report.error(path, f"the name {name!r} has a meaning of its own", "take another one")
        elif name in self.runbook.inputs or name in self.runbook.vars:
            kind = "an input" if name in self.runbook.inputs else "one of the vars"
            self.report.error(path, f"{name!r} is {kind} already", "one name, one meaning: take another one")
        elif name in self.registered:
            self.report.warn(
                path, f"an earlier step registers {name!r} too", "the later answer hides the earlier one"
            )
        self.registered.add(name)

    def _read(self, text: str, place: ValuePath) -> frozenset[str]:
        try:
            check_template(text)
            return names(text)
        except ExpressionError as exc:
            line = f" (line {exc.line} of the text)" if exc.line > 1 else ""
            self.report.error(place, exc.message + line, exc.hint)
            return frozenset()

    def _names(
        self,
        found: frozenset[str],
        optional: frozenset[str],
        place: ValuePath,
        extra: frozenset[str],
        *,
        secrets: bool,
    ) -> None:
        known = self.constant | self.registered | GIVEN | extra | (self.secrets if secrets else frozenset())
        for name in sorted(found - known - self.lost):
            if name in self.secrets:
                self.report.error(place, f"the secret {name!r} can only stand in the arguments of an action")
            elif name in PLACES:
                self.report.error(place, f"{name!r} is not known here", f"it is known {PLACES[name]}")
            elif name in self.registers:
                hint = "a later step registers it, or a branch that works at the same time"
                self.report.error(place, f"{name!r} is not known yet", hint)
            elif name not in optional:
                self._unknown(name, place, known)

    def _unknown(self, name: str, place: ValuePath, known: frozenset[str]) -> None:
        if name in (self.host_names or ()):
            return
        if name in NAME_HABITS:
            self.report.error(place, f"{name!r} is undefined", NAME_HABITS[name])
        elif self.host_names is not None:
            self.report.error(place, f"{name!r} is undefined", suggest(name, known | self.host_names))
        elif difflib.get_close_matches(name, known - GIVEN, n=1, cutoff=0.75):
            self.report.error(place, f"{name!r} is undefined", suggest(name, known))
        else:
            message = f"{name!r} is no input, var or earlier answer, so it must come from the inventory"
            self.report.warn(place, message, "lint with -i INVENTORY to be sure")


def texts_at(value: JsonValue, path: ValuePath) -> Iterator[tuple[str, ValuePath]]:
    """Give every text with braces inside a value, with its place."""
    match value:
        case str():
            if has_template(value):
                yield value, path
        case dict():
            for key, part in value.items():
                yield from texts_at(part, (*path, key))
        case list():
            for number, part in enumerate(value):
                yield from texts_at(part, (*path, number))


def _optional(text: str, *, bare: bool) -> frozenset[str]:
    try:
        return optional_names(text, bare=bare)
    except ExpressionError:
        return frozenset()
